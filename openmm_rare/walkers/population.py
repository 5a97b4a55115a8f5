"""Populations of weighted walkers, and what some steps do to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dynamics.frames import Frames, Rows

__all__ = ["Block", "Moved", "Walkers"]


@dataclass(frozen=True)
class Walkers(Rows):
    """A population of walkers, one row each.

    Attributes
    ----------
    frames : Frames
        Where they are, in double precision.
    log_weights : ndarray, shape (n,)
        ln of the path weight, unbiased over biased, with branching.
    clocks : ndarray of int64, shape (n,)
        Steps since the root.
    labels : ndarray of int64, shape (n,)
        Channel labels.
    roots : ndarray of int64, shape (n,)
        Which root each walker descends from.
    """

    frames: Frames
    log_weights: np.ndarray
    clocks: np.ndarray
    labels: np.ndarray
    roots: np.ndarray

    def total_weight(self) -> float:
        """Sum of the path weights."""
        return float(np.exp(self.log_weights).sum())

    @classmethod
    def start(cls, frames: Frames, roots: np.ndarray, log_weights: np.ndarray | None = None) -> Walkers:
        """New walkers at copies of the frames of their roots, with weight 1 unless given."""
        n = len(frames)
        zeros = np.zeros(n, dtype=np.int64)
        weights = np.zeros(n) if log_weights is None else np.asarray(log_weights, dtype=np.float64)
        return cls(frames.astype(np.float64), weights, zeros, zeros.copy(), np.asarray(roots, dtype=np.int64))


@dataclass(frozen=True)
class Moved(Rows):
    """What some steps did to walkers that stop where they arrive in A or B, one row each.

    Attributes
    ----------
    frames : Frames
        Where they arrived, or are after the last step.
    log_weights : ndarray, shape (n,)
        ln of the path weight, unbiased over biased, of these steps.
    status : ndarray of int8, shape (n,)
        0 between the states, 1 in A, 2 in B.
    labels, steps : ndarray of int64, shape (n,)
        Channel labels, and steps until the arrival.
    """

    frames: Frames
    log_weights: np.ndarray
    status: np.ndarray
    labels: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class Block:
    """What one block of steps did to each walker.

    Attributes
    ----------
    walkers : Walkers
        The same walkers after the block (arrived ones at the frame of arrival).
    status : ndarray of int8
        0 still between the states, 1 in A, 2 in B.
    walker_steps : int
        Force evaluations spent, summed over walkers until arrival.
    """

    walkers: Walkers
    status: np.ndarray
    walker_steps: int

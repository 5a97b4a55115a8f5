"""Walkers: a population of weighted copies of a small System, moved in Contexts of the fitting size."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from .dynamics import Bias, choose_backend
from .slots import AbsorbingSlots, absorbing_slots

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["Block", "Propagator", "Walkers"]

_FEW = 64  # walkers


@dataclass(frozen=True)
class Walkers:
    """A population of walkers, one row each.

    Attributes
    ----------
    positions : ndarray, shape (n, n_atoms, 3), nm
    log_weights : ndarray, shape (n,)
        ln of the path weight, unbiased over biased, with branching.
    clocks : ndarray of int64, shape (n,)
        Steps since the root.
    labels : ndarray of int64, shape (n,)
        Channel labels.
    roots : ndarray of int64, shape (n,)
        Which root each walker descends from.
    """

    positions: np.ndarray
    log_weights: np.ndarray
    clocks: np.ndarray
    labels: np.ndarray
    roots: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def total_weight(self) -> float:
        """Sum of the path weights."""
        return float(np.exp(self.log_weights).sum())

    @classmethod
    def start(cls, positions: np.ndarray, roots: np.ndarray, log_weights: np.ndarray | None = None) -> Walkers:
        """New walkers at the positions of their roots, with weight 1 unless given."""
        n = len(positions)
        zeros = np.zeros(n, dtype=np.int64)
        weights = np.zeros(n) if log_weights is None else np.asarray(log_weights, dtype=np.float64)
        return cls(np.array(positions, dtype=np.float64), weights, zeros, zeros.copy(), np.asarray(roots, dtype=np.int64))

    def take(self, parents: np.ndarray) -> Walkers:
        """Copies of the walkers ``parents`` (repeated to clone, left out to kill); the others are untouched."""
        return Walkers(*(getattr(self, field.name)[parents] for field in fields(self)))

    def join(self, others: Walkers) -> Walkers:
        """This population followed by another."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Walkers(*(np.concatenate(pair) for pair in pairs))


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


class Propagator:
    """Advances populations of any size in Contexts of the fitting size.

    Parameters
    ----------
    target : RareEventSystem
    bias : Bias, optional
        Without it the dynamics is unbiased.
    n_slots : int
        Size of the largest Context.
    platform : str
    seed : numpy.random.SeedSequence
        The same seed gives the same trajectories on the Reference platform.
    backend : str
        One of :data:`openmm_rare.dynamics.BACKENDS`.
    """

    def __init__(
        self,
        target: RareEventSystem,
        bias: Bias | None,
        n_slots: int,
        platform: str,
        seed: np.random.SeedSequence,
        backend: str = "python",
    ) -> None:
        self.target, self.bias, self.backend = target, bias, choose_backend(backend, platform)
        self.n_slots, self.platform, self._seed = n_slots, platform, seed
        self._contexts: dict[int, AbsorbingSlots] = {}

    def advance(self, walkers: Walkers, n_steps: int) -> Block:
        """Move all walkers ``n_steps`` steps, or to the frame where they arrive in A or B."""
        parts = [
            self._fitting(min(self.n_slots, len(walkers) - first)).advance(
                walkers.positions[first : first + self.n_slots], walkers.labels[first : first + self.n_slots], n_steps
            )
            for first in range(0, len(walkers), self.n_slots)
        ]
        end, gained, status, labels, steps = (np.concatenate(column) for column in zip(*parts, strict=True))
        moved = replace(
            walkers,
            positions=end,
            log_weights=walkers.log_weights + gained,
            clocks=walkers.clocks + steps,
            labels=labels,
        )
        return Block(moved, status, int(steps.sum()))

    def _fitting(self, n: int) -> AbsorbingSlots:
        # making a Context takes as long as some hundred steps: few sizes, so that idle slots cost about as much as new ones
        size = self.n_slots
        while size > 20 and 2 * size // 5 >= n:
            size = 2 * size // 5
        if size not in self._contexts:
            bias = self.bias
            if bias is not None and size <= _FEW and self.backend != "native":
                # a step of a handful of walkers costs its Python calls alone: the last, slow ones keep gradients longer
                bias = replace(bias, interval=5 * bias.interval)
            (seed,) = self._seed.spawn(1)
            number = int(seed.generate_state(1)[0] >> 1)
            self._contexts[size] = absorbing_slots(self.target, size, self.platform, number, bias, self.backend)
        return self._contexts[size]

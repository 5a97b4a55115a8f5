"""Interfaces: levels of ln I where walkers are gathered on their way from A to B, and drawn anew ("Branching", docs/theory.md).

Most of the variance arises in the first steps from A, where most walkers fall back at next to no cost, and nearly all of the
cost where walkers are on their way to B for good. Between two interfaces as many walkers move as pays there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dynamics.frames import Rows
from ...flux.root_density import RootDensity
from ...statistics import effective_sample_size

__all__ = ["PER_ROOT", "Interface", "Passage", "allotted"]

PER_ROOT: int = 2
"""Walkers that start for all interfaces, for each root that there would be without: most are soon back in A."""
_FEWEST = 20  # walkers that start for an interface
_LEAST_VARIANCE = 0.25  # relative variance of one walker, at least: few fates tell little, and I is not q


@dataclass(frozen=True)
class Interface:
    """A level of ln I at which walkers are gathered.

    Attributes
    ----------
    level : float
        ln I.
    density : RootDensity
        With which those that came here are drawn, in proportion to their weights besides.
    n_below : int
        Walkers of a round that start for it, from the interface before or from exits.
    """

    level: float
    density: RootDensity
    n_below: int = 0


@dataclass(frozen=True)
class Passage(Rows):
    """How the walkers that started for an interface fared, one row each.

    Attributes
    ----------
    exit : ndarray of int64
        Exit of the pool that each descends from.
    start_weight : ndarray
        1/G, with the density G from which it was drawn.
    value : ndarray
        Summed w G' of its descendants at the interface, with the density G' there.
    weight : ndarray
        Summed w of these and of those that returned to A, whose expectation is `start_weight`.
    """

    exit: np.ndarray
    start_weight: np.ndarray
    value: np.ndarray
    weight: np.ndarray

    def relative_variance(self) -> float:
        """Of the value of one; inf where nothing came to the interface."""
        ess = effective_sample_size(self.value)
        return len(self.value) / ess - 1.0 if ess > 0.0 else float("inf")


def allotted(variances: np.ndarray, steps: np.ndarray, n_roots: int) -> list[int]:
    """How many walkers to start for each interface, and from the last one: what costs least in the end.

    In all they are twice as many as roots would be without interfaces, as most are soon back in A.

    Parameters
    ----------
    variances, steps : ndarray, shape (n_interfaces + 1,)
        Relative variance of what one walker brings to the next interface, or to B, and its steps.
    n_roots : int
    """
    share = np.sqrt(np.maximum(variances, _LEAST_VARIANCE) / np.maximum(steps, 1.0))
    return np.maximum(np.round(PER_ROOT * n_roots * share / share.sum()), _FEWEST).astype(int).tolist()

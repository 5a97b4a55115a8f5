"""What descendants of roots weigh when they come to a level for the first time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bias.calibrated import CalibratedImportance
from ..bias.importance import ImportanceFunction
from ..dynamics.frames import Rows
from ..states.states import IN_A, IN_B
from ..walkers.population import Walkers

__all__ = ["Crossings", "Heights", "Unwatched", "Watched", "watched"]


@dataclass(frozen=True)
class Crossings(Rows):
    """First visits of walkers to levels, one row each; the sum of the weights at a level is an unbiased count of roots.

    Attributes
    ----------
    root : ndarray of int64
        Which root the walker descends from.
    below, upto : ndarray
        It had been at `below`, and crossed the levels above that up to `upto`: infinity, where it came to B.
    weight : ndarray
        Its weight then.
    """

    root: np.ndarray
    below: np.ndarray
    upto: np.ndarray
    weight: np.ndarray

    @classmethod
    def none(cls) -> Crossings:
        """No rows."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))

    def on(self, levels: np.ndarray, n_roots: int) -> np.ndarray:
        """Summed weights of the descendants of each root that came to each level, shape (n_roots, n_levels)."""
        change = np.zeros((n_roots, len(levels) + 1))
        for edge, sign in ((self.below, 1.0), (self.upto, -1.0)):
            np.add.at(change, (self.root, np.searchsorted(levels, edge, side="right")), sign * self.weight)
        return np.maximum(np.cumsum(change, axis=1)[:, :-1], 0.0)  # sums of what cancels may end below zero

    def highest(self) -> float:
        """The highest level that any walker came to before B."""
        reached = self.upto[np.isfinite(self.upto)]
        return float(reached.max()) if len(reached) else -np.inf


class Heights:
    """Keeps account of how far walkers have come, and gathers crossings."""

    def __init__(self) -> None:
        self._rows: list[Crossings] = []

    def rise(self, roots: np.ndarray, tops: np.ndarray, level: np.ndarray, log_weights: np.ndarray) -> np.ndarray:
        """Count walkers, of these highest levels so far, that are at new ones now; returns the highest levels from now on."""
        higher = np.flatnonzero(level > tops)
        if len(higher):
            rows = np.asarray(roots, dtype=np.int64)[higher], tops[higher], level[higher], np.exp(log_weights[higher])
            self._rows.append(Crossings(*rows))
        return np.maximum(tops, level)

    def arrive(self, roots: np.ndarray, tops: np.ndarray, log_weights: np.ndarray) -> None:
        """Count walkers that came to B: above every level."""
        self.rise(roots, tops, np.full(len(tops), np.inf), log_weights)

    def crossings(self) -> Crossings:
        """All that was counted."""
        return Crossings.none().join(*self._rows)


class Unwatched:
    """Importance without levels."""

    def __init__(self, importance: ImportanceFunction) -> None:
        self._importance = importance

    def look(self, walkers: Walkers, tops: np.ndarray, status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I of walkers, and the highest levels that each has come to."""
        return self._importance.log_importance(walkers.frames.positions, walkers.frames.velocities), tops

    def crossings(self) -> None:
        """None: nothing is kept account of."""


class Watched:
    """Importance with levels, whose crossings are kept account of."""

    def __init__(self, importance: CalibratedImportance) -> None:
        self._importance, self._heights = importance, Heights()
        self.crossings = self._heights.crossings

    def look(self, walkers: Walkers, tops: np.ndarray, status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of :class:`Unwatched`."""
        level, place = self._importance.levels(walkers.frames.positions, walkers.frames.velocities)
        seen = np.where(status == IN_B, np.inf, np.where(status == IN_A, -np.inf, place))
        return self._importance.table(level), self._heights.rise(walkers.roots, tops, seen, walkers.log_weights)


def watched(importance: ImportanceFunction) -> Unwatched | Watched:
    """How to look at walkers with an importance function."""
    return Watched(importance) if isinstance(importance, CalibratedImportance) else Unwatched(importance)

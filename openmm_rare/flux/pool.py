"""The exit pool: where unbiased dynamics left A, and what is needed to weight it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..statistics import ratio_of_sums
from .root_density import RootDensity

if TYPE_CHECKING:
    from ..bias.importance import ImportanceFunction
    from ..committor.model import CommittorModel

__all__ = ["Pool"]


@dataclass
class Pool:
    """The exits of the flux run so far, and what is needed to weight them.

    Attributes
    ----------
    exits : Frames
        In single precision.
    walker : ndarray of int, shape (n_exits,)
        Flux walker, or cluster of dependent ones, that made each exit.
    weight : ndarray, shape (n_exits,)
        Of that walker; 1 unless the parts of A are weighted. Times and counts below are weighted alike.
    log_importance : ndarray, shape (n_exits,)
    time_ps : ndarray, shape (n_walkers,)
        Time with A visited last.
    flux_by_chunk : list of (exits, time)
        Of every walker in every stretch, for the test of stationarity.
    """

    exits: Frames
    walker: np.ndarray
    weight: np.ndarray
    log_importance: np.ndarray
    time_ps: np.ndarray
    flux_by_chunk: list[tuple[np.ndarray, np.ndarray]]

    @classmethod
    def empty(cls, walkers: Frames, n_walkers: int) -> Pool:
        """No exits yet; those to come have velocities and boxes as these frames of walkers have."""
        return cls(
            walkers[:0].astype(np.float32), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(n_walkers), []
        )

    def widen(self, n_walkers: int) -> None:
        """Make room for more walkers."""
        more = np.zeros(n_walkers - len(self.time_ps))
        self.time_ps = np.concatenate([self.time_ps, more])
        self.flux_by_chunk = [tuple(np.concatenate([each, more]) for each in chunk) for chunk in self.flux_by_chunk]

    def extend(self, record: Mapping, model: CommittorModel | ImportanceFunction, timestep: float) -> None:
        """Add one stretch of the flux run."""
        exits = Frames.from_arrays(record, "exits")
        walker, weight = (np.asarray(record[name]) for name in ("exit_cluster", "exit_weight"))
        time_ps = np.asarray(record["weighted_frames"]).sum(0) * timestep
        self.exits = Frames.join([self.exits, exits])
        self.walker = np.concatenate([self.walker, walker])
        self.weight = np.concatenate([self.weight, weight])
        self.log_importance = np.concatenate([self.log_importance, model.log_importance(exits.positions, exits.velocities)])
        self.time_ps = self.time_ps + time_ps
        self.flux_by_chunk.append((np.bincount(walker, weight, minlength=len(time_ps)), time_ps))

    def judge(self, importance: ImportanceFunction) -> None:
        """Take ln I of all exits from another importance function."""
        self.log_importance = importance.log_importance(self.exits.positions, self.exits.velocities)

    def exit_counts(self) -> np.ndarray:
        """Exits of each walker."""
        return np.bincount(self.walker, self.weight, minlength=len(self.time_ps))

    def surrogate(self, density: RootDensity) -> np.ndarray:
        """Sum of G over the exits of each walker."""
        return np.bincount(self.walker, self.weight * density(self.log_importance), minlength=len(self.time_ps))

    def relative_error(self, uniform_fraction: float) -> float:
        """Relative error that the finite pool gives to the rate; inf before there are exits of at least 20 walkers."""
        if (self.exit_counts() > 0).sum() < 20:
            return float("inf")
        density = RootDensity.of_pool(self.log_importance, uniform_fraction, self.weight)
        value, error = ratio_of_sums(self.surrogate(density), self.time_ps)
        return error / value

    def drift(self) -> float:
        """Difference of the flux between the first and the second half of the run, in standard errors."""
        if len(self.flux_by_chunk) < 2:
            return 0.0
        times = np.cumsum([chunk[1].sum() for chunk in self.flux_by_chunk])
        middle = int(np.searchsorted(times, times[-1] / 2)) + 1
        middle = min(middle, len(self.flux_by_chunk) - 1)
        halves = [
            ratio_of_sums(*(sum(chunk[i] for chunk in part) for i in (0, 1)))
            for part in (self.flux_by_chunk[:middle], self.flux_by_chunk[middle:])
        ]
        return float((halves[1][0] - halves[0][0]) / max(np.hypot(halves[0][1], halves[1][1]), 1e-300))

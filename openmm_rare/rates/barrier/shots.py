"""Shooting points so far: the mean of 1_TP / sum b, its error, and what shots say about the committor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...dynamics.frames import Frames
from ...states.states import IN_A, IN_B
from ...statistics import correlated_mean, effective_sample_size, pareto_k
from .points import is_transition

__all__ = ["Shots"]

_COLUMNS = ("at", "first", "last", "total", "length", "top")


class Shots:
    """Walkers near the top and the shooting points that they lent.

    Parameters
    ----------
    walkers : list of Frames
        Those of each task, which share a Context.
    """

    def __init__(self, walkers: list[Frames]) -> None:
        self.walkers = walkers
        self._rows: list[dict[str, np.ndarray]] = []

    def add(self, task: int, record: Mapping[str, Any]) -> None:
        """What one task has made."""
        unknown = np.full(len(record["at"]), np.nan)  # how far they came, of earlier versions
        rows = {name: np.asarray(record.get(name, unknown)) for name in _COLUMNS}
        self._rows.append(rows | {"walker": np.asarray(record["walker"]) + sum(map(len, self.walkers[:task]))})
        self.walkers[task] = Frames.from_arrays(record)

    def column(self, name: str) -> np.ndarray:
        """A column of all points, in the order in which they were made."""
        return np.concatenate([rows[name] for rows in self._rows]) if self._rows else np.zeros(0)

    @property
    def transition(self) -> np.ndarray:
        """Which points gave a transition path."""
        return is_transition({name: self.column(name) for name in ("first", "last")})

    @property
    def reached_b(self) -> np.ndarray:
        """How many of the two shots from each point reached B."""
        return sum((self.column(name) == IN_B).astype(float) for name in ("first", "last"))

    @property
    def ends_in_a(self) -> np.ndarray:
        """How many ends of each path are in A: in so many directions it begins there."""
        return sum((self.column(name) == IN_A).astype(float) for name in ("first", "last"))

    @property
    def values(self) -> np.ndarray:
        """1_TP / sum b of each point."""
        return np.where(self.transition, 1.0 / np.maximum(self.column("total"), 1e-300), 0.0)

    def reaching(self, level: float) -> np.ndarray:
        """n_A 1(top >= level) / sum b of each point, which is that of its path; a path to B comes to every level."""
        came = (self.column("top") >= level) | (self.reached_b > 0)
        return np.where(came, self.ends_in_a / np.maximum(self.column("total"), 1e-300), 0.0)

    def mean(self, values: np.ndarray | None = None) -> tuple[float, float]:
        """Of the values, with the standard error from the autocorrelation along each walker and between walkers."""
        values, walker = self.values if values is None else values, self.column("walker")
        return correlated_mean([values[walker == each] for each in np.unique(walker)])

    def relative_error(self) -> float:
        """Of the mean; infinite before there is any transition path."""
        mean, error = self.mean()
        return error / mean if mean > 0.0 and np.isfinite(error) else float("inf")

    def tail(self) -> tuple[float, float]:
        """Effective number of paths, and Pareto k of their weights."""
        weights = self.values[self.transition]
        return effective_sample_size(weights), pareto_k(weights)

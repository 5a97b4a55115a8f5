r"""The scale of an importance function: how probable it is to come as far as a level (NumPy only)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

__all__ = ["LevelTable"]

_SURE = 2.0  # effective roots that must have come to a level for its probability to count
_STEEP = 2.0  # nats of the end of a table, whose slope goes on beyond it
_FARTHER = 3.0  # nats that ln I grows beyond the last level at most: too many nats cost e to the power of them


@dataclass(frozen=True, eq=False)
class LevelTable:
    r"""ln I as a function of a level s that grows from A to B: :math:`\ln I = -\ln P(s)`, up to a constant.

    P(s) is the probability that a path which left A comes to the level s before it returns. A path that comes there for the
    first time arrives in B with the probability :math:`P_{AB}/P(s)`: whatever s is, a good scale for it is this one.

    Attributes
    ----------
    levels : ndarray, shape (n,)
        Growing.
    log_importance : ndarray, shape (n,)
        ln I there; it does not fall. Below the first level ln I is that of the first one.
    logistic : bool
        Whether levels are logits. Beyond the last level ln I then grows as that of the logistic function, and else as it did
        over the last levels, in both cases by three nats at most: the next round of roots sees so much farther.

    Raises
    ------
    ValueError
        If there are no levels, they do not grow, or ln I falls or is not finite.
    """

    levels: np.ndarray
    log_importance: np.ndarray
    logistic: bool

    def __post_init__(self) -> None:
        for name in ("levels", "log_importance"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        levels, values = self.levels, self.log_importance
        if len(levels) == 0 or levels.shape != values.shape or not (np.isfinite(levels).all() and np.isfinite(values).all()):
            raise InputError("a table of levels needs finite levels and as many finite values of ln I")
        if (np.diff(levels) <= 0.0).any() or (np.diff(values) < 0.0).any():
            raise InputError("levels must grow, and ln I must not fall with them")

    @classmethod
    def from_crossings(cls, levels: np.ndarray, crossed: np.ndarray, logistic: bool) -> LevelTable:
        """The table that roots have measured.

        Parameters
        ----------
        levels : ndarray, shape (n_levels,)
            Growing.
        crossed : ndarray, shape (n_roots, n_levels)
            Summed weights of the descendants of each root that came to each level.
        logistic : bool

        Raises
        ------
        ValueError
            If hardly any root came to the first level.
        """
        total, squares = crossed.sum(0), (crossed**2).sum(0)
        sure = total**2 >= _SURE * squares
        known = (total > 0.0) & np.logical_and.accumulate(sure)
        if not known.any():
            raise InputError(f"no two roots came to the level {levels[0]:.4g}: more roots are needed")
        fallen = np.maximum.accumulate(-np.log(total[known]))
        return cls(levels[known], fallen - fallen[-1], logistic)

    def measured_again(self, crossed: np.ndarray) -> LevelTable:
        """The same levels with the probabilities that more roots say; `crossed` as in :meth:`from_crossings`."""
        total = np.maximum(crossed.sum(0), 1e-300)
        fallen = np.maximum.accumulate(-np.log(total))
        return LevelTable(self.levels, fallen - fallen[-1], self.logistic)

    @classmethod
    def from_record(cls, record: Mapping) -> LevelTable:
        """Inverse of :meth:`record`."""
        return cls(record["levels"], record["log_importance"], bool(record["logistic"]))

    def record(self) -> dict:
        """For a recorder."""
        return {"levels": self.levels, "log_importance": self.log_importance, "logistic": self.logistic}

    def __call__(self, level: np.ndarray) -> np.ndarray:
        """ln I of levels, shape (n,)."""
        level = np.asarray(level, dtype=np.float64)
        return np.interp(level, self.levels, self.log_importance) + np.minimum(self._gained(level), _FARTHER)

    def slope(self, level: np.ndarray) -> np.ndarray:
        """d ln I/ds at levels, shape (n,)."""
        level, last = np.asarray(level, dtype=np.float64), self.levels[-1]
        beyond = 1.0 / (1.0 + np.exp(np.minimum(level, 700.0))) if self.logistic else np.full(level.shape, self._slope())
        beyond = np.where(self._gained(level) < _FARTHER, beyond, 0.0)
        if len(self.levels) == 1:
            return np.where(level >= last, beyond, 0.0)
        steps = np.diff(self.log_importance) / np.diff(self.levels)
        row = np.clip(np.searchsorted(self.levels, level, side="right") - 1, 0, len(steps) - 1)
        return np.where(level >= last, beyond, np.where(level < self.levels[0], 0.0, steps[row]))

    def _gained(self, level: np.ndarray) -> np.ndarray:
        """Nats that ln I would grow beyond the last level, if nothing limited it."""
        last = self.levels[-1]
        beyond = np.maximum(level - last, 0.0)
        if self.logistic:
            return np.logaddexp(0.0, -last) - np.logaddexp(0.0, -(last + beyond))
        return self._slope() * beyond

    def _slope(self) -> float:
        """Nats per level at the end of the table."""
        near = int(np.searchsorted(self.log_importance, self.log_importance[-1] - _STEEP))
        near = min(near, max(len(self.levels) - 2, 0))
        run = self.levels[-1] - self.levels[near]
        return float((self.log_importance[-1] - self.log_importance[near]) / run) if run > 0.0 else 0.0

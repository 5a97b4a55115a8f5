"""At which rate paths from A come to levels on the way to B: the crossing probability curve, in absolute terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bias.directions import Direction

__all__ = ["RateCurve", "key_of"]

_APART = 3.0  # combined standard errors
_KNOWN = 0.5  # relative error, above which a level is not compared


@dataclass(frozen=True, eq=False)
class RateCurve:
    """How often, per time with A as the state visited last, a path leaves A and comes to a level before it returns.

    That is the flux out of A times the probability to come from an exit to the level, and beyond all levels the rate constant.

    Attributes
    ----------
    direction : str
        Along what levels are, in words.
    key : str
        The same for the same direction of a problem; empty where nobody can tell.
    levels : ndarray, shape (n,)
        Growing.
    rate_per_ps, stderr : ndarray, shape (n,)
        1/ps.
    """

    direction: str
    key: str
    levels: np.ndarray
    rate_per_ps: np.ndarray
    stderr: np.ndarray

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> RateCurve:
        """Inverse of :meth:`to_dict`."""
        columns = (np.array(found[name], dtype=np.float64) for name in ("levels", "rate_per_ps", "stderr"))
        return cls(found["direction"], found["key"], *columns)

    def to_dict(self) -> dict[str, Any]:
        """For ``result.json``."""
        names = ("levels", "rate_per_ps", "stderr")
        return {"direction": self.direction, "key": self.key, **{name: getattr(self, name).tolist() for name in names}}

    def place(self, level: float) -> str:
        """Where a level is, in words."""
        of_variable = self.key.startswith("variable")
        return f"{self.direction} is {-level:.3g} away from B" if of_variable else f"{self.direction} is {level:.3g}"

    def known(self) -> RateCurve:
        """The levels to which some paths came, with an error that says something."""
        rows = (self.rate_per_ps > 0.0) & (self.stderr > 0.0) & (self.stderr <= _KNOWN * self.rate_per_ps)
        return RateCurve(self.direction, self.key, self.levels[rows], self.rate_per_ps[rows], self.stderr[rows])

    def beside(self, other: RateCurve) -> tuple[np.ndarray, np.ndarray]:
        """Levels of this curve that both know, and there the ratio of the two in combined standard errors of its logarithm."""
        mine, its = self.known(), other.known()
        if not len(mine.levels) or not len(its.levels):
            return np.zeros(0), np.zeros(0)
        both = (mine.levels >= its.levels[0]) & (mine.levels <= its.levels[-1])
        at = mine.levels[both]
        log_other = np.interp(at, its.levels, np.log(its.rate_per_ps))
        errors = np.hypot((mine.stderr / mine.rate_per_ps)[both], np.interp(at, its.levels, its.stderr / its.rate_per_ps))
        return at, (np.log(mine.rate_per_ps[both]) - log_other) / errors

    def apart(self, other: RateCurve) -> tuple[float, float, float] | None:
        """Where the two part most: the level, the ratio of this one to the other there, and how many standard errors that is.

        None where they agree.
        """
        at, sigmas = self.beside(other)
        if not len(at) or np.abs(sigmas).max() <= _APART:
            return None
        where = int(np.abs(sigmas).argmax())
        mine, its = (float(np.interp(at[where], each.levels, each.rate_per_ps)) for each in (self.known(), other.known()))
        return float(at[where]), mine / its, float(abs(sigmas[where]))


def key_of(direction: Direction) -> str:
    """What tells a direction from others of the same problem; empty for one that does not say it."""
    return getattr(direction, "key", "")

"""One row of the table that path sampling fills: a Monte Carlo step, or the two shots from where a walker was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_type_hints

import numpy as np

from ..learning.passages import Passages

__all__ = ["TRIALS", "Trial"]


@dataclass(frozen=True, eq=False)
class Trial:
    """One Monte Carlo step, or the two shots from where a walker was.

    Attributes
    ----------
    cycle : int
        Its number in the chain, from 1.
    point : ndarray, shape (n_atoms, 3), nm
        Shooting point.
    n_a, n_b : int
        Shots that reached A and B; both 0 if one reached neither.
    expected : float
        Probability of a transition path, by the model.
    accepted : bool
    relaxed : bool
        Whether the path that was shot from was made by the dynamics; of a walker, whether its start-up was over.
    n_frames : int
        Frames of both shots, and of the way of a walker before them.
    path : ndarray of float32, shape (n_frames, n_atoms, 3), or None
        Positions of an accepted path, nm.
    passages : Passages or None
        Frames that the shots passed.
    weight : float
        Of the path, as it was made; 0 without one from a walker.
    moved : float
        Part of the moves of a walker that its bias let pass; NaN without any.
    """

    cycle: int
    point: np.ndarray
    n_a: int
    n_b: int
    expected: float
    accepted: bool
    relaxed: bool
    n_frames: int
    path: np.ndarray | None = field(default=None, repr=False)
    passages: Passages | None = field(default=None, repr=False)
    weight: float = 1.0
    moved: float = float("nan")

    @property
    def has_outcome(self) -> bool:
        """Whether both of its shots reached a state, so that there is something to learn from it."""
        return self.n_a + self.n_b > 0


_KINDS = {int: np.int64, float: np.float64, bool: np.bool_}

TRIALS: dict[str, type[np.generic]] = {"chain": np.int64} | {
    name: _KINDS[kind] for name, kind in get_type_hints(Trial).items() if kind in _KINDS
}
"""Columns of numbers in the table of trials: the chain or walker that each belongs to, and the numbers of a :class:`Trial`."""

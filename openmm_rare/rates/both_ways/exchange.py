"""The problem of the way back: the same one with A and B exchanged, from arrivals in B."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...states.states import IN_B
from ..keeping.kept_paths import KeptPaths
from ..keeping.saved_paths import ENDS

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["arrivals_of", "ends_in_b", "exchanged"]


def arrivals_of(problem: RareEventSystem, kept: KeptPaths) -> np.ndarray:
    """Last frames of paths of different roots, shape (n, n_atoms, 3), nm."""
    first = np.sort(np.unique(kept.root, return_index=True)[1])
    ends = np.array([frames[-1] for frames in kept.frames()]).reshape(-1, *problem.positions.shape)
    return ends_in_b(problem, None, ends[first])


def ends_in_b(problem: RareEventSystem, known: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    """Some arrivals in B, shape (n, n_atoms, 3), nm: the first that are known.

    Single precision, in which they are kept, may take one back over the border of B; it is left out.
    """
    more = np.asarray(more, dtype=np.float64)
    more = more[problem.states.classify(more) == IN_B]
    return more[:ENDS] if known is None else np.concatenate([known, more])[:ENDS]


def exchanged(problem: RareEventSystem, starts: np.ndarray) -> RareEventSystem:
    """The same System and dynamics with A and B exchanged.

    Parameters
    ----------
    problem : RareEventSystem
    starts : ndarray, shape (n, n_atoms, 3)
        In B, nm.

    Raises
    ------
    ValueError
        If one is not in B.
    """
    states = problem.states.exchanged()
    return replace(problem, states=states, positions=starts[0], more_starts=starts[1:], initial_path=None, repairs=())

"""The paths of a finished run that are to be looked at, and what a run keeps for that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...settings.rates import RateSettings
from .kept_paths import Keep

__all__ = ["ENDS", "SavedPaths", "wanted"]

ENDS: int = 8
"""Arrivals in B that the way back starts from, at most."""


@dataclass(frozen=True, eq=False)
class SavedPaths:
    """Paths from A to B with their weights, those that carry most first.

    Attributes
    ----------
    positions : list of ndarray, shape (n_frames, n_atoms, 3), nm
        From the first frame outside A to the first in B.
    weights : ndarray, shape (n,)
        Sums over all paths to B are estimated by sums over these with these weights, without bias.
    shares : ndarray, shape (n,)
        The same, over the summed weight of all paths: parts of the rate, which add up to one on average.
    roots, exits : ndarray of int, shape (n,)
        Number of the root, and of its exit in the flux run.
    steps : ndarray of int, shape (n,)
        From the first frame to the last.
    steps_per_frame : int
        Between two frames; before the last there may be fewer.
    log_importance : list of ndarray, shape (n_frames,)
        ln I of positions.
    committor : list of ndarray, shape (n_frames,), or None
        That of the model; None along a variable.
    n_trees : int
        Of which these were drawn.
    """

    positions: list[np.ndarray]
    weights: np.ndarray
    shares: np.ndarray
    roots: np.ndarray
    exits: np.ndarray
    steps: np.ndarray
    steps_per_frame: int
    log_importance: list[np.ndarray]
    committor: list[np.ndarray] | None
    n_trees: int


def wanted(settings: RateSettings) -> Keep | None:
    """What a run with these settings keeps of its paths; for the way back the ends of some."""
    n = max(settings.save_paths, ENDS if settings.reverse else 0)
    return Keep(n, settings.save_paths > 0) if n else None

"""Transition paths as plain arrays: what path sampling hands to the analysis of a mechanism."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import InputError
from .statistics import correlated_mean

__all__ = ["PathEnsemble", "mean_over_paths"]


@dataclass(frozen=True, eq=False)
class PathEnsemble:
    """Transition paths of one or more Markov chains in path space.

    Attributes
    ----------
    paths : list of ndarray, shape (n_frames, n_atoms, 3)
        Positions in nm, of one frame in A (or B) to one in B (or A), in the order in which a chain accepted them.
    weights : ndarray of shape (n_paths,)
        Weight of each path in averages: the number of Monte Carlo steps for which it was the current one.
    chains : ndarray of int, shape (n_paths,)
        Which chain each path belongs to.
    frame_time : float
        Time between two frames, ps.

    Raises
    ------
    ValueError
        If there is no path, lengths differ, or a weight is negative or not finite.
    """

    paths: list[np.ndarray]
    weights: np.ndarray
    chains: np.ndarray
    frame_time: float

    def __post_init__(self) -> None:
        weights, chains = np.asarray(self.weights, dtype=np.float64), np.asarray(self.chains, dtype=np.int64)
        if not self.paths or not len(self.paths) == len(weights) == len(chains):
            raise InputError(f"{len(self.paths)} paths, {len(weights)} weights, {len(chains)} chains: as many of each")
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise InputError("weights of paths must be finite, not negative, and not all zero")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "chains", chains)

    @property
    def durations(self) -> np.ndarray:
        """Time of each path from its first to its last frame, ps, shape ``(n_paths,)``."""
        return self.frame_time * np.array([len(path) - 1 for path in self.paths])

    def mean_time(self) -> tuple[float, float]:
        """Mean transition path time and its standard error, ps."""
        return mean_over_paths(self.durations, self.weights, self.chains)


def mean_over_paths(values: np.ndarray, weights: np.ndarray, chains: np.ndarray) -> tuple[float, float]:
    """Weighted mean over paths, and its standard error; the paths of one chain are correlated, chains are independent.

    Parameters
    ----------
    values, weights, chains : ndarray, shape (n_paths,)
        In the order in which the chains accepted the paths.

    Returns
    -------
    mean, stderr : float
        As of :func:`~openmm_rare.statistics.correlated_mean`.
    """
    series = [chains == chain for chain in np.unique(chains)]
    return correlated_mean([values[each] for each in series], weights=[weights[each] for each in series])

"""Transition paths as plain arrays: what path sampling hands to the analysis of a mechanism."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..states.states import IN_A, States
from ..statistics import correlated_mean, effective_sample_size

__all__ = ["PathEnsemble", "mean_over_paths"]


@dataclass(frozen=True, eq=False)
class PathEnsemble:
    """Transition paths of one or more Markov chains in path space, or from the shooting points of walkers.

    Attributes
    ----------
    paths : list of ndarray, shape (n_frames, n_atoms, 3)
        Positions in nm, of one frame in A (or B) to one in B (or A), in the order in which a chain accepted them.
    weights : ndarray of shape (n_paths,)
        Weight of each path in averages: the number of Monte Carlo steps for which it was the current one, or its weight among
        paths from sampled shooting points, any positive number.
    chains : ndarray of int, shape (n_paths,)
        Which chain or walker each path belongs to.
    frame_time : float
        Time between two frames, ps.
    trials : ndarray of int, shape (n_paths,), optional
        Trial of its walker that made each path; without it the weights are steps of chains, which say when a path was current.

    Raises
    ------
    ValueError
        If there is no path, lengths differ, or a weight is negative or not finite.
    """

    paths: list[np.ndarray]
    weights: np.ndarray
    chains: np.ndarray
    frame_time: float
    trials: np.ndarray | None = None

    def __post_init__(self) -> None:
        weights, chains = np.asarray(self.weights, dtype=np.float64), np.asarray(self.chains, dtype=np.int64)
        if not self.paths or not len(self.paths) == len(weights) == len(chains):
            raise InputError(f"{len(self.paths)} paths, {len(weights)} weights, {len(chains)} chains: as many of each")
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise InputError("weights of paths must be finite, not negative, and not all zero")
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "chains", chains)

    @property
    def kind(self) -> str:
        """What has made the paths: "chain" or "walker"."""
        return "chain" if self.trials is None else "walker"

    @property
    def effective(self) -> float:
        """So many paths of equal weight would carry as much."""
        return effective_sample_size(self.weights)

    def from_a_to_b(self, states: States) -> PathEnsemble:
        """The same with every path from A to B: of reversible dynamics, one from B to A is as likely read backwards."""
        forward = [path if states.classify(path[:1])[0] == IN_A else np.ascontiguousarray(path[::-1]) for path in self.paths]
        return replace(self, paths=forward)

    def seen(self, share: float) -> np.ndarray:
        """Weights of the paths when so large a share of the run was over, all chains growing at the same time.

        The whole is the longest chain; a path that was still current counts for its steps so far.
        """
        if self.trials is not None:
            first = self.trials.min() - 1
            return self.weights * (self.trials - first <= share * (self.trials.max() - first))
        ends = np.zeros(len(self.weights))  # in the steps of each chain
        for chain in np.unique(self.chains):
            inside = self.chains == chain
            ends[inside] = np.cumsum(self.weights[inside])
        return np.clip(self.weights - np.maximum(ends - share * ends.max(), 0.0), 0.0, None)

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

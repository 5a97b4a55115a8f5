"""Averages over transition paths: where they run, how long they take, and how they run through the committor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from ..errors import InputError
from .ensemble import PathEnsemble, mean_over_paths

__all__ = ["PathStatistics", "path_density", "path_statistics", "running_mean"]


@dataclass(frozen=True, eq=False)
class PathStatistics:
    """Numbers over the transition path ensemble.

    Attributes
    ----------
    n_paths, n_chains : int
    kind : str
        "chain", or "walker": what has made the paths, which have weights then.
    mean_time, mean_time_stderr : float
        Mean transition path time in ps and its standard error.
    running_time, running_stderr : ndarray, shape (n,)
        Mean of the paths so far and its error, against ``running_weight``.
    running_weight : ndarray, shape (n,)
        Monte Carlo steps so far, or paths, where walkers made them.
    q_edges : ndarray, shape (n_bins + 1,)
    q_density : ndarray, shape (n_bins,)
        Density of the logit q over the frames of paths; its integral is 1.
    yield_uniform : float
        Mean of 2 p (1 - p) over frames: what shooting from frames drawn evenly is predicted to give.
    yield_lorentzian : float
        The same with frames of each path drawn by 1/(q^2 + 1).
    """

    n_paths: int
    n_chains: int
    kind: str
    mean_time: float
    mean_time_stderr: float
    running_time: np.ndarray
    running_stderr: np.ndarray
    running_weight: np.ndarray
    q_edges: np.ndarray
    q_density: np.ndarray
    yield_uniform: float
    yield_lorentzian: float

    def summary(self) -> dict:
        """The single numbers, JSON-able."""
        names = ("n_paths", "n_chains", "kind", "mean_time", "mean_time_stderr", "yield_uniform", "yield_lorentzian")
        return {name: getattr(self, name) for name in names}


def path_statistics(paths: PathEnsemble, logits: list[np.ndarray], n_bins: int = 40) -> PathStatistics:
    """Time and committor statistics of transition paths.

    Parameters
    ----------
    paths : PathEnsemble
    logits : list of ndarray, shape (n_frames,)
        Logit of every frame of every path; frames at the ends lie in the states and are left out.
    n_bins : int
    """
    inner = [each[1:-1] for each in logits]
    kept = [index for index, each in enumerate(inner) if len(each) and paths.weights[index] > 0.0]
    if not kept:
        raise InputError("no transition path has a frame between the states: store frames more often")
    q = np.concatenate([inner[index] for index in kept])
    weight = np.concatenate([np.full(len(inner[index]), paths.weights[index]) for index in kept])
    edges = np.linspace(*np.clip(np.quantile(q, [0.001, 0.999]), -12.0, 12.0) + np.array([-0.01, 0.01]), n_bins + 1)
    density = np.histogram(q, edges, weights=weight, density=True)[0]
    uniform, lorentzian = zip(*(_yields(inner[index]) for index in kept), strict=True)
    weights = paths.weights[kept]
    return PathStatistics(
        len(paths.paths),
        len(np.unique(paths.chains)),
        paths.kind,
        *paths.mean_time(),
        *running_mean(paths, paths.durations),
        edges,
        density,
        float(np.average(uniform, weights=weights)),
        float(np.average(lorentzian, weights=weights)),
    )


def _yields(q: np.ndarray) -> tuple[float, float]:
    """Predicted transition paths per trial from this path, with frames drawn evenly and by 1/(q^2 + 1)."""
    expected = 2.0 * expit(q) * expit(-q)
    return float(expected.mean()), float(np.average(expected, weights=1.0 / (q**2 + 1.0)))


def running_mean(paths: PathEnsemble, values: np.ndarray, n_points: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the paths so far, its error, and the Monte Carlo steps or weighted paths so far, as all chains grow together.

    Parameters
    ----------
    paths : PathEnsemble
    values : ndarray, shape (n_paths,)
    n_points : int

    Returns
    -------
    mean, stderr, so_far : ndarray, shape (n_points,)
    """
    rows = []
    for share in np.linspace(0.0, 1.0, n_points + 1)[1:]:
        seen = paths.seen(share)
        if seen.sum() > 0.0:
            so_far = seen.sum() if paths.trials is None else np.count_nonzero(seen)
            rows.append((*mean_over_paths(values, seen, paths.chains), so_far))
    return tuple(np.array(column) for column in zip(*rows, strict=True))


def path_density(paths: PathEnsemble, values: list[np.ndarray], bins: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Density of frames of transition paths in two variables.

    Parameters
    ----------
    paths : PathEnsemble
    values : list of ndarray, shape (n_frames, 2)
        Of every frame of every path.
    bins : int
        Along each variable.

    Returns
    -------
    density : ndarray, shape (bins, bins)
        Its integral is 1.
    x_edges, y_edges : ndarray, shape (bins + 1,)
    """
    points = np.concatenate(values)
    weight = np.concatenate([np.full(len(each), w) for each, w in zip(values, paths.weights, strict=True)])
    density, x_edges, y_edges = np.histogram2d(*points.T, bins=bins, weights=weight, density=True)
    return density, x_edges, y_edges

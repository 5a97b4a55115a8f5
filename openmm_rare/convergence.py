"""Whether several series sample the same distribution: rank-normalised split R-hat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri

__all__ = ["split_r_hat"]


def split_r_hat(chains: Sequence[np.ndarray], weights: Sequence[np.ndarray] | None = None) -> float:
    r"""Rank-normalised split :math:`\hat R` of Vehtari et al. 2021 (doi:10.1214/20-BA1221), the larger of bulk and folded.

    About 1 where all halves of all chains sample one distribution, in location (bulk) and in scale (folded); 1.01 is strict and
    1.1 lax. It says nothing about places that no chain has seen.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_values,)
        In order of time; lengths may differ. Chains of fewer than four values are left out.
    weights : sequence of ndarray, shape (n_values,), optional
        Of the values, not negative.

    Returns
    -------
    float
        NaN without two halves to compare, 1 where all values are the same, and inf where each half has one value of its own.
    """
    weights = [np.ones(len(chain)) for chain in chains] if weights is None else weights
    pairs = [
        (np.asarray(v, dtype=np.float64)[w > 0], w[w > 0])
        for v, w in zip(chains, (np.asarray(w, dtype=np.float64) for w in weights), strict=True)
    ]
    halves = [half for v, w in pairs if len(v) >= 4 for half in zip(np.array_split(v, 2), np.array_split(w, 2), strict=True)]
    if len(halves) < 2:
        return float("nan")
    values, weight = (np.concatenate(column) for column in zip(*halves, strict=True))
    ends = np.cumsum([len(v) for v, _ in halves])[:-1]
    folded = np.abs(values - _median(values, weight))
    return max(_r_hat(_normal_scores(each, weight), weight, ends) for each in (values, folded))


def _median(values: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def _normal_scores(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Normal scores of the ranks; equal values have the mean of theirs, and a value of weight w stands for w values."""
    weight = weight / weight.mean()
    _, place = np.unique(values, return_inverse=True)
    here = np.bincount(place, weight)
    rank = (np.cumsum(here) - 0.5 * here)[place] + 0.5
    n = len(values)
    return ndtri(np.clip((rank - 0.375) / (n + 0.25), 0.5 / n, 1.0 - 0.5 / n))


def _r_hat(scores: np.ndarray, weight: np.ndarray, ends: np.ndarray) -> float:
    """Square root of the variance of all over the variance within, with weights of halves and values."""
    parts = list(zip(np.split(scores, ends), np.split(weight, ends), strict=True))
    means = np.array([np.average(v, weights=w) for v, w in parts])
    n = np.array([len(v) for v, _ in parts])
    within = np.mean([np.average((v - m) ** 2, weights=w) * k / (k - 1) for (v, w), m, k in zip(parts, means, n, strict=True)])
    between = means.var(ddof=1)
    if within <= 0.0:
        return float("inf") if between > 0.0 else 1.0
    return float(np.sqrt(1.0 - 1.0 / n.mean() + between / within))

"""Whether groups of correlated paths sample the same distribution, in any of many numbers, as far as they can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import fdtrc

from ..convergence import split_r_hat
from ..statistics import effective_sample_size
from .ensemble import mean_over_paths

__all__ = ["Separation", "independent", "median", "rounding", "separation"]

_R_HAT = 1.2  # from where on a difference is large enough to matter
_CHANCE = 1e-4  # that samples of one distribution differ so much in any of the inputs
_GAP = 1.0  # standard deviations within groups, between the nearest values of groups that have nothing in common
_CERTAINTY = 1.5  # standard errors by which the correlation of successive paths may be larger than it looks
_MOST_CORRELATED = 0.98
_DISTANCES = (1, 2, 4, 8)  # in the series of a group, over which correlations are looked at
_AS_MUCH = 0.95  # of the largest R-hat: of inputs that say the same, the first is named


@dataclass(frozen=True, eq=False)
class Separation:
    """An input in which groups of paths differ.

    Attributes
    ----------
    column : int
        Of the inputs.
    r_hat : float
        Rank-normalised split R-hat of all groups.
    medians : ndarray, shape (n_groups,)
        Of the input, by group in ascending order.
    """

    column: int
    r_hat: float
    medians: np.ndarray


def separation(values: np.ndarray, weights: np.ndarray, groups: np.ndarray, fewest: int = 10) -> Separation | None:
    """The input that separates groups of paths most, if one does.

    Groups differ where rank-normalised split R-hat is above 1.2 and chance makes such differences between the means of
    correlated series once in 10^4 times, all inputs taken together; or where the nearest values of two sets of groups lie more
    than a standard deviation apart.

    Parameters
    ----------
    values : ndarray, shape (n_paths, n_inputs)
        In the order in which chains accepted the paths.
    weights, groups : ndarray, shape (n_paths,)
    fewest : int
        Groups of fewer paths are left out.

    Returns
    -------
    Separation or None
        With NaN as the medians of groups that were left out.
    """
    names, counts = np.unique(groups[weights > 0.0], return_counts=True)
    kept = names[counts >= fewest]
    if len(kept) < 2:
        return None
    chosen = np.isin(groups, kept) & (weights > 0.0)
    values, weights, groups = values[chosen], weights[chosen], groups[chosen]
    parts, weight = [groups == name for name in kept], [weights[groups == name] for name in kept]
    found: dict[int, float] = {}
    for column, each in enumerate(values.T):
        if not np.ptp(each) > rounding(each):
            continue
        r_hat = split_r_hat([each[part] for part in parts], weight)
        if r_hat > _R_HAT and (_apart(each, parts) or _chance(each, weights, groups) * values.shape[1] < _CHANCE):
            found[column] = r_hat
    if not found:
        return None
    column = min(each for each, r_hat in found.items() if r_hat >= _AS_MUCH * max(found.values()))
    medians = np.full(len(names), np.nan)
    medians[np.isin(names, kept)] = [median(values[part, column], w) for part, w in zip(parts, weight, strict=True)]
    return Separation(column, found[column], medians)


def _apart(values: np.ndarray, parts: Sequence[np.ndarray]) -> bool:
    """Whether the groups fall into two sets with a gap between them."""
    ordered = sorted((values[part] for part in parts), key=np.mean)
    within = np.sqrt(np.mean([np.var(each) for each in ordered]))
    ends, starts = np.maximum.accumulate([each.max() for each in ordered]), [each.min() for each in ordered]
    lowest_after = np.minimum.accumulate(starts[::-1])[::-1]
    return bool((lowest_after[1:] - ends[:-1] > _GAP * within).any())


def _chance(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> float:
    """The chance of differences between the means of groups at least as large, of values that are correlated along a group."""
    n, place = independent(values, weights, groups), np.unique(groups, return_inverse=True)[1]
    total = np.bincount(place, weights)
    means = np.bincount(place, weights * values) / total
    share = total / total.sum()
    within = np.average((values - means[place]) ** 2, weights=weights)
    between = n * (share * (means - share @ means) ** 2).sum() / (len(total) - 1)
    return float(fdtrc(len(total) - 1, max(n - len(total), 1.0), between / within)) if within > 0.0 else 0.0


def independent(values: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> float:
    """How many independent values the series of the groups are worth, rather too few than too many.

    The correlation of successive values in series as short as these is known badly, and looks smaller than it is about means
    of the same data (Marriott & Pope 1954, doi:10.1093/biomet/41.3-4.390). What moves slowly may hide under quick noise: the
    most lasting of the correlations that are seen at several distances counts, as if it were that of successive values.
    """
    names, place = np.unique(groups, return_inverse=True)
    scatter = values - (np.bincount(place, weights * values) / np.bincount(place, weights))[place]
    carried, variance = effective_sample_size(weights), np.average(scatter**2, weights=weights)
    if not variance > 0.0:
        return carried
    error = mean_over_paths(scatter, weights, groups)[1]
    most = max(_lasting(scatter, place, distance, len(names)) for distance in _DISTANCES)
    return float(max(1.0, min(carried * (1.0 - most) / (1.0 + most), variance / error**2 if error > 0.0 else carried)))


def _lasting(scatter: np.ndarray, place: np.ndarray, distance: int, n_groups: int) -> float:
    """The correlation of successive values that would leave as much over a distance as is seen, or somewhat more."""
    follows = place[distance:] == place[:-distance]
    if not follows.any():
        return 0.0
    n = len(scatter)
    seen = (scatter[distance:] * scatter[:-distance])[follows].mean() / np.mean(scatter**2)
    likely = min(seen + (1.0 + 3.0 * seen) * n_groups / n, 1.0)
    error = np.sqrt(max(1.0 - likely**2, 1.0 - _MOST_CORRELATED) / n)
    if distance > 1 and likely < 2.0 * error:  # noise, of which no root is to be taken
        return 0.0
    return float(np.clip(likely + _CERTAINTY * error * (distance == 1), 0.0, _MOST_CORRELATED**distance) ** (1.0 / distance))


def median(values: np.ndarray, weights: np.ndarray) -> float:
    """Weighted median of values, shape (n,)."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, 0.5 * total[-1])])


def rounding(values: np.ndarray) -> float:
    """Differences that are rounding, as of the length of a rigid bond."""
    return 1e-5 * float(np.abs(values).max(initial=0.0))

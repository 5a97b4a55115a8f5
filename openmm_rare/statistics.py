"""Error bars: effective sample size, Pareto k-hat, bootstrap, autocorrelation (NumPy only; "Error bars" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "ClusteredRate",
    "correlated_mean",
    "effective_sample_size",
    "mean_over_runs",
    "pareto_k",
    "ratio_of_sums",
]

_FEWEST = 5  # values that have an error
_DRAWN_AT_ONCE = 2**20  # clusters, by resampling
_WINDOW = 1.5  # Wolff's S: how much longer than the integrated autocorrelation time correlations may last


def effective_sample_size(contributions: np.ndarray) -> float:
    r"""Kish's effective sample size :math:`(\sum x)^2 / \sum x^2` of non-negative contributions (0 if all vanish)."""
    contributions = np.asarray(contributions, dtype=np.float64)
    squares = (contributions**2).sum()
    return float(contributions.sum() ** 2 / squares) if squares > 0.0 else 0.0


def pareto_k(contributions: np.ndarray) -> float:
    r"""Shape :math:`\hat k` of a generalized Pareto tail fitted to the largest contributions.

    Above 0.7 the mean converges too slowly for its error bar to be believed (Vehtari et al. 2024,
    doi:10.48550/arXiv.1507.02646). The fit is that of Zhang & Stephens 2009 with the weak prior of Vehtari et al.

    Parameters
    ----------
    contributions : ndarray, shape (n,)
        Non-negative; n of at least 25.

    Returns
    -------
    float
        NaN where fewer than 5 positive contributions lie in the tail; -inf for a constant tail.
    """
    ordered = np.sort(np.asarray(contributions, dtype=np.float64))
    n_tail = int(min(0.2 * len(ordered), 3.0 * np.sqrt(len(ordered))))
    if n_tail < 5:
        return float("nan")
    threshold = ordered[-n_tail - 1]
    excess = ordered[-n_tail:] - threshold
    if excess[-1] <= 1e-12 * max(abs(threshold), np.finfo(float).tiny):
        return float("-inf")
    excess = excess[excess > 0.0]
    if len(excess) < 5:
        return float("nan")
    n = len(excess)
    n_grid = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1.0 / excess[-1] + (1.0 - np.sqrt(n_grid / (np.arange(1, n_grid + 1) - 0.5))) / (3.0 * quartile)
    shape = np.log1p(-theta[:, None] * excess[None]).mean(1)
    scale = np.full(n_grid, 1.0 / excess.mean())  # the limit of an exponential tail, theta = 0
    np.divide(-theta, shape, out=scale, where=shape != 0.0)
    likelihood = n * (np.log(scale) - shape - 1.0)
    weights = 1.0 / np.exp(likelihood[None] - likelihood[:, None]).sum(1)
    best = float((theta * weights).sum() / weights.sum())
    k = float(np.log1p(-best * excess).mean())
    return k * n / (n + 10.0) + 10.0 * 0.5 / (n + 10.0)


def mean_over_runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over independent runs, along the first axis, and its standard error, NaN for a single one."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    error = values.std(0, ddof=1) / np.sqrt(n) if n > 1 else np.full_like(values[0], np.nan)
    return values.mean(0), error


def correlated_mean(
    chains: Sequence[np.ndarray],
    stationary: tuple[float, float] | None = None,
    weights: Sequence[np.ndarray] | None = None,
) -> tuple[float, float]:
    r"""Mean of correlated series and its standard error from the integrated autocorrelation time.

    The autocorrelation is summed up to the window of Wolff 2004 (doi:10.1016/S0010-4655(03)00467-3), with his correction for
    the mean being that of the same data. No such estimate sees what lasts longer than the series: one that hardly moved looks
    as if there were nothing to see. Where the distribution that the series comes from is known by other means, its moments
    tell how far the series may be from it, and correlations are those about its mean.

    Chains are pooled about their common mean, so that chains which stay apart count as a correlation that does not end.

    Parameters
    ----------
    chains : sequence of ndarray, shape (n_steps,)
        One series for each independent chain.
    stationary : tuple of float, optional
        Mean and variance of the values that infinitely long series would take.
    weights : sequence of ndarray, shape (n_steps,), optional
        Of the values, such as the steps for which a path was the current one; the error is that of a ratio of sums.

    Returns
    -------
    mean, stderr : float
        NaN where there is nothing; no error from fewer than five values.
    """
    weights = [np.ones(len(chain)) for chain in chains] if weights is None else weights
    rows = [(np.asarray(v, dtype=np.float64)[w > 0], w[w > 0]) for v, w in zip(chains, weights, strict=True) if (w > 0).any()]
    if not rows:
        return float("nan"), float("nan")
    n, total = sum(len(v) for v, _ in rows), sum(w.sum() for _, w in rows)
    mean = sum((v * w).sum() for v, w in rows) / total
    if n < _FEWEST:
        return float(mean), float("nan")
    center = mean if stationary is None else stationary[0]
    covariance = _autocovariance([n / total * w * (v - center) for v, w in rows])
    if not covariance[0] > 0.0:
        return float(mean), 0.0
    times = np.cumsum(covariance / covariance[0]) - 0.5
    if stationary is None:
        window = _window(times, n)
        variance = 2.0 * max(times[window], 0.5) * covariance[0] / n * (1.0 + (2 * window + 1) / n)
    else:  # as long as there is any correlation with the start
        time = times[int(np.argmax(covariance <= 0.0)) - 1]
        variance = max(covariance[0], stationary[1]) * min(2.0 * time / n, 1.0 / len(rows))
    return float(mean), float(np.sqrt(variance))


def _autocovariance(deviations: Sequence[np.ndarray]) -> np.ndarray:
    """Mean product of deviations so many steps apart, shape ``(longest chain,)``."""
    total, count = np.zeros((2, max(map(len, deviations))))
    for chain in deviations:
        n = len(chain)
        spectrum = np.fft.rfft(chain, 2 * n)
        total[:n] += np.fft.irfft(spectrum * spectrum.conj())[:n]
        count[:n] += n - np.arange(n)
    return total / count


def _window(times: np.ndarray, n: int) -> int:
    """Where to end the sum of correlations, of which `times` are the sums so far: where more would add more noise than bias."""
    for window in range(1, len(times)):
        ratio = 2.0 * max(times[window], 0.5 + 1e-6)
        decay = _WINDOW / np.log((ratio + 1.0) / (ratio - 1.0))
        if np.exp(-window / decay) < decay / np.sqrt(window * n):
            return window
    return len(times) - 1


def ratio_of_sums(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
    """Sum over sum, with the standard error from independent clusters (linearized).

    Parameters
    ----------
    numerator, denominator : ndarray, shape (n_clusters,)

    Returns
    -------
    ratio, stderr : float
    """
    total = denominator.sum()
    ratio = numerator.sum() / total
    n = len(numerator)
    residual = numerator - ratio * denominator
    return float(ratio), float(np.sqrt(n / (n - 1.0) * (residual**2).sum()) / total)


@dataclass(frozen=True)
class ClusteredRate:
    r"""The rate :math:`k = S\,C` with both factors from the same independent clusters (flux walkers).

    S is the flux weighted with the drawing density G of roots, :math:`S = \sum_{exits} G(x)/\sum t`; C is the mean of
    (weight that reached B)/G over the roots drawn with density proportional to G. Resampling whole clusters, each with
    its exits, its time and the roots drawn from it, gives every part of the error at once: the flux, the finite pool,
    the draw of roots and the random weights of their descendants.

    Attributes
    ----------
    surrogate : ndarray, shape (n_clusters,)
        Sum of G over the exits of each cluster.
    exits : ndarray, shape (n_clusters,)
        Number of exits of each cluster.
    time : ndarray, shape (n_clusters,)
        Time that each cluster spent with A visited last, ps.
    root_cluster : ndarray of int, shape (n_roots,)
    root_value : ndarray, shape (n_roots, n_columns)
        Contribution/G of each root: in all, then by channel.
    passages : ndarray, shape (n_interfaces, n_clusters, 2), or None
        Where walkers were gathered at interfaces on their way and drawn anew: for each interface and each cluster what those
        that began below it brought there, each (weight there) G'/G, and how many these were; G' is the density of the draw
        there. C is then a product: of the mean of that for every interface, and of the mean of (weight that reached B)/G over
        roots, which are those drawn at the last one.
    """

    surrogate: np.ndarray
    exits: np.ndarray
    time: np.ndarray
    root_cluster: np.ndarray
    root_value: np.ndarray
    passages: np.ndarray | None = None

    @property
    def value(self) -> float:
        """The rate, 1/ps."""
        passed = 1.0 if self.passages is None else np.prod(np.divide(*self.passages.sum(1).T))
        return float(self.surrogate.sum() / self.time.sum() * passed * self.root_value[:, 0].mean())

    def part(self, members: np.ndarray) -> ClusteredRate:
        """The rate of these clusters alone, shape (n_clusters,), as if there were no others."""
        roots = members[self.root_cluster]
        number = np.cumsum(members) - 1
        columns = (each[members] for each in (self.surrogate, self.exits, self.time))
        passages = None if self.passages is None else self.passages[:, members]
        return ClusteredRate(*columns, number[self.root_cluster[roots]], self.root_value[roots], passages)

    def errors(self) -> tuple[float, float]:
        """Relative standard errors of S (pool and flux) and of C (roots), linearized."""
        mean_surrogate, surrogate_error = ratio_of_sums(self.surrogate, self.time)
        n = len(self.time)
        sums = np.bincount(self.root_cluster, weights=self.root_value[:, 0], minlength=n)
        counts = np.bincount(self.root_cluster, minlength=n).astype(np.float64)
        if sums.sum() <= 0.0 or (self.passages is not None and not self.passages.sum(1).all()):
            return surrogate_error / mean_surrogate, float("inf")
        mean_root, root_error = ratio_of_sums(sums, counts)
        through = [] if self.passages is None else [ratio_of_sums(*each.T) for each in self.passages]
        parts = [(mean_root, root_error), *through]
        return surrogate_error / mean_surrogate, float(np.sqrt(sum((error / mean) ** 2 for mean, error in parts)))

    def pool_limit(self, total: float, independent: float) -> float:
        """The relative error that would remain with infinitely many roots from the same exits.

        It is the error of S, and more: exits differ in q/I, and roots drawn again and again from the same ones do not
        average that out. What more roots reduce is their independent part.

        Parameters
        ----------
        total : float
            Relative error of the rate.
        independent : float
            Part of the relative variance that the independent fates of roots make: 1/ess.
        """
        surrogate_error, _ = self.errors()
        return float(np.sqrt(max(total**2 - independent, surrogate_error**2)))

    def relative_error(self, replicas: np.ndarray) -> float:
        """Relative standard error of the rate from its bootstrap replicas; inf before anything reached B."""
        return float((replicas[:, 0] * replicas[:, 2]).std(ddof=1) / self.value) if self.value > 0.0 else float("inf")

    def bootstrap(self, rng: np.random.Generator, n_resamples: int = 2000) -> np.ndarray:
        """Bootstrap replicas over clusters.

        Returns
        -------
        ndarray, shape (n_resamples, 2 + n_columns)
            Replicas of S, of the exit flux (exits per time) and of C, from every column of ``root_value``.
        """
        n = len(self.time)
        counts = np.bincount(self.root_cluster, minlength=n).astype(np.float64)
        columns = [np.bincount(self.root_cluster, weights=column, minlength=n) for column in self.root_value.T]
        passages = np.ones((0, n, 2)) if self.passages is None else self.passages
        through = passages.transpose(1, 0, 2).reshape(n, -1)
        table = np.column_stack([self.surrogate, self.exits, self.time, counts, *columns])
        replicas, at_once = np.empty((n_resamples, 2 + len(columns))), max(1, _DRAWN_AT_ONCE // n)
        for start in range(0, n_resamples, at_once):
            some = replicas[start : start + at_once]
            cluster = rng.integers(0, n, (len(some), n)) + n * np.arange(len(some))[:, None]
            drawn = np.bincount(cluster.ravel(), minlength=n * len(some)).reshape(len(some), n).astype(np.float64)
            sums, passed = drawn @ table, drawn @ through
            some[:, :2] = sums[:, :2] / sums[:, 2:3]
            chance = np.prod(passed[:, ::2] / np.maximum(passed[:, 1::2], 1.0), axis=1) / np.maximum(sums[:, 3], 1.0)
            some[:, 2:] = sums[:, 4:] * chance[:, None]
        return replicas

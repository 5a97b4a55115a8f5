"""Annealed importance sampling: steps in inverse temperature, resampling, and what the weights are worth (NumPy only)."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from ..statistics import effective_sample_size

__all__ = ["family_sample_size", "log_total", "next_inverse_temperature", "resampled"]


def log_total(log_weights: np.ndarray) -> float:
    """ln of the sum of the weights."""
    return float(logsumexp(log_weights))


def next_inverse_temperature(energies: np.ndarray, log_weights: np.ndarray, beta: float, end: float, loss: float) -> float:
    r"""The inverse temperature up to which weighted walkers can be cooled at once.

    The weights of walkers change by the factors :math:`f = e^{-(\beta'-\beta) U}`. The step is so long that the part of the
    sample which their spread costs, :math:`1 - \langle f\rangle^2/\langle f^2\rangle` with the present weights, is `loss` (the
    conditional effective sample size of Zhou, Johansen & Aston 2016): steps are then as costly everywhere.

    Parameters
    ----------
    energies, log_weights : ndarray, shape (n,)
        kJ/mol, and ln w.
    beta, end : float
        1/kT now and in the end, mol/kJ.
    loss : float

    Returns
    -------
    float
        Between beta, left out, and `end`.
    """
    total, above = logsumexp(log_weights), energies - energies.min()

    def spare(step: float) -> float:
        lost = total + logsumexp(log_weights - 2.0 * step * above) - 2.0 * logsumexp(log_weights - step * above)
        return float(np.log1p(-loss) + lost)

    longest = end - beta
    if spare(longest) <= 0.0:
        return end
    from scipy.optimize import brentq  # of 16 MB, which commands that only wait or read do without

    return beta + float(brentq(spare, 0.0, longest, xtol=1e-9 * longest, rtol=1e-6))


def resampled(log_weights: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Which walkers the next ``size`` ones copy: each about as often as its weight says (systematic resampling)."""
    share = np.cumsum(np.exp(log_weights - logsumexp(log_weights)))
    places = (np.arange(size) + rng.random()) / size
    return np.minimum(np.searchsorted(share, places), len(log_weights) - 1)


def family_sample_size(log_weights: np.ndarray, family: np.ndarray) -> float:
    r"""Effective number of independent contributions, :math:`(\sum W)^2/\sum W^2` with the summed weight W of each family.

    Walkers that descend from one ancestor are one contribution: they were one walker before a resampling.

    Parameters
    ----------
    log_weights : ndarray, shape (n,)
    family : ndarray of int, shape (n,)
        Ancestor of each walker.
    """
    if len(log_weights) == 0:
        return 0.0
    return effective_sample_size(np.bincount(family, np.exp(log_weights - log_weights.max())))

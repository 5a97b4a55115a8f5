r"""The density of shooting points that walkers near the barrier sample, relative to equilibrium, and what a path then weighs.

See "Shooting points sampled directly" in docs/theory.md.
"""

from __future__ import annotations

import numpy as np

__all__ = ["log_bias", "log_path_weight"]


def log_bias(logit: np.ndarray, reach: float) -> np.ndarray:
    r"""ln b with :math:`b(q) = \cosh(q/2)^{-4/w^2} = [4 p (1 - p)]^{2/w^2}` of the committor p: 1 at q = 0.

    Near q = 0 it is a Gaussian of width w. Where q is large, equilibrium holds about :math:`e^{|q|}` times as many
    configurations as the barrier; b falls off as :math:`e^{-2|q|/w^2}`, which keeps walkers there for w below 1.4.

    Parameters
    ----------
    logit : ndarray
    reach : float
        w, in units of the logit.
    """
    half = 0.5 * np.asarray(logit, dtype=np.float64)
    return -4.0 / reach**2 * (np.logaddexp(half, -half) - np.log(2.0))


def log_path_weight(logit: np.ndarray, reach: float) -> float:
    r"""ln of the weight :math:`1/\sum_i b(q_i)` of a transition path, from the logits of its frames between the ends.

    Parameters
    ----------
    logit : ndarray, shape (n_frames - 2,)
    reach : float
    """
    return -float(np.logaddexp.reduce(log_bias(logit, reach)))

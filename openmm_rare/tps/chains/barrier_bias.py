r"""The density of shooting points that walkers near the barrier sample, relative to equilibrium, and what a path then weighs.

See "Shooting points sampled directly" in docs/theory.md.
"""

from __future__ import annotations

import numpy as np

__all__ = ["log_bias", "log_path_weight"]


_STEEP = 4.0


def log_bias(logit: np.ndarray, reach: float) -> np.ndarray:
    r"""ln b with :math:`b = 4 p (1 - p)\,e^{-4 \max(0, |q| - w)}` of the committor p and its logit q: 1 at q = 0.

    Equilibrium times p (1 - p) is the distribution of frames on transition paths, which crosses the barrier and joins its
    channels near the states. Far out, where few shots have taught the logit, b falls off faster and holds walkers back.

    Parameters
    ----------
    logit : ndarray
    reach : float
        w, in units of the logit.
    """
    q = np.abs(np.asarray(logit, dtype=np.float64))
    return np.log(4.0) - np.logaddexp(0.0, q) - np.logaddexp(0.0, -q) - _STEEP * np.maximum(q - reach, 0.0)


def log_path_weight(logit: np.ndarray, reach: float) -> float:
    r"""ln of the weight :math:`1/\sum_i b(q_i)` of a transition path, from the logits of its frames between the ends.

    Parameters
    ----------
    logit : ndarray, shape (n_frames - 2,)
    reach : float
    """
    return -float(np.logaddexp.reduce(log_bias(logit, reach)))

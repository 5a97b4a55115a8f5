"""What makes a map worth its name: how far it is from symplectic, from time-reversible, and from what cannot be solved."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from ..midpoint_map import Action

__all__ = ["contraction", "irreversibility", "lack_of_symplecticity"]

Map = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From q and p of rows to those after a step."""

_Rows = TypeVar("_Rows")
_SHIFT = 1e-5


def irreversibility(step: Map, q: np.ndarray, p: np.ndarray, steps: int, frequency: float = 1.0) -> np.ndarray:
    """How far rows are from where they began after so many steps, and as many with reversed momenta.

    Returns
    -------
    ndarray, shape (n_rows,)
        The largest component, coordinates times a frequency: in units of mass-weighted momenta.
    """
    a, b = q, p
    for _ in range(steps):
        a, b = step(a, b)
    b = -b
    for _ in range(steps):
        a, b = step(a, b)
    return np.maximum(np.abs(frequency * (a - q)).max(axis=1), np.abs(b + p).max(axis=1))


def lack_of_symplecticity(step: Map, q: np.ndarray, p: np.ndarray, frequency: float = 1.0, shift: float = 1e-4) -> float:
    r"""Largest component of :math:`M^T \Omega M - \Omega` at one row, by central differences of fourth order.

    Parameters
    ----------
    step : callable
    q, p : ndarray, shape (n,)
    frequency : float
        Coordinates count times this, so that M has no units.
    shift : float
        Of the differences, in units of mass-weighted momenta.
    """
    n = len(q)
    moves = shift * np.eye(2 * n)

    def ends(scale: float) -> np.ndarray:
        a, b = step(q + scale * moves[:, :n] / frequency, p + scale * moves[:, n:])
        return np.concatenate([frequency * a, b], axis=1)

    m = ((8.0 * (ends(1.0) - ends(-1.0)) - (ends(2.0) - ends(-2.0))) / (12.0 * shift)).T
    omega = _omega(n)
    return float(np.abs(m.T @ omega @ m - omega).max())


def contraction(action: Action, q: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""Spectral radius of :math:`\frac12 J S''` with rows as midpoints, shape (n_rows,).

    Where it is below 1 the plain iteration converges to the one solution that there is nearby; what Anderson's mixing needs
    grows with it.
    """
    n, w, bare = q.shape[1], action.frequency, action.kernel == "midpoint"
    shift = _SHIFT * max(1.0, float(np.abs(p).max()), w * float(np.abs(q).max()))
    moves = shift * np.eye(2 * n)

    def slopes(scale: float) -> np.ndarray:
        z = np.concatenate([w * q, p], axis=1)[:, None] + scale * moves
        z = z.reshape(-1, 2 * n)
        by_q, by_p = action.gradient(z[:, :n] / w, z[:, n:])
        by_p = by_p + action.timestep * z[:, n:] if bare else by_p
        return np.concatenate([by_q / w, by_p], axis=1).reshape(len(q), 2 * n, 2 * n)

    hessian = w * (slopes(1.0) - slopes(-1.0)) / (2.0 * shift)  # of S in the scaled coordinates, where J has no units
    return np.abs(np.linalg.eigvals(0.5 * _omega(n) @ hessian.swapaxes(1, 2))).max(axis=1)


def _omega(n: int) -> np.ndarray:
    omega = np.zeros((2 * n, 2 * n))
    omega[:n, n:], omega[n:, :n] = np.eye(n), -np.eye(n)
    return omega

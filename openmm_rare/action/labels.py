r"""What an action has to reproduce: midpoints, differences and values from pairs of phase-space points, without a solve.

See "Learned action" in docs/theory.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .midpoint_map import KERNELS
from .phase_space import Pull

__all__ = ["End", "Labels", "labels_of"]


class End(NamedTuple):
    """One end of a step: mass-weighted rows and what the potential says there."""

    q: np.ndarray
    p: np.ndarray
    pull: Pull


class Labels(NamedTuple):
    """What S is told at midpoints.

    Attributes
    ----------
    q, p : ndarray, shape (n_rows, n)
        Midpoints.
    dq, dp : ndarray, shape (n_rows, n)
        dS/dp and -dS/dq there.
    value : ndarray, shape (n_rows,)
        S there, but for a constant that is the same for all.
    """

    q: np.ndarray
    p: np.ndarray
    dq: np.ndarray
    dp: np.ndarray
    value: np.ndarray

    def __getitem__(self, rows: np.ndarray | slice) -> Labels:  # type: ignore[override]
        return Labels(*(each[rows] for each in tuple(self)))

    def __len__(self) -> int:
        return len(self.value)

    def frequency(self) -> float:
        """What makes the errors of both differences commensurate, 1/ps."""
        return float(np.sqrt((self.dp**2).mean() / (self.dq**2).mean()))

    def size(self, frequency: float) -> float:
        """Root of the mean square of what is to be learned, in units of mass-weighted momenta."""
        return float(np.sqrt(((frequency * self.dq) ** 2 + self.dp**2).sum(axis=1).mean()))

    def error(self, by_q: np.ndarray, by_p: np.ndarray, frequency: float) -> float:
        """The error of the gradient of an action, likewise, relative to :meth:`size`."""
        squared = ((frequency * (by_p - self.dq)) ** 2 + (by_q + self.dp) ** 2).sum(axis=1).mean()
        return float(np.sqrt(squared)) / self.size(frequency)


def labels_of(start: End, end: End, action: np.ndarray, h: float, kernel: str) -> Labels:
    r"""What the kernel's action must be for a step of h ps from one end to the other.

    The exact generating function of the midpoint map is :math:`\bar p \cdot \Delta q - A` with the action
    :math:`A = \int L\,dt` of the path: its gradient is the differences, its value costs nothing. Half steps that the kernel
    makes by itself are taken off both ends, and their actions off A.

    Parameters
    ----------
    start, end : End
    action : ndarray, shape (n_rows,), kJ/mol ps
        Of the fine path: the sum of its discrete Lagrangian.
    h : float
        ps.
    kernel : "verlet" or "midpoint"
    """
    if kernel not in KERNELS:
        raise InputError(f"kernel = {kernel!r} must be one of {', '.join(KERNELS)}")
    (a, b, _), (c, d, _) = start, end
    if kernel == "verlet":
        b = b + 0.5 * h * start.pull.force
        a = a + 0.5 * h * b
        d = d - 0.5 * h * end.pull.force
        c = c - 0.5 * h * d
        halves = sum(0.25 * h * (p**2).sum(axis=1) - 0.5 * h * each.pull.energy for p, each in ((b, start), (d, end)))
        action = action - halves
    q, p = 0.5 * (a + c), 0.5 * (b + d)
    dq, dp = c - a, d - b
    value = (p * dq).sum(axis=1) - action
    if kernel == "midpoint":  # which has the free flight in it
        dq, value = dq - h * p, value - 0.5 * h * (p**2).sum(axis=1)
    return Labels(q, p, dq, dp, value)

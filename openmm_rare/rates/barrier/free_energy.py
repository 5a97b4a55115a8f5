"""Populations from umbrella windows: MBAR by pymbar, with errors from a jackknife over blocks of time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dynamics.frames import Rows
from ...errors import MissingPackageError, RunError
from ...statistics import correlated_mean
from .windows import Window

__all__ = ["BLOCKS", "FreeEnergy", "Sample", "require_pymbar"]

BLOCKS = 10
"""Blocks of time of each set, which are left out one by one."""

_START = 0.2  # of each walker's frames, which are not counted
_MOST, _FEWEST = 1000, 60  # frames of a window and set that are kept, if there are as many
_NEWTON = 3  # steps to the solution without a block


def require_pymbar() -> Any:
    """The package that computes free energies.

    Raises
    ------
    ModuleNotFoundError
        If it is not installed.
    """
    logging.getLogger("pymbar").setLevel(logging.ERROR)  # which advertises another package
    try:
        import pymbar
    except ImportError as error:
        raise MissingPackageError(
            'the rate from the barrier needs pymbar: in the repository, pip install -c constraints.txt ".[barrier]"'
        ) from error
    return pymbar


@dataclass
class Sample(Rows):
    """Frames of all windows that do not remember each other, so far as the coordinate shows it.

    Attributes
    ----------
    s : ndarray, shape (n,)
    status : ndarray, shape (n,)
    window : ndarray of int, shape (n,)
    block : ndarray of int, shape (n,)
        Counted on from set to set, :data:`BLOCKS` each.
    """

    s: np.ndarray
    status: np.ndarray
    window: np.ndarray
    block: np.ndarray

    @classmethod
    def of_walkers(cls, s: np.ndarray, status: np.ndarray, window: int, side: int) -> Sample:
        """From all frames of the walkers of one window and set (0 or 1), shape ``(n_walkers, n_frames)``."""
        counted = slice(int(_START * s.shape[1]), None)
        s, status = s[:, counted], status[:, counted]
        mean, error = correlated_mean(list(s))
        memory = s.size * error**2 / s.var() if s.var() > 0.0 and np.isfinite(error) else 1.0
        stride = int(max(min(np.ceil(memory), s.size // _FEWEST), np.ceil(s.size / _MOST), 1))
        block = BLOCKS * side + np.arange(s.size) * BLOCKS // s.size
        kept = slice(stride // 2, None, stride)
        columns = (s.ravel()[kept], status.ravel()[kept], block[kept])
        return cls(columns[0], columns[1], np.full(len(columns[0]), window), columns[2])

    def side(self, side: int) -> np.ndarray:
        """Which frames are of a set."""
        return self.block // BLOCKS == side


Functional = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Quantities from which frames count, ln of their weights in equilibrium, and the free energies of the windows in kT."""


class FreeEnergy:
    """What windows say together.

    Parameters
    ----------
    sample : Sample
    windows : sequence of Window
    kt : float
        kJ/mol.
    period : float or None
        Of the coordinate.

    Attributes
    ----------
    sample : Sample
    period : float or None
    """

    def __init__(self, sample: Sample, windows: Sequence[Window], kt: float, period: float | None) -> None:
        self.sample, self.period = sample, period
        self._energies = np.array([window.energy(sample.s, period) / kt for window in windows])
        self._solved: dict[bytes, np.ndarray] = {}

    def estimate(self, quantities: Functional, rows: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Quantities and their standard errors.

        Parameters
        ----------
        quantities : callable
        rows : ndarray of bool, optional
            Frames that count; default: all.
        """
        rows = np.ones(len(self.sample), dtype=bool) if rows is None else rows
        f = self.solve(rows)
        value = quantities(rows, self.log_weights(rows, f), f)
        blocks = np.unique(self.sample.block[rows])
        replicas = []
        for block in blocks:
            left = rows & (self.sample.block != block)
            without = self._refined(left, f)
            replicas.append(quantities(left, self.log_weights(left, without), without))
        n = len(blocks)
        with np.errstate(invalid="ignore"):  # what is infinite somewhere has no error
            squares = (np.array(replicas) - np.mean(replicas, axis=0)) ** 2
        return value, np.sqrt((n - 1) / n * squares.sum(axis=0))

    def solve(self, rows: np.ndarray) -> np.ndarray:
        """Free energies of the windows, kT, that of the first being 0; NaN for windows without frames."""
        key = rows.tobytes()
        if key not in self._solved:
            counts = self._counts(rows)
            there = counts > 0
            solver = require_pymbar().MBAR(self._energies[there][:, rows], counts[there], relative_tolerance=1e-9)
            f = np.full(len(counts), np.nan)
            f[there] = solver.f_k - solver.f_k[0]
            if not np.isfinite(f[there]).all():
                raise RunError("pymbar found no free energies for the windows: they may not overlap; give more windows")
            self._solved[key] = f
        return self._solved[key]

    def log_weights(self, rows: np.ndarray, f: np.ndarray) -> np.ndarray:
        """ln of the weight of these frames in equilibrium, up to a constant."""
        counts = self._counts(rows)
        there = counts > 0
        with np.errstate(divide="ignore"):
            terms = (f[there] + np.log(counts[there]))[:, None] - self._energies[there][:, rows]
        return -np.logaddexp.reduce(terms, axis=0)

    def overlap(self) -> np.ndarray:
        """The overlap matrix of the windows: how likely a frame of one (row) might be of another (column)."""
        rows = np.ones(len(self.sample), dtype=bool)
        member, counts = self._membership(rows, self.solve(rows)), self._counts(rows)
        return member @ member.T / counts[:, None]

    def _membership(self, rows: np.ndarray, f: np.ndarray) -> np.ndarray:
        """Probability that a frame is one of a window, shape ``(n_windows, n_rows)``."""
        with np.errstate(divide="ignore"):
            terms = np.nan_to_num(f)[:, None] + np.log(self._counts(rows))[:, None] - self._energies[:, rows]
        return np.exp(terms - np.logaddexp.reduce(terms, axis=0))

    def _refined(self, rows: np.ndarray, f: np.ndarray) -> np.ndarray:
        """The solution for other frames near this one, by Newton steps on the same convex function that pymbar minimizes."""
        counts, f = self._counts(rows), f.copy()
        free = np.flatnonzero(counts > 0)[1:]
        for _ in range(_NEWTON):
            member = self._membership(rows, f)
            hessian = np.diag(member.sum(axis=1)) - member @ member.T
            gradient = member.sum(axis=1) - counts
            f[free] -= np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        return f

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        return np.bincount(self.sample.window[rows], minlength=len(self._energies))

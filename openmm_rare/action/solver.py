"""Fixed points of many rows at once, each with the residual that it was left with: no row is solved that is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import InputError

__all__ = ["METHODS", "Solved", "solve"]

Function = Callable[[np.ndarray, np.ndarray], np.ndarray]

METHODS = ("anderson", "plain", "newton")

_LONGEST = 20.0  # steps of Anderson, in residuals: longer ones are plain ones instead
_RIDGE = 1e-13
_SHIFT = 1e-5  # of central differences, in units of the largest coordinate or 1


class Solved(NamedTuple):
    """Where the rows are, and how good that is.

    Attributes
    ----------
    z : ndarray, shape (n_rows, n)
        NaN for rows that are not solved.
    solved : ndarray of bool, shape (n_rows,)
    residual : ndarray, shape (n_rows,)
        Largest component of G(z) - z where the iteration ended.
    evaluations : int
        Of G for all rows that were not solved by then.
    """

    z: np.ndarray
    solved: np.ndarray
    residual: np.ndarray
    evaluations: int


def solve(
    function: Function,
    start: np.ndarray,
    tolerance: float,
    max_evaluations: int,
    method: str = "anderson",
    history: int = 5,
) -> Solved:
    """Solve z = G(z) row by row.

    Parameters
    ----------
    function : callable
        G of some rows, shape (m, n), and their numbers, shape (m,).
    start : ndarray, shape (n_rows, n)
    tolerance : float
        A row is solved when no component of G(z) - z is larger.
    max_evaluations : int
        Of G, each for all rows that are left; Newton's method also needs 2n more for each Jacobian.
    method : "anderson", "plain" or "newton"
        Anderson's mixing converges where the plain iteration z <- G(z) does not. Newton's method takes the Jacobian from
        central differences.
    history : int
        Differences that Anderson's mixing remembers.

    Raises
    ------
    ValueError
        If the method is unknown.
    """
    if method not in METHODS:
        raise InputError(f"method = {method!r} must be one of {', '.join(METHODS)}")
    z, residual = start.copy(), np.full(len(start), np.inf)
    solved, left = np.zeros(len(start), dtype=bool), np.arange(len(start))
    memory = _Memory(start.shape, history if method == "anderson" else 0)
    evaluations = 0
    with np.errstate(all="ignore"):  # a row that runs away is not solved, and nothing else
        while len(left) and evaluations < max_evaluations:
            g = function(z[left], left) - z[left]
            evaluations += 1
            residual[left] = np.abs(g).max(axis=1)
            done = residual[left] < tolerance
            solved[left[done]] = True
            going = ~done & np.isfinite(residual[left])
            left, g = left[going], g[going]
            if method == "newton" and len(left):
                z[left] += _newton_step(function, z[left], left, g)
            else:
                z[left] += memory.step(left, z[left], g)
    z[~solved] = np.nan
    return Solved(z, solved, residual, evaluations)


class _Memory:
    """Anderson's mixing (1965): differences of the last iterates of every row."""

    def __init__(self, shape: tuple[int, int], history: int) -> None:
        self.history, self.count = history, 0
        self.moves, self.changes = (np.zeros((shape[0], max(history, 1), shape[1])) for _ in range(2))
        self.last_z = self.last_g = np.empty(shape)
        if history:
            self.last_z, self.last_g = np.empty(shape), np.empty(shape)

    def step(self, rows: np.ndarray, z: np.ndarray, g: np.ndarray) -> np.ndarray:
        """The next step of these rows, which are at z with residuals g."""
        if not self.history or not len(rows):
            return g
        step = g
        if self.count:
            slot = (self.count - 1) % self.history
            self.moves[rows, slot], self.changes[rows, slot] = z - self.last_z[rows], g - self.last_g[rows]
            used = min(self.count, self.history)
            moves, changes = self.moves[rows, :used], self.changes[rows, :used]
            weights = _least_squares(changes, g)
            mixed = g - np.einsum("bk,bkn->bn", weights, moves + changes)
            long = np.linalg.norm(mixed, axis=1) > _LONGEST * np.linalg.norm(g, axis=1)
            bad = long | ~np.isfinite(mixed).all(axis=1)
            step = np.where(bad[:, None], g, mixed)
        self.last_z[rows], self.last_g[rows] = z, g
        self.count += 1
        return step


def _least_squares(changes: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Weights (m, k) that combine the changes (m, k, n) to g; by normal equations, since rows may hold anything."""
    matrix = changes @ changes.swapaxes(1, 2)
    right = np.einsum("bkn,bn->bk", changes, g)
    trace = np.trace(matrix, axis1=1, axis2=2)
    fine = np.isfinite(right).all(axis=1) & np.isfinite(trace) & (trace > 0.0)
    scale = np.where(fine, trace, 1.0)
    identity = np.eye(matrix.shape[1])
    matrix = np.where(fine[:, None, None], matrix / scale[:, None, None], identity) + _RIDGE * identity
    right = np.where(fine[:, None], right / scale[:, None], 0.0)
    return np.linalg.solve(matrix, right[:, :, None])[:, :, 0]


def _newton_step(function: Function, z: np.ndarray, rows: np.ndarray, g: np.ndarray) -> np.ndarray:
    m, n = z.shape
    shift = _SHIFT * max(1.0, float(np.abs(z).max()))
    moved = shift * np.eye(n)
    every = np.repeat(rows, n)
    ends = [function((z[:, None] + sign * moved).reshape(m * n, n), every).reshape(m, n, n) for sign in (1.0, -1.0)]
    jacobian = ((ends[0] - ends[1]) / (2.0 * shift)).swapaxes(1, 2)
    fine = np.isfinite(jacobian).all(axis=(1, 2))
    jacobian[~fine] = 0.0
    return np.linalg.solve(np.eye(n) - jacobian, g[:, :, None])[:, :, 0]

"""Smooth functions of a distance, for each type of pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BASES", "Radial"]

BASES = ("polynomial", "gaussian")

_WALL = 3  # power of the inverse distance that Gaussians are even in: closer where it is steep
_WIDTH = 1.2  # of a Gaussian, in distances between two


@dataclass(frozen=True, eq=False)
class Radial:
    """Functions of the distances of pairs between a smallest and a largest one.

    Polynomials suit distances that bonds keep; Gaussians in 1/r^3 those that span a repulsive wall and the open.

    Attributes
    ----------
    basis : "polynomial" or "gaussian"
    low, high : ndarray, shape (n_pairs,), nm
        The range that samples had.
    """

    basis: str
    low: np.ndarray
    high: np.ndarray

    def functions(self, r: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """So many functions of distances, shape (n_rows, n_pairs), and their derivatives, each (n_rows, n_pairs, count)."""
        s, slope = (each[..., None] for each in self._place(r))
        if self.basis == "polynomial":
            powers = np.arange(count)
            values = s**powers
            derivatives = np.zeros_like(values)
            derivatives[..., 1:] = powers[1:] * values[..., :-1]
            return values, derivatives * slope
        centers = np.linspace(-1.0, 1.0, count)
        width = 2.0 * _WIDTH / (count - 1)
        values = np.exp(-(((s - centers) / width) ** 2))
        return values, -2.0 * (s - centers) / width**2 * values * slope

    def _place(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where distances lie in their range, -1 to 1, and the derivative of that."""
        if self.basis == "polynomial":
            slope = 2.0 / (self.high - self.low)
            return slope * (r - self.low) - 1.0, np.broadcast_to(slope, r.shape)
        wall, end = (self.low / r) ** _WALL, (self.low / self.high) ** _WALL
        return 2.0 * (wall - end) / (1.0 - end) - 1.0, -2.0 * _WALL * wall / r / (1.0 - end)

"""Umbrella windows along a coordinate, from A to B."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Window"]

_FAR = 1e9  # stands for infinity, which expressions of OpenMM do not know
_WIDTHS = 1.2  # distance of neighbours over the width of each: for a flat free energy they share a quarter of their frames


@dataclass(frozen=True)
class Window:
    """What holds walkers near a place: nothing between two ends, a spring beyond them.

    Attributes
    ----------
    place : float
    low, high : float
        The ends: both at the place, or one of them far from it, where the window is open on that side.
    stiffness : float
        kJ/mol per squared unit of the coordinate.
    """

    place: float
    low: float
    high: float
    stiffness: float

    @classmethod
    def spring(cls, place: float, spacing: float, kt: float) -> Window:
        """One whose neighbours are `spacing` away."""
        return cls(place, place, place, kt * (_WIDTHS / spacing) ** 2)

    @classmethod
    def gaussian(cls, place: float, width: float, kt: float) -> Window:
        """One in which equilibrium is multiplied by a Gaussian of this width."""
        return cls(place, place, place, kt / width**2)

    def opened(self, outward: int, limit: float | None = None) -> Window:
        """The same, open downward (-1) or upward (1), to a limit if there is one."""
        end = outward * _FAR if limit is None else limit
        return Window(self.place, *((end, self.place) if outward < 0 else (self.place, end)), self.stiffness)

    def energy(self, s: np.ndarray, period: float | None = None) -> np.ndarray:
        """kJ/mol at values of the coordinate."""
        if period is None:
            excess = np.maximum(0.0, np.maximum(self.low - s, s - self.high))
        else:
            turned = s - 0.5 * (self.low + self.high)
            excess = np.maximum(0.0, np.abs(turned - period * np.floor(turned / period + 0.5)) - 0.5 * (self.high - self.low))
        return 0.5 * self.stiffness * excess**2

"""Umbrella windows along a coordinate, from A to B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Window", "shift_of_stiff_windows"]

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


def shift_of_stiff_windows(stiffness: float, squares: Sequence[float], steps: int, kt: float) -> float:
    r"""By how many kT overdamped steps put ln Z_b/p_A too low, to first order in the time step.

    Euler-Maruyama samples the energy :math:`V - \tfrac{h}{4} |\nabla V|^2 + \tfrac{h}{2} kT \Delta V`, h being the displacement
    per force. The spring of a window that a step takes the part :math:`\kappa` of the way back adds :math:`\kappa kT/4` to that
    on average, of which MBAR knows nothing. Along a variable :math:`\kappa` is everywhere the same and cancels; along a
    coordinate that is steeper at the barrier than in A it does not.

    Parameters
    ----------
    stiffness : float
        Of the windows, kJ/mol per squared unit of the coordinate.
    squares : sequence of float
        Mean square changes of the coordinate from one frame to the next in the window of A and in that next to the top.
    steps : int
        Of the integrator in a frame.
    kt : float
        kJ/mol.
    """
    forgotten = np.minimum(0.5 * stiffness * np.asarray(squares) / kt, 0.99)
    in_a, at_top = 1.0 - (1.0 - forgotten) ** (1.0 / steps)
    return float(at_top - in_a) / 4.0

"""What is known of the built-in systems by other means, to stand beside what was computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import openmm

from openmm_rare.problem import RareEventSystem
from openmm_rare.units import KB

from . import BUILDERS
from .kolmogorov import GridSolution

__all__ = ["Reference", "reference_of"]


@dataclass(frozen=True)
class Reference:
    """How the rate of a problem is known otherwise.

    Attributes
    ----------
    label : str
        What it is called.
    rate : callable
        Takes a temperature in K and returns 1/ps.
    plane : callable, optional
        Takes a temperature in K and returns the exact solution of one particle in the xy plane.
    """

    label: str
    rate: Callable[[float], float]
    plane: Callable[[float], GridSolution] | None = None


def reference_of(problem: RareEventSystem) -> Reference | None:
    """How the rate of a problem is known otherwise.

    Parameters
    ----------
    problem : RareEventSystem

    Returns
    -------
    Reference or None
        None for other systems, and for built-in ones whose dynamics were changed, or whose states were if the rate is exact.
        (Kramers-Langer theory knows basins only.)
    """
    known = _langevin_well(**problem.parameters) if problem.name == "langevin_well" else _KNOWN.get(problem.name)
    if known is None:
        return None
    original = BUILDERS[problem.name](**problem.parameters)
    same = _same_dynamics(problem, original) if known is _LJ7 else problem.fingerprint() == original.fingerprint()
    return known if same else None


def _double_well_1d(temperature: float) -> float:
    from .double_well_1d import rate

    return rate(temperature)


def _two_channel_2d(temperature: float) -> GridSolution:
    from .two_channel_2d import exact

    return exact(temperature)


def _two_channel_rate(temperature: float) -> float:
    return _two_channel_2d(temperature).rate_per_ps


def _lj7(temperature: float) -> float:
    from . import lj7, lj7_landscape

    return lj7_landscape.kramers_rate(KB * temperature / lj7.EPSILON) / lj7.TIME_UNIT


@cache
def _langevin_well(barrier: float, friction: float, bath: bool) -> Reference | None:
    def rate(temperature: float) -> float:
        from .langevin_well import exact

        return exact(barrier, friction, temperature).rate_per_ps

    return None if bath else Reference("exact", rate)


def _same_dynamics(problem: RareEventSystem, other: RareEventSystem) -> bool:
    """Whether both move in the same potential with the same friction."""
    first, second = (openmm.XmlSerializer.serialize(each.system) for each in (problem, other))
    return first == second and problem.friction == other.friction


_LJ7 = Reference("Kramers-Langer", _lj7)
_KNOWN = {
    "double_well_1d": Reference("exact", _double_well_1d),
    "two_channel_2d": Reference("exact", _two_channel_rate, _two_channel_2d),
    "rugged_14d": Reference("exact", _two_channel_rate),  # its rough directions separate
    "lj7": _LJ7,
}

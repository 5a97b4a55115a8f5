"""Known rates of the built-in systems, to stand beside computed ones."""

from __future__ import annotations

from collections.abc import Callable

import openmm

from openmm_rare.problem import RareEventSystem
from openmm_rare.units import KB

from . import BUILDERS

__all__ = ["known_rate"]


def _double_well_1d(temperature: float) -> float:
    from .double_well_1d import rate

    return rate(temperature)


def _two_channel_2d(temperature: float) -> float:
    from .two_channel_2d import exact

    return exact(temperature).rate_per_ps


def _lj7(temperature: float) -> float:
    from . import lj7, lj7_landscape

    return lj7_landscape.kramers_rate(KB * temperature / lj7.EPSILON) / lj7.TIME_UNIT


_KNOWN: dict[str, tuple[str, Callable[[float], float]]] = {
    "double_well_1d": ("exact", _double_well_1d),
    "two_channel_2d": ("exact", _two_channel_2d),
    "rugged_14d": ("exact", _two_channel_2d),  # its rough directions separate
    "lj7": ("Kramers-Langer", _lj7),
}


def known_rate(system: RareEventSystem) -> tuple[str, Callable[[float], float]] | None:
    """How the rate of a system is known otherwise.

    Parameters
    ----------
    system : RareEventSystem

    Returns
    -------
    (label, function) or None
        The function takes a temperature in K and returns 1/ps. None for other systems, and for built-in ones whose
        dynamics were changed, or whose states were if the rate is exact. (Kramers-Langer theory knows basins only.)
    """
    if system.name not in _KNOWN:
        return None
    label, _ = _KNOWN[system.name]
    original = BUILDERS[system.name]()
    same = system.fingerprint() == original.fingerprint() if label == "exact" else _same_dynamics(system, original)
    return _KNOWN[system.name] if same else None


def _same_dynamics(system: RareEventSystem, other: RareEventSystem) -> bool:
    """Whether both move in the same potential with the same friction."""
    first, second = (openmm.XmlSerializer.serialize(each.system) for each in (system, other))
    return first == second and system.friction == other.friction

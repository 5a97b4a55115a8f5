"""Ready-made rare-event problems with known answers."""

import inspect
from collections.abc import Callable
from typing import Any

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem, ReducedUnits

from . import alanine_dipeptide, double_well_1d, jung_42d, langevin_well, licl, lj7, rugged_14d, two_channel_2d

__all__ = ["BUILDERS", "RareEventSystem", "ReducedUnits", "build", "list_systems"]

BUILDERS: dict[str, Callable[..., RareEventSystem]] = {
    "double_well_1d": double_well_1d.build,
    "two_channel_2d": two_channel_2d.build,
    "rugged_14d": rugged_14d.build,
    "lj7": lj7.build,
    "jung_42d": jung_42d.build,
    "alanine_dipeptide": alanine_dipeptide.build,
    "langevin_well": langevin_well.build,
    "licl": licl.build,
}


def build(name: str, **parameters: Any) -> RareEventSystem:
    """A system by its name, as configuration files give it.

    Parameters
    ----------
    name : str
        A key of ``BUILDERS``.
    **parameters
        Arguments of that builder.

    Raises
    ------
    ValueError
        For an unknown name or parameter, and whatever the builder rejects.
    """
    if name not in BUILDERS:
        raise InputError(f"unknown system {name!r}; choose one of {', '.join(sorted(BUILDERS))}")
    allowed = inspect.signature(BUILDERS[name]).parameters
    unknown = sorted(set(parameters) - set(allowed))
    if unknown:
        raise InputError(f"system {name!r} has no parameter {', '.join(unknown)}; it takes {', '.join(allowed)}")
    return BUILDERS[name](**parameters)


def list_systems() -> list[dict[str, str]]:
    """Name, description and parameters of every built-in system."""
    rows = []
    for name, builder in BUILDERS.items():
        notes = inspect.getdoc(inspect.getmodule(builder)) or ""
        parameters = [
            key if value.default is None else f"{key}={value.default:{'g' if isinstance(value.default, float) else ''}}"
            for key, value in inspect.signature(builder).parameters.items()
        ]
        rows.append({"name": name, "summary": notes.splitlines()[0], "parameters": ", ".join(parameters) or "none"})
    return rows

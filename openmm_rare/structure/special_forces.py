"""Forces that do more than push particles: thermostats, barostats, and those that need an integrator of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import openmm
from openmm import unit

from .obstacles import Obstacle

__all__ = ["acting_on_box_or_heat", "all_forces", "barostats", "kind_of", "special_forces"]

_BAROSTATS = (
    "MonteCarloBarostat",
    "MonteCarloAnisotropicBarostat",
    "MonteCarloMembraneBarostat",
    "MonteCarloFlexibleBarostat",
)
_FIXED_BOX = "states, descriptors and committor are functions of positions in a fixed box"
_MEAN_BOX = "equilibrate at constant pressure, set the mean box by system.setDefaultPeriodicBoxVectors, and remove the barostat"


def kind_of(force: openmm.Force) -> str:
    """Name of the class of a force, also where Python sees a force of a plugin as a plain ``Force``."""
    if type(force) is not openmm.Force:
        return type(force).__name__
    try:
        found = re.search(r'<Force\b[^>]*\btype="([^"]+)"', openmm.XmlSerializer.serialize(force))
    except openmm.OpenMMException:  # some plugins cannot write theirs
        found = None
    return found.group(1) if found else force.getName()


def _with_inner(force: openmm.Force) -> Iterator[openmm.Force]:
    """A force, and the forces in it."""
    yield force
    if isinstance(force, openmm.CustomCVForce):
        for i in range(force.getNumCollectiveVariables()):
            yield from _with_inner(force.getCollectiveVariable(i))
    elif isinstance(force, openmm.ATMForce):
        for i in range(force.getNumForces()):
            yield from _with_inner(force.getForce(i))


def all_forces(system: openmm.System) -> Iterator[tuple[str, openmm.Force]]:
    """Every force with what to call it, also those inside of others."""
    for index, outer in enumerate(system.getForces()):
        for force in _with_inner(outer):
            kind, inside = kind_of(force), "" if force is outer else f" in {kind_of(outer)}"
            yield f"force {index} ({kind}{inside})", force


def barostats(system: openmm.System) -> list[openmm.Force]:
    """The forces that change the box."""
    return [force for _, force in all_forces(system) if kind_of(force) in (*_BAROSTATS, "RPMDMonteCarloBarostat")]


def acting_on_box_or_heat(system: openmm.System) -> list[tuple[str, str, float]]:
    """Label, kind and temperature (K) of every barostat and thermostat that has a temperature of its own."""
    return [
        (label, kind, force.getDefaultTemperature().value_in_unit(unit.kelvin))
        for label, force in all_forces(system)
        if (kind := kind_of(force)) in (*_BAROSTATS, "AndersenThermostat")
    ]


def special_forces(system: openmm.System, fixed_box: bool = True, heat_bath: bool = True) -> list[Obstacle]:
    """The forces that sampling paths with an integrator of this package cannot do justice to.

    Parameters
    ----------
    system : openmm.System
    fixed_box : bool
        Whether barostats are among them.
    heat_bath : bool
        Whether the integrator is a thermostat, beside which another is one too many.
    """
    found = []
    for label, force in all_forces(system):
        kind = kind_of(force)
        if kind == "AndersenThermostat" and heat_bath:
            temperature = force.getDefaultTemperature().value_in_unit(unit.kelvin)
            found.append(
                Obstacle(f"{label} is a second thermostat, at {temperature:g} K", "the integrator is the thermostat: remove it")
            )
        elif "Drude" in kind:
            found.append(
                Obstacle(
                    f"{label}: Drude oscillators need a thermostat of their own near 1 K, or a self-consistent field",
                    "no integrator that can be turned around has either: use a model without Drude particles",
                )
            )
        elif kind == "RPMDMonteCarloBarostat":
            found.append(Obstacle(f"{label} works with RPMDIntegrator only", "remove it"))
        elif kind in _BAROSTATS and fixed_box:
            found.append(Obstacle(f"{label} changes the box, but {_FIXED_BOX}", _MEAN_BOX))
    return found

"""Which integrators of OpenMM path sampling can use: velocities must belong to the same time as positions."""

from __future__ import annotations

from typing import Any

import openmm
from openmm import unit

from ..errors import InputError
from ..units import KB

__all__ = [
    "friction_of",
    "is_overdamped",
    "is_thermostat",
    "known_temperature",
    "require_reversible",
    "steps_of",
    "temperature_of",
]

_LEAPFROG = (
    openmm.VerletIntegrator,
    openmm.VariableVerletIntegrator,
    openmm.LangevinIntegrator,
    openmm.LangevinMiddleIntegrator,
    openmm.VariableLangevinIntegrator,
    openmm.NoseHooverIntegrator,
    openmm.QTBIntegrator,
    openmm.DPDIntegrator,
    openmm.DrudeLangevinIntegrator,
    openmm.DrudeNoseHooverIntegrator,
    openmm.DrudeSCFIntegrator,
)
_OTHER_PHYSICS = {
    openmm.CompoundIntegrator: "changes its dynamics on the way",
    openmm.RPMDIntegrator: "moves many copies of the System, of which frames hold one",
    openmm.AMDIntegrator: "moves on another energy surface",
    openmm.AMDForceGroupIntegrator: "moves on another energy surface",
    openmm.DualAMDIntegrator: "moves on another energy surface",
}


def is_overdamped(integrator: openmm.Integrator) -> bool:
    """Whether an integrator ignores velocities: Brownian dynamics, or a CustomIntegrator that never assigns ``v``."""
    if isinstance(integrator, openmm.BrownianIntegrator):
        return True
    if not isinstance(integrator, openmm.CustomIntegrator):
        return False
    return not any(variable == "v" for _, variable, _ in steps_of(integrator))


def is_thermostat(integrator: openmm.Integrator) -> bool:
    """Whether an integrator exchanges heat: all but those without friction, and a CustomIntegrator without random numbers."""
    if not isinstance(integrator, openmm.CustomIntegrator):
        return True
    noisy = any("gaussian" in expression or "uniform" in expression for *_, expression in steps_of(integrator))
    return noisy and friction_of(integrator) != 0.0


def steps_of(integrator: openmm.CustomIntegrator) -> list[tuple[int, str, str]]:
    """Kind, variable and expression of every step of a CustomIntegrator."""
    return [tuple(integrator.getComputationStep(i)) for i in range(integrator.getNumComputations())]


def friction_of(integrator: openmm.Integrator) -> float | None:
    """Friction in 1/ps of an integrator that says it; None for others."""
    if hasattr(integrator, "getFriction"):
        return integrator.getFriction().value_in_unit(unit.picosecond**-1)
    try:
        return integrator.getGlobalVariableByName("friction")
    except (AttributeError, openmm.OpenMMException):
        return None


def known_temperature(integrator: openmm.Integrator) -> float | None:
    """Temperature in K of an integrator that says it; None for others."""
    if hasattr(integrator, "getTemperature"):
        return integrator.getTemperature().value_in_unit(unit.kelvin)
    try:
        return integrator.getGlobalVariableByName("kT") / KB
    except (AttributeError, openmm.OpenMMException):
        return None


def temperature_of(integrator: openmm.Integrator, beta: Any = None) -> float:
    """Temperature in K of an inverse temperature, mol/kJ without a unit, or of the integrator if there is none.

    Raises
    ------
    ValueError
        If `beta` has the wrong unit, or there is none and the integrator has no temperature.
    """
    if unit.is_quantity(beta):  # per particle, or per mole
        constants = (unit.BOLTZMANN_CONSTANT_kB, unit.MOLAR_GAS_CONSTANT_R)
        found = [t for t in (1.0 / (beta * constant) for constant in constants) if unit.is_quantity(t)]
        fitting = [t for t in found if t.unit.is_compatible(unit.kelvin)]
        if not fitting:
            raise InputError(f"beta = {beta} is no inverse energy, as 1/(BOLTZMANN_CONSTANT_kB*300*kelvin) is one")
        return fitting[0].value_in_unit(unit.kelvin)
    if beta is not None:
        return 1.0 / (KB * float(beta))
    temperature = known_temperature(integrator)
    if temperature is None:
        raise InputError(f"{type(integrator).__name__} does not say its temperature: give RandomVelocities a beta")
    return temperature


def require_reversible(integrator: openmm.Integrator) -> None:
    """Refuse integrators that go wrong when a path is continued backward from negated velocities.

    Raises
    ------
    ValueError
        For those of OpenMM that keep velocities half a step behind positions, compound integrators, and those of another
        physics.
    """
    name = type(integrator).__name__
    if isinstance(integrator, _LEAPFROG):
        raise InputError(
            f"{name} keeps velocities half a step behind the positions (leapfrog): a path continued backward from negated "
            "velocities gains energy at every turn. Use openmm_rare.BAOABLangevinIntegrator, another integrator "
            "of velocity-Verlet type, or overdamped dynamics"
        )
    for kind, reason in _OTHER_PHYSICS.items():
        if isinstance(integrator, kind):
            raise InputError(f"{name} {reason}; use one of velocity-Verlet type alone")

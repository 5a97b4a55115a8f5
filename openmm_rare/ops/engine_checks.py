"""What an engine refuses: Systems that its integrator would not simulate as they stand, and time steps beyond stability."""

from __future__ import annotations

import re

import numpy as np
import openmm
from openmm import unit

from ..dynamics.checks import step_obstacle
from ..dynamics.langevin import KEPT_SPEED, BAOABLangevinIntegrator, moving_axes
from ..dynamics.overdamped import DRIFT, OverdampedLangevinIntegrator
from ..dynamics.stability import relaxed, steepest, step_limit
from ..dynamics.time_reversal import friction_of, is_overdamped, is_thermostat, known_temperature, require_reversible, steps_of
from ..errors import InputError
from ..structure.obstacles import Obstacle, sentence_of
from ..structure.parameter_names import taken_names
from ..structure.particles import sites_of
from ..structure.special_forces import acting_on_box_or_heat, special_forces

__all__ = ["require_ready", "require_suitable"]

_SAME_TEMPERATURE = 1e-3


def require_suitable(system: openmm.System, integrator: openmm.Integrator, platform: str) -> None:
    """Refuse a System and an integrator that do not fit.

    Barostats are allowed here: a script's own variables see the box of every frame.

    Raises
    ------
    ValueError
        For leapfrog integrators; for virtual sites, force groups and barostats that the integrator ignores; for thermostats and
        barostats of another temperature, and Drude particles.
    """
    require_reversible(integrator)
    found = special_forces(system, fixed_box=False, heat_bath=is_thermostat(integrator))
    found += _other_temperatures(system, integrator)
    if isinstance(integrator, openmm.CustomIntegrator):
        found += _ignored(system, integrator, platform)
    if found:
        raise InputError(sentence_of(found, "sampling paths with this integrator"))


def _other_temperatures(system: openmm.System, integrator: openmm.Integrator) -> list[Obstacle]:
    temperature = known_temperature(integrator)
    return [
        Obstacle(
            f"{label} acts at {own:g} K, the integrator at {temperature:g} K",
            f"call its setDefaultTemperature({temperature:g})",
        )
        for label, kind, own in acting_on_box_or_heat(system)
        if (kind != "AndersenThermostat" or not is_thermostat(integrator))
        and temperature
        and abs(own - temperature) > _SAME_TEMPERATURE * temperature
    ]


def _ignored(system: openmm.System, integrator: openmm.CustomIntegrator, platform: str) -> list[Obstacle]:
    """What of a System the steps of a CustomIntegrator never look at, or take for something else."""
    steps = steps_of(integrator)
    kinds, name, found = (
        {kind for kind, *_ in steps},
        type(integrator).__name__,
        taken_names(system, ()),
    )  # others OpenMM refuses
    if openmm.CustomIntegrator.UpdateContextState not in kinds:
        for label, *_ in acting_on_box_or_heat(system):
            found.append(Obstacle(f"{label} would have no effect: this {name} never updates the context's state", "remove it"))
    if sites_of(system) and platform in ("Reference", "CPU") and _moves_before_forces(steps):
        fact = f"the System has virtual sites, which OpenMM places after the last force of a step of this {name}"
        found.append(Obstacle(fact, "use openmm_rare.BAOABLangevinIntegrator(..., virtual_sites=True)"))
    groups = _groups(integrator, steps)
    for index, force in enumerate(system.getForces()):
        group = force.getForceGroup()
        if integrator.getIntegrationForceGroups() >> group & 1 and group not in groups:
            fact = f"force {index} ({force.getName()}) is in force group {group}, which this {name} does not integrate"
            found.append(Obstacle(fact, "call setForceGroup(0), or leave the group out by setIntegrationForceGroups"))
    return found


def _forces_in(expression: str) -> set[str]:
    """Names of forces in an expression: f, f0 to f31."""
    return set(re.findall(r"(?<![\w.])f\d*(?!\w)", expression))


def _moves_before_forces(steps: list[tuple[int, str, str]]) -> bool:
    """Whether forces are asked for after positions have changed in a step, at whose end OpenMM places virtual sites."""
    moved = False
    for kind, variable, expression in steps:
        if kind == openmm.CustomIntegrator.BlockEnd:
            moved = False  # the blocks of BAOABLangevinIntegrator are steps of their own
        if moved and _forces_in(expression):
            return True
        moved |= variable == "x"
    return False


def _groups(integrator: openmm.CustomIntegrator, steps: list[tuple[int, str, str]]) -> set[int]:
    """Force groups that appear in the steps."""
    names = set().union(*(_forces_in(expression) for _, _, expression in steps))
    return set(range(32)) if "f" in names else {int(name[1:]) for name in names}


def require_ready(system: openmm.System, integrator: openmm.Integrator, positions: np.ndarray) -> None:
    """Refuse to start dynamics that breaks constraints, or whose time step is beyond its limit.

    The limit is that at the structure, or where its energy is lower. Integrators that do not say which dynamics they are have
    none here.

    Raises
    ------
    ValueError
        If it is so, or the forces are not finite.
    """
    found = _free_constraints(system, integrator)
    if _has_known_limit(integrator):
        friction = friction_of(integrator) if is_overdamped(integrator) else None
        found += _long_step(system, integrator, positions, friction)
    if found:
        raise InputError(sentence_of(found, "sampling paths with this integrator"))


def _free_constraints(system: openmm.System, integrator: openmm.Integrator) -> list[Obstacle]:
    """Constraints that the steps of a CustomIntegrator do not apply, or cannot."""
    n_constraints, name = system.getNumConstraints(), type(integrator).__name__
    if not n_constraints or not isinstance(integrator, openmm.CustomIntegrator):
        return []
    kinds = {kind for kind, *_ in steps_of(integrator)}
    if openmm.CustomIntegrator.ConstrainPositions not in kinds:
        fact = f"the System has {n_constraints} constraints, which this {name} does not apply"
        return [Obstacle(fact, "give OverdampedLangevinIntegrator constrained=True, or let yours addConstrainPositions()")]
    if not moving_axes(integrator).all():
        fact = f"the System has {n_constraints} constraints, which OpenMM can apply in 3 dimensions only"
        return [Obstacle(fact, "leave num_dimensions at 3")]
    return []


def _has_known_limit(integrator: openmm.Integrator) -> bool:
    """Whether it is Brownian dynamics, or an integrator of this package, restored from XML or not."""
    if isinstance(integrator, (openmm.BrownianIntegrator, BAOABLangevinIntegrator, OverdampedLangevinIntegrator)):
        return True
    if type(integrator) is not openmm.CustomIntegrator:
        return False
    ours = {"friction", "kT"} <= {integrator.getGlobalVariableName(i) for i in range(integrator.getNumGlobalVariables())}
    return ours and any(DRIFT in step[2] or KEPT_SPEED in step[2] for step in steps_of(integrator))


def _long_step(
    system: openmm.System, integrator: openmm.Integrator, positions: np.ndarray, friction: float | None
) -> list[Obstacle]:
    timestep, axes = integrator.getStepSize().value_in_unit(unit.picosecond), moving_axes(integrator)
    for place in (lambda: positions, lambda: relaxed(system, positions)):
        limit = step_limit(steepest(system, place(), axes, "the System"), friction)
        if timestep <= limit:
            return []
    return [step_obstacle(system, "the System", timestep, limit, friction)]

"""Systems that a learned action cannot move, said before anything runs."""

from __future__ import annotations

import openmm

from ..errors import InputError
from ..structure.obstacles import Obstacle, sentence_of
from ..structure.particles import masses_of, sites_of
from ..structure.special_forces import kind_of, special_forces

__all__ = ["require_suitable"]

_IN_A_STEP = {
    "CMMotionRemover": "changes velocities between steps",
    "AndersenThermostat": "draws velocities between steps",
}


def require_suitable(system: openmm.System) -> None:
    """Refuse what has no unconstrained, unbounded phase space, for all reasons at once.

    Raises
    ------
    ValueError
        For constraints, virtual sites, periodic boxes, and forces that act on box or velocities.
    """
    found, free = list(special_forces(system, heat_bath=False)), "build the System without"
    if system.getNumConstraints():
        fact = f"the System has {system.getNumConstraints()} constraints, and the map lives on unconstrained phase space"
        found.append(Obstacle(fact, f"{free} (constraints=None, rigidWater=False)"))
    if sites_of(system):
        found.append(Obstacle(f"the System has {len(sites_of(system))} virtual sites, which have no momenta", f"{free} them"))
    if system.usesPeriodicBoundaryConditions():
        fact = "the System is periodic, where features of pairs are not smooth"
        found.append(Obstacle(fact, f"{free} a box (nonbondedMethod=NoCutoff)"))
    if not (masses_of(system) > 0.0).any():
        found.append(Obstacle("no particle of the System has a mass", "give those their mass that are to move"))
    for force in system.getForces():
        if kind_of(force) in _IN_A_STEP:
            found.append(Obstacle(f"{kind_of(force)} {_IN_A_STEP[kind_of(force)]}", "remove it"))
    if found:
        raise InputError(sentence_of(found, "a learned action for this System"))

"""Collective variables in terms of OpenMM's own forces: what can pull, or hold, along them."""

from __future__ import annotations

from functools import singledispatch
from itertools import product

import numpy as np
import openmm

from ..dynamics.copies.replication import is_single_term, repeat_terms
from ..errors import InputError
from ..states.variables import (
    Angle,
    CollectiveVariable,
    Coordinate,
    Coordination,
    CoordinationMoment,
    Dihedral,
    Distance,
    LinearCombination,
)

__all__ = ["energy_along", "has_force", "is_cut_off", "openmm_force"]

_CUTOFF = 4.0  # radii, of moments of coordination numbers in a periodic box: a pair counts 2e-5 there
_OF_BOX = 0.499  # of the shortest edge, how far a cutoff may reach

Parts = tuple[str, dict[str, openmm.Force]]
"""An expression in collective variables of OpenMM, and the forces that compute these."""


@singledispatch
def openmm_force(variable: CollectiveVariable, name: str, n_atoms: int) -> Parts:
    """A variable in terms of OpenMM's own forces.

    Parameters
    ----------
    variable : CollectiveVariable
    name : str
        Of the force, where it belongs to this variable alone.
    n_atoms : int
        Of the System.

    Returns
    -------
    expression : str
    forces : dict
        Collective variables of OpenMM, by the names that the expression has for them.

    Raises
    ------
    ValueError
        For a kind of variable that has no forces.
    """
    raise InputError(
        f"variable {variable.name!r} is a {type(variable).__name__}, which has no forces: nothing can pull along it"
    )


def has_force(variable: CollectiveVariable) -> bool:
    """Whether forces can act along a variable."""
    return openmm_force.dispatch(type(variable)) is not openmm_force.dispatch(object)


def is_cut_off(variable: CollectiveVariable) -> bool:
    """Whether the forces along a variable leave out pairs that it counts, which its box has no room for: they pull, but what
    they hold is another variable."""
    if not isinstance(variable, CoordinationMoment) or variable.periodic_box is None:
        return False
    return _CUTOFF * variable.radius > _reach(variable)


@openmm_force.register
def _(variable: Coordinate, name: str, n_atoms: int) -> Parts:
    force = openmm.CustomExternalForce("xyz"[variable.axis])
    force.addParticle(variable.atom, [])
    return name, {name: force}


@openmm_force.register
def _(variable: LinearCombination, name: str, n_atoms: int) -> Parts:
    force = openmm.CustomExternalForce("cx*x+cy*y+cz*z")
    for axis in "xyz":
        force.addPerParticleParameter(f"c{axis}")
    for atom in np.flatnonzero(variable.coefficients.any(axis=1)).tolist():
        force.addParticle(atom, variable.coefficients[atom].tolist())
    return name, {name: force}


@openmm_force.register
def _(variable: Distance, name: str, n_atoms: int) -> Parts:
    force = openmm.CustomBondForce("r")
    force.addBond(*variable.atoms, [])
    force.setUsesPeriodicBoundaryConditions(variable.periodic_box is not None)
    return name, {name: force}


@openmm_force.register
def _(variable: Angle, name: str, n_atoms: int) -> Parts:
    force = openmm.CustomAngleForce("theta")
    force.addAngle(*variable.atoms, [])
    force.setUsesPeriodicBoundaryConditions(variable.periodic_box is not None)
    return name, {name: force}


@openmm_force.register
def _(variable: Dihedral, name: str, n_atoms: int) -> Parts:
    force = openmm.CustomTorsionForce("theta")
    force.addTorsion(*variable.atoms, [])
    force.setUsesPeriodicBoundaryConditions(variable.periodic_box is not None)
    return name, {name: force}


@openmm_force.register
def _(variable: Coordination, name: str, n_atoms: int) -> Parts:
    # bonds, because pairs of a nonbonded force in a box end at half of it, and the variable counts those beyond
    force = openmm.CustomBondForce(f"1/(1+(r/{variable.radius!r})^{variable.power})")
    for pair in product(variable.atoms, variable.neighbors):
        force.addBond(*map(int, pair), [])
    force.setUsesPeriodicBoundaryConditions(variable.periodic_box is not None)
    return name, {name: force}


@openmm_force.register
def _(variable: CoordinationMoment, name: str, n_atoms: int) -> Parts:
    """A central moment from the sums of powers of the coordination numbers, which many-body forces compute."""
    # named by what they are, so that moments of the same numbers share their sums: these are slow
    numbers = f"{'plain' if variable.periodic_box is None else 'periodic'}_{variable.radius!r}".translate({46: "_", 45: "m"})
    names = [f"powers{power}_{numbers}" for power in (1, 2, 3)]
    forces = {names[power - 1]: _power_sum(variable, power, n_atoms) for power in range(1, variable.order + 1)}
    first, second, third = (f"({each}/{n_atoms})" for each in names)
    moments = {1: first, 2: f"({second}-{first}^2)", 3: f"({third}-3*{first}*{second}+2*{first}^3)"}
    return moments[variable.order], forces


def _power_sum(variable: CoordinationMoment, power: int, n_atoms: int) -> openmm.CustomGBForce:
    force = openmm.CustomGBForce()
    force.addComputedValue("c", f"1/(1+(r/{variable.radius!r})^8)", openmm.CustomGBForce.ParticlePairNoExclusions)
    force.addEnergyTerm(f"c^{power}", openmm.CustomGBForce.SingleParticle)
    for _ in range(n_atoms):
        force.addParticle([])
    if variable.periodic_box is not None:
        force.setNonbondedMethod(openmm.CustomGBForce.CutoffPeriodic)
        force.setCutoffDistance(min(_CUTOFF * variable.radius, _reach(variable)))
    return force


def _reach(variable: CoordinationMoment) -> float:
    """How far its forces may reach in its box, nm."""
    return _OF_BOX * float(np.diag(variable.periodic_box).min())


def energy_along(variable: CollectiveVariable, energy: str, n_atoms: int, n_copies: int = 1) -> openmm.Force:
    """An energy that is a function of one variable, as a force; global parameters are still to be added.

    Parameters
    ----------
    variable : CollectiveVariable
    energy : str
        Expression of OpenMM in ``s``, the variable.
    n_atoms : int
        Of one copy.
    n_copies : int
        Copies of a small System in one Context, each with its own value.

    Raises
    ------
    ValueError
        For a kind of variable that has no forces, or none that can be repeated for copies.
    """
    expression, forces = openmm_force(variable, "s", n_atoms)
    (force,) = forces.values() if len(forces) == 1 else (None,)
    if force is not None and expression == "s" and is_single_term(force):
        force.setEnergyFunction(f"{energy};s={force.getEnergyFunction()}")
        repeat_terms(force, n_copies, n_atoms)
        return force
    if n_copies > 1:
        raise InputError(f"variable {variable.name!r}, a {variable.type_name}, holds one copy of a System only")
    whole = openmm.CustomCVForce(energy if expression == "s" else f"{energy};s={expression}")
    for name, part in forces.items():
        whole.addCollectiveVariable(name, part)
    return whole

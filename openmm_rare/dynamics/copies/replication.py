"""Many non-interacting copies of one small System in one System: the cheapest way to run many walkers.

Walkers may overlap in space, so every interaction is a list of particle tuples; forces that act on all pairs within reach
become such lists too.
"""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING

import openmm

from ...errors import InputError
from ...structure.obstacles import Obstacle, sentence_of
from ...structure.particles import masses_of, sites_of
from ...structure.special_forces import kind_of
from .pair_bonds import PAIR_FORCES, cut_off, pair_bonds, plain_number
from .walker_bonds import WalkerBondForce, can_be_native

if TYPE_CHECKING:
    from ..problem import RareEventSystem

MOST_ATOMS: int = 100
"""Of a small System, whose copies may share a Context: lists of all pairs cost more beyond."""

# What to repeat in each force: getNum<Term>s, get<Term>Parameters and add<Term> exist, and the indices stand in that slice
# of the arguments, one by one or as a sequence. They count particles, in a second entry the terms of the first.
_TERMS: dict[type, tuple[tuple[str, slice], ...]] = {
    openmm.HarmonicBondForce: (("Bond", slice(0, 2)),),
    openmm.HarmonicAngleForce: (("Angle", slice(0, 3)),),
    openmm.PeriodicTorsionForce: (("Torsion", slice(0, 4)),),
    openmm.RBTorsionForce: (("Torsion", slice(0, 4)),),
    openmm.CMAPTorsionForce: (("Torsion", slice(1, 9)),),
    openmm.CustomBondForce: (("Bond", slice(0, 2)),),
    openmm.CustomAngleForce: (("Angle", slice(0, 3)),),
    openmm.CustomTorsionForce: (("Torsion", slice(0, 4)),),
    openmm.CustomExternalForce: (("Particle", slice(0, 1)),),
    openmm.CustomCompoundBondForce: (("Bond", slice(0, 1)),),
    openmm.CustomCentroidBondForce: (("Group", slice(0, 1)), ("Bond", slice(0, 1))),
}

_BAROSTAT = ("a barostat needs periodic boundaries, and copies are made of non-periodic Systems only", "remove it")
_REFUSED: dict[type, tuple[str, str]] = {
    openmm.MonteCarloBarostat: _BAROSTAT,
    openmm.MonteCarloAnisotropicBarostat: _BAROSTAT,
    openmm.MonteCarloMembraneBarostat: _BAROSTAT,
    openmm.MonteCarloFlexibleBarostat: _BAROSTAT,
    openmm.AndersenThermostat: ("the integrator is the thermostat", "remove this force"),
    openmm.CMMotionRemover: ("it would couple the copies", "build the System without it (removeCMMotion=False)"),
    openmm.PythonForce: (
        "nobody can tell how a Python function acts on one copy",
        "express it by a Custom force, or add a function for all copies after replicating",
    ),
}


def fits_in_slots(problem: RareEventSystem) -> bool:
    """Whether many walkers of a problem move together, as copies in one Context; those of others move one at a time.

    They do where the System can be repeated, and is small if it moves with inertia.
    """
    few = not problem.inertial or problem.system.getNumParticles() <= MOST_ATOMS
    return few and not obstacles_to_copies(problem.system)


def replicate(system: openmm.System, n: int, native_bonds: bool = False) -> openmm.System:
    """Make `n` non-interacting copies of a small, non-periodic System.

    Particle i of copy k has index ``k * system.getNumParticles() + i``. Constraints, names, force groups, global parameters
    and parameter derivatives are kept. ``NonbondedForce`` and ``CustomNonbondedForce`` become a ``CustomBondForce`` over all
    pairs of one copy; with a cutoff each bond ends there, and the exceptions of a ``NonbondedForce``, which have none, are
    another.

    Parameters
    ----------
    system : openmm.System
        One copy; it is not changed.
    n : int
        Number of copies, at least 1.
    native_bonds : bool
        Take :class:`~openmm_rare.dynamics.copies.walker_bonds.WalkerBondForce` instead of ``CustomBondForce``, unless it has
        derivatives with respect to parameters: the same energy, on platforms where
        :func:`~openmm_rare.dynamics.copies.walker_bonds.suits_native_bonds` is true.

    Returns
    -------
    openmm.System

    Raises
    ------
    ValueError
        If `n` is not a positive integer, the System has virtual sites, or a force cannot be repeated: one with periodic
        boundaries, a barostat, a thermostat, a remover of center-of-mass motion, or an unknown one.
    """
    if not isinstance(n, Integral) or n < 1:
        raise InputError(f"n = {n!r}; the number of copies must be an integer, at least 1")
    n_particles = system.getNumParticles()
    found = obstacles_to_copies(system)
    if found:
        raise InputError(sentence_of(found, "copies of the System"))
    result = openmm.System()
    result.setDefaultPeriodicBoxVectors(*system.getDefaultPeriodicBoxVectors())
    for mass in masses_of(system).tolist() * int(n):
        result.addParticle(mass)
    _repeat_constraints(system, result, int(n))
    for force in system.getForces():
        for bonded, cutoff in pair_bonds(force) if type(force) in PAIR_FORCES else [(copy.copy(force), None)]:
            result.addForce(_repeated(bonded, cutoff, int(n), n_particles, native_bonds))
    return result


def _repeated(bonded: openmm.Force, cutoff: float | None, n: int, n_particles: int, native_bonds: bool) -> openmm.Force:
    """A force of one copy, whose terms may end at a cutoff in nm, for all copies."""
    if native_bonds and can_be_native(bonded):
        return WalkerBondForce(bonded, n, cutoff)
    if cutoff is not None:
        cut_off(bonded, cutoff)
    repeat_terms(bonded, n, n_particles)
    return bonded


def _repeat_constraints(system: openmm.System, copies: openmm.System, n: int) -> None:
    """Give each of n copies the constraints of the System."""
    constraints = [system.getConstraintParameters(i) for i in range(system.getNumConstraints())]
    for copy_index in range(n):
        first = copy_index * system.getNumParticles()
        for one, other, distance in constraints:
            copies.addConstraint(first + one, first + other, distance)


def obstacles_to_copies(system: openmm.System) -> list[Obstacle]:
    """Everything that keeps copies of a System from sharing a Context."""
    found = []
    for index, force in enumerate(system.getForces()):
        reason = _refusal(force)
        if reason:
            fact = f"force {index} ({kind_of(force)} {force.getName()!r}) cannot be repeated: {reason[0]}"
            found.append(Obstacle(fact, reason[1]))
    sites = sites_of(system)
    if sites:
        named = f"particles {sites[:10]}{'' if len(sites) <= 10 else f' and {len(sites) - 10} more'}"
        found.append(Obstacle(f"{named} are virtual sites, which are not repeated", "use a model without them"))
    return found


def _refusal(force: openmm.Force) -> tuple[str, str] | None:
    """Why this force cannot be repeated, and what to do; or None."""
    kind = type(force)
    if kind in _REFUSED:
        return _REFUSED[kind]
    if kind not in _TERMS and kind not in PAIR_FORCES:
        known = ", ".join(sorted(known.__name__ for known in (*_TERMS, *PAIR_FORCES)))
        return "this type is not supported", f"remove it, or express it by one of {known}"
    if force.usesPeriodicBoundaryConditions():
        return "it uses periodic boundary conditions", _without_box(force)
    if kind is openmm.NonbondedForce:
        if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
            return "it has parameter offsets", "put their values into the parameters and remove the offsets"
        if not force.getIncludeDirectSpace():
            return "its direct-space part is switched off", "call setIncludeDirectSpace(True)"
    if kind is openmm.CustomNonbondedForce and (force.getNumTabulatedFunctions() or force.getNumComputedValues()):
        return "it uses tabulated functions or computed values", "write them into the energy expression"
    return None


def _without_box(force: openmm.Force) -> str:
    """How to build a force without periodic boundaries."""
    if type(force) in PAIR_FORCES:
        return "build it without (nonbondedMethod=NoCutoff or CutoffNonPeriodic)"
    if isinstance(force, openmm.CustomExternalForce):
        return "write its energy without periodicdistance"
    return "call its setUsesPeriodicBoundaryConditions(False)"


def is_single_term(force: openmm.Force) -> bool:
    """Whether a force has one term, of a kind that can be repeated."""
    terms = _TERMS.get(type(force), ())
    return bool(terms) and all(getattr(force, f"getNum{term}s")() == 1 for term, _ in terms)


def repeat_terms(force: openmm.Force, n: int, n_particles: int) -> None:
    """Add to a force, which has the terms of one copy of so many particles, those of the copies 1 to n - 1."""
    stride = n_particles
    for term, where in _TERMS[type(force)]:
        count, get = getattr(force, f"getNum{term}s")(), getattr(force, f"get{term}Parameters")
        add = getattr(force, f"add{term}")
        terms = [[plain_number(argument) for argument in get(i)] for i in range(count)]
        for offset in range(stride, n * stride, stride):
            for arguments in terms:
                shifted = arguments.copy()
                shifted[where] = [_shifted(indices, offset) for indices in arguments[where]]
                add(*shifted)
        stride = count


def _shifted(indices: int | tuple[int, ...], offset: int) -> int | tuple[int, ...]:
    return indices + offset if isinstance(indices, int) else tuple(index + offset for index in indices)

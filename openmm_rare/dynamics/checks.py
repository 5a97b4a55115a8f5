"""The one gate of every command: what can be seen to go wrong before any dynamics runs, and what should be known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import openmm

from ..errors import InputError
from ..states.states import Coordinate
from ..structure.constraints import constraints_of
from ..structure.obstacles import Findings, Obstacle, sentence_of
from ..structure.openmm_errors import RefusedSystem, naming_system
from ..structure.parameter_names import taken_names
from ..structure.particles import masses_of, sites_of
from ..structure.special_forces import kind_of, special_forces
from .copies.replication import MOST_ATOMS, obstacles_to_copies
from .long_distances import notes_on_long_distances
from .stability import largest_curvature, relaxed, steepest, step_limit
from .start_structure import strain_of_structure, unit_of_structure
from .unbound import unbound_motion

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..states.states import CollectiveVariable

__all__ = ["Purpose", "examine", "require_no_obstacle", "require_runnable", "step_obstacle"]

Purpose = Literal["rate", "paths"]

_GOALS = {"rate": "a rate constant of", "paths": "sampling paths of"}
_TOO_WIDE = 0.15
"""By how much fluctuations along the steepest direction may be too wide without a word, of their width."""

_TOO_FAST = 0.05
"""By how much diffusion may be too fast without a word, of what friction and mass make it."""

_ATOMISTIC = 1e-3
"""ps; a limit of overdamped dynamics below it makes any process of a molecule too long."""


def require_runnable(problem: RareEventSystem, purpose: Purpose = "rate") -> list[str]:
    """Refuse a problem whose dynamics cannot give a right answer, for all reasons at once.

    Parameters
    ----------
    problem : RareEventSystem
    purpose : "rate" or "paths"

    Returns
    -------
    list of str
        Sentences about what is no fault, and should be known.

    Raises
    ------
    ValueError
        If something stands in the way; the message says what to do.
    """
    found = require_no_obstacle(problem, purpose)
    return found.notes + found.doubts


def require_no_obstacle(problem: RareEventSystem, purpose: Purpose = "rate") -> Findings:
    """As :func:`require_runnable`, with what should be known apart from what makes a rate doubtful."""
    found = examine(problem, purpose)
    if found.obstacles:
        raise InputError(sentence_of(found.obstacles, f"{_GOALS[purpose]} {problem.name}"))
    return found


def examine(problem: RareEventSystem, purpose: Purpose) -> Findings:
    """What stands in the way of a rate constant, or of sampling paths, and what should be known."""
    with naming_system(problem.name, "Reference"):
        return _examine(problem, purpose)


def _examine(problem: RareEventSystem, purpose: Purpose) -> Findings:
    obstacles = _constraints_in_a_plane(problem) + _constraints_without_mass(problem) + unit_of_structure(problem)
    obstacles += obstacles_to_copies(problem.system) if _should_be_copied(problem, purpose) else special_forces(problem.system)
    obstacles += taken_names(problem.system) + _still_states(problem)
    notes = [*problem.repairs, *strain_of_structure(problem), *notes_on_long_distances(problem), *_notes(problem)]
    try:
        found = unbound_motion(problem) + _step(problem, purpose)
    except openmm.OpenMMException:  # some of those forces keep OpenMM from making a Context at all
        if not obstacles:
            raise
        return Findings(obstacles, notes)
    return Findings(obstacles, notes) + found


def _constraints_in_a_plane(problem: RareEventSystem) -> list[Obstacle]:
    n_constraints = problem.system.getNumConstraints()
    if not n_constraints or problem.num_dimensions == 3:
        return []
    fact = (
        f"the System has {n_constraints} constraints, which OpenMM can apply to particles that move in 3 dimensions only, and "
        f"num_dimensions = {problem.num_dimensions}"
    )
    return [Obstacle(fact, "set it to 3, or build the System without constraints")]


def _constraints_without_mass(problem: RareEventSystem) -> list[Obstacle]:
    """Constraints of particles that stay where they are, which OpenMM cannot keep."""
    pairs, _ = constraints_of(problem.system)
    found = pairs[(masses_of(problem.system)[pairs] == 0.0).any(axis=1)]
    if not len(found):
        return []
    one, other = found[0]
    fact = f"the System has {len(found)} constraints of particles without mass, such as that between atoms {one} and {other}"
    return [Obstacle(fact, "remove these constraints, or give the particles their mass")]


def _still_states(problem: RareEventSystem) -> list[Obstacle]:
    """States of which no variable ever changes: of atoms without mass, or along an axis that nothing moves along."""
    variables = problem.states.variables.variables
    kept = [_why_kept(problem, variable) for variable in variables]
    if not all(kept):
        return []
    names = ", ".join(repr(variable.name) for variable in variables)
    fact = f"the variables of the states, {names}, never change: {'; '.join(dict.fromkeys(kept))}"
    return [Obstacle(fact, "describe A and B by what moves")]


def _why_kept(problem: RareEventSystem, variable: CollectiveVariable) -> str:
    """Why a variable never changes; empty if it may."""
    atoms, sites = variable.named_atoms, sites_of(problem.system)
    if not atoms:
        return ""
    if (masses_of(problem.system)[list(atoms)] == 0.0).all() and not any(atom in sites for atom in atoms):
        return f"atoms {', '.join(map(str, atoms))} have no mass" if len(atoms) > 1 else f"atom {atoms[0]} has no mass"
    if isinstance(variable, Coordinate) and variable.axis >= problem.num_dimensions:
        return f"nothing moves along {'xyz'[variable.axis]} with num_dimensions = {problem.num_dimensions}"
    return ""


def _should_be_copied(problem: RareEventSystem, purpose: Purpose) -> bool:
    """Whether walkers must move many at a time: small Systems without momenta can be built for that, and are slow otherwise."""
    return purpose == "rate" and not problem.inertial and len(problem.positions) <= MOST_ATOMS


def _step(problem: RareEventSystem, purpose: Purpose) -> Findings:
    """Whether the time step is beyond or near the limit at the initial structure, from which dynamics for a rate begins.

    A first path may come from anywhere, and with momenta a strained structure relaxes: there it does not matter that it is.
    """
    friction = None if problem.inertial else problem.friction
    if purpose == "rate" and not problem.inertial:
        try:
            limit = step_limit(largest_curvature(problem), friction)
        except RefusedSystem:
            raise
        except InputError as error:
            return Findings([Obstacle(str(error))], [])
        strained = ", or minimize the energy of the initial structure if it is strained"
    else:
        limit, strained = _limit_of_paths(problem, friction), ""
    if problem.timestep <= limit:
        inaccurate = _fast_diffusion(problem) if friction is None else _wide_fluctuations(problem.timestep / limit)
        return Findings(doubts=inaccurate)
    return Findings([step_obstacle(problem.system, problem.name, problem.timestep, limit, friction, strained)], [])


def _wide_fluctuations(share: float) -> list[str]:
    """What a time step does that is this share of the limit: overdamped dynamics is stable there, and wrong."""
    wider = 1.0 / np.sqrt(max(1.0 - share, 1e-6)) - 1.0
    if wider < _TOO_WIDE:
        return []
    return [
        f"The time step is {100 * share:.0f} % of the stability limit at the initial structure: fluctuations along the "
        f"steepest direction are {100 * wider:.0f} % too wide. Use a tenth of the limit for 5 %."
    ]


def _fast_diffusion(problem: RareEventSystem) -> list[str]:
    r"""What a time step does in which momenta are forgotten: a free particle of BAOAB diffuses :math:`z \coth z`
    times as fast as one of Langevin dynamics, :math:`z = \gamma \Delta t/2`: to second order :math:`1 + z^2/3`.
    """
    half = 0.5 * problem.friction * problem.timestep
    factor = half / np.tanh(half)
    if factor - 1.0 < _TOO_FAST:
        return []
    small = 2.0 * np.sqrt(3.0 * _TOO_FAST) / problem.friction
    return [
        f"The friction forgets momenta within a time step: at {problem.friction:g}/ps and {problem.timestep:g} ps particles "
        f"diffuse {factor:.3g} times as fast as they should, and rates are too high by up to this factor. Use {small:.1g} ps "
        f"or less for {100 * _TOO_FAST:.0f} %."
    ]


def _limit_of_paths(problem: RareEventSystem, friction: float | None) -> float:
    """At the initial structure, or where its energy is lower; infinite where the forces are not finite."""
    try:
        limit = step_limit(largest_curvature(problem), friction)
        if problem.timestep > limit:
            axes, at_rest = np.arange(3) < problem.num_dimensions, relaxed(problem.system, problem.positions)
            limit = step_limit(steepest(problem.system, at_rest, axes, problem.name), friction)
        return limit
    except RefusedSystem:
        raise
    except InputError:
        return float("inf")


def step_obstacle(
    system: openmm.System, name: str, timestep: float, limit: float, friction: float | None, strained: str = ""
) -> Obstacle:
    """What to say about a time step (ps) beyond its limit (ps), of overdamped dynamics with that friction (1/ps), or not."""
    fact = f"a time step of {timestep:g} ps is too large for {name}: from {limit:.2g} ps on, "
    if friction is None:
        fact += "the fastest vibration at the initial structure grows with every step"
        return Obstacle(fact, f"use {limit / 3:.1g} ps or less{strained}")
    fact += "the steepest direction at the initial structure overshoots further with every step"
    cure = f"use {limit / 10:.1g} ps or less, where fluctuations along it are at most 5 % too wide{strained}"
    if limit < _ATOMISTIC and _is_molecule(system):
        cure = (
            f"at a friction of {friction:g}/ps overdamped dynamics is impractical for this molecule: give it momenta, "
            "inertial = true, and sample its paths with openmm-rare tps, or raise the limit, which grows with the friction and "
            f"with the mass of hydrogen (hydrogenMass=3*amu, constraints=HBonds); as it is, {cure}"
        )
    return Obstacle(fact, cure)


def _is_molecule(system: openmm.System) -> bool:
    return bool(system.getNumConstraints()) or any(kind_of(force) == "HarmonicBondForce" for force in system.getForces())


def _notes(problem: RareEventSystem) -> list[str]:
    system, notes = problem.system, []
    if any(kind_of(force) == "CMMotionRemover" for force in system.getForces()):
        notes.append(
            "CMMotionRemover keeps the center of mass at rest: 3 degrees of freedom less."
            if problem.inertial
            else "CMMotionRemover does nothing: it acts on velocities, which overdamped dynamics does not have."
        )
    still = sorted(set(np.flatnonzero(masses_of(system) == 0.0).tolist()) - set(sites_of(system)))
    if still:
        more = f" and {len(still) - 10} more" if len(still) > 10 else ""
        notes.append(f"Particles {still[:10]}{more} have no mass and stay where they are.")
    return notes

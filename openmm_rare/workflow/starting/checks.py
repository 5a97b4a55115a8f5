"""What path sampling and rates would refuse of a System, looked at before anything long runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openmm
from openmm import app, unit

from ...dynamics.checks import examine
from ...errors import InputError
from ...problem import RareEventSystem
from ...states.states import Coordinate, Range, States
from ...structure.bonds import bonded_pairs
from ...structure.box import periodic_box
from ...structure.constraints import constraints_of
from ...structure.molecules import is_water, members_of, molecules_of
from ...structure.nearest_image import box_in_words
from ...structure.obstacles import sentence_of
from ...structure.particles import masses_of
from ...structure.special_forces import kind_of
from .request import Request

__all__ = ["charge_of", "mended", "require_box", "require_sound"]

_FREE_STEP, _PLAIN_STEP = 0.001, 0.0025
"""ps; longest steps where bonds to hydrogen vibrate, and where they are fixed and hydrogen has its mass."""
_HYDROGEN, _LIGHTEST = 1.008, 1.5
"""Da; of hydrogen, and of what is left of the atom that it takes mass from."""
_THIN = 0.3
"""g/ml; below it a box is not full."""
_DALTON_PER_NM3 = 1.66053907e-3
"""In g/ml."""
_SHRINKS = 0.95
"""What constant pressure may leave of the edges of a box of water that was just made."""


def mended(system: openmm.System) -> list[str]:
    """Take out of a System what would change the dynamics, in place: barostats, thermostats, what stops the center of mass.

    Returns
    -------
    list of str
        Sentences about what was done.
    """
    notes = []
    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        kind = kind_of(force)
        if kind in ("CMMotionRemover", "AndersenThermostat") or kind.endswith("Barostat"):
            system.removeForce(index)
            why = {
                "CMMotionRemover": "it acts on velocities, which belong to the dynamics",
                "AndersenThermostat": "the integrator is the thermostat",
            }.get(kind, "paths and rates are at constant volume")
            notes.append(f"{kind} was taken out of the System: {why}.")
        elif force.getForceGroup() != 0:
            force.setForceGroup(0)
    return notes


def charge_of(system: openmm.System) -> float:
    """Total charge in elementary charges, of the forces that know charges."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            charges = [force.getParticleParameters(index)[0]._value for index in range(force.getNumParticles())]
            return float(sum(charges))
    return 0.0


def require_box(system: openmm.System, request: Request, changes: bool) -> None:
    """Refuse a box that is too small for the cutoff, now or when the pressure has acted on it, and one that is hardly filled.

    Parameters
    ----------
    system : openmm.System
    request : Request
    changes : bool
        Whether its box is going to change.

    Raises
    ------
    ValueError
        With what to do.
    """
    vectors = periodic_box(system)
    if vectors is None:
        return
    width, words = float(np.diag(vectors).min()), box_in_words(vectors)
    cutoff = max((_cutoff(force) for force in system.getForces()), default=0.0)
    least = 2.0 * cutoff / (_SHRINKS if changes and request.water else 1.0)
    if width < least:
        shrinks = ", which constant pressure makes smaller," if width >= 2.0 * cutoff else ""
        raise InputError(
            f"the box of {words}{shrinks} is smaller than twice the cutoff of {cutoff:.3g} nm: give "
            f"{_larger(request, least / width)}, or a shorter cutoff, such as "
            f'--cutoff "{np.floor(9.5 * cutoff * width / least) / 10.0:g} nm"'
        )
    density = float(masses_of(system).sum()) * _DALTON_PER_NM3 / abs(np.linalg.det(vectors))
    if density < _THIN:
        cure = "fill it with --water tip3p" if request.topology is None else "solvate it where these files were made"
        raise InputError(
            f"the box of {words} is nearly empty ({density:.2g} g/ml): {cure}, or give --box none for a molecule in vacuum"
        )


def _larger(request: Request, factor: float) -> str:
    """How to get a larger box."""
    if request.water is None:
        return "a larger box"
    if request.box:
        return "a larger --box"
    return f'a larger --padding, such as "{np.ceil(10.0 * request.padding * factor) / 10.0:g} nm"'


def _cutoff(force: openmm.Force) -> float:
    """Of a force that uses the box, in nm; 0 for others."""
    if not hasattr(force, "getCutoffDistance") or not force.usesPeriodicBoundaryConditions():
        return 0.0
    return float(force.getCutoffDistance().value_in_unit(unit.nanometer))


def require_sound(system: openmm.System, topology: app.Topology, positions: np.ndarray, request: Request) -> list[str]:
    """Refuse what keeps paths from being sampled, by the same gate as all commands, and time steps that make them wrong.

    Parameters
    ----------
    system : openmm.System
    topology : openmm.app.Topology
    positions : ndarray, shape (n_atoms, 3), nm
        With low energy.
    request : Request

    Returns
    -------
    list of str
        What should be known, in sentences.

    Raises
    ------
    ValueError
        For all reasons at once.
    """
    _require_fitting_step(system, topology, request)
    place = Coordinate("x", 0, 0)
    here = float(positions[0, 0])
    states = States([place], Range({"x": (here - 1.0, here + 1.0)}), Range({"x": (here + 1e3, here + 2e3)}))
    problem = RareEventSystem(
        name=request.structure.stem,
        system=system,
        topology=topology,
        positions=positions,
        states=states,
        temperature=request.temperature,
        friction=request.friction,
        timestep=request.timestep,
        inertial=True,
    )
    found = examine(problem, "paths")
    if found.obstacles:
        raise InputError(sentence_of(found.obstacles, f"sampling paths of {problem.name}"))
    return found.notes + found.doubts


def _require_fitting_step(system: openmm.System, topology: app.Topology, request: Request) -> None:
    """Refuse a time step that is stable and wrong: for bonds to hydrogen that vibrate, and for the mass of hydrogen."""
    masses, atoms = masses_of(system), list(topology.atoms())
    hydrogen = {atom.index for atom in atoms if atom.element is not None and atom.element.symbol == "H"}
    light = [tuple(pair) for pair in bonded_pairs(system, topology).tolist() if not hydrogen.isdisjoint(pair)]
    if not light:
        return
    step = 1000.0 * request.timestep
    fixed = {(min(pair), max(pair)) for pair in constraints_of(system)[0].tolist()}
    free = [pair for pair in light if pair not in fixed]
    if free and request.timestep > _FREE_STEP:
        raise InputError(
            f"--timestep {step:g} fs is too long where {len(free)} bonds to hydrogen vibrate freely: give 1 fs or less, or a "
            "System with constraints=HBonds and rigidWater=True"
        )
    _require_heavy_atoms(masses, atoms)
    own = _lightest_hydrogen(masses, atoms, system, topology)
    longest = _PLAIN_STEP * np.sqrt(max(own, _HYDROGEN) / _HYDROGEN)
    if request.timestep > longest:
        heavier = "" if own > 2.9 else ', or heavier hydrogen: --hydrogen-mass "3 Da" allows 4 fs'
        raise InputError(
            f"--timestep {step:g} fs is too long for hydrogen of {own:.3g} Da: give {1000.0 * longest:.2g} fs or less{heavier}"
        )


def _require_heavy_atoms(masses: np.ndarray, atoms: Sequence[app.topology.Atom]) -> None:
    """Refuse atoms that have given nearly all their mass to their hydrogens."""
    for mass, atom in zip(masses, atoms, strict=True):
        if atom.element is not None and atom.element.symbol != "H" and 0.0 < mass < _LIGHTEST:
            raise InputError(
                f"--hydrogen-mass leaves {mass:.3g} Da of {atom.residue.name}{atom.residue.id}:{atom.name}: give less, such as "
                '"3 Da"'
            )


def _lightest_hydrogen(
    masses: np.ndarray, atoms: Sequence[app.topology.Atom], system: openmm.System, topology: app.Topology
) -> float:
    """Of molecules other than water, which is rigid; Da. Infinite where there is none."""
    return min(
        (
            float(masses[atom])
            for each in members_of(molecules_of(system, topology))
            if not is_water(each, system, atoms)
            for atom in each
            if atoms[atom].element is not None and atoms[atom].element.symbol == "H" and masses[atom] > 0.0
        ),
        default=float("inf"),
    )

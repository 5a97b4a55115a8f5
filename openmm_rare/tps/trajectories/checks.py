"""What a path from a file must satisfy besides its states: elements, rigid bonds, energies and forces, and its length."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import openmm

from ...dynamics.platforms import platform_by_name
from ...errors import InputError
from ...settings.paths import PathSettings
from ...structure.constraints import constraints_of
from ...structure.openmm_errors import naming_system
from ...structure.particles import masses_of, sites_of
from ..chains.task import PathProblem

if TYPE_CHECKING:
    from openmm import app

    from ...problem import RareEventSystem

__all__ = ["FileAtom", "require_elements", "require_energies", "require_long_enough", "with_rigid_bonds"]

_KEPT = 1e-5  # of the length of a constraint, as dynamics keeps it
_ROUNDED = 0.02  # of a bond: the three decimals of .xtc; more comes from dynamics without the constraint
_EVALUATED, _FEWEST = {"Reference": 20_000}, 8  # atoms times frames, and frames, whose energy is computed
_EVALUATED_ELSEWHERE = 500_000
# kT above the initial structure. Dynamics at fifteen times the temperature, the hottest that makes first paths, adds 20 per
# atom, and another force field some; where nothing has momentum, a straight line may cross any hill of a model.
_PER_ATOM, _WITH_MOMENTA, _OVERDAMPED = 50.0, 1e3, 1e4
_KICK = 100.0  # thermal widths that a force moves or speeds up an atom in one step: heat makes 10, overlapping atoms 1000


class FileAtom(NamedTuple):
    """An atom as a file names it."""

    name: str
    symbol: str
    residue: str


def require_elements(atoms: Sequence[FileAtom], problem: RareEventSystem, source: str) -> None:
    """Refuse a file whose own topology is one of other atoms.

    Parameters
    ----------
    atoms : sequence of FileAtom
        Of the file.
    problem : RareEventSystem
    source : str

    Raises
    ------
    InputError
        If it has another number of atoms, or atoms of another name and element at some place.
    """
    own = [] if problem.topology is None else [_as_in_file(atom) for atom in problem.topology.atoms()]
    if len(atoms) != len(problem.positions):
        raise InputError(
            f"{source} holds {len(atoms)} atoms, the System {len(problem.positions)}: give a path of all its atoms"
        )
    differ = [i for i, (theirs, mine) in enumerate(zip(atoms, own, strict=False)) if _other_element(theirs, mine)]
    if differ:
        theirs, mine = atoms[differ[0]], own[differ[0]]
        raise InputError(
            f"{source}: atom {differ[0]} is {theirs.name} ({theirs.symbol}) of {theirs.residue}, that of the "
            f"System {mine.name} ({mine.symbol}) of {mine.residue} ({len(differ)} of {len(own)} atoms differ): "
            "give a path of the same atoms in the same order"
        )


def _as_in_file(atom: app.topology.Atom) -> FileAtom:
    return FileAtom(atom.name, getattr(atom.element, "symbol", ""), atom.residue.name)


def _other_element(theirs: FileAtom, mine: FileAtom) -> bool:
    """Whether two atoms cannot be one; readers guess elements that a file leaves out by the first letter of the name."""
    symbols = [theirs.symbol, mine.symbol]
    if not all(symbols) or "VS" in symbols or symbols[0] == symbols[1]:
        return False
    return theirs.name.lstrip("0123456789")[:1].upper() != mine.name.lstrip("0123456789")[:1].upper()


def with_rigid_bonds(system: openmm.System, positions: np.ndarray, source: str, say: Callable[[str], None]) -> np.ndarray:
    """The same frames with constraints as exact as dynamics keeps them, and virtual sites where their atoms put them.

    Parameters
    ----------
    system : openmm.System
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    source : str
    say : callable
        Is told of constraints that were off by more than rounding.

    Raises
    ------
    InputError
        If the constraints of a frame cannot be satisfied.
    """
    strain = _strain(system, positions)
    if not sites_of(system) and not (strain > _KEPT).any():
        return positions
    bare = copy.deepcopy(system)  # constraints alone: exact on any machine, whatever the forces need
    for _ in range(bare.getNumForces()):
        bare.removeForce(0)
    mended = positions.copy()
    with naming_system("the System", "Reference"):
        context = openmm.Context(bare, openmm.VerletIntegrator(0.001), platform_by_name("Reference"))
        for number in range(len(positions)):
            context.setPositions(positions[number])
            if strain[number] > _KEPT:
                context.applyConstraints(0.1 * _KEPT)
            context.computeVirtualSites()
            mended[number] = context.getState(positions=True).getPositions(asNumpy=True)._value
    if not (_strain(system, mended) <= _KEPT).all():
        raise InputError(f"{source}: the constraints of the System cannot be satisfied near its frames: give other positions")
    if strain.max() > _ROUNDED:
        say(f"{source}: bonds that the System keeps rigid were off by up to {100 * strain.max():.2g} %: put right.")
    return mended


def _strain(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    """By which part of its length the worst constraint of each frame is off, shape (n_frames,)."""
    pairs, lengths = constraints_of(system)
    strain = (np.abs(np.linalg.norm(x[pairs[:, 1]] - x[pairs[:, 0]], axis=1) / lengths - 1.0) for x in positions)
    return np.array([each.max(initial=0.0) for each in strain])


def require_energies(problem: PathProblem, positions: np.ndarray, boxes: np.ndarray, source: str, first: int) -> None:
    """Refuse frames that dynamics cannot pass: overlapping atoms, broken molecules, energies that are not finite.

    Of a large system some frames are looked at, evenly spread.

    Parameters
    ----------
    problem : PathProblem
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    boxes : ndarray, shape (n_frames, 3, 3), nm
    source : str
    first : int
        Number of the first frame in the file, for the message.

    Raises
    ------
    InputError
        If there is such a frame.
    """
    target, n_atoms = problem.system, len(problem.system.positions)
    most_atoms = _EVALUATED.get(problem.platform, _EVALUATED_ELSEWHERE)
    count = min(len(positions), max(_FEWEST, most_atoms // n_atoms))
    chosen = np.unique(np.linspace(0, len(positions) - 1, count).round().astype(int))
    platform, masses = platform_by_name(problem.platform), masses_of(target.system)
    with naming_system(target.name, problem.platform):
        context = openmm.Context(target.system, openmm.VerletIntegrator(0.001), platform)
        start, most = _energy_and_kick(context, target, masses, target.positions, None)
    try:
        found = np.array([_energy_and_kick(context, target, masses, positions[i], boxes[i]) for i in chosen])
    except openmm.OpenMMException as error:  # a box that is too small for the cutoff
        raise InputError(f"{source}: OpenMM computes no energy of its frames ({error}): give a path of this System") from error
    bad = ~np.isfinite(found).all(axis=1)
    if bad.any():
        raise InputError(
            f"{source}: the energy or forces of frame {first + chosen[np.argmax(bad)]} are not finite: give a path of this "
            "System"
        )
    # an initial structure that is strained says less than the path itself
    base = np.nanmin([start, np.median(found[:, 0])])
    allowed = (_WITH_MOMENTA if target.inertial else _OVERDAMPED) + _PER_ATOM * n_atoms
    above, kicks = found[:, 0] - base, found[:, 1]
    if (above > allowed).any():
        frame = int(np.argmax(above))
        raise InputError(
            f"{source}: frame {first + chosen[frame]} has an energy of {above[frame]:.2g} kT above that of the initial "
            f"structure, where {allowed:.2g} kT is far more than heat makes: do its atoms overlap, or is it a path of another "
            "System?"
        )
    if (kicks > max(_KICK, np.nan_to_num(most))).any():
        frame = int(np.argmax(kicks))
        raise InputError(
            f"{source}: the forces of frame {first + chosen[frame]} push an atom {kicks[frame]:.2g} times as hard as heat in "
            f"one step of {target.timestep:g} ps, from which dynamics breaks down: do its atoms overlap, or is it a path of "
            "another System?"
        )


def _energy_and_kick(
    context: openmm.Context, problem: RareEventSystem, masses: np.ndarray, positions: np.ndarray, box: np.ndarray | None
) -> tuple[float, float]:
    """Potential energy in kT, and how far forces push an atom in one step, in thermal widths."""
    if problem.system.usesPeriodicBoundaryConditions():
        vectors = problem.system.getDefaultPeriodicBoxVectors() if box is None else box
        context.setPeriodicBoxVectors(*vectors)
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    forces = np.linalg.norm(state.getForces(asNumpy=True)._value, axis=1)[masses > 0.0]
    masses, kt, step = masses[masses > 0.0], problem.kt, problem.timestep
    if problem.inertial:  # speed gained in a step over that of heat
        kicks = forces * step / np.sqrt(masses * kt)
    else:  # displacement in a step over that of the noise
        kicks = forces * np.sqrt(step / (2.0 * problem.friction * masses * kt))
    return state.getPotentialEnergy()._value / kt, float(kicks.max(initial=0.0))


def require_long_enough(n_frames: int, settings: PathSettings, source: str) -> None:
    """Refuse settings under which no shots can make a path as long as the first one again.

    Parameters
    ----------
    n_frames : int
        Of the first path.
    settings : PathSettings
    source : str

    Raises
    ------
    InputError
        If two shots of at most ``max_frames - 1`` frames each are shorter.
    """
    if n_frames > 2 * settings.max_frames - 1:
        raise InputError(
            f"max_frames = {settings.max_frames} is too short for {source}, which has {n_frames} frames: shots that are given "
            f"up after {settings.max_frames} frames cannot make such a path; set max_frames in [path_sampling] to several "
            f"times that, such as {10 * n_frames}, or steps_per_frame to more than {settings.steps_per_frame}"
        )

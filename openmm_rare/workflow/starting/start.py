"""The command `openmm-rare init`: from structure files to a folder with System, structure and a configuration to fill in."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from ...config.run import build_system, load_config
from ...dynamics.checks import require_runnable
from ...dynamics.platforms import platform_by_name
from ...errors import InputError
from ...io.files import resolved, write_csv, write_text
from ...io.progress import shows_progress
from ...io.tasks import Progress
from ...structure.box import periodic_box
from ...structure.files import read_structure, require_same_atoms
from ...structure.nearest_image import box_in_words
from .candidates import Candidates, find_candidates
from .checks import charge_of, mended, require_box, require_sound
from .config_text import config_text, values_in_words
from .equilibration import Equilibrated, equilibrate, fastest_platform, minimized
from .request import Request
from .solvation import parametrized
from .sources import Source, read_source
from .states_given import StatesGiven, held, parse_states
from .trajectory import frames_of

__all__ = ["Seen", "Started", "look", "start"]

_MOST_DRIFT = 0.01
"""Part of the volume; less may be noise of a small box."""
_BRIEF = 20.0
"""ps of equilibration that are for trying out."""
_NEUTRAL = 0.01
"""Elementary charges that rounding may leave."""


@dataclass(frozen=True, eq=False)
class Started:
    """What was made.

    Attributes
    ----------
    folder : Path
    seen : Seen
    facts : list of (str, str)
        What the System is, by labels.
    warnings : list of str
    complete : bool
        Whether the states are there.
    """

    folder: Path
    seen: Seen
    facts: list[tuple[str, str]]
    warnings: list[str]
    complete: bool


@dataclass(frozen=True, eq=False)
class Seen:
    """Variables with their values.

    Attributes
    ----------
    candidates : Candidates
    values : ndarray, shape (n_frames, n_variables)
        nm and radians; the last row is that of the structure.
    where : str
        Where the values come from, in words.
    """

    candidates: Candidates
    values: np.ndarray
    where: str


@shows_progress
def look(request: Request, progress: Progress | None = None) -> Seen:
    """Variables that the files have, and their values in the structure or in a trajectory; nothing is written.

    Raises
    ------
    ValueError
        If the files cannot be read, or a System does not follow from them.
    """
    source, system = _made(request, progress)
    candidates = find_candidates(system, source.topology, source.positions)
    return _seen(request, candidates, source.positions, np.zeros((0, len(candidates.variables))))


def _seen(request: Request, candidates: Candidates, positions: np.ndarray, during: np.ndarray) -> Seen:
    """Values in the trajectory of a user, or else those that were seen here, and at last in the structure."""
    where = f"{request.equilibrate / 2:g} ps" if len(during) > 1 else "the structure"
    if request.trajectory is not None:
        during, where = candidates.values(frames_of(request.trajectory, len(positions))), request.trajectory.name
    return Seen(candidates, np.concatenate([during, candidates.values(positions[None])]), where)


@shows_progress
def start(request: Request, out: str | Path, progress: Progress | None = None) -> Started:
    """Make the folder.

    Parameters
    ----------
    request : Request
    out : path
        A new folder, or an empty one.
    progress : Progress, optional
        Default: on the terminal (standard error).

    Raises
    ------
    RareError
        If something is wrong with what is given, or dynamics breaks down; nothing is written then.
    """
    with _folder(Path(out)) as folder:
        request, system, source, candidates, notes = _prepared(request, progress)
        states = parse_states(request.state_a, request.state_b, candidates)
        states = None if states is None else states.keeping(candidates, source.positions)
        together = held(system, states, candidates)
        positions = minimized(together, source.positions, request.platform, request.structure.stem, progress)
        notes += require_sound(system, source.topology, positions, request)
        found = equilibrate(system, source.topology, positions, request, candidates, states, progress)
        require_box(system, request, changes=False)
        seen = _seen(request, candidates.in_box(found.box), found.positions, found.seen)
        pdb = _write_files(folder, system, source.topology, found.positions)
        write_text(folder / "config.toml", config_text(request, seen.candidates, seen.values, states, seen.where, pdb))
        _write_candidates(folder, seen)
        notes += _doubts(request, system, found) + _about_states(folder, found, states, seen)
    return Started(Path(out), seen, _facts(request, system, candidates), notes, states is not None)


def _prepared(request: Request, progress: Progress) -> tuple[Request, openmm.System, Source, Candidates, list[str]]:
    """All that is known before anything moves; the request has a platform then."""
    if request.platform is not None:
        platform_by_name(request.platform)
    source, system = _made(request, progress)
    notes = mended(system)
    require_box(system, request, changes=request.equilibrate > 0.0)
    request = replace(request, platform=request.platform or fastest_platform(system.getNumParticles()))
    return request, system, source, find_candidates(system, source.topology, source.positions), notes


def _doubts(request: Request, system: openmm.System, found: Equilibrated) -> list[str]:
    """What is not wrong and might be, in sentences."""
    doubts, charge = [], charge_of(system)
    if system.usesPeriodicBoundaryConditions():
        if abs(charge) > _NEUTRAL:
            doubts.append(f"The box has a charge of {charge:+.3g} e, and PME adds a background: add ions that make it neutral.")
        if request.equilibrate < _BRIEF:
            doubts.append(
                f"Equilibrated for {request.equilibrate:g} ps: that is to try things out, a rate wants 50 ps or more."
            )
        elif found.drift > _MOST_DRIFT:
            doubts.append(f"The volume still changed by {100 * found.drift:.1f} % in the end: give a longer --equilibrate.")
    return doubts


def _made(request: Request, progress: Progress) -> tuple[Source, openmm.System]:
    """The molecules, and the System that follows."""
    source = read_source(request)
    of_structure = source.kind == "structure"
    added = {"--water": request.water, "--add-hydrogens": request.add_hydrogens or None}
    if of_structure:
        source = parametrized(source, request, progress)
    elif any(added.values()):
        option = next(name for name, value in added.items() if value)
        raise InputError(
            f"{option} is for PDB and mmCIF with a force field: {request.topology} is complete as it is, or must be "
            "completed where it was made"
        )
    system = source.make()
    if source.box is not None and system.usesPeriodicBoundaryConditions():
        system.setDefaultPeriodicBoxVectors(*(source.box * unit.nanometer))
        source.topology.setPeriodicBoxVectors(source.box * unit.nanometer)
    else:
        source.topology.setPeriodicBoxVectors(None)
    return source, system


def _require_new(out: Path) -> None:
    """Refuse to write where something is."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError(f"{out} exists and is not empty: choose another --out, or remove it")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose a folder with --out")


@contextmanager
def _folder(out: Path) -> Iterator[Path]:
    """A folder of another name, which gets its own when all is there; what goes wrong before leaves nothing."""
    _require_new(out)
    temporary = resolved(out).with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made ({error.strerror}): choose another --out") from error
    try:
        yield temporary
        _require_new(out)
        os.replace(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_files(folder: Path, system: openmm.System, topology: app.Topology, positions: np.ndarray) -> str:
    """System and structure; the name of the latter, which is mmCIF where PDB does not hold it."""
    write_text(folder / "system.xml", openmm.XmlSerializer.serialize(system))
    failure = None
    for name, form in (("start.pdb", app.PDBFile), ("start.cif", app.PDBxFile)):
        path = folder / name
        with open(path, "w") as stream:
            form.writeFile(topology, positions * unit.nanometer, stream, keepIds=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of atoms that are there twice, which is why they are counted
                again, _ = read_structure(path)
            require_same_atoms(system, folder / "system.xml", again, path)
            return name
        except InputError as error:
            path.unlink()
            failure = error
    raise InputError(f"neither PDB nor mmCIF holds the structure so that it is read as it was ({failure})") from failure


def _write_candidates(folder: Path, seen: Seen) -> None:
    """All variables that were found, for whoever looks for more than the configuration shows."""
    rows = []
    for column, each in enumerate(seen.candidates.variables):
        now, extent = values_in_words(each, seen.values[:, column])
        atoms = " ".join(map(str, each.atoms))
        rows.append({"name": each.name, "type": each.kind, "atoms": atoms, "label": each.label, "now": now, "seen": extent})
    write_csv(folder / "candidates.csv", rows)


def _about_states(folder: Path, found: Equilibrated, states: StatesGiven | None, seen: Seen) -> list[str]:
    """Build the problem from what was written, where its states are known; a structure outside of A is told, not refused."""
    if states is None:
        return []
    if found.in_a:
        return require_runnable(build_system(load_config(folder / "config.toml")), "paths")
    columns = {each.name: column for column, each in enumerate(seen.candidates.variables)}
    went = [
        f"{name} went from {values_in_words(seen.candidates.named(name), found.seen[:, columns[name]])[1]}" for name in states.a
    ]
    return [f"No frame lay in A ({', '.join(went)}): change [states.a] in config.toml, or begin with a structure in A."]


def _facts(request: Request, system: openmm.System, candidates: Candidates) -> list[tuple[str, str]]:
    """What the System is, in words."""
    waters = f", {candidates.n_waters} molecules of water" if candidates.n_waters else ""
    box, charge = periodic_box(system), charge_of(system)
    words = request.words
    return [
        ("atoms", f"{system.getNumParticles()}, {candidates.n_solute} of them of the solute{waters}"),
        ("box", "none" if box is None else box_in_words(box)),
        ("charge", f"{charge:+.2g} e" if abs(charge) > _NEUTRAL else "0"),
        ("dynamics", f"{words['temperature']}, friction {words['friction']}, steps of {words['timestep']}"),
        ("platform", request.platform or ""),
    ]

"""Paths in files."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames
from ...errors import InputError
from ...io.files import replacing, resolved
from ...states.states import IN_B
from ...structure.bonds import Bonds, bonds_of
from ...structure.box import periodic_box
from ...structure.whole_molecules import WholeMolecules
from ..chains.task import PathProblem
from .bonds import require_bonds, require_nanometers
from .boxes import in_box_of_system
from .checks import require_energies, with_rigid_bonds
from .connection import between_states, frames_at_rest, where_frames_lie
from .formats import FileContent, read_content, require_format, save_frames
from .still_coordinates import with_still_coordinates

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["read_path", "require_writable", "write_path"]

_LOG = logging.getLogger(__name__)
_SAME_TIME = 1e-3  # of the time between frames


def read_path(name: str, problem: PathProblem, say: Callable[[str], None] = _LOG.warning) -> Frames:
    """A path from A to B from a file: ``.npz`` with ``positions`` (n_frames, n_atoms, 3) in nm, or anything that mdtraj reads.

    The first stretch that connects the states is taken, and turned around where it runs from B to A. Molecules that a periodic
    boundary has cut are made whole, boxes take the digits of the System's, and rigid bonds their lengths. ``boxes`` of an
    ``.npz`` are vectors or edges in nm, for each frame or for all; a System without periodic boundaries needs none.

    Parameters
    ----------
    name : str
    problem : PathProblem
    say : callable
        Is told what was put right, in sentences.

    Raises
    ------
    ValueError
        If it cannot be read, has other atoms or another unit, holds NaN, does not connect A and B, was made in another box than
        the System's, or has broken bonds or impossible energies.
    """
    path, target = Path(name), problem.system
    content, bonds = read_content(path, target), bonds_of(target.system, target.topology, target.positions, target.kt)
    require_nanometers(content.positions, bonds, str(path))
    content = _whole(content, target, bonds, path, say)
    if np.isfinite(content.positions).all():
        content = replace(content, positions=with_still_coordinates(target, content.positions, str(path), say))
    stretch = _connecting(content, target, bonds, path)
    first, positions = stretch.start, content.positions[stretch]
    frames = frames_at_rest(target, positions, _boxes_of(content, stretch, target, path))
    require_bonds(target, bonds, frames.positions, frames.boxes, str(path), first)
    frames = replace(frames, positions=with_rigid_bonds(target.system, frames.positions, str(path), say))
    require_energies(problem, frames.positions, frames.boxes, str(path), first)
    frames = frames[_connecting(FileContent(frames.positions), target, bonds, path)]  # rigid bonds may have moved its ends
    _note_frame_time(content.frame_time, problem, path, say)
    if target.states.classify(frames.positions[:1])[0] == IN_B:
        say(f"{path} runs from B to A: turned around.")
        return frames.reversed
    return frames


def _whole(content: FileContent, problem: RareEventSystem, bonds: Bonds, path: Path, say: Callable[[str], None]) -> FileContent:
    """The same with molecules that are whole, also of a molecule that is in vacuum now but was not when it was written."""
    boxes = periodic_box(problem.system) if content.boxes is None else content.boxes
    if boxes is None or not np.isfinite(content.positions).all():
        return content
    boxes = np.broadcast_to(boxes, (len(content.positions), 3, 3))
    positions, n_mended = WholeMolecules(bonds, len(problem.positions)).mend(content.positions, boxes)
    if n_mended:
        say(f"{path}: molecules cut by the periodic boundary in {n_mended} frames: made whole.")
    return replace(content, positions=positions)


def _connecting(content: FileContent, problem: RareEventSystem, bonds: Bonds, path: Path) -> slice:
    """The frames of the path."""
    found = between_states(problem, content.positions, str(path))
    if found is not None:
        return found
    # another box or broken molecules may be the reason
    frames = frames_at_rest(problem, content.positions, _boxes_of(content, slice(None), problem, path))
    require_bonds(problem, bonds, frames.positions, frames.boxes, str(path), 0)
    raise InputError(
        f"{path} does not connect A and B: {where_frames_lie(problem, content.positions)}{_unit_hint(content, problem)}"
    )


def _unit_hint(content: FileContent, problem: RareEventSystem) -> str:
    """Angstrom, if the path connects the states as such; bonds have told where there are any."""
    try:
        connects = between_states(problem, 0.1 * content.positions, "the path") is not None
    except ValueError:  # of positions that nobody has given
        return ""
    return ". Divided by 10 they would connect A and B: are the positions in Angstrom? They must be in nm" if connects else ""


def _boxes_of(content: FileContent, stretch: slice, problem: RareEventSystem, path: Path) -> np.ndarray | None:
    """The boxes that the dynamics can use; a System without periodic boundaries ignores those of a file."""
    if content.boxes is None or not problem.system.usesPeriodicBoundaryConditions():
        return None
    return in_box_of_system(content.boxes[stretch], problem.system, str(path))


def _note_frame_time(frame_time: float | None, problem: PathProblem, path: Path, say: Callable[[str], None]) -> None:
    """Paths may be shot from at any spacing of their frames, but their lengths in frames compare no more."""
    expected = problem.settings.steps_per_frame * problem.system.timestep
    if frame_time is not None and abs(frame_time / expected - 1.0) > _SAME_TIME:
        say(
            f"{path} has a frame every {frame_time:.4g} ps, and new paths will have one every {expected:.4g} ps "
            f"(steps_per_frame = {problem.settings.steps_per_frame})."
        )


def write_path(name: str | Path, frames: Frames, problem: PathProblem) -> None:
    """Write positions and boxes, so that :func:`read_path` gets a path back; velocities are not kept.

    Parameters
    ----------
    name : path
        With the ending ``.npz``, or one that mdtraj writes, as ``.xtc``, ``.dcd`` or ``.pdb``: see :func:`require_writable`.
    frames : Frames
    problem : PathProblem

    Raises
    ------
    ValueError
        If the format does not hold the path in enough digits, or cannot be written.
    """
    path, target = Path(name), problem.system
    with replacing(path) as temporary:
        save_frames(temporary, frames, target, problem.settings.steps_per_frame * target.timestep)
        if path.suffix == ".npz":
            return
        kept = read_content(temporary, target).positions
        rigid = with_rigid_bonds(target.system, kept, str(path), lambda _: None)  # whoever reads the file is told
        if any(between_states(target, each, str(path)) is None for each in (kept, rigid)):
            raise InputError(f"{path} would not hold the ends of the path in enough digits: choose .npz")


def require_writable(name: str | Path, problem: RareEventSystem) -> None:
    """Refuse a name under which no path can be written, before one is looked for.

    Raises
    ------
    ValueError
        If it exists or its folder cannot be made, mdtraj cannot write its ending, or it needs a topology and the system has
        none that fits.
    """
    path = Path(name)
    if path.exists():
        raise InputError(f"{path} exists: choose another name with --out, or remove it")
    above = next(folder for folder in resolved(path).parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InputError(
            f"{path} cannot be written: {above} is no folder that can be written to; choose another name with --out"
        )
    require_format(path, problem)
    with tempfile.TemporaryDirectory() as folder:  # the initial structure twice, for what only writing tells
        trial = Path(folder) / path.name
        try:
            save_frames(trial, frames_at_rest(problem, problem.positions[None][[0, 0]]), problem, 1.0)
            if not trial.is_file():
                raise InputError("mdtraj does not write several frames to one file")
            read_content(trial, problem)
        except (OSError, InputError) as error:
            reason = str(error).replace(str(trial), path.name)
            raise InputError(f"a path cannot be written as {path.name!r} ({reason}): use .npz, .xtc or .dcd") from error

"""Paths in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..files import replacing
from ..path_settings import INITIAL_PATHS
from .chains import PathProblem
from .connection import between_states, frames_at_rest, where_frames_lie
from .frames import Frames

if TYPE_CHECKING:
    from ..systems.base import RareEventSystem

__all__ = ["read_path", "require_writable", "write_path"]


def read_path(name: str, problem: PathProblem) -> Frames:
    """A path from a file: ``.npz`` with ``positions`` (n_frames, n_atoms, 3) in nm, or anything that mdtraj reads.

    Raises
    ------
    ValueError
        If it cannot be read, has another number of atoms, holds NaN, or does not connect A and B.
    """
    system, path = problem.system, Path(name)
    if not path.is_file():
        choices = ", ".join(f'"{each}"' for each in INITIAL_PATHS)
        raise InputError(f"initial_path = {name!r} must be {choices}, or a file; there is no such file")
    positions, boxes = (_read_npz if path.suffix == ".npz" else _read_mdtraj)(path, system)
    expected = (len(system.positions), 3)
    if positions.ndim != 3 or positions.shape[1:] != expected:
        raise InputError(f"{path}: positions must have the shape (n_frames, {expected[0]}, 3), not {positions.shape}")
    found = between_states(system, positions, str(path))
    if found is None:
        raise InputError(f"{path} does not connect A and B: {where_frames_lie(system, positions)}")
    return frames_at_rest(system, positions[found], None if boxes is None else boxes[found])


def _read_npz(path: Path, system: RareEventSystem) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["positions"], dtype=np.float64), archive.get("boxes")
    except KeyError:
        raise InputError(f"{path} holds no array named positions") from None
    except Exception as error:  # NumPy fails in many ways on what is no archive
        raise InputError(f"{path} cannot be read ({error})") from error


def _read_mdtraj(path: Path, system: RareEventSystem) -> tuple[np.ndarray, np.ndarray | None]:
    import mdtraj

    topology = None if system.topology is None else mdtraj.Topology.from_openmm(system.topology)
    try:
        try:
            trajectory = mdtraj.load(str(path), top=topology)
        except TypeError:  # formats with a topology of their own take none
            trajectory = mdtraj.load(str(path))
    except Exception as error:  # mdtraj fails in as many ways as there are formats
        raise InputError(f"{path} cannot be read by mdtraj ({error})") from error
    return trajectory.xyz.astype(np.float64), trajectory.unitcell_vectors


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
    path, system = Path(name), problem.system
    frame_time = problem.settings.steps_per_frame * system.timestep
    with replacing(path) as temporary:
        if path.suffix == ".npz":
            arrays = {"positions": frames.positions, "boxes": frames.boxes, "frame_time_ps": np.array(frame_time)}
            with open(temporary, "wb") as stream:
                np.savez(stream, **arrays)
            return
        _write_mdtraj(temporary, frames, system, frame_time)
        try:
            read_path(str(temporary), problem)
        except ValueError as error:
            raise InputError(f"{path} would not hold the ends of the path in enough digits: choose .npz") from error


def require_writable(name: str | Path, system: RareEventSystem) -> None:
    """Refuse a name under which no path can be written, before one is looked for.

    Raises
    ------
    ValueError
        If it exists, mdtraj does not know its ending, or it needs a topology and the system has none.
    """
    import mdtraj

    path = Path(name)
    if path.exists():
        raise InputError(f"{path} exists: choose another name with --out, or remove it")
    if path.suffix == ".npz":
        return
    if system.topology is None:
        raise InputError(f"a path of {system.name}, which has no topology, can be written as .npz only, not as {path.name!r}")
    known = mdtraj.formats.registry.FormatRegistry.fileobjects
    if path.suffix not in known:
        raise InputError(
            f"a path cannot be written as {path.name!r}: use .npz, or what mdtraj knows ({', '.join(sorted(known))})"
        )


def _write_mdtraj(path: Path, frames: Frames, system: RareEventSystem, frame_time: float) -> None:
    import mdtraj

    trajectory = mdtraj.Trajectory(
        frames.positions, mdtraj.Topology.from_openmm(system.topology), time=frame_time * np.arange(len(frames))
    )
    if system.system.usesPeriodicBoundaryConditions():
        trajectory.unitcell_vectors = frames.boxes
    try:
        trajectory.save(str(path))
    except (OSError, ValueError, ImportError, TypeError) as error:  # mdtraj reads more formats than it writes
        raise InputError(f"mdtraj cannot write {path.suffix} ({error}): choose .npz, .xtc or .dcd") from error

"""Formats of files with paths: what they hold, and writing them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dynamics.frames import Frames
from ...errors import InputError
from ...io.checksums import require_intact
from ...io.files import sealed_npz
from ...parallel.children import ChildFailure
from ...settings.paths import INITIAL_PATHS
from ...structure.trajectory_file import FORMATS, topology_to_show, write_trajectory
from .boxes import boxes_of_file
from .checks import FileAtom, require_elements
from .reading import read_archive, read_trajectory

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["FileContent", "read_content", "require_format", "save_frames"]

_OWN_ATOMS = (".pdb", ".cif", ".pdbx", ".mmcif")  # formats that say which elements they hold
_PICKLED = (".h5", ".hdf5", ".lh5")  # formats that may hold programs


@dataclass(frozen=True, eq=False)
class FileContent:
    """What a file with a path holds.

    Attributes
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    boxes : ndarray, shape (n_frames, 3, 3), nm, or None
        In reduced form.
    frame_time : float or None
        Between two frames, ps.
    """

    positions: np.ndarray
    boxes: np.ndarray | None = None
    frame_time: float | None = None


def read_content(path: Path, problem: RareEventSystem) -> FileContent:
    """Read a file that has the right shape: ``.npz`` or what mdtraj reads.

    Raises
    ------
    InputError
        If it cannot be read, has other atoms, no frames, or boxes that are none.
    """
    if not path.is_file():
        choices = ", ".join(f'"{each}"' for each in INITIAL_PATHS)
        raise InputError(f"initial_path = {str(path)!r} must be {choices}, or a file; there is no such file")
    positions, boxes, frame_time = (_read_npz if path.suffix == ".npz" else _read_mdtraj)(path, problem)
    expected = (len(problem.positions), 3)
    if positions.ndim != 3 or positions.shape[1:] != expected:
        raise InputError(f"{path}: positions must have the shape (n_frames, {expected[0]}, 3), not {positions.shape}")
    if not len(positions):
        raise InputError(f"{path} holds no frames: give a path from A to B")
    periodic = problem.system.usesPeriodicBoundaryConditions()
    return FileContent(positions, boxes_of_file(boxes, len(positions), str(path), periodic), frame_time)


def _read_npz(path: Path, problem: RareEventSystem) -> tuple[np.ndarray, Any, float | None]:
    try:
        require_intact(path)  # what others wrote has no checksum
        found = read_archive(path)
        time = found.get("frame_time_ps")
        return np.asarray(found["positions"], dtype=np.float64), found.get("boxes"), None if time is None else float(time)
    except (ChildFailure, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({_one_line(error)})") from error


def _read_mdtraj(path: Path, problem: RareEventSystem) -> tuple[np.ndarray, Any, float | None]:
    if path.suffix.lower() in _PICKLED:
        raise InputError(
            f"{path} is not read: PyTables, which mdtraj reads {path.suffix} with, runs what is pickled in such a file. If you "
            "trust it, write it as .npz or .xtc first, with mdtraj"
        )
    own = path.suffix in _OWN_ATOMS
    topology = problem.topology
    try:
        found = read_trajectory(path, None if own or topology is None else topology.getNumAtoms())
    except ChildFailure as error:
        hint = "" if own or topology is not None else "; the System has no topology: give the path as .npz, or as .pdb"
        raise InputError(f"{path} cannot be read by mdtraj ({error}){hint}") from error
    if own:
        require_elements([FileAtom(*atom) for atom in found["atoms"]], problem, str(path))
    boxes = found.get("boxes")
    if boxes is not None and not problem.system.usesPeriodicBoundaryConditions() and not np.isfinite(boxes).all():
        boxes = None  # a box of zero in some frames, which nothing asks for
    return found["positions"].astype(np.float64), boxes, None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def require_format(path: Path, problem: RareEventSystem) -> None:
    """Refuse a format in which a path of the system cannot be written.

    Raises
    ------
    InputError
        If mdtraj does not know the ending, or it needs a topology and the system has none that fits.
    """
    import mdtraj

    if path.suffix == ".npz":
        return
    if problem.topology is None:
        raise InputError(f"a path of {problem.name}, which has no topology, can be written as .npz only, not as {path.name!r}")
    n_named, n_atoms = problem.topology.getNumAtoms(), len(problem.positions)
    if n_named != n_atoms:
        raise InputError(
            f"a path of {problem.name} can be written as .npz only, not as {path.name!r}: its topology has {n_named} atoms, "
            f"its System {n_atoms} particles"
        )
    known = mdtraj.formats.registry.FormatRegistry.fileobjects
    if path.suffix not in known:
        raise InputError(
            f"a path cannot be written as {path.name!r}: use .npz, or what mdtraj knows ({', '.join(sorted(known))})"
        )


def save_frames(path: Path, frames: Frames, problem: RareEventSystem, frame_time: float) -> None:
    """Write positions and boxes, frames `frame_time` ps apart.

    Raises
    ------
    InputError
        If mdtraj cannot write the format.
    """
    if path.suffix == ".npz":
        arrays = {"positions": frames.positions, "boxes": frames.boxes, "frame_time_ps": np.array(frame_time)}
        with open(path, "wb") as stream:
            stream.writelines(sealed_npz(arrays))
        return
    if path.suffix[1:] in FORMATS:
        write_trajectory(path, topology_to_show(problem.topology, problem.system), frames.positions, frame_time, frames.boxes)
        return
    import mdtraj

    topology = mdtraj.Topology.from_openmm(problem.topology)
    trajectory = mdtraj.Trajectory(frames.positions, topology, time=frame_time * np.arange(len(frames)))
    if problem.system.usesPeriodicBoundaryConditions():
        trajectory.unitcell_vectors = frames.boxes
    try:
        trajectory.save(str(path))
    except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:  # mdtraj reads more formats than it writes
        raise InputError(f"mdtraj cannot write {path.suffix} ({_one_line(error)})") from error

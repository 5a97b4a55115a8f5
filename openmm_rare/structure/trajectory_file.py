"""Trajectories and structures in files that VMD, PyMOL, MDAnalysis and mdtraj read: the one place that writes them.

With OpenMM's own writers, which need no further package.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from ..errors import InputError
from ..io.files import replacing, write_text
from .box import periodic_box

__all__ = ["FORMATS", "plain_topology", "require_trajectory_format", "topology_to_show", "write_structures", "write_trajectory"]

FORMATS: tuple[str, ...] = ("xtc", "dcd", "pdb")
"""That hold a periodic box."""

_MOST_B_FACTOR = 99.99


def require_trajectory_format(name: str) -> str:
    """The name of a format in which trajectories are written, without its dot.

    Raises
    ------
    InputError
        For any other.
    """
    if name.lower().lstrip(".") not in FORMATS:
        raise InputError(
            f"paths are not written as {name!r}, and many formats hold no periodic box: choose one of {', '.join(FORMATS)}"
        )
    return name.lower().lstrip(".")


def plain_topology(n_atoms: int) -> app.Topology:
    """A topology for a model without one: one residue of argon."""
    topology = app.Topology()
    chain = topology.addChain()
    residue = topology.addResidue("MOL", chain)
    for number in range(n_atoms):
        topology.addAtom(f"P{number}", app.element.argon, residue)
    return topology


def topology_to_show(topology: app.Topology | None, system: openmm.System) -> app.Topology:
    """The topology of a System, or a plain one where it has none that fits, with the box of the System."""
    fits = topology is not None and topology.getNumAtoms() == system.getNumParticles()
    shown = copy(topology) if fits else plain_topology(system.getNumParticles())
    _set_box(shown, periodic_box(system))
    return shown


def _set_box(topology: app.Topology, box: np.ndarray | None) -> None:
    vectors = None if box is None else [openmm.Vec3(*row) for row in box.tolist()]  # XTCFile takes no arrays
    topology.setPeriodicBoxVectors(None if vectors is None else vectors * unit.nanometer)


def write_trajectory(
    path: Path, topology: app.Topology, positions: np.ndarray, frame_ps: float, boxes: np.ndarray | None = None
) -> None:
    """Write frames, the first at time 0, atomically; the ending chooses the format.

    ``.xtc`` has times and rounds positions to 0.001 nm; ``.dcd`` has the time between frames in its header, in units of
    0.0488882 ps, and single precision; ``.pdb`` has no times and rounds to 0.0001 nm.

    Parameters
    ----------
    path : Path
    topology : openmm.app.Topology
        Its box is that of all frames, unless there are boxes of each; without one the file has none.
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    frame_ps : float
        Between two frames, ps.
    boxes : ndarray, shape (n_frames, 3, 3), nm, optional
        Of each frame, where the volume changes.

    Raises
    ------
    InputError
        For another format, or positions that do not fit into it.
    """
    kind = require_trajectory_format(path.suffix)
    if kind == "pdb":
        write_structures(path, topology, positions, boxes=boxes)
        return
    time, topology = frame_ps * unit.picosecond, copy(topology)
    with replacing(path) as temporary, _naming(path):
        if kind == "xtc":
            file = app.XTCFile(str(temporary), topology, time)
            for frame in _frames(positions, topology, boxes):
                file.writeModel(frame)
            return
        with open(temporary, "w+b") as stream:
            file = app.DCDFile(stream, topology, time)
            for frame in _frames(positions, topology, boxes):
                file.writeModel(frame)


def write_structures(
    path: Path,
    topology: app.Topology,
    positions: np.ndarray,
    b_factors: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
) -> None:
    """Write a PDB file, with a model for each frame if there are several, atomically.

    Parameters
    ----------
    path : Path
    topology : openmm.app.Topology
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    b_factors : ndarray, shape (n_frames, n_atoms), optional
        Relative, from 0 to 1, which becomes 0 to 99.99.
    boxes : ndarray, shape (n_frames, 3, 3), nm, optional
        As for :func:`write_trajectory`.

    Raises
    ------
    InputError
        If positions do not fit into the columns of a PDB file.
    """
    stream, topology = io.StringIO(), copy(topology)
    with _naming(path):
        for number, frame in enumerate(_frames(positions, topology, boxes), start=1):
            model = number if len(positions) > 1 else None
            app.PDBFile.writeHeader(topology, stream)  # the box, without which MDAnalysis has none for this frame
            app.PDBFile.writeModel(topology, frame, stream, modelIndex=model, keepIds=True)
        app.PDBFile.writeFooter(topology, stream)
    text = stream.getvalue()
    if b_factors is not None:
        text = "\n".join(_with_b_factors(text, _MOST_B_FACTOR * np.ravel(b_factors))) + "\n"
    write_text(path, text)


def _with_b_factors(text: str, values: np.ndarray) -> Iterator[str]:
    """Lines of a PDB file with these numbers in columns 61 to 66: OpenMM's writer leaves them at 0."""
    atom = iter(values)
    for line in text.splitlines():
        yield f"{line[:60]}{next(atom):6.2f}{line[66:]}" if line.startswith(("ATOM", "HETATM")) else line


def _frames(positions: np.ndarray, topology: app.Topology, boxes: np.ndarray | None) -> Iterator[unit.Quantity]:
    """Each frame, while the topology has its box."""
    for number, frame in enumerate(positions):
        if boxes is not None and topology.getPeriodicBoxVectors() is not None:
            _set_box(topology, boxes[number])
        yield np.asarray(frame, dtype=np.float64) * unit.nanometer


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of errors of OpenMM's writers which file they are about."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path.name} cannot hold these positions ({error}): choose another format") from error

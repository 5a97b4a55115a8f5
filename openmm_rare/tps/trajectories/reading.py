"""Files with frames of others, read in a process of its own: what is wrong in them ends that process, not this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...parallel.children import ask

__all__ = ["read_archive", "read_trajectory"]

_MEMORY, _MEMORY_PER_BYTE = 0.6e9, 50  # a PDB file takes 25 times its size while mdtraj reads it
_SECONDS, _SECONDS_PER_BYTE = 30.0, 5e-6


def read_archive(path: Path) -> dict[str, Any]:
    """What an ``.npz`` of ours holds.

    Returns
    -------
    dict
        ``positions``, and where they are there ``boxes`` and ``frame_time_ps``.

    Raises
    ------
    ChildFailure
        If it cannot be read, or has no positions.
    """
    return ask(_archive, str(path.absolute()), **_limits(path))


def read_trajectory(path: Path, n_atoms: int | None) -> dict[str, Any]:
    """What mdtraj finds in a file.

    Parameters
    ----------
    path : Path
    n_atoms : int or None
        Of the topology, for formats that have none of their own; None where there is none.

    Returns
    -------
    dict
        ``positions`` of shape (n_frames, n_atoms, 3), nm; ``boxes`` of shape (n_frames, 3, 3), nm, if there are any; ``atoms``,
        the name, symbol and residue of each.

    Raises
    ------
    ChildFailure
        If mdtraj cannot read it.
    """
    return ask(_trajectory, str(path.absolute()), n_atoms, **_limits(path))


def _limits(path: Path) -> dict[str, float]:
    size = path.stat().st_size
    return {"memory": _MEMORY + _MEMORY_PER_BYTE * size, "seconds": _SECONDS + _SECONDS_PER_BYTE * size}


def _archive(name: str) -> dict[str, Any]:
    with np.load(name, allow_pickle=False) as archive:
        if "positions" not in archive:
            raise ValueError("it holds no array named positions")
        return {key: np.asarray(archive[key]) for key in ("positions", "boxes", "frame_time_ps") if key in archive}


def _trajectory(name: str, n_atoms: int | None) -> dict[str, Any]:
    import mdtraj

    try:
        trajectory = mdtraj.load(name, top=None if n_atoms is None else _places(n_atoms))
    except TypeError:  # formats with a topology of their own take none
        trajectory = mdtraj.load(name)
    found: dict[str, Any] = {"positions": trajectory.xyz}
    if trajectory.unitcell_vectors is not None:
        found["boxes"] = trajectory.unitcell_vectors
    atoms = trajectory.topology.atoms
    return found | {"atoms": [(atom.name, getattr(atom.element, "symbol", ""), atom.residue.name) for atom in atoms]}


def _places(n_atoms: int) -> Any:
    """A topology of so many atoms: what formats without one ask for is how many there are."""
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(n_atoms):
        topology.add_atom("X", mdtraj.element.virtual, residue)
    return topology

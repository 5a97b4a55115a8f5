"""Frames of a simulation that a user has, in which variables are looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import InputError
from ...parallel.children import ChildFailure
from ...tps.trajectories.reading import read_archive, read_trajectory

__all__ = ["frames_of"]

_PICKLED = (".h5", ".hdf5", ".lh5")


def frames_of(path: Path, n_atoms: int) -> np.ndarray:
    """Positions, shape (n_frames, n_atoms, 3), nm.

    Raises
    ------
    ValueError
        If it cannot be read, or has other atoms.
    """
    if not path.is_file():
        raise InputError(f"--trajectory {path} does not exist: give a file that mdtraj reads, such as .xtc or .dcd, or .npz")
    if path.suffix.lower() in _PICKLED:
        raise InputError(f"--trajectory {path} is not read, since such files may hold programs: give .xtc, .dcd or .pdb")
    try:
        read = read_archive(path) if path.suffix == ".npz" else read_trajectory(path, n_atoms)
    except ChildFailure as error:
        raise InputError(f"--trajectory {path} cannot be read by mdtraj ({str(error)[:100]})") from error
    found = np.asarray(read["positions"], dtype=np.float64)
    if found.ndim != 3 or found.shape[1] != n_atoms or not len(found) or not np.isfinite(found).all():
        raise InputError(f"--trajectory {path} must have frames of {n_atoms} atoms, as the structure, not {found.shape}")
    return found

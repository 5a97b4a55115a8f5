"""Frames of a periodic System to look at: whole molecules, all around the one that matters."""

from __future__ import annotations

import numpy as np

from .molecules import members_of
from .nearest_image import nearest_image

__all__ = ["gathered"]


def gathered(positions: np.ndarray, box: np.ndarray, molecule_of: np.ndarray, center: int) -> np.ndarray:
    """The same frames with one molecule in the middle of the box, and of each other one the image nearest to it.

    Dynamics lets molecules leave the box, whole; so two that are next to each other through its boundary are seen side by side.

    Parameters
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
        Of whole molecules.
    box : ndarray, shape (3, 3), nm
        In reduced form.
    molecule_of : ndarray of int, shape (n_atoms,)
        From :func:`openmm_rare.structure.molecules.molecules_of`.
    center : int
        Number of that molecule.
    """
    middles = np.stack([positions[:, atoms].mean(axis=1) for atoms in members_of(molecule_of)], axis=1)
    away = middles - middles[:, [center]]
    moved = 0.5 * box.sum(axis=0) - middles[:, [center]] + nearest_image(away, box) - away
    return positions + moved[:, molecule_of]

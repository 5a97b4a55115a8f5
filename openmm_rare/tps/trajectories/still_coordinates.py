"""Coordinates that no dynamics changes: of particles without mass, and along axes in which nothing moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...structure.box import periodic_box
from ...structure.nearest_image import nearest_image
from ...structure.particles import masses_of, sites_of

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["with_still_coordinates"]

_ROUNDED = 0.01  # nm; more than any file rounds


def with_still_coordinates(
    problem: RareEventSystem, positions: np.ndarray, source: str, say: Callable[[str], None]
) -> np.ndarray:
    """The same frames with all that stays where it is in the place of the initial structure: else each shot keeps another.

    Frames that are moved as a whole, as by a program that centers them, are moved back.

    Parameters
    ----------
    problem : RareEventSystem
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    source : str
        For messages.
    say : callable
        Is told of frames that were moved.

    Raises
    ------
    InputError
        If what stays where it is lies elsewhere in a frame.
    """
    still = _still(problem)
    axes = np.flatnonzero(still.any(axis=0))
    if not len(axes):
        return positions
    apart = positions - problem.positions
    shift = np.zeros((len(positions), 1, 3))
    for axis in axes:
        shift[:, 0, axis] = apart[:, np.argmax(still[:, axis]), axis]
    off = np.abs(nearest_image(apart - shift, periodic_box(problem.system))) * still
    if off.max() > _ROUNDED:
        frame, atom, axis = np.unravel_index(np.argmax(off), off.shape)
        plane = f"cannot move along {'xyz'[axis]} (num_dimensions = {problem.num_dimensions})"
        why = "has no mass" if still[atom].all() else plane
        raise InputError(
            f"{source}: atom {atom}, which {why}, is {off[frame, atom, axis]:.2g} nm from its place in frame {frame}: give a "
            "path in which all that stays where it is has the place that it has in the initial structure"
        )
    moved = positions - shift
    np.copyto(moved, problem.positions, where=still)
    far = int((np.abs(shift) > _ROUNDED).any(axis=(1, 2)).sum())
    if far:
        say(f"{source}: {far} frames were moved as a whole, back to where particles stay that cannot move.")
    return moved


def _still(problem: RareEventSystem) -> np.ndarray:
    """Which coordinates never change, booleans (n_atoms, 3); virtual sites go with their atoms."""
    massless = masses_of(problem.system) == 0.0
    massless[sites_of(problem.system)] = False
    return massless[:, None] | (np.arange(3) >= problem.num_dimensions)

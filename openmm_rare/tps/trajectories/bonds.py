"""Whether bonds are as long in a path from a file as they should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...structure.bonds import Bonds
from ...structure.nearest_image import nearest_image

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["require_bonds", "require_nanometers"]

_FEW_FRAMES = 50
_TEN = 7.0, 14.0  # what counts as a factor of ten


def require_nanometers(positions: np.ndarray, bonds: Bonds, source: str) -> None:
    """Refuse positions in another unit, by the lengths of their bonds: most are right also where some are cut by a box.

    Parameters
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3)
    bonds : Bonds
    source : str

    Raises
    ------
    InputError
        If the bonds are ten times as long as they should be, or a tenth of it.
    """
    sure = bonds[bonds.known & (bonds.lengths > 0.0)]
    if not len(sure) or not len(positions):
        return
    some = positions[:: -(-len(positions) // _FEW_FRAMES)]
    ratio = float(np.median(np.linalg.norm(sure.vectors(some), axis=2) / sure.lengths))
    if _TEN[0] < ratio < _TEN[1]:
        raise InputError(
            f"{source}: its bonds are {ratio:.2g} times as long as they should be: are the positions in Angstrom? They must be "
            "in nm: divide them by 10"
        )
    if _TEN[0] * ratio < 1.0 < _TEN[1] * ratio:
        raise InputError(
            f"{source}: its bonds are {ratio:.2g} times as long as they should be: have the positions been "
            "divided by 10 once too often? They must be in nm"
        )


def require_bonds(
    problem: RareEventSystem, bonds: Bonds, positions: np.ndarray, boxes: np.ndarray, source: str, first: int
) -> None:
    """Refuse frames in which a bond is broken.

    Parameters
    ----------
    problem : RareEventSystem
    bonds : Bonds
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    boxes : ndarray, shape (n_frames, 3, 3), nm
    source : str
    first : int
        Number of the first frame in the file, for the message.

    Raises
    ------
    InputError
        If a constraint is off by a fifth, or a harmonic bond holds more than 300 kT; or by less in most frames, as in a path
        of another molecule.
    """
    sure = bonds[bonds.known]
    if not len(sure):
        return
    some = range(0, len(positions), -(-len(positions) // _FEW_FRAMES))
    usual = np.median([_lengths(sure, positions[index], boxes[index]) for index in some], axis=0)
    if (off := sure.strained(usual)).any():
        worst = int(np.argmax(off * np.abs(usual - sure.lengths)))
        raise InputError(
            f"{source}: in most frames the bond between {_names(problem, sure.pairs[worst])} is about {usual[worst]:.3g} nm "
            f"long, and should be {sure.lengths[worst]:.3g} nm ({int(off.sum())} of {len(sure)} bonds are like that): is it "
            "another molecule, are its atoms in another order than those of the System, or was it drawn as a straight line? "
            "Give a path that dynamics has made"
        )
    for number, (frame, box) in enumerate(zip(positions, boxes, strict=True)):
        lengths = _lengths(sure, frame, box)
        if (off := sure.broken(lengths)).any():
            worst = int(np.argmax(off * np.abs(lengths - sure.lengths)))
            raise InputError(
                f"{source}: in frame {first + number} the bond between {_names(problem, sure.pairs[worst])} is "
                f"{lengths[worst]:.3g} nm long, and should be {sure.lengths[worst]:.3g} nm ({int(off.sum())} of {len(sure)} "
                "bonds of this frame are broken): give a path whose molecules are whole, or leave this frame out"
            )


def _lengths(bonds: Bonds, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Lengths in one frame as the forces see them, shape (n,)."""
    vectors = bonds.vectors(frame[None])[0]
    vectors[bonds.periodic] = nearest_image(vectors[bonds.periodic], box)
    return np.linalg.norm(vectors, axis=1)


def _names(problem: RareEventSystem, pair: np.ndarray) -> str:
    """Two atoms, by number and, where there is a topology, name."""
    if problem.topology is None:
        return f"atoms {pair[0]} and {pair[1]}"
    atoms = list(problem.topology.atoms())
    named = (f"{atoms[index].name} of {atoms[index].residue.name} {atoms[index].residue.id}" for index in pair)
    return f"atoms {pair[0]} and {pair[1]} ({', '.join(named)})"

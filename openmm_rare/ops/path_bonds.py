"""Bonds of a System: what holds its atoms together, how long it should be, and whether it is so in a path from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..errors import InputError
from ..nearest_image import nearest_image
from .path_boxes import image_counts, system_box

if TYPE_CHECKING:
    from ..systems.base import RareEventSystem

__all__ = ["Bonds", "bonds_of", "require_bonds", "require_nanometers"]

# kT in a harmonic bond: the hottest first paths, at 15 times the temperature, leave 170 in the worst of 10^5 bonds, and a
# rotation that was drawn as a straight line 200 in the middle
_MOST_ENERGY = 300.0
# of the length of a constraint: far more than the vibrations and the other water models of a trajectory made without it
_MOST_STRAIN = 0.2
_USUAL = 0.45  # of the slack, 60 kT: what the middle one of all frames never holds in a path of the same molecule
_LOOSE, _LEAST_LOOSE = 0.5, 0.03  # of the length at the start, and nm: for bonds whose energy is not known here
_FEW_FRAMES = 50
_TEN = 7.0, 14.0  # what counts as a factor of ten


@dataclass(frozen=True, eq=False)
class Bonds:
    """Pairs of atoms that belong together.

    Attributes
    ----------
    pairs : ndarray of int, shape (n, 2)
    lengths : ndarray, shape (n,), nm
        At rest; for bonds of unknown shape that in the initial structure.
    slack : ndarray, shape (n,), nm
        A bond that differs from its length by more is broken.
    known : ndarray of bool, shape (n,)
        Whether length and slack follow from a constraint or a harmonic energy, and the initial structure keeps them.
    periodic : ndarray of bool, shape (n,)
        Whether the force between them takes the nearest image by itself.
    mendable : ndarray of bool, shape (n,)
        Whether its ends belong side by side: always unless periodic, and else where the initial structure has them so, which
        leaves a crystal whose bonds go around the box as it is.
    """

    pairs: np.ndarray
    lengths: np.ndarray
    slack: np.ndarray
    known: np.ndarray
    periodic: np.ndarray
    mendable: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, which: np.ndarray) -> Bonds:
        return Bonds(*(getattr(self, field.name)[which] for field in fields(self)))

    def vectors(self, positions: np.ndarray) -> np.ndarray:
        """From the first to the second atom of each, shape (n_frames, n, 3)."""
        return positions[:, self.pairs[:, 1]] - positions[:, self.pairs[:, 0]]

    def broken(self, lengths: np.ndarray) -> np.ndarray:
        """Which of the bonds of these lengths, shape (n_frames, n), are broken."""
        return np.abs(lengths - self.lengths) > self.slack


def bonds_of(target: RareEventSystem) -> Bonds:
    """All bonds: constraints, harmonic and other bonds, sites, and bonds of the topology where the forces know none."""
    constraints = list(_constraints(target.system))
    rows, loose = [*constraints, *_harmonic(target.system, target.kt)], list(_of_unknown_shape(target.system))
    touched = {atom for first, second, *_ in [*rows, *loose] for atom in (first, second)}
    if target.topology is not None and target.topology.getNumAtoms() == len(target.positions):
        named = ((bond[0].index, bond[1].index) for bond in target.topology.bonds())
        loose += [(*pair, False) for pair in named if not touched & set(pair)]
    for (first, second, wraps), length in zip(loose, _at_start(target, [row[:2] for row in loose]), strict=True):
        rows.append((first, second, length, max(_LOOSE * length, _LEAST_LOOSE), False, wraps))
    rigid, unique = {_ordered(row) for row in constraints}, {}
    for row in rows:
        pair = _ordered(row)
        if pair in unique and not row[4] and pair not in rigid:  # a harmonic bond that is not all of their energy
            unique[pair] = (*unique[pair][:4], False, unique[pair][5])
        unique.setdefault(pair, row)
    columns = list(zip(*unique.values(), strict=True)) or [()] * 6
    pairs = np.array([columns[0], columns[1]], dtype=np.int64).T.reshape(-1, 2)
    lengths, slack = (np.array(column, dtype=float) for column in columns[2:4])
    known, periodic = (np.array(column, dtype=bool) for column in columns[4:])
    known &= np.abs(_at_start(target, pairs) - lengths) <= _USUAL * slack  # a restraint may be strained from the start
    side_by_side = target.positions[pairs[:, 1]] - target.positions[pairs[:, 0]]
    mendable = ~periodic | (np.abs(np.linalg.norm(side_by_side, axis=1) - lengths) <= slack)
    return Bonds(pairs, lengths, slack, known, periodic, mendable)


def _ordered(row: tuple) -> tuple[int, int]:
    return min(row[:2]), max(row[:2])


def _at_start(target: RareEventSystem, pairs: Sequence[tuple[int, int]] | np.ndarray) -> np.ndarray:
    """Distances in the initial structure, of nearest images in a periodic System, shape (n,), nm."""
    pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    box = system_box(target.system) if target.system.usesPeriodicBoundaryConditions() else None
    return np.linalg.norm(nearest_image(target.positions[pairs[:, 1]] - target.positions[pairs[:, 0]], box), axis=1)


def _constraints(system: openmm.System) -> Iterator[tuple]:
    for index in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(index)
        yield first, second, length._value, _MOST_STRAIN * length._value, True, False


def _harmonic(system: openmm.System, kt: float) -> Iterator[tuple]:
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, length, stiffness = force.getBondParameters(index)
                if stiffness._value > 0.0:
                    slack = float(np.sqrt(2.0 * _MOST_ENERGY * kt / stiffness._value))
                    yield first, second, length._value, slack, True, force.usesPeriodicBoundaryConditions()


def _of_unknown_shape(system: openmm.System) -> Iterator[tuple[int, int, bool]]:
    for force in system.getForces():
        if isinstance(force, openmm.CustomBondForce):
            for index in range(force.getNumBonds()):
                yield *force.getBondParameters(index)[:2], force.usesPeriodicBoundaryConditions()
        if isinstance(force, openmm.DrudeForce):
            for index in range(force.getNumParticles()):
                yield *force.getParticleParameters(index)[:2], False
    for index in range(system.getNumParticles()):
        if system.isVirtualSite(index):
            yield system.getVirtualSite(index).getParticle(0), index, False


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
    target: RareEventSystem, bonds: Bonds, positions: np.ndarray, boxes: np.ndarray, source: str, first: int
) -> None:
    """Refuse frames in which a bond is broken.

    Parameters
    ----------
    target : RareEventSystem
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
    if (off := np.abs(usual - sure.lengths) > _USUAL * sure.slack).any():
        worst = int(np.argmax(off * np.abs(usual - sure.lengths)))
        raise InputError(
            f"{source}: in most frames the bond between {_names(target, sure.pairs[worst])} is about {usual[worst]:.3g} nm "
            f"long, and should be {sure.lengths[worst]:.3g} nm ({int(off.sum())} of {len(sure)} bonds are like that): is it "
            "another molecule, are its atoms in another order than those of the System, or was it drawn as a straight line? "
            "Give a path that dynamics has made"
        )
    for number, (frame, box) in enumerate(zip(positions, boxes, strict=True)):
        lengths = _lengths(sure, frame, box)
        if (off := sure.broken(lengths)).any():
            worst = int(np.argmax(off * np.abs(lengths - sure.lengths)))
            raise InputError(
                f"{source}: in frame {first + number} the bond between {_names(target, sure.pairs[worst])} is "
                f"{lengths[worst]:.3g} nm long, and should be {sure.lengths[worst]:.3g} nm ({int(off.sum())} of {len(sure)} "
                "bonds of this frame are broken): give a path whose molecules are whole, or leave this frame out"
            )


def _lengths(bonds: Bonds, frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Lengths in one frame as the forces see them, shape (n,)."""
    vectors = bonds.vectors(frame[None])[0]
    if bonds.periodic.any():
        images = image_counts(vectors, np.broadcast_to(box, (len(vectors), 3, 3))) @ box
        vectors = np.where(bonds.periodic[:, None], vectors - images, vectors)
    return np.linalg.norm(vectors, axis=1)


def _names(target: RareEventSystem, pair: np.ndarray) -> str:
    """Two atoms, by number and, where there is a topology, name."""
    if target.topology is None or target.topology.getNumAtoms() != len(target.positions):
        return f"atoms {pair[0]} and {pair[1]}"
    atoms = list(target.topology.atoms())
    named = (f"{atoms[index].name} of {atoms[index].residue.name} {atoms[index].residue.id}" for index in pair)
    return f"atoms {pair[0]} and {pair[1]} ({', '.join(named)})"

"""Bonds: what holds the atoms of a System together, how long it should be, and where a periodic box has cut it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import openmm

from .box import periodic_box
from .constraints import constraints_of
from .nearest_image import image_counts, nearest_image
from .particles import require_particles, sites_of

if TYPE_CHECKING:
    from openmm import app

__all__ = ["Bonds", "bonded_pairs", "bonds_of", "harmonic_bonds"]

# kT in a harmonic bond: the hottest first paths, at 15 times the temperature, leave 170 in the worst of 10^5 bonds, and a
# rotation that was drawn as a straight line 200 in the middle
_MOST_ENERGY = 300.0
# of the length of a constraint: far more than the vibrations and the other water models of a trajectory made without it
_MOST_STRAIN = 0.2
_USUAL = 0.45  # of the slack, 60 kT: what the middle one of all frames never holds in a path of the same molecule
_LOOSE, _LEAST_LOOSE = 0.5, 0.03  # of the length at the start, and nm: for bonds whose energy is not known here


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
        Whether its ends belong side by side: always if it holds a molecule together, unless periodic, and else where the
        initial structure has them so, which leaves a crystal whose bonds go around the box as it is.
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

    def strained(self, lengths: np.ndarray) -> np.ndarray:
        """Which of the bonds of these lengths, shape (n_frames, n), hold more than 60 kT."""
        return np.abs(lengths - self.lengths) > _USUAL * self.slack

    def turns(self, positions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """How many box vectors to take off the vectors of bonds that a box has cut, shape (n_frames, n, 3); 0 for the others.

        A bond is cut if its nearest image is not broken and holds 60 kT less than the bond as it is: restraints between
        molecules, which may be longer than half the box, are left alone.

        Parameters
        ----------
        positions : ndarray, shape (n_frames, n_atoms, 3), nm
        boxes : ndarray, shape (n_frames, 3, 3), nm
            In reduced form.
        """
        vectors = self.vectors(positions)
        lengths, turns = np.linalg.norm(vectors, axis=2), np.zeros_like(vectors)
        frames, which = np.nonzero(self.strained(lengths))
        images = nearest_image(vectors[frames, which], boxes[frames])
        rest, slack = self.lengths[which], self.slack[which]
        off, nearest_off = (np.abs(each - rest) for each in (lengths[frames, which], np.linalg.norm(images, axis=1)))
        cut = (nearest_off <= slack) & (off**2 - nearest_off**2 > (_USUAL * slack) ** 2)
        frames, which = frames[cut], which[cut]
        turns[frames, which] = image_counts(vectors[frames, which], boxes[frames])
        return turns


class _Bond(NamedTuple):
    pair: tuple[int, int]  # in ascending order
    length: float = np.nan  # at rest, nm; NaN where its energy is not known here
    stiffness: float = np.nan  # kJ/mol/nm^2; infinite for a constraint
    known: bool = False
    periodic: bool = False
    holds: bool = True  # a molecule together; no restraint between two


def bonds_of(system: openmm.System, topology: app.Topology | None, positions: np.ndarray, kt: float) -> Bonds:
    """All bonds: constraints, harmonic and custom bonds, virtual sites, Drude particles, and those of the topology.

    Parameters
    ----------
    system : openmm.System
    topology : openmm.app.Topology or None
    positions : ndarray, shape (n_atoms, 3), nm
        The initial structure.
    kt : float
        kJ/mol; it says how far a bond may be stretched.
    """
    collected = _collected(system, topology)
    columns = [np.array(column) for column in zip(*collected, strict=True)] or [np.zeros(0)] * len(_Bond._fields)
    pairs, (lengths, stiffness) = columns[0].astype(np.int64).reshape(-1, 2), columns[1:3]
    known, periodic, holds = (column.astype(bool) for column in columns[3:])
    vectors = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    box = periodic_box(system)
    at_start = np.linalg.norm(nearest_image(vectors, box), axis=1)
    loose = np.isnan(lengths)
    lengths = np.where(loose, at_start, lengths)
    slack = np.where(np.isinf(stiffness), _MOST_STRAIN * lengths, np.sqrt(2.0 * _MOST_ENERGY * kt / stiffness))
    slack = np.where(loose, np.maximum(_LOOSE * lengths, _LEAST_LOOSE), slack)
    bonds = Bonds(pairs, lengths, slack, known, periodic, holds)
    known &= ~bonds.strained(at_start)  # a restraint may be strained from the start
    if periodic.any() and box is not None:
        holds &= ~(periodic & bonds.turns(positions[None], box[None]).any(axis=(0, 2)))
    return bonds


def bonded_pairs(system: openmm.System, topology: app.Topology | None) -> np.ndarray:
    """Pairs of atoms of one molecule whose bonds hold it together, shape (n, 2)."""
    return np.array([bond.pair for bond in _collected(system, topology) if bond.holds], dtype=np.int64).reshape(-1, 2)


def harmonic_bonds(system: openmm.System) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, shape (n, 2), lengths in nm, stiffness in kJ/mol/nm^2, and whether they take nearest images, each (n,)."""
    rows = [row for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce) for row in _rows(force)]
    pairs = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
    require_particles(pairs, system, "a harmonic bond")
    lengths, stiffness = (np.array([row[column] for row in rows], dtype=np.float64) for column in (2, 3))
    return pairs, lengths, stiffness, np.array([row[4] for row in rows], dtype=bool)


def _rows(force: openmm.HarmonicBondForce) -> Iterator[tuple[int, int, float, float, bool]]:
    for index in range(force.getNumBonds()):
        first, second, length, stiffness = force.getBondParameters(index)
        if stiffness._value > 0.0:
            yield first, second, length._value, stiffness._value, force.usesPeriodicBoundaryConditions()


def _collected(system: openmm.System, topology: app.Topology | None) -> list[_Bond]:
    """Each pair once, as the first that knows its length has it."""
    named = [] if topology is None else [_ordered(bond[0].index, bond[1].index) for bond in topology.bonds()]
    merged: dict[tuple[int, int], _Bond] = {}
    for bond in chain(_constraints(system), _harmonic(system), _custom(system, named), _massless(system)):
        first = merged.setdefault(bond.pair, bond)
        if first is not bond:  # a harmonic bond may be not all of their energy, a constraint leaves nothing to others
            known = first.known and (bond.known or np.isinf(first.stiffness))
            merged[bond.pair] = first._replace(known=bool(known), holds=first.holds or bond.holds)
    for pair in named:
        merged.setdefault(pair, _Bond(pair))
    require_particles(np.array(list(merged), dtype=np.int64), system, "a bond")
    return list(merged.values())


def _ordered(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


def _constraints(system: openmm.System) -> Iterator[_Bond]:
    for pair, length in zip(*(each.tolist() for each in constraints_of(system)), strict=True):
        yield _Bond(_ordered(*pair), length, np.inf, known=True)


def _harmonic(system: openmm.System) -> Iterator[_Bond]:
    for pair, *row in zip(*(each.tolist() for each in harmonic_bonds(system)), strict=True):
        length, stiffness, periodic = row
        yield _Bond(_ordered(*pair), length, stiffness, known=True, periodic=periodic)


def _custom(system: openmm.System, named: list[tuple[int, int]]) -> Iterator[_Bond]:
    """Bonds of any energy, which may also restrain two molecules: so it is where the topology has other bonds of the atoms."""
    pairs, bonded = set(named), {atom for pair in named for atom in pair}
    for force in system.getForces():
        if isinstance(force, openmm.CustomBondForce):
            periodic = force.usesPeriodicBoundaryConditions()
            for index in range(force.getNumBonds()):
                pair = _ordered(*force.getBondParameters(index)[:2])
                yield _Bond(pair, periodic=periodic, holds=pair in pairs or bonded.isdisjoint(pair))


def _massless(system: openmm.System) -> Iterator[_Bond]:
    """Drude particles with what they belong to, and virtual sites with the atoms that place them."""
    for force in system.getForces():
        if isinstance(force, openmm.DrudeForce):
            for index in range(force.getNumParticles()):
                yield _Bond(_ordered(*force.getParticleParameters(index)[:2]))
    for atom in sites_of(system):
        site = system.getVirtualSite(atom)
        for index in range(site.getNumParticles()):
            yield _Bond(_ordered(site.getParticle(index), atom))

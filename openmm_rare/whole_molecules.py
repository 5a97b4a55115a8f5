"""Molecules that a program has wrapped atom by atom into a periodic box, made whole again.

OpenMM computes bonds and constraints between atoms as they are, not between nearest images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from .errors import InputError
from .nearest_image import nearest_image

__all__ = ["Bonds", "bonds_of", "made_whole"]


@dataclass(frozen=True, eq=False)
class Bonds:
    """What holds molecules together in a System.

    Attributes
    ----------
    pairs : ndarray of int, shape (n, 2)
        Of atoms.
    lengths : ndarray, shape (n,)
        Of rest, nm; 0 between a virtual site and one of its atoms.
    """

    pairs: np.ndarray
    lengths: np.ndarray

    def broken(self, positions: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Which bonds cross the box: longer than half of it, while the nearest image fits better; bool of shape (n,).

        Parameters
        ----------
        positions : ndarray, shape (n_atoms, 3), nm
        box : ndarray, shape (3, 3), nm
        """
        vectors = positions[self.pairs[:, 1]] - positions[self.pairs[:, 0]]
        lengths, nearest = (np.linalg.norm(each, axis=1) for each in (vectors, nearest_image(vectors, box)))
        long = lengths > 0.5 * np.diag(box).min()
        return long & (np.abs(nearest - self.lengths) < 0.999 * np.abs(lengths - self.lengths))


def bonds_of(system: openmm.System) -> Bonds:
    """Constraints, harmonic bonds without periodic boundaries of their own, and virtual sites."""
    pairs: list[tuple[int, int]] = []
    lengths: list[float] = []
    for index in range(system.getNumConstraints()):
        one, other, length = system.getConstraintParameters(index)
        pairs.append((one, other))
        lengths.append(length.value_in_unit(unit.nanometer))
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce) and not force.usesPeriodicBoundaryConditions():
            for index in range(force.getNumBonds()):
                one, other, length, _ = force.getBondParameters(index)
                pairs.append((one, other))
                lengths.append(length.value_in_unit(unit.nanometer))
    for atom in range(system.getNumParticles()):
        if system.isVirtualSite(atom):
            pairs.append((system.getVirtualSite(atom).getParticle(0), atom))
            lengths.append(0.0)
    return Bonds(np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(lengths))


def made_whole(positions: np.ndarray, box: np.ndarray, bonds: Bonds) -> np.ndarray:
    """The same configuration of a periodic System, with every molecule in one piece around its first atom.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3), nm
        The very same array comes back if no bond is broken.
    box : ndarray, shape (3, 3), nm
    bonds : Bonds

    Raises
    ------
    ValueError
        If bonds go all the way round the box, so that nothing makes the molecule whole.
    """
    if not bonds.broken(positions, box).any():
        return positions
    whole = positions.copy()
    for parents, children in _layers(bonds.pairs[bonds.lengths < 0.5 * np.diag(box).min()], len(positions)):
        whole[children] = whole[parents] + nearest_image(positions[children] - positions[parents], box)
    broken = bonds.broken(whole, box)
    if broken.any():
        one, other = bonds.pairs[np.argmax(broken)].tolist()
        raise InputError(
            f"the bond between atoms {one} and {other} is longer than half of the periodic box, and its molecule goes round "
            "it: give its bonds setUsesPeriodicBoundaryConditions(True)"
        )
    return whole


def _layers(pairs: np.ndarray, n_atoms: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Parents and children of the trees that bonds span, from the first atom of each molecule outwards."""
    # one root beyond the atoms, which holds the first atom of every molecule, makes one tree of all
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(n_atoms, n_atoms))
    _, first = np.unique(connected_components(graph, directed=False)[1], return_index=True)
    roots = np.stack([np.full(len(first), n_atoms), first])
    edges = np.concatenate([pairs.T, roots], axis=1)
    tree = coo_array((np.ones(edges.shape[1]), edges), shape=(n_atoms + 1, n_atoms + 1)).tocsr()
    order, parent = breadth_first_order(tree, n_atoms, directed=False)
    depth = np.zeros(n_atoms + 1, dtype=np.int64)
    for atom in order[1:]:
        depth[atom] = depth[parent[atom]] + 1
    return [(parent[atoms], atoms) for atoms in (np.flatnonzero(depth == d) for d in range(2, depth.max() + 1))]

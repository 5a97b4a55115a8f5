"""Molecules that the boundary of a periodic box has cut, put together again.

OpenMM computes bonds and constraints between atoms as they are, not between nearest images.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from ..errors import InputError
from .bonds import Bonds

__all__ = ["WholeMolecules", "whole_structure"]

_AT_ONCE = 1_000_000  # bonds times frames: some tens of MB


class WholeMolecules:
    """Bonds that lead from one atom of each molecule to all others, and the images that they ask for.

    Parameters
    ----------
    bonds : Bonds
    n_atoms : int
    """

    def __init__(self, bonds: Bonds, n_atoms: int) -> None:
        self._bonds, self._n_atoms = bonds[bonds.mendable], n_atoms

    @cached_property
    def _tree(self) -> tuple[Bonds, list[np.ndarray]]:
        """The bonds of shortest trees, each from the atom nearer to the root; and their indices by the number of steps."""
        bonds, n = self._bonds, self._n_atoms
        rows, columns = bonds.pairs.T
        graph = coo_array((bonds.lengths + 1e-3, (rows, columns)), shape=(n, n))  # an entry of zero would be no bond
        _, molecule = connected_components(graph, directed=False)
        firsts = np.unique(molecule, return_index=True)[1]
        short = coo_array(minimum_spanning_tree(graph.tocsr()))
        rows = np.concatenate([short.row, np.full(len(firsts), n)])  # one root for all molecules
        columns = np.concatenate([short.col, firsts])
        joined = coo_array((np.ones(len(rows)), (rows, columns)), shape=(n + 1, n + 1)).tocsr()
        order, parents = breadth_first_order(joined, n, directed=False)
        depth = np.zeros(n + 1, dtype=np.int64)
        for atom in order[1:]:
            depth[atom] = depth[parents[atom]] + 1
        numbers = {(min(pair), max(pair)): index for index, pair in enumerate(bonds.pairs.tolist())}
        children = order[depth[order] > 1]
        links = [(int(parents[atom]), int(atom)) for atom in children]
        tree = bonds[np.array([numbers[min(link), max(link)] for link in links], dtype=np.int64)]
        oriented = replace(tree, pairs=np.array(links, dtype=np.int64).reshape(-1, 2))
        steps = depth[children]
        return oriented, [np.flatnonzero(steps == step) for step in range(2, int(depth.max()) + 1)]

    def mend(self, positions: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, int]:
        """The same frames with whole molecules.

        Parameters
        ----------
        positions : ndarray, shape (n_frames, n_atoms, 3), nm
        boxes : ndarray, shape (n_frames, 3, 3), nm
            In reduced form.

        Returns
        -------
        positions : ndarray
            The array itself where no molecule was cut.
        n_mended : int
            Frames in which one was.
        """
        if not len(self._bonds):
            return positions, 0
        whole, n_mended = positions, 0
        length = max(1, _AT_ONCE // len(self._bonds))
        for start in range(0, len(positions), length):
            part = slice(start, start + length)
            cut = np.flatnonzero(self._bonds.turns(positions[part], boxes[part]).any(axis=(1, 2)))
            if not len(cut):
                continue
            shifts = self._shifts(positions[part][cut], boxes[part][cut])
            moved = cut[shifts.any(axis=(1, 2))]
            whole = positions.copy() if whole is positions else whole
            whole[part][cut] -= np.einsum("fai,fij->faj", shifts, boxes[part][cut])
            n_mended += len(moved)
        return (whole, n_mended) if n_mended else (positions, 0)

    def _shifts(self, positions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Box vectors to take off each atom, shape (n_frames, n_atoms, 3)."""
        bonds, levels = self._tree
        turns, shifts = bonds.turns(positions, boxes), np.zeros_like(positions)
        for level in levels:  # an atom goes with the one before it
            parents, children = bonds.pairs[level].T
            shifts[:, children] = shifts[:, parents] + turns[:, level]
        return shifts


def whole_structure(positions: np.ndarray, box: np.ndarray, bonds: Bonds) -> tuple[np.ndarray, int]:
    """A configuration of a periodic System with whole molecules.

    Parameters
    ----------
    positions : ndarray, shape (n_atoms, 3), nm
    box : ndarray, shape (3, 3), nm
    bonds : Bonds

    Returns
    -------
    positions : ndarray
    n_cut : int
        Bonds that were cut.

    Raises
    ------
    InputError
        If bonds go all the way round the box, so that nothing makes the molecule whole.
    """
    bonds, frame, boxes = bonds[bonds.mendable], positions[None], box[None]
    n_cut = int(bonds.turns(frame, boxes).any(axis=2).sum())
    if not n_cut:
        return positions, 0
    whole, n_mended = WholeMolecules(bonds, len(positions)).mend(frame, boxes)
    known = bonds[bonds.known]
    around = known.turns(whole, boxes)[0].any(axis=1)
    if around.any():
        one, other = known.pairs[np.argmax(around)].tolist()
        raise InputError(
            f"the bond between atoms {one} and {other} is longer than half of the periodic box, and its molecule goes round "
            "it: give its bonds setUsesPeriodicBoundaryConditions(True)"
        )
    return whole[0], n_cut if n_mended else 0

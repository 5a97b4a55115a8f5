"""Molecules that the boundary of a periodic box has cut, put together again."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from .path_bonds import Bonds
from .path_boxes import image_counts

__all__ = ["WholeMolecules"]

_AT_ONCE = 1_000_000  # bonds times frames: some tens of MB


class WholeMolecules:
    """Bonds that lead from one atom of each molecule to all others, and the images that they ask for.

    A bond is mended if it is broken as it is and sound in its nearest image: restraints between molecules, which may be longer
    than half the box, are left alone.

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
            shifts = self._shifts(positions[part], boxes[part])
            moved = shifts.any(axis=(1, 2))
            if moved.any():
                whole = positions.copy() if whole is positions else whole
                whole[part] -= np.einsum("fai,fij->faj", shifts, boxes[part])
                n_mended += int(moved.sum())
        return whole, n_mended

    def _shifts(self, positions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Box vectors to take off each atom, shape (n_frames, n_atoms, 3)."""
        bonds, levels = self._tree
        vectors = bonds.vectors(positions)
        frames, which = np.nonzero(bonds.broken(np.linalg.norm(vectors, axis=2)))
        shifts = np.zeros_like(positions)
        if not len(frames):
            return shifts
        counts = image_counts(vectors[frames, which], boxes[frames])
        images = vectors[frames, which] - np.einsum("ni,nij->nj", counts, boxes[frames])
        sound = np.abs(np.linalg.norm(images, axis=1) - bonds.lengths[which]) <= bonds.slack[which]
        turns = np.zeros_like(vectors)
        turns[frames[sound], which[sound]] = counts[sound]
        for level in levels:  # an atom goes with the one before it
            parents, children = bonds.pairs[level].T
            shifts[:, children] = shifts[:, parents] + turns[:, level]
        return shifts

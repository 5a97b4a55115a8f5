"""Pairs of particles: distances, directions, relative velocities, and what depends on them as rows of coordinates again."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..phase_space import PhaseSpace
from .pair_types import PairTypes

__all__ = ["PairGeometry", "PairState"]


class PairState(NamedTuple):
    """Of all pairs of all rows.

    Attributes
    ----------
    r : ndarray, shape (n_rows, n_pairs), nm
        Distances.
    u : ndarray, shape (n_rows, n_pairs, n_dimensions)
        Directions.
    w : ndarray, shape (n_rows, n_pairs, n_dimensions)
        Relative velocities, in units of a typical speed.
    along : ndarray, shape (n_rows, n_pairs)
        Of w along u.
    functions : dict
        Radial functions that have been asked for, and their derivatives, by how many they are.
    """

    r: np.ndarray
    u: np.ndarray
    w: np.ndarray
    along: np.ndarray
    functions: dict[int, tuple[np.ndarray, np.ndarray]]

    @property
    def across(self) -> np.ndarray:
        """What of w is not along u."""
        return self.w - self.along[..., None] * self.u


class PairGeometry:
    """From mass-weighted rows to pairs, and back for gradients.

    Parameters
    ----------
    space : PhaseSpace
    types : PairTypes
    speeds : ndarray, shape (n_types,), nm/ps
        Units of relative velocities.
    """

    def __init__(self, space: PhaseSpace, types: PairTypes, speeds: np.ndarray) -> None:
        self.space, self.types, self._speeds = space, types, speeds[types.of_pair][:, None]
        n_atoms, n_pairs = len(space.masses), len(types.pairs)
        signs = np.zeros((n_atoms, n_pairs))
        signs[types.pairs[:, 0], np.arange(n_pairs)] = 1.0
        signs[types.pairs[:, 1], np.arange(n_pairs)] = -1.0
        self._of_type = np.eye(types.n_types)[:, types.of_pair]
        self._typed = (signs[:, None] * self._of_type).reshape(-1, n_pairs)  # sums over the pairs of a type that an atom has
        self._moving, self._n_atoms = signs[space.atoms], n_atoms
        self._still = space.reference[:, : space.num_dimensions]

    def state(self, q: np.ndarray, p: np.ndarray) -> PairState:
        """The pairs of mass-weighted rows."""
        first, second = self.types.pairs.T
        x, v = self._places(q, self._still), self._places(p, np.zeros_like(self._still))
        d, w = x[:, first] - x[:, second], (v[:, first] - v[:, second]) / self._speeds
        r = np.sqrt((d * d).sum(axis=2))
        u = d / r[..., None]
        return PairState(r, u, w, (w * u).sum(axis=2), {})

    def rows(self, by_d: np.ndarray, by_w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients by q and p from those by distance vectors and relative velocities, (n_rows, n_pairs, n_dimensions)."""
        q, p = (self._moving @ each for each in (by_d, by_w / self._speeds))
        return q.reshape(len(q), -1) / self.space.roots, p.reshape(len(p), -1) / self.space.roots

    def on_rows(self, vectors: np.ndarray) -> np.ndarray:
        """Each vector of a pair (n_rows, n_pairs, n_dimensions) as a mass-weighted row: (n_rows, n_pairs, n)."""
        made = self._moving.T[None, :, :, None] * vectors[:, :, None]
        return made.reshape(*vectors.shape[:2], -1) / self.space.roots

    def sums_by_type(self, f: np.ndarray) -> np.ndarray:
        """Of functions of pairs (n_rows, n_pairs, k) over the pairs of each type, (n_rows, n_types, k)."""
        return self._of_type @ f

    def sums_on_atoms(self, vectors: np.ndarray) -> np.ndarray:
        """Of vectors (n_rows, n_pairs, k, n_dimensions), with opposite signs at both ends: (n_rows, n_atoms, n_types, k, ...).

        The pairs of each type have sums of their own.
        """
        n_rows, n_pairs, k, dim = vectors.shape
        summed = self._typed @ vectors.reshape(n_rows, n_pairs, k * dim)
        return summed.reshape(n_rows, self._n_atoms, self.types.n_types, k, dim)

    def differences(self, on_atoms: np.ndarray) -> np.ndarray:
        """The reverse of :meth:`sums_on_atoms` for gradients: what both ends say of the pair."""
        n_rows, _, _, k, dim = on_atoms.shape
        taken = self._typed.T @ on_atoms.reshape(n_rows, -1, k * dim)
        return taken.reshape(n_rows, -1, k, dim)

    def jacobian_by_type(self, by_d: np.ndarray, by_w: np.ndarray) -> np.ndarray:
        """Gradients of :meth:`sums_by_type` from those of functions of pairs, (n_rows, n_types, k, 2n)."""
        ends = []
        for each in (by_d, by_w / self._speeds[:, :, None]):
            n_rows, n_pairs, k, dim = each.shape
            matrix = (self._of_type[:, None] * self._moving).reshape(-1, n_pairs)
            made = (matrix @ each.reshape(n_rows, n_pairs, k * dim)).reshape(n_rows, self.types.n_types, -1, k, dim)
            ends.append(made.swapaxes(2, 3).reshape(n_rows, self.types.n_types, k, -1) / self.space.roots)
        return np.concatenate(ends, axis=3)

    def jacobian_on_atoms(self, by_d: np.ndarray, by_w: np.ndarray, atoms: np.ndarray) -> np.ndarray:
        """Gradients of :meth:`sums_on_atoms` at some atoms, from those of vectors of pairs, (n_rows, n_pairs, k, dim, dim).

        Returns
        -------
        ndarray, shape (n_rows, n_atoms, n_types, k, n_dimensions, 2n)
        """
        typed = self._typed.reshape(self._n_atoms, self.types.n_types, -1)[atoms]
        matrix = np.einsum("atp,mp->atmp", typed, self._moving)
        ends = []
        for each in (by_d, by_w / self._speeds[:, :, None, None]):
            n_rows, n_pairs, k, dim, _ = each.shape
            made = matrix.reshape(-1, n_pairs) @ each.reshape(n_rows, n_pairs, -1)
            made = made.reshape(n_rows, len(atoms), self.types.n_types, -1, k, dim, dim).transpose(0, 1, 2, 4, 5, 3, 6)
            ends.append(made.reshape(*made.shape[:5], -1) / self.space.roots)
        return np.concatenate(ends, axis=5)

    def _places(self, rows: np.ndarray, still: np.ndarray) -> np.ndarray:
        """Of all particles, shape (n_rows, n_atoms, n_dimensions)."""
        frames = np.repeat(still[None], len(rows), axis=0)
        frames[:, self.space.atoms] = (rows / self.space.roots).reshape(len(rows), -1, still.shape[1])
        return frames

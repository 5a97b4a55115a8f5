"""Kinetic energy by modes: whether a step of dynamics leaves each the temperature that it should have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ..features.pair_features import PairFeatures
from ..phase_space import PhaseSpace, Potential

__all__ = ["Kinetics", "NormalModes", "PairModes"]

_NEAR = 1.5  # times the closest distance: what counts as a neighbour where distances have a wide range
_FLAT = 1e-10  # of the largest moment of inertia: none
_SHIFT = 1e-4  # nm times root of Da, of finite differences


class Kinetics(Protocol):
    """Kinetic energies of named modes."""

    names: Sequence[str]

    def __call__(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Twice the kinetic energy per degree of freedom of each mode, (n_rows, n_modes), kJ/mol: kT on average."""


class NormalModes:
    """Normal modes at the reference structure, from slow to fast, where particles stay near it."""

    def __init__(self, space: PhaseSpace, potential: Potential) -> None:
        q = space.rows(space.reference[None])
        moves = _SHIFT * np.eye(space.n)
        hessian = (potential(q - moves).force - potential(q + moves).force) / (2.0 * _SHIFT)
        _, self._modes = np.linalg.eigh(0.5 * (hessian + hessian.T))
        self.names = [f"mode {number + 1}" for number in range(space.n)]

    def __call__(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """See :class:`Kinetics`."""
        return (p @ self._modes) ** 2


class PairModes:
    """Relative motion along the pairs of each type, rotation as a whole where nothing holds it, and everything.

    Of pairs with a wide range of distances those count that are near each other.
    """

    def __init__(self, features: PairFeatures, names: Sequence[str] | None = None) -> None:
        self._features, types, space = features, features.types, features.space
        masses = np.where(space.masses > 0.0, space.masses, np.inf)
        self._reduced = 1.0 / (1.0 / masses[types.pairs[:, 0]] + 1.0 / masses[types.pairs[:, 1]])
        self._free = bool((space.masses > 0.0).all())
        self._of_type = [types.of_pair == each for each in range(types.n_types)]
        self._reach = _NEAR * features.low if features.basis == "gaussian" else np.full(types.n_types, np.inf)
        kinds = list(names or (f"pairs {number + 1}" for number in range(types.n_types)))
        rotates = self._free and space.num_dimensions > 1
        self.names = [*kinds, *(["rotation"] if rotates else []), "all"]

    def __call__(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """See :class:`Kinetics`."""
        features, space = self._features, self._features.space
        seen = features.geometry.state(q, p)
        along = self._reduced * (seen.along * features.speeds[features.types.of_pair]) ** 2
        columns = []
        for of_type, reach in zip(self._of_type, self._reach, strict=True):
            near = seen.r[:, of_type] < reach
            columns.append((along[:, of_type] * near).sum(axis=1) / np.maximum(near.sum(axis=1), 1))
        freedom = space.n
        if self._free:
            freedom -= space.num_dimensions
            p = p - space.roots * self._drift(p)
            if space.num_dimensions > 1:
                columns.append(self._rotation(q, p))
        return np.stack([*columns, (p**2).sum(axis=1) / freedom], axis=1)

    def _drift(self, p: np.ndarray) -> np.ndarray:
        """Velocity of the center of mass, as rows."""
        space = self._features.space
        total = (p * space.roots).reshape(len(p), -1, space.num_dimensions).sum(axis=1) / space.masses.sum()
        return np.tile(total, (1, len(space.atoms)))

    def _rotation(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Energy of rotation for each of its degrees of freedom."""
        space = self._features.space
        x = np.zeros((len(q), len(space.atoms), 3))
        v = np.zeros_like(x)
        x[..., : space.num_dimensions] = (q / space.roots).reshape(len(q), -1, space.num_dimensions)
        v[..., : space.num_dimensions] = (p / space.roots).reshape(len(p), -1, space.num_dimensions)
        m = space.masses[:, None]
        x = x - (m * x).sum(axis=1, keepdims=True) / m.sum()
        momentum = (m * np.cross(x, v)).sum(axis=1)
        if space.num_dimensions == 2:
            return momentum[:, 2] ** 2 / (m * x**2).sum(axis=(1, 2))
        freedom = min(len(space.atoms), 3)  # two particles have no inertia about their axis
        inertia = np.eye(3) * (m * x**2).sum(axis=(1, 2))[:, None, None] - np.einsum("bai,baj->bij", m * x, x)
        turning = np.linalg.pinv(inertia, rcond=_FLAT, hermitian=True) @ momentum[..., None]
        return (momentum * turning[..., 0]).sum(axis=1) / freedom

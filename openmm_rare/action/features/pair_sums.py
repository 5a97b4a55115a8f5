"""Features of pairs and of their sums on atoms, each with gradients in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .pair_geometry import PairGeometry, PairState
from .radial import Radial

__all__ = ["AtomSums", "PairSums"]


@dataclass(frozen=True, eq=False)
class PairSums:
    r"""Sums of :math:`f(r)` times 1, :math:`(w \cdot u)^2`, :math:`(w \cdot u)^4` and :math:`w_\perp^2` over the pairs."""

    geometry: PairGeometry
    radial: Radial
    order: int

    @property
    def n_features(self) -> int:
        """How many they are."""
        return self._factors_used * self.geometry.types.n_types * self.order

    @property
    def _factors_used(self) -> int:
        return 4 if self.geometry.space.num_dimensions > 1 else 3

    def values(self, seen: PairState) -> np.ndarray:
        """Shape (n_rows, n_features)."""
        f, _ = _functions(seen, self.radial, self.order)
        sums = [self.geometry.sums_by_type(f * factor[..., None]) for factor, _, _ in self._factors(seen)]
        return np.stack(sums, axis=1).reshape(len(seen.r), -1)

    def pull(self, seen: PairState, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Gradients of a weighted sum by distance vectors and relative velocities; weights (1 or n_rows, n_features)."""
        f, slopes = _functions(seen, self.radial, self.order)
        types = self.geometry.types
        weights = weights.reshape(len(weights), self._factors_used, types.n_types, self.order)[:, :, types.of_pair]
        by_d = by_w = np.zeros_like(seen.u)
        for number, (factor, turn, spin) in enumerate(self._factors(seen)):
            level, slope = ((weights[:, number] * each).sum(axis=2)[..., None] for each in (f, slopes))
            by_d = by_d + slope * factor[..., None] * seen.u + level * turn
            by_w = by_w + level * spin
        return by_d, by_w

    def jacobian(self, seen: PairState) -> np.ndarray:
        """Shape (n_rows, n_features, 2n)."""
        f, slopes = (each[..., None] for each in _functions(seen, self.radial, self.order))
        parts = []
        for factor, turn, spin in self._factors(seen):
            by_d = slopes * (factor[..., None] * seen.u)[:, :, None] + f * turn[:, :, None]
            parts.append(self.geometry.jacobian_by_type(by_d, f * spin[:, :, None]))
        return np.stack(parts, axis=1).reshape(len(seen.r), self.n_features, -1)

    def _factors(self, seen: PairState) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What f is multiplied with, and the gradients of that by the distance vector and by w."""
        none, along, across = np.zeros_like(seen.u), seen.along[..., None], seen.across
        yield np.ones_like(seen.r), none, none
        turn = 2.0 * along * across / seen.r[..., None]
        yield seen.along**2, turn, 2.0 * along * seen.u
        yield seen.along**4, 2.0 * along**2 * turn, 4.0 * along**3 * seen.u
        if self._factors_used == 4:
            yield (across**2).sum(axis=2), -turn, 2.0 * across


@dataclass(frozen=True, eq=False)
class AtomSums:
    r"""Products :math:`F_a \cdot F_b` summed over some atoms, where F are vectors on an atom, one for each type of pair and f.

    They are sums of :math:`f(r) u` and :math:`f(r)(w \cdot u)^2 u` over the pairs that the atom has; or, `moving`, of
    :math:`f(r) w` and :math:`f(r)(w \cdot u) u`, which in one dimension are the same.

    Attributes
    ----------
    atoms : ndarray of int
    active : ndarray of int
        Types of pairs that these atoms have.
    """

    geometry: PairGeometry
    radial: Radial
    order: int
    atoms: np.ndarray
    active: np.ndarray
    moving: bool

    @property
    def n_vectors(self) -> int:
        """On each atom."""
        return len(self.active) * self.order * len(self._used)

    @property
    def _used(self) -> tuple[str, ...]:
        if not self.moving:
            return ("u", "wwu")
        return ("w", "wuu") if self.geometry.space.num_dimensions > 1 else ("w",)

    def __post_init__(self) -> None:
        first, second = np.triu_indices(self.n_vectors)
        object.__setattr__(self, "_first", first)
        object.__setattr__(self, "_second", second)

    @property
    def n_features(self) -> int:
        """How many products there are."""
        return self.n_vectors * (self.n_vectors + 1) // 2

    def values(self, seen: PairState) -> np.ndarray:
        """Shape (n_rows, n_features)."""
        on_atoms = self._on_atoms(seen).transpose(0, 2, 1, 3).reshape(len(seen.r), self.n_vectors, -1)
        return (on_atoms @ on_atoms.swapaxes(1, 2))[:, self._first, self._second]

    def pull(self, seen: PairState, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`PairSums.pull`."""
        matrix = np.zeros((len(weights), self.n_vectors, self.n_vectors))
        matrix[:, self._first, self._second] = weights
        matrix += matrix.swapaxes(1, 2)
        types, dim = self.geometry.types, self.geometry.space.num_dimensions
        k = self.n_vectors // len(self.active)
        spread = np.zeros((len(seen.r), types.n_atoms, types.n_types, k, dim))
        made = (matrix[:, None] @ self._on_atoms(seen)).reshape(len(seen.r), len(self.atoms), len(self.active), k, dim)
        spread[:, self.atoms[:, None], self.active] = made
        g = self.geometry.differences(spread)
        by_d = by_w = np.zeros_like(seen.u)
        for part, (f, slopes, kind) in zip(np.split(g, k // self.order, axis=2), self._kinds(seen), strict=True):
            level, slope = ((each[..., None] * part).sum(axis=2) for each in (f, slopes))
            more_d, more_w = _pull_vector(seen, level, slope, kind)
            by_d, by_w = by_d + more_d, by_w + more_w
        return by_d, by_w

    def jacobian(self, seen: PairState) -> np.ndarray:
        """Shape (n_rows, n_features, 2n)."""
        gradients = [_vector_gradients(seen, f, slopes, kind) for f, slopes, kind in self._kinds(seen)]
        by_d, by_w = (np.concatenate(each, axis=2) for each in zip(*gradients, strict=True))
        made = self.geometry.jacobian_on_atoms(by_d, by_w, self.atoms)[:, :, self.active]
        n_rows, n_atoms, dim = len(made), len(self.atoms), made.shape[4]
        made = made.reshape(n_rows, n_atoms, self.n_vectors, dim, -1).transpose(0, 2, 4, 1, 3)
        on_atoms = self._on_atoms(seen).transpose(0, 1, 3, 2).reshape(n_rows, 1, n_atoms * dim, -1)
        ends = (made.reshape(n_rows, self.n_vectors, -1, n_atoms * dim) @ on_atoms).swapaxes(2, 3)
        return (ends + ends.swapaxes(1, 2))[:, self._first, self._second]

    def _kinds(self, seen: PairState) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
        f, slopes = _functions(seen, self.radial, self.order)
        for kind in self._used:
            yield f, slopes, kind

    def _on_atoms(self, seen: PairState) -> np.ndarray:
        """The vectors, shape (n_rows, n_atoms, n_vectors, n_dimensions)."""
        vectors = [f[..., None] * _vector(seen, kind)[:, :, None] for f, _, kind in self._kinds(seen)]
        sums = self.geometry.sums_on_atoms(np.concatenate(vectors, axis=2))[:, self.atoms[:, None], self.active]
        return sums.reshape(len(seen.r), len(self.atoms), self.n_vectors, -1)


def _functions(seen: PairState, radial: Radial, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Radial functions of all pairs, evaluated once."""
    if order not in seen.functions:
        seen.functions[order] = radial.functions(seen.r, order)
    return seen.functions[order]


def _vector(seen: PairState, kind: str) -> np.ndarray:
    along = seen.along[..., None]
    return {"u": seen.u, "w": seen.w, "wuu": along * seen.u, "wwu": along**2 * seen.u}[kind]


def _pull_vector(seen: PairState, level: np.ndarray, slope: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of g . f(r) y by distance vector and w; level is f g, slope f' g, y the vector of that kind."""
    u, r = seen.u, seen.r[..., None]
    by_r = (slope * _vector(seen, kind)).sum(axis=2, keepdims=True) * u
    inward = (level * u).sum(axis=2, keepdims=True)
    flat = level - inward * u
    if kind == "u":
        return by_r + flat / r, np.zeros_like(u)
    if kind == "w":
        return by_r, level
    along, by_d, by_w = seen.along[..., None], (seen.along[..., None] * flat + inward * seen.across) / r, inward * u
    if kind == "wuu":
        return by_r + by_d, by_w
    return by_r + along * (by_d + inward * seen.across / r), 2.0 * along * by_w


def _vector_gradients(seen: PairState, f: np.ndarray, slopes: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of f(r) y by distance vector and w, each (n_rows, n_pairs, k, n_dimensions, n_dimensions)."""
    u, identity = seen.u, np.eye(seen.u.shape[2])
    uu = u[..., :, None] * u[..., None, :]
    flat = (identity - uu) / seen.r[..., None, None]
    radial = _vector(seen, kind)[..., :, None] * u[..., None, :]
    along = seen.along[..., None, None]
    bend = u[..., :, None] * seen.across[..., None, :] / seen.r[..., None, None]
    turn, spin = {
        "u": (flat, np.zeros_like(uu)),
        "w": (np.zeros_like(uu), np.broadcast_to(identity, uu.shape)),
        "wuu": (along * flat + bend, uu),
        "wwu": (along * (along * flat + 2.0 * bend), 2.0 * along * uu),
    }[kind]
    f, slopes = f[..., None, None], slopes[..., None, None]
    return slopes * radial[:, :, None] + f * turn[:, :, None], f * spin[:, :, None]

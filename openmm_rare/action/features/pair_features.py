r"""Invariant features of pairs and of their sums on atoms: the shapes that the leading terms of an action have.

See "Learned action" in docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from ..phase_space import PhaseSpace
from .pair_geometry import PairGeometry
from .pair_sums import AtomSums, PairSums
from .pair_types import PairTypes
from .radial import BASES, Radial

__all__ = ["PairFeatures"]

_ORDERS = {"polynomial": (4, 3, 2), "gaussian": (12, 6, 4)}
_WIDE = 2.0  # ratio of the largest to the smallest distance from which Gaussians are better
_TAILS, _WALL = 0.002, 0.92


class PairFeatures:
    r"""Sums over pairs, and products of sums on atoms.

    Over pairs of each type: :math:`f(r)` times 1, :math:`(w \cdot u)^2`, :math:`(w \cdot u)^4` and :math:`w_\perp^2`. Over
    the atoms of each type: all products :math:`F_a \cdot F_b` and :math:`V_a \cdot V_b`, where F is a sum of :math:`f(r) u` or
    :math:`f(r)(w \cdot u)^2 u`, and V one of :math:`f(r) w` or :math:`f(r)(w \cdot u) u`, over the pairs of a type that an atom
    has. These are the shapes of the terms of order :math:`h^3` of an action, and of most of order :math:`h^5`.

    Distances r, directions u and relative velocities w make them invariant under translation, rotation, reflection, exchange of
    equal atoms and Galilei transformations; with particles that do not move (without mass), under what these leave.

    Parameters
    ----------
    space : PhaseSpace
    types : PairTypes
    low, high : array_like, shape (n_types,), nm
        Ranges of the distances of each type of pair.
    speeds : array_like, shape (n_types,), nm/ps
        Typical relative velocities.
    basis : "polynomial" or "gaussian"
    orders : sequence of int, optional
        How many functions f of each type, for pairs, for F and for V.
    """

    def __init__(
        self,
        space: PhaseSpace,
        types: PairTypes,
        low: Any,
        high: Any,
        speeds: Any,
        basis: str,
        orders: Sequence[int] | None = None,
    ) -> None:
        if basis not in BASES:
            raise InputError(f"basis = {basis!r} must be one of {', '.join(BASES)}")
        self.space, self.types = space, types
        self.low, self.high, self.speeds = (np.asarray(each, dtype=float) for each in (low, high, speeds))
        self.basis, self.orders = basis, tuple(int(order) for order in orders or _ORDERS[basis])
        self.geometry = PairGeometry(space, types, self.speeds)
        self.radial = Radial(basis, self.low[types.of_pair], self.high[types.of_pair])
        self._parts = [PairSums(self.geometry, self.radial, self.orders[0]), *self._atom_sums()]
        self._ends = np.cumsum([part.n_features for part in self._parts])
        self.n_features = int(self._ends[-1])

    @classmethod
    def fitting(cls, types: PairTypes, space: PhaseSpace, q: np.ndarray, p: np.ndarray, **options: Any) -> PairFeatures:
        """Features whose ranges and speeds are those of samples, mass-weighted; options as for the class."""
        seen = PairGeometry(space, types, np.ones(types.n_types)).state(q, p)
        of = [types.of_pair == each for each in range(types.n_types)]
        low, high = ([float(np.quantile(seen.r[:, each], tail)) for each in of] for tail in (_TAILS, 1.0 - _TAILS))
        speeds = [float(np.sqrt((seen.w[:, each] ** 2).mean())) for each in of]
        wide = max(b / a for a, b in zip(low, high, strict=True)) > _WIDE
        basis = options.pop("basis", "gaussian" if wide else "polynomial")
        if basis == "gaussian":  # the wall goes on beyond the closest sample, and is what matters most
            low = [_WALL * float(seen.r[:, each].min()) for each in of]
        return cls(space, types, low, high, speeds, basis, **options)

    def spec(self) -> dict[str, Any]:
        """Everything but the phase space."""
        lists = {"low": self.low.tolist(), "high": self.high.tolist(), "speeds": self.speeds.tolist()}
        return {"kind": "pairs", "types": self.types.spec(), **lists, "basis": self.basis, "orders": list(self.orders)}

    def values(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features)."""
        seen = self.geometry.state(q, p)
        return np.concatenate([part.values(seen) for part in self._parts], axis=1)

    def pullback(self, q: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradients by q and by p of a weighted sum of the features."""
        seen = self.geometry.state(q, p)
        of_parts = np.split(np.atleast_2d(weights), self._ends[:-1], axis=1)
        pulled = [part.pull(seen, own) for part, own in zip(self._parts, of_parts, strict=True)]
        return self.geometry.rows(*(sum(each) for each in zip(*pulled, strict=True)))

    def jacobian(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features, 2n)."""
        seen = self.geometry.state(q, p)
        return np.concatenate([part.jacobian(seen) for part in self._parts], axis=1)

    def _atom_sums(self) -> Iterator[AtomSums]:
        types, moves = self.types, self.space.masses > 0.0
        for moving, order in enumerate(self.orders[1:]):
            for group in range(int(types.of_atom.max()) + 1):
                atoms = np.flatnonzero((types.of_atom == group) & moves)
                had = np.isin(types.pairs, atoms).any(axis=1)
                if had.any() and order:
                    yield AtomSums(self.geometry, self.radial, order, atoms, np.unique(types.of_pair[had]), bool(moving))

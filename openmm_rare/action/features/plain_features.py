"""Features of plain coordinates, for model potentials: monomials of the coordinates, and of these with products of momenta."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from ...errors import InputError

__all__ = ["PlainFeatures"]

_MOST = 3000


class PlainFeatures:
    """All monomials of scaled coordinates up to a degree, times products of 0, 2, 4 ... momenta, each with a degree of its own.

    Even in the momenta, and nothing else: use it where coordinates mean something by themselves.

    Parameters
    ----------
    scales : array_like, shape (2, n)
        Typical sizes of coordinates and momenta.
    degrees : sequence of int
        Of the coordinates in monomials without momenta, with two, with four ...; at least two of them.
    """

    def __init__(self, scales: Any, degrees: Sequence[int]) -> None:
        self.scales, self.degrees = np.asarray(scales, dtype=float), tuple(int(degree) for degree in degrees)
        if len(self.degrees) < 2 or min(self.degrees) < 0:
            raise InputError(f"degrees = {degrees!r} must be two numbers or more, each at least 0")
        self._n = self.scales.shape[1]
        parts = []
        for twos, degree in enumerate(self.degrees):
            still, moving = _up_to(self._n, degree), _of_degree(self._n, 2 * twos)
            if len(parts) + len(still) * len(moving) > _MOST:
                raise InputError(f"degrees = {degrees!r} of {self._n} coordinates make more than {_MOST} features")
            parts += [np.concatenate([one, other]) for other in moving for one in still]
        self._powers = np.array(parts[1:])  # (n_features, 2n), without the constant
        self.n_features = len(self._powers)

    @classmethod
    def fitting(cls, q: np.ndarray, p: np.ndarray, degrees: Sequence[int] = (6, 4, 2)) -> PlainFeatures:
        """Features whose scales are those of samples."""
        return cls([np.sqrt((q**2).mean(axis=0)), np.sqrt((p**2).mean(axis=0))], degrees)

    def spec(self) -> dict[str, Any]:
        """Everything."""
        return {"kind": "plain", "scales": self.scales.tolist(), "degrees": list(self.degrees)}

    def values(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features)."""
        return np.prod(self._factors(q, p), axis=2)

    def pullback(self, q: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradients by q and by p of a weighted sum of the features."""
        made = (np.atleast_2d(weights)[:, None] @ self.jacobian(q, p))[:, 0]
        return made[:, : self._n], made[:, self._n :]

    def jacobian(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features, 2n)."""
        factors, z = self._factors(q, p), self._scaled(q, p)
        before, after = np.ones_like(factors), np.ones_like(factors)
        np.cumprod(factors[..., :-1], axis=2, out=before[..., 1:])
        after[..., :-1] = np.cumprod(factors[..., :0:-1], axis=2)[..., ::-1]
        slopes = self._powers * self._table(z)[:, np.arange(2 * self._n), np.maximum(self._powers - 1, 0)]
        return slopes / self.scales.reshape(-1) * before * after

    def _scaled(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        return np.concatenate([q, p], axis=1) / self.scales.reshape(-1)

    def _factors(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Shape (n_rows, n_features, 2n)."""
        return self._table(self._scaled(q, p))[:, np.arange(2 * self._n), self._powers]

    def _table(self, z: np.ndarray) -> np.ndarray:
        """Powers of every number, the last axis counting them."""
        powers = np.ones((*z.shape, int(self._powers.max()) + 1))
        powers[..., 1:] = z[..., None]
        return np.cumprod(powers, axis=2)


def _of_degree(n: int, degree: int) -> list[np.ndarray]:
    """Powers of all monomials of n variables of a degree."""
    return [np.bincount(np.array(chosen, dtype=int), minlength=n) for chosen in combinations_with_replacement(range(n), degree)]


def _up_to(n: int, degree: int) -> list[np.ndarray]:
    return [powers for each in range(degree + 1) for powers in _of_degree(n, each)]

"""What a learned action sees of a phase-space point: numbers that are even in the momenta."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

__all__ = ["Features"]


class Features(Protocol):
    """Functions of mass-weighted coordinates and momenta that do not change when all momenta are reversed."""

    n_features: int

    def values(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features)."""

    def pullback(self, q: np.ndarray, p: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The gradients by q and by p of a weighted sum of the features, each (n_rows, n).

        Weights have the shape (n_features,), or (n_rows, n_features) where rows have their own.
        """

    def jacobian(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """Of every row, shape (n_rows, n_features, 2n), by q and then by p."""

    def spec(self) -> dict[str, Any]:
        """Names and plain values that make the same features again."""

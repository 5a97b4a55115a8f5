"""What all descriptors have in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from .errors import InputError

__all__ = ["Descriptor", "atom_rows", "labels_of"]


class Descriptor(nn.Module):
    """A differentiable map from positions to features.

    Attributes
    ----------
    n_features : int
        Number of columns that :meth:`forward` returns.
    in_logit : tuple of int
        Columns that a model adds to its logit as they are, because they are known to be part of it.
    """

    n_features: int
    in_logit: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns."""
        return tuple(f"feature {column + 1}" for column in range(self.n_features))

    def forward(self, positions: Tensor) -> Tensor:
        """Return the features, shape ``(n_walkers, n_features)``, of positions ``(n_walkers, n_atoms, 3)`` in nm."""
        raise TypeError(f"{type(self).__name__} does not define forward()")


def atom_rows(name: str, rows: Sequence[Sequence[int]], width: int, n_atoms: int) -> np.ndarray:
    """Lists of `width` atoms each as an array ``(n, width)``.

    Raises
    ------
    ValueError
        If a row is too short or too long, repeats an atom, or names one that does not exist.
    """
    for row in rows:
        if len(row) != width or len(set(row)) != width or min(row) < 0 or max(row) >= n_atoms:
            raise InputError(f"{name} must list {width} different atoms each, from 0 to {n_atoms - 1}; {list(row)} does not")
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def labels_of(labels: Sequence[str] | None, default: Sequence[str], of_what: str) -> tuple[str, ...]:
    """The labels that a specification gives, or the default.

    Raises
    ------
    ValueError
        If there are too few or too many, or one is there twice.
    """
    if labels is None:
        return tuple(default)
    labels = tuple(str(label) for label in labels)
    if len(labels) != len(default) or len(set(labels)) != len(labels):
        raise InputError(f"labels must be {len(default)} different texts, one for each {of_what}, not {list(labels)}")
    return labels

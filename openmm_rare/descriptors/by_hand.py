"""Forward and backward passes of descriptors, by hand where they are frequent: what a fast network evaluates first.

Descriptors of pair distances and linear ones are evaluated in float32; any other goes through autograd, and so do pairs of
nearest images and of very many atoms. Walkers are the last
axis of all arrays, so that what is done to one feature of many walkers is done to contiguous memory.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Protocol

import numpy as np
import torch

from .build import Concatenate, Coordinates, Descriptor
from .pair_features import PairFeatures
from .pairs import Coordination, CoordinationMoments, DiscGap, PairDescriptor, PairDistances, SortedDistances

__all__ = ["Features", "feature_columns", "make_features"]

BLOCK: int = 4096
"""Walkers to evaluate at a time: enough to hide the cost of the calls."""


class Features(Protocol):
    """Forward and backward pass of one descriptor."""

    def forward(self, positions: np.ndarray, features: np.ndarray, last: bool = False) -> None:
        """Write the features ``(n_features, n)`` of positions ``(n, n_atoms, 3)``; no other pass may follow the last one."""

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        """From the gradient with respect to the features, write that with respect to the positions of the last forward
        pass into zeros ``(n, n_atoms, 3)``."""

    def along(self, displacements: np.ndarray, change: np.ndarray) -> None:
        """Write how much the features ``(n_features, n)`` change, to first order, with displacements ``(n, n_atoms, 3)``
        from the positions of the last forward pass."""


def feature_columns(descriptor: Descriptor, positions: np.ndarray) -> np.ndarray:
    """Features ``(n_features, n)`` in float32 of any number of positions ``(n, n_atoms, 3)`` in nm."""
    evaluate = make_features(descriptor, 3)
    columns = np.empty((descriptor.n_features, len(positions)), dtype=np.float32)
    for start in range(0, len(positions), BLOCK):
        block = positions[start : start + BLOCK]
        part = np.empty((len(columns), len(block)), dtype=np.float32)
        evaluate.forward(block, part, last=True)
        columns[:, start : start + BLOCK] = part
    return columns


class _LinearFeatures:
    """Chosen coordinates times a fixed matrix."""

    def __init__(self, part: Coordinates) -> None:
        n_columns = len(part.columns)
        matrix = np.eye(n_columns) if part.matrix is None else part.matrix.numpy()
        self.columns = part.columns.numpy()
        self.matrix = (matrix / part.scale).astype(np.float32)

    def forward(self, positions: np.ndarray, features: np.ndarray, last: bool = False) -> None:
        """Write the features of positions, shape (n, n_atoms, 3), into an array of shape (n_features, n)."""
        chosen = positions.reshape(len(positions), -1)[:, self.columns]
        np.matmul(self.matrix, chosen.T.astype(np.float32, order="C"), out=features)

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        """Write the gradient by positions into `result`, from that by features, shape (n_features, n)."""
        result.reshape(len(result), -1)[:, self.columns] = gradient.T @ self.matrix

    def along(self, displacements: np.ndarray, change: np.ndarray) -> None:
        """Write the change of the features along displacements, to first order, into `change`."""
        self.forward(displacements, change)


class _TorchFeatures:
    """Any other descriptor, through autograd."""

    def __init__(self, part: Descriptor) -> None:
        self.part = part

    def forward(self, positions: np.ndarray, features: np.ndarray, last: bool = False) -> None:
        """Write the features of positions, shape (n, n_atoms, 3), into an array of shape (n_features, n)."""
        self.x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        self.value = self.part(self.x)
        features[:] = self.value.detach().numpy().T

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        """Write the gradient by positions into `result`, from that by features, shape (n_features, n)."""
        slope = torch.from_numpy(np.ascontiguousarray(gradient.T))
        result[:] = torch.autograd.grad(self.value, self.x, slope, retain_graph=True)[0].numpy()

    def along(self, displacements: np.ndarray, change: np.ndarray) -> None:
        """Write the change of the features along displacements, to first order, into `change`."""
        # the gradient is linear in the slope of the features: the derivative of its product with the displacements
        slope = torch.zeros_like(self.value, requires_grad=True)
        (gradient,) = torch.autograd.grad(self.value, self.x, slope, create_graph=True)
        product = (gradient * torch.as_tensor(displacements, dtype=torch.float32)).sum()
        change[:] = torch.autograd.grad(product, slope)[0].numpy().T


_BY_HAND = (PairDistances, SortedDistances, Coordination, CoordinationMoments, DiscGap)
"""Kinds that :class:`PairFeatures` knows."""


@singledispatch
def make_features(descriptor: Descriptor, num_dimensions: int) -> Features:
    """The fastest passes for a descriptor; those of pair distances leave out the coordinates from ``num_dimensions`` on.

    A kind that is not registered here goes through autograd.
    """
    return _TorchFeatures(descriptor)


@make_features.register
def _(descriptor: Coordinates, num_dimensions: int) -> Features:
    return _LinearFeatures(descriptor)


@make_features.register(Concatenate)
@make_features.register(PairDescriptor)
def _(descriptor: Concatenate | PairDescriptor, num_dimensions: int) -> Features:
    parts = list(descriptor.parts) if isinstance(descriptor, Concatenate) else [descriptor]
    if all(isinstance(part, _BY_HAND) and part.is_dense and part.box is None for part in parts):
        return PairFeatures(parts, num_dimensions)
    return _TorchFeatures(descriptor)

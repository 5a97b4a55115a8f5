"""Fast evaluation of a trained committor model: ln I and its gradient in NumPy, without autograd.

Torch trains; in a simulation the same network is evaluated at every step, for few or for thousands of walkers, and there the
bookkeeping of autograd costs several times more than the arithmetic. Descriptors of pair distances and linear
descriptors are evaluated here by hand-written forward and backward passes in float32; for any other descriptor the features
come from torch, and only the network is evaluated here.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from .committor import CommittorModel
from .descriptors import Concatenate, Coordinates, Coordination, CoordinationMoments, Descriptor, PairDistances

__all__ = ["FastImportance"]


class _Features(Protocol):
    """Forward and backward pass of one descriptor."""

    def forward(self, positions: np.ndarray) -> np.ndarray:
        """Features ``(n, n_features)`` of positions ``(n, n_atoms, 3)``."""

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient with respect to the positions of the last forward pass, given that of its features."""


class _PairFeatures:
    """All descriptors of pair distances of one model, sharing the distances."""

    def __init__(self, parts: list[Descriptor], num_dimensions: int) -> None:
        self.parts, self.num_dimensions = parts, num_dimensions
        self.difference = parts[0].difference.numpy()
        self.pairs_of_atoms = np.ascontiguousarray(self.difference.T)
        self.incidence = np.abs(self.difference)
        self.radii = sorted({part.radius for part in parts if isinstance(part, Coordination)})

    def forward(self, positions: np.ndarray) -> np.ndarray:
        self.shape = positions.shape
        columns = np.ascontiguousarray(positions[:, :, : self.num_dimensions].transpose(2, 0, 1))
        self.delta = columns @ self.pairs_of_atoms  # (dimension, walker, pair)
        self.r2 = np.einsum("dwp,dwp->wp", self.delta, self.delta)
        self.switch = {radius: self._coordination(radius) for radius in self.radii}
        self.saved: list = []
        return np.concatenate([self._part(part) for part in self.parts], axis=1)

    def _coordination(self, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """Coordination numbers, and the derivative of each pair's term with respect to its squared distance."""
        scaled = self.r2 * np.float32(1.0 / radius**2)
        square = scaled * scaled
        term = np.float32(1.0) / (np.float32(1.0) + square * square)
        return term @ self.incidence, np.float32(-4.0 / radius**2) * (term * term) * (square * scaled)

    def _part(self, part: Descriptor) -> np.ndarray:
        if isinstance(part, CoordinationMoments):
            coordination = self.switch[part.radius][0]
            deviation = coordination - coordination.mean(1, keepdims=True)
            square = deviation * deviation
            self.saved.append((deviation, square))
            return np.stack([square.mean(1), (square * deviation).mean(1)], axis=1)
        values = self.switch[part.radius][0] if isinstance(part, Coordination) else np.sqrt(self.r2)
        order = np.argsort(values, axis=1) if part.sort else None
        self.saved.append(order)
        return values if order is None else np.take_along_axis(values, order, axis=1)

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        by_radius = {radius: np.zeros_like(self.switch[radius][0]) for radius in self.radii}
        r2_gradient, first = np.zeros_like(self.r2), 0
        for part, saved in zip(self.parts, self.saved, strict=True):
            piece = gradient[:, first : first + part.n_features]
            first += part.n_features
            if isinstance(part, CoordinationMoments):
                by_radius[part.radius] += _moments_gradient(*saved, piece)
                continue
            if saved is not None:
                unsorted = np.empty_like(piece)
                np.put_along_axis(unsorted, saved, piece, axis=1)
                piece = unsorted
            if isinstance(part, Coordination):
                by_radius[part.radius] += piece
            else:
                r2_gradient += piece * (np.float32(0.5) / np.sqrt(self.r2))
        for radius, piece in by_radius.items():
            r2_gradient += (piece @ self.incidence.T) * self.switch[radius][1]
        r2_gradient *= 2.0
        result = np.zeros(self.shape, dtype=np.float32)
        result[:, :, : self.num_dimensions] = ((r2_gradient * self.delta) @ self.difference).transpose(1, 2, 0)
        return result


def _moments_gradient(deviation: np.ndarray, square: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """Gradient of the second and third central moments with respect to the coordination numbers."""
    n = deviation.shape[1]
    third = (square - square.mean(1, keepdims=True)) * piece[:, 1:]
    return np.float32(2.0 / n) * deviation * piece[:, :1] + np.float32(3.0 / n) * third


class _LinearFeatures:
    """Chosen coordinates times a fixed matrix."""

    def __init__(self, part: Coordinates) -> None:
        n_columns = len(part.columns)
        matrix = np.eye(n_columns) if part.matrix is None else part.matrix.numpy()
        self.columns = part.columns.numpy()
        self.matrix = (matrix / part.scale).astype(np.float32)

    def forward(self, positions: np.ndarray) -> np.ndarray:
        self.shape = positions.shape
        return positions.reshape(len(positions), -1)[:, self.columns] @ self.matrix.T

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        result = np.zeros((self.shape[0], self.shape[1] * self.shape[2]), dtype=np.float32)
        result[:, self.columns] = gradient @ self.matrix
        return result.reshape(self.shape)


class _TorchFeatures:
    """Any other descriptor, through autograd."""

    def __init__(self, part: Descriptor) -> None:
        self.part = part

    def forward(self, positions: np.ndarray) -> np.ndarray:
        self.x = torch.tensor(positions, requires_grad=True)
        self.value = self.part(self.x)
        return self.value.detach().numpy()

    def backward(self, gradient: np.ndarray) -> np.ndarray:
        return torch.autograd.grad(self.value, self.x, torch.from_numpy(np.ascontiguousarray(gradient)))[0].numpy()


def _features(descriptor: Descriptor, num_dimensions: int) -> _Features:
    parts = list(descriptor.parts) if isinstance(descriptor, Concatenate) else [descriptor]
    if all(isinstance(part, (PairDistances, Coordination)) for part in parts):
        return _PairFeatures(parts, num_dimensions)
    if isinstance(descriptor, Coordinates):
        return _LinearFeatures(descriptor)
    return _TorchFeatures(descriptor)


class FastImportance:
    """A frozen copy of a model for simulations; an :class:`openmm_rare.forces.ImportanceFunction`.

    Parameters
    ----------
    model : CommittorModel
        Its present weights are copied: later training does not change this object.
    num_dimensions : int
        Walkers move in the first so many dimensions; the others are left out of distances and gradient.
    """

    def __init__(self, model: CommittorModel, num_dimensions: int = 3) -> None:
        frozen = model.copy()
        self.features = _features(frozen.descriptor, num_dimensions)
        linear = [layer for layer in frozen.network if isinstance(layer, torch.nn.Linear)]
        self.weights = [layer.weight.detach().numpy().T.copy() for layer in linear]
        self.biases = [layer.bias.detach().numpy().copy() for layer in linear]
        # the scaling of the features is folded into the first layer
        mean, scale = frozen.feature_mean.numpy(), frozen.feature_scale.numpy()
        self.biases[0] -= (mean / scale) @ self.weights[0]
        self.weights[0] /= scale[:, None]

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm."""
        if len(positions) == 0:
            return np.zeros(0)
        return _log_sigmoid(self._logit(positions)[0])

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""
        logit, slopes = self._logit(positions)
        gradient = (np.exp(_log_sigmoid(-logit)).astype(np.float32))[:, None] * self.weights[-1].T
        for weight, slope in zip(self.weights[-2::-1], slopes[::-1], strict=True):
            gradient = (gradient * slope) @ weight.T
        return _log_sigmoid(logit), self.features.backward(gradient).astype(np.float64)

    def _logit(self, positions: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """The logit in float64, and the slope of every hidden unit's SiLU."""
        value = self.features.forward(np.asarray(positions, dtype=np.float32))
        slopes = []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            value = value @ weight
            value += bias
            # SiLU and its slope share the sigmoid; exp of large arguments may overflow to inf, which is the right limit
            with np.errstate(over="ignore"):
                sigmoid = np.exp(-value)
            sigmoid += 1.0
            np.reciprocal(sigmoid, out=sigmoid)
            activated = value * sigmoid
            slopes.append(sigmoid + activated * (1.0 - sigmoid))
            value = activated
        return (value @ self.weights[-1] + self.biases[-1])[:, 0].astype(np.float64), slopes


def _log_sigmoid(logit: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -logit)

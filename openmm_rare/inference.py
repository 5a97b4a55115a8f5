"""Fast evaluation of a trained committor model: ln I and its gradient, without autograd.

Torch trains; in a simulation the same network is evaluated at every step, for few or for thousands of walkers, and there the
bookkeeping of autograd costs several times more than the arithmetic. Descriptors of pair distances and linear
descriptors are evaluated here by hand-written forward and backward passes in float32; any other descriptor goes through
autograd, and only the network is evaluated here. Walkers are the last axis of all arrays inside, so that what is
done to one feature of many walkers is done to contiguous memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from .committor import CommittorModel
from .descriptors import (
    Concatenate,
    Coordinates,
    Coordination,
    CoordinationMoments,
    Descriptor,
    DiscGap,
    PairDistances,
)

__all__ = ["FastImportance"]

_BLOCK = 4096  # walkers evaluated at a time: enough to hide the cost of the calls


class _Features(Protocol):
    """Forward and backward pass of one descriptor."""

    def forward(self, positions: np.ndarray, features: np.ndarray) -> None:
        """Write the features ``(n_features, n)`` of positions ``(n, n_atoms, 3)``."""

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        """From the gradient with respect to the features, write that with respect to the positions of the last forward
        pass into zeros ``(n, n_atoms, 3)``."""


class _PairFeatures:
    """All descriptors of pair distances of one model, sharing the distances."""

    def __init__(self, parts: list[Descriptor], num_dimensions: int) -> None:
        self.parts, self.num_dimensions = parts, num_dimensions
        coordination = [part for part in parts if isinstance(part, Coordination)]
        ordered = {part.radius for part in coordination if part.sort}
        self.radii = sorted(ordered) + sorted({part.radius for part in coordination} - ordered)
        self.n_ordered = len(ordered)
        # lengths are in units of one of the radii, so that their eighth powers stay far from the limits of float32
        self.unit = np.float32(self.radii[0] if self.radii else 1.0)
        self.steepness = [np.float32((self.unit / radius) ** 8) for radius in self.radii]
        self.difference = parts[0].difference.numpy() / self.unit
        self.incidence = parts[0].difference.abs().numpy()
        n_atoms = self.difference.shape[1]
        self.average = np.full(n_atoms, 1.0 / n_atoms, dtype=np.float32)
        self.centering = np.eye(n_atoms, dtype=np.float32) - self.average

    def forward(self, positions: np.ndarray, features: np.ndarray) -> None:
        columns = np.array(positions.transpose(2, 1, 0)[: self.num_dimensions], dtype=np.float32, order="C")
        self.delta = self.difference @ columns  # (dimension, pair, walker)
        self.r2 = (self.delta * self.delta).sum(0)
        if self.radii:
            self._count_neighbors()
        for part, rows in self._rows(features):
            if isinstance(part, DiscGap):
                self._gap(part, rows[0])
            elif isinstance(part, CoordinationMoments):
                self._moments(self.coordination[self.radii.index(part.radius)], rows)
            elif isinstance(part, Coordination):
                radius = self.radii.index(part.radius)
                rows[:] = self.ordered[:, radius] if part.sort else self.coordination[radius]
            else:
                np.sqrt(self.r2, out=rows)
                rows *= self.unit
                if part.sort:
                    self.distance_order = _ascending(rows[None])[:, 0]
                    rows[:] = rows.take(self.distance_order)

    def _rows(self, features: np.ndarray) -> Iterator[tuple[Descriptor, np.ndarray]]:
        """Every part with its rows of an array like the features."""
        first = 0
        for part in self.parts:
            yield part, features[first : first + part.n_features]
            first += part.n_features

    def _count_neighbors(self) -> None:
        """Coordination numbers (radius, atom, walker), and for the first ``n_ordered`` radii also in ascending order."""
        eighth = self.r2 * self.r2
        eighth *= eighth
        self.term = np.empty((len(self.radii), *eighth.shape), dtype=np.float32)
        for steepness, term in zip(self.steepness, self.term, strict=True):
            np.multiply(eighth, steepness, out=term)
        self.term += np.float32(1.0)
        np.reciprocal(self.term, out=self.term)
        self.coordination = self.incidence.T @ self.term
        if self.n_ordered:
            self.order = _ascending(self.coordination[: self.n_ordered])
            self.ordered = self.coordination.take(self.order)  # (place, radius, walker)

    def _moments(self, coordination: np.ndarray, rows: np.ndarray) -> None:
        """Write the second and third central moments over the atoms."""
        deviation = self.centering @ coordination
        square = deviation * deviation
        np.matmul(self.average, square, out=rows[0])
        square *= deviation
        np.matmul(self.average, square, out=rows[1])

    def _gap(self, part: DiscGap, row: np.ndarray) -> None:
        """Write the logarithm of the distance from the disc."""
        away, distance = self._away_from(part)
        np.subtract(distance, np.float32(part.disc_radius), out=row)
        np.maximum(row, np.float32(0.0), out=row)
        row += np.float32(part.offset)
        np.log(row, out=row)

    def _away_from(self, part: DiscGap) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (2, walker) from the center of the disc to the moments, and their lengths."""
        coordination = self.coordination[self.radii.index(part.radius)]
        away = np.empty((2, coordination.shape[1]), dtype=np.float32)
        self._moments(coordination, away)
        away -= np.array(part.center, dtype=np.float32)[:, None]
        return away, np.hypot(*away)

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        # slope: the gradient with respect to half of each squared distance, whose own gradient is the pair vector
        slope = self._coordination_slope(gradient) if self.radii else np.zeros_like(self.r2)
        for part, piece in self._rows(gradient):
            if isinstance(part, PairDistances):
                unsorted = _scatter(piece, self.distance_order, piece.shape) if part.sort else piece
                slope += unsorted * (self.unit / np.sqrt(self.r2))
        along = self.difference.T @ (slope * self.delta)
        for axis in range(self.num_dimensions):
            result[:, :, axis] = along[axis].T

    def _coordination_slope(self, gradient: np.ndarray) -> np.ndarray:
        """What comes through the coordination numbers."""
        by_atom = np.zeros_like(self.coordination)
        if self.n_ordered:
            by_place = np.zeros_like(self.ordered)
            for part, piece in self._rows(gradient):
                if isinstance(part, Coordination) and part.sort:
                    by_place[:, self.radii.index(part.radius)] += piece
            by_atom[: self.n_ordered] = _scatter(by_place, self.order, by_atom[: self.n_ordered].shape)
        for part, piece in self._rows(gradient):
            if isinstance(part, Coordination) and not part.sort:
                radius = self.radii.index(part.radius)
                if isinstance(part, DiscGap):
                    piece = self._gap_gradient(part, piece[0])
                if isinstance(part, CoordinationMoments):
                    piece = self._moments_gradient(self.coordination[radius], piece)
                by_atom[radius] += piece
        for steepness, numbers in zip(self.steepness, by_atom, strict=True):
            numbers *= np.float32(-8.0) * steepness
        by_pair = self.incidence @ by_atom
        by_pair *= self.term
        by_pair *= self.term
        slope = by_pair.sum(0)
        for _ in range(3):
            slope *= self.r2
        return slope

    def _gap_gradient(self, part: DiscGap, gradient: np.ndarray) -> np.ndarray:
        """Gradient with respect to the moments (2, walker), given that of the logarithm; zero inside the disc."""
        away, distance = self._away_from(part)
        gap = distance - np.float32(part.disc_radius)
        slope = np.where(gap > 0.0, gradient / ((gap + np.float32(part.offset)) * np.maximum(distance, 1e-30)), 0.0)
        return away * slope.astype(np.float32)

    def _moments_gradient(self, coordination: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Gradient with respect to the coordination numbers, given that of the two moments."""
        n = np.float32(len(coordination))
        deviation = self.centering @ coordination
        third = self.centering @ (deviation * deviation)
        third *= gradient[1] * (np.float32(3.0) / n)
        deviation *= gradient[0] * (np.float32(2.0) / n)
        third += deviation
        return third


def _ascending(values: np.ndarray) -> np.ndarray:
    """Sort non-negative float32 values (group, place, walker) over the places of each group.

    Returns flat indices (place, group, walker) for ``values.take`` and :func:`_scatter`. The bits of such numbers, read as
    integers, have the order of the numbers; with the place appended to them NumPy's sort of integers finds the order faster
    than its argsort.
    """
    n_groups, n_places, n = values.shape
    n_bits = (n_places - 1).bit_length()
    keys = values.view(np.int32).transpose(2, 0, 1).astype(np.int64, order="C")
    keys <<= n_bits
    keys |= np.arange(n_places)
    keys.sort(axis=-1)  # of contiguous rows: much faster than along the first axis
    places = (keys & ((1 << n_bits) - 1)).transpose(2, 1, 0) * n
    places += np.arange(0, values.size, n_places * n)[:, None] + np.arange(n)
    return places


def _scatter(values: np.ndarray, indices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Put back what ``take(indices)`` has gathered from an array of this shape."""
    result = np.empty(shape, dtype=np.float32)
    result.reshape(-1)[indices] = values
    return result


class _LinearFeatures:
    """Chosen coordinates times a fixed matrix."""

    def __init__(self, part: Coordinates) -> None:
        n_columns = len(part.columns)
        matrix = np.eye(n_columns) if part.matrix is None else part.matrix.numpy()
        self.columns = part.columns.numpy()
        self.matrix = (matrix / part.scale).astype(np.float32)

    def forward(self, positions: np.ndarray, features: np.ndarray) -> None:
        chosen = positions.reshape(len(positions), -1)[:, self.columns]
        np.matmul(self.matrix, chosen.T.astype(np.float32, order="C"), out=features)

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        result.reshape(len(result), -1)[:, self.columns] = gradient.T @ self.matrix


class _TorchFeatures:
    """Any other descriptor, through autograd."""

    def __init__(self, part: Descriptor) -> None:
        self.part = part

    def forward(self, positions: np.ndarray, features: np.ndarray) -> None:
        self.x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        self.value = self.part(self.x)
        features[:] = self.value.detach().numpy().T

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        slope = torch.from_numpy(np.ascontiguousarray(gradient.T))
        result[:] = torch.autograd.grad(self.value, self.x, slope)[0].numpy()


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
        Walkers move in the first so many dimensions; descriptors made of pair distances leave the others out, in values and
        gradient.
    """

    def __init__(self, model: CommittorModel, num_dimensions: int = 3) -> None:
        frozen = model.copy()
        self.descriptor, self.num_dimensions = frozen.descriptor, num_dimensions
        self.features, self.model = _features(self.descriptor, num_dimensions), frozen
        self.in_logit = list(self.descriptor.in_logit)
        linear = [layer for layer in frozen.network if isinstance(layer, torch.nn.Linear)]
        self.weights = [layer.weight.detach().clone() for layer in linear]
        self.biases = [layer.bias.detach().clone()[:, None] for layer in linear]
        # the scaling of the features is folded into the first layer
        self.weights[0] /= frozen.feature_scale
        self.biases[0] -= self.weights[0] @ frozen.feature_mean[:, None]

    @property
    def features_dimensions(self) -> int:
        """Only so many first coordinates of every atom enter the features."""
        return self.num_dimensions if isinstance(self.features, _PairFeatures) else 3

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm."""
        value = np.empty(len(positions))
        for start in range(0, len(positions), _BLOCK):
            logit, _ = self._logit(positions[start : start + _BLOCK])
            value[start : start + _BLOCK] = _log_sigmoid(logit)
        return value

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""
        value, gradient = np.empty(len(positions)), np.zeros(positions.shape)
        for start in range(0, len(positions), _BLOCK):
            logit, sums = self._logit(positions[start : start + _BLOCK])
            value[start : start + _BLOCK] = _log_sigmoid(logit)
            outer = torch.sigmoid(-logit)
            slope = self.weights[-1].T * outer
            for weight, total in zip(self.weights[-2::-1], sums[::-1], strict=True):
                slope = weight.T @ torch.ops.aten.silu_backward(slope, total)
            slope[self.in_logit] += outer
            self.features.backward(slope.numpy(), gradient[start : start + _BLOCK])
        return value, gradient

    def _logit(self, positions: np.ndarray) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The logit ``(1, n)``, and the weighted sums ``(width, n)`` that enter the SiLU of every hidden layer."""
        # Memory of torch is aligned: of other memory its products could differ from run to run in the last bit.
        value = torch.empty(self.weights[0].shape[1], len(positions))
        self.features.forward(positions, value.numpy())
        known, sums = value[self.in_logit].sum(0), []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            sums.append(torch.addmm(bias, weight, value))
            value = torch.nn.functional.silu(sums[-1])
        return self.weights[-1] @ value + self.biases[-1] + known, sums


def _log_sigmoid(logit: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.logsigmoid(logit)[0].numpy()

"""Forward and backward passes of descriptors of pair distances by hand, in float32; walkers are the last axis of all arrays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .base import Descriptor
from .pairs import Coordination, CoordinationMoments, CoordinationNumbers, DiscGap, Distances
from .sorting import ascending, scatter, sorted_values

__all__ = ["PairFeatures"]


class PairFeatures:
    """All descriptors of pair distances of one model, sharing the distances."""

    def __init__(self, parts: list[Descriptor], num_dimensions: int) -> None:
        self.parts, self.num_dimensions = parts, num_dimensions
        coordination = [part for part in parts if isinstance(part, CoordinationNumbers)]
        ordered = {part.radius for part in coordination if isinstance(part, Coordination) and part.sort}
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

    def forward(self, positions: np.ndarray, features: np.ndarray, last: bool = False) -> None:
        """As :meth:`~openmm_rare.descriptors.by_hand.Features.forward`."""
        columns = np.array(positions.transpose(2, 1, 0)[: self.num_dimensions], dtype=np.float32, order="C")
        self.delta = self.difference @ columns  # (dimension, pair, walker)
        self.r2 = (self.delta * self.delta).sum(0)
        if self.radii:
            self._count_neighbors(last)
        self.moments, self.gaps = {}, {}
        for part, rows in self._rows(features):
            if isinstance(part, DiscGap):
                self._gap(part, rows[0])
            elif isinstance(part, CoordinationMoments):
                rows[:] = self._moments(part.radius)[0]
            elif isinstance(part, Coordination):
                radius = self.radii.index(part.radius)
                rows[:] = self.ordered[:, radius] if part.sort else self.coordination[radius]
            else:
                np.sqrt(self.r2, out=rows)
                rows *= self.unit
                if part.sort and last:
                    rows[:] = sorted_values(rows[None])[:, 0]
                elif part.sort:
                    self.distance_order = ascending(rows[None])[:, 0]
                    rows[:] = rows.take(self.distance_order)

    def _rows(self, features: np.ndarray) -> Iterator[tuple[Descriptor, np.ndarray]]:
        """Every part with its rows of an array like the features."""
        first = 0
        for part in self.parts:
            yield part, features[first : first + part.n_features]
            first += part.n_features

    def _count_neighbors(self, last: bool) -> None:
        """Coordination numbers (radius, atom, walker), and for the first ``n_ordered`` radii also in ascending order."""
        eighth = self.r2 * self.r2
        eighth *= eighth
        self.term = np.empty((len(self.radii), *eighth.shape), dtype=np.float32)
        for steepness, term in zip(self.steepness, self.term, strict=True):
            np.multiply(eighth, steepness, out=term)
        self.term += np.float32(1.0)
        np.reciprocal(self.term, out=self.term)
        self.coordination = self.incidence.T @ self.term
        if self.n_ordered and last:
            self.ordered = sorted_values(self.coordination[: self.n_ordered])
        elif self.n_ordered:
            self.order = ascending(self.coordination[: self.n_ordered])
            self.ordered = self.coordination.take(self.order)  # (place, radius, walker)

    def _moments(self, radius: float) -> tuple[np.ndarray, ...]:
        """Second and third central moments over the atoms (2, walker), and the deviations and their squares (atom, walker)."""
        if radius not in self.moments:
            deviation = self.centering @ self.coordination[self.radii.index(radius)]
            square = deviation * deviation
            moments = np.empty((2, deviation.shape[1]), dtype=np.float32)
            np.matmul(self.average, square, out=moments[0])
            np.matmul(self.average, square * deviation, out=moments[1])
            self.moments[radius] = moments, deviation, square
        return self.moments[radius]

    def _gap(self, part: DiscGap, row: np.ndarray) -> None:
        """Write the logarithm of the distance from the disc."""
        away = self._moments(part.radius)[0] - np.array(part.center, dtype=np.float32)[:, None]
        distance = np.hypot(*away)
        gap = np.maximum(distance - np.float32(part.disc_radius), np.float32(0.0))
        np.log(gap + np.float32(part.offset), out=row)
        self.gaps[part] = away, distance, gap

    def backward(self, gradient: np.ndarray, result: np.ndarray) -> None:
        """As :meth:`~openmm_rare.descriptors.by_hand.Features.backward`."""
        # slope: the gradient with respect to half of each squared distance, whose own gradient is the pair vector
        slope = self._coordination_slope(gradient) if self.radii else np.zeros_like(self.r2)
        for part, piece in self._rows(gradient):
            if isinstance(part, Distances):
                unsorted = scatter(piece, self.distance_order, piece.shape) if part.sort else piece
                slope += unsorted * (self.unit / np.sqrt(self.r2))
        along = self.difference.T @ (slope * self.delta)
        for axis in range(self.num_dimensions):
            result[:, :, axis] = along[axis].T

    def along(self, displacements: np.ndarray, change: np.ndarray) -> None:
        """As :meth:`~openmm_rare.descriptors.by_hand.Features.along`."""
        columns = np.array(displacements.transpose(2, 1, 0)[: self.num_dimensions], dtype=np.float32, order="C")
        step = (self.delta * (self.difference @ columns)).sum(0)  # of half of each squared distance
        if self.radii:
            by_atom = self._coordination_along(step)
        for part, rows in self._rows(change):
            if isinstance(part, Distances):
                np.divide(step, np.sqrt(self.r2), out=rows)
                rows *= self.unit
                if part.sort:
                    rows[:] = rows.take(self.distance_order)
                continue
            radius = self.radii.index(part.radius)
            if isinstance(part, DiscGap):
                rows[0] = (self._gap_gradient(part, np.float32(1.0)) * self._moments_along(part.radius, by_atom[radius])).sum(0)
            elif isinstance(part, CoordinationMoments):
                rows[:] = self._moments_along(part.radius, by_atom[radius])
            else:
                rows[:] = by_atom[: self.n_ordered].take(self.order[:, radius]) if part.sort else by_atom[radius]

    def _coordination_along(self, step: np.ndarray) -> np.ndarray:
        """Change of the coordination numbers (radius, atom, walker) with one of half of each squared distance."""
        for _ in range(3):
            step = step * self.r2
        by_pair = self.term * self.term
        by_pair *= step
        by_atom = self.incidence.T @ by_pair
        for steepness, numbers in zip(self.steepness, by_atom, strict=True):
            numbers *= np.float32(-8.0) * steepness
        return by_atom

    def _moments_along(self, radius: float, change: np.ndarray) -> np.ndarray:
        """Change of the two moments (2, walker) with one of the coordination numbers (atom, walker)."""
        _, deviation, square = self._moments(radius)
        second, third = self.average @ (deviation * change), self.average @ ((self.centering @ square) * change)
        return np.stack([np.float32(2.0) * second, np.float32(3.0) * third])

    def _coordination_slope(self, gradient: np.ndarray) -> np.ndarray:
        """What comes through the coordination numbers."""
        by_atom = np.zeros_like(self.coordination)
        if self.n_ordered:
            by_place = np.zeros_like(self.ordered)
            for part, piece in self._rows(gradient):
                if isinstance(part, Coordination) and part.sort:
                    by_place[:, self.radii.index(part.radius)] += piece
            by_atom[: self.n_ordered] = scatter(by_place, self.order, by_atom[: self.n_ordered].shape)
        by_moments = {radius: np.zeros_like(moments) for radius, (moments, *_) in self.moments.items()}
        for part, piece in self._rows(gradient):
            if isinstance(part, DiscGap):
                by_moments[part.radius] += self._gap_gradient(part, piece[0])
            elif isinstance(part, CoordinationMoments):
                by_moments[part.radius] += piece
            elif isinstance(part, Coordination) and not part.sort:
                by_atom[self.radii.index(part.radius)] += piece
        for radius, slope in by_moments.items():
            by_atom[self.radii.index(radius)] += self._moments_gradient(radius, slope)
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
        away, distance, gap = self.gaps[part]
        slope = gradient / ((gap + np.float32(part.offset)) * np.maximum(distance, np.float32(1e-30)))
        return away * np.where(gap > 0.0, slope, np.float32(0.0))

    def _moments_gradient(self, radius: float, gradient: np.ndarray) -> np.ndarray:
        """Gradient with respect to the coordination numbers (atom, walker), given that of the two moments."""
        _, deviation, square = self._moments(radius)
        n = np.float32(len(deviation))
        result = self.centering @ square
        result *= gradient[1] * (np.float32(3.0) / n)
        result += deviation * (gradient[0] * (np.float32(2.0) / n))
        return result

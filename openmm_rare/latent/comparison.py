"""A free energy beside the frames it was fitted to: densities on a grid, and how far apart they are.

Divergences are judged by a floor: that of one half of the frames from the other half, by blocks of consecutive frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from scipy.ndimage import binary_dilation

from ..errors import InputError
from .potential import LatentPotential

__all__ = ["MOST_GRID_DIMENSIONS", "DensityComparison", "Grid", "compare_densities", "divergence", "latent_grid"]

MOST_GRID_DIMENSIONS = 3
_CELLS = {1: 192, 2: 96, 3: 48}
_COARSE = 4  # cells of the grid in one of those that divergences are of, along each axis
_PIECES = 6
_MARGIN, _OUTERMOST = 0.02, 1e-4  # of the range of coordinates, and the share of frames beyond the grid
_NEAR = 2  # cells around those with frames that still are where the model was fitted
_LEAST = 1e-4  # of the probability is spread over all cells, for the logarithm of empty ones


@dataclass(frozen=True, eq=False)
class Grid:
    """Equal cells over the range of some frames.

    Attributes
    ----------
    edges : tuple of ndarray
        Along each axis.
    """

    edges: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(len(each) - 1 for each in self.edges)

    @property
    def axes(self) -> tuple[np.ndarray, ...]:
        """Centers of the cells along each axis."""
        return tuple(0.5 * (each[1:] + each[:-1]) for each in self.edges)

    @property
    def widths(self) -> np.ndarray:
        """Of a cell, along each axis."""
        return np.array([each[1] - each[0] for each in self.edges])

    def centers(self) -> torch.Tensor:
        """All cells, shape ``(n_cells, n_coordinates)``."""
        return torch.as_tensor(np.stack(np.meshgrid(*self.axes, indexing="ij"), -1).reshape(-1, len(self.edges)))

    def histogram(self, coordinates: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Numbers of frames in each cell."""
        return np.histogramdd(coordinates, self.edges, weights=weights)[0]

    def cells(self, coordinates: np.ndarray) -> tuple[np.ndarray, ...]:
        """Index along each axis of the cell that each frame is in, or of the nearest one."""
        found = (np.searchsorted(edges, column) - 1 for edges, column in zip(self.edges, coordinates.T, strict=True))
        return tuple(np.clip(each, 0, n - 1) for each, n in zip(found, self.shape, strict=True))

    def coarse(self, probability: np.ndarray) -> np.ndarray:
        """The same in larger cells."""
        for axis in range(probability.ndim):
            shape = list(probability.shape)
            shape[axis : axis + 1] = [shape[axis] // _COARSE, _COARSE]
            probability = probability.reshape(shape).sum(axis + 1)
        return probability


@dataclass(frozen=True, eq=False)
class DensityComparison:
    """The density of a model and that of frames.

    Attributes
    ----------
    grid : Grid
    frames, model : ndarray, shape grid.shape
        Probabilities of the cells, each with the sum 1.
    kl, half_l1 : float
        Divergence of the frames from the model, and half the sum of differences.
    kl_floor : float
        Divergence of half of the frames from the other half, on average over halves.
    kl_uniform : float
        Divergence from a uniform density where the frames are.
    kl_pairs : dict of (int, int) to float
        Of marginals of two coordinates.
    outside : float
        Probability that the model has where there were no frames; there it is extrapolated.
    """

    grid: Grid
    frames: np.ndarray
    model: np.ndarray
    kl: float
    half_l1: float
    kl_floor: float
    kl_uniform: float
    kl_pairs: dict[tuple[int, int], float]
    outside: float


def latent_grid(coordinates: np.ndarray) -> Grid:
    """A grid over the range of frames.

    Raises
    ------
    ValueError
        For more than 3 coordinates.
    """
    n = coordinates.shape[1]
    if n > MOST_GRID_DIMENSIONS:
        raise InputError(f"a grid of {n} coordinates is too large: {MOST_GRID_DIMENSIONS} at most")
    low, high = np.quantile(coordinates, _OUTERMOST, 0), np.quantile(coordinates, 1.0 - _OUTERMOST, 0)
    margin = _MARGIN * (high - low)
    edges = (np.linspace(a, b, _CELLS[n] + 1) for a, b in zip(low - margin, high + margin, strict=True))
    return Grid(tuple(edges))


def model_density(potential: LatentPotential, grid: Grid, where: np.ndarray | None = None) -> np.ndarray:
    """Probabilities of cells by the density at their centers, shape grid.shape; 0 where no positions have such coordinates.

    `where` restricts it to some cells.
    """
    centers = grid.centers()
    inside = potential.metric.inside(centers)
    if where is not None:
        inside = inside & torch.as_tensor(where.ravel())
    log_density = torch.full((len(centers),), -torch.inf, dtype=torch.float64)
    with torch.no_grad():
        log_density[inside] = potential.log_density(centers[inside])
    weight = torch.exp(log_density - log_density.max()).nan_to_num(0.0)
    return (weight / weight.sum()).numpy().reshape(grid.shape)


def support(counts: np.ndarray) -> np.ndarray:
    """Cells with frames, and those near them."""
    return binary_dilation(counts > 0.0, iterations=_NEAR)


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence of p from q, both of which may be counts; a little of q is spread over all cells."""
    p, q = p.ravel() / p.sum(), q.ravel() / q.sum()
    q = (1.0 - _LEAST) * q + _LEAST / q.size
    there = p > 0.0
    return float((p[there] * np.log(p[there] / q[there])).sum())


def compare_densities(potential: LatentPotential, coordinates: np.ndarray, grid: Grid | None = None) -> DensityComparison:
    """Compare a free energy with frames ``(n, n_coordinates)`` of equilibrium, in their order.

    Raises
    ------
    ValueError
        For more than 3 coordinates.
    """
    grid = grid or latent_grid(coordinates)
    counts = grid.histogram(coordinates)
    near = support(counts)
    model, everywhere = model_density(potential, grid, near), model_density(potential, grid)
    frames = counts / counts.sum()
    data, own = grid.coarse(frames), grid.coarse(model)
    n = len(grid.edges)
    pairs = {}
    for pair in combinations(range(n), 2) if n > 1 else ():
        others = tuple(axis for axis in range(n) if axis not in pair)
        pairs[pair] = divergence(data.sum(others), own.sum(others))
    return DensityComparison(
        grid,
        frames,
        model,
        divergence(data, own),
        0.5 * float(np.abs(data - own).sum()),
        _floor(grid, coordinates),
        divergence(data, grid.coarse(near / near.sum())),
        pairs,
        float(everywhere[~near].sum()),
    )


def _floor(grid: Grid, coordinates: np.ndarray) -> float:
    """Divergence between halves of the frames: each choice of 3 of 6 pieces, and the other 3."""
    pieces = [grid.coarse(grid.histogram(piece)) for piece in np.array_split(coordinates, _PIECES)]
    found = []
    for chosen in combinations(range(_PIECES), _PIECES // 2):
        one = sum(pieces[i] for i in chosen)
        other = sum(pieces[i] for i in range(_PIECES) if i not in chosen)
        found.append(divergence(one, other))
    return float(np.mean(found))

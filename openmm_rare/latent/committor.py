r"""The committor of reversible dynamics on a latent free energy, on a grid of up to three coordinates.

It minimizes :math:`\sum \rho\, \nabla q^T G \nabla q` between A and B (one-sided differences to all corners of a cell). It
knows neither memory nor friction: a shape to start from, as importance function or selector, whose errors cost efficiency only.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch
from scipy import sparse
from scipy.ndimage import label

from ..errors import InputError
from .comparison import Grid, model_density, support
from .potential import LatentPotential

__all__ = ["grid_committor", "latent_committor", "state_cells"]

_EMPTIEST = {1: 1e-30, 2: 1e-30, 3: 1e-9}  # of the largest density: cells below are walls; in space for convergence
_MAJORITY = 0.5


def grid_committor(
    density: np.ndarray, inverse_mass: np.ndarray, widths: Sequence[float], in_a: np.ndarray, in_b: np.ndarray
) -> np.ndarray:
    """Probability to reach B before A from each cell; NaN where there is no density, or no way from A to B.

    Parameters
    ----------
    density : ndarray, shape (n_1, ...)
    inverse_mass : ndarray, shape (n_1, ..., n_coordinates, n_coordinates)
        G, which is the mobility but for a constant.
    widths : sequence of float
        Of a cell, along each axis.
    in_a, in_b : ndarray of bool, shape (n_1, ...)

    Raises
    ------
    ValueError
        If no cells join A and B.
    """
    there = density > _EMPTIEST[density.ndim] * density.max()
    pieces, _ = label(there)
    joined = np.intersect1d(pieces[in_a & there], pieces[in_b & there])
    if not len(joined):
        raise InputError("the latent free energy has no way from A to B: give frames between them, or other coordinates")
    there = np.isin(pieces, joined)
    number = np.full(density.shape, -1)
    number[there] = np.arange(there.sum())
    stiffness = _dirichlet(density[there], inverse_mass[there], widths, number)
    q = np.where(in_b[there], 1.0, 0.0)
    free = ~(in_a | in_b)[there]
    known = -stiffness[free][:, ~free] @ q[~free]
    q[free] = np.clip(_solved(stiffness[free][:, free].tocsc(), known, density.ndim), 0.0, 1.0)
    made = np.full(density.shape, np.nan)
    made[there] = q
    return made


def _solved(matrix: sparse.csc_matrix, known: np.ndarray, n_coordinates: int) -> np.ndarray:
    """Directly in a plane, where small committors next to A are right as well; in space that would take a minute."""
    scale = sparse.diags(1.0 / np.sqrt(matrix.diagonal()))
    scaled = (scale @ matrix @ scale).tocsc()
    if n_coordinates < 3:
        return scale @ sparse.linalg.spsolve(scaled, scale @ known)
    found, status = sparse.linalg.cg(scaled, scale @ known, rtol=1e-8, maxiter=20_000)
    if status:
        raise InputError("the latent committor did not converge: take coordinates with a smaller range of densities")
    return scale @ found


def _dirichlet(density: np.ndarray, inverse_mass: np.ndarray, widths: Sequence[float], number: np.ndarray) -> sparse.csr_matrix:
    """The quadratic form over cells that are there, in their order."""
    places, n_cells, n = np.argwhere(number >= 0), len(density), number.ndim
    corners = list(product((1, -1), repeat=n))
    total = sparse.csr_matrix((n_cells, n_cells))
    for signs in corners:
        slopes = []
        for axis, (sign, width) in enumerate(zip(signs, widths, strict=True)):
            beside = places.copy()
            beside[:, axis] += sign
            valid = (beside[:, axis] >= 0) & (beside[:, axis] < number.shape[axis])
            other = np.full(n_cells, -1)
            other[valid] = number[tuple(beside[valid].T)]
            rows = np.flatnonzero(other >= 0)
            ones = np.full(len(rows), sign / width)
            entries = (np.r_[ones, -ones], (np.r_[rows, rows], np.r_[other[rows], rows]))
            slopes.append(sparse.csr_matrix(entries, (n_cells, n_cells)))
        for a in range(n):
            for b in range(n):
                weight = sparse.diags(density * inverse_mass[:, a, b] / len(corners))
                total = total + slopes[a].T @ weight @ slopes[b]
    return total


def state_cells(grid: Grid, coordinates: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Cells most of whose frames are in a state."""
    all_frames, own = grid.histogram(coordinates), grid.histogram(coordinates[inside])
    return (own > _MAJORITY * all_frames) & (own > 0)


def latent_committor(
    potential: LatentPotential, grid: Grid, coordinates: np.ndarray, in_a: np.ndarray, in_b: np.ndarray
) -> np.ndarray:
    """Committor on the grid of a free energy; A and B are where most frames of a cell are in them.

    Parameters
    ----------
    potential : LatentPotential
    grid : Grid
    coordinates : ndarray, shape (n, n_coordinates)
        Frames, which also say where the free energy is known.
    in_a, in_b : ndarray of bool, shape (n,)

    Raises
    ------
    ValueError
        If no frame is in one of the states, or nothing joins them.
    """
    for name, inside in (("A", in_a), ("B", in_b)):
        if not inside.any():
            raise InputError(f"no frame is in {name}: the trajectories are too short for a latent committor")
    density = model_density(potential, grid, support(grid.histogram(coordinates)))
    with torch.no_grad():
        inverse_mass = potential.metric.inverse_mass(grid.centers()).nan_to_num(0.0).numpy()
    shape = (*grid.shape, coordinates.shape[1], coordinates.shape[1])
    cells_a, cells_b = state_cells(grid, coordinates, in_a), state_cells(grid, coordinates, in_b)
    return grid_committor(density, inverse_mass.reshape(shape), grid.widths, cells_a, cells_b & ~cells_a)

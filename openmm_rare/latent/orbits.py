r"""Shapes of a few sites by their distances: the inertia tensor, and whether such a shape exists.

The fibre of "all distances" is an orbit of the rotations, whose volume is the square root of the determinant of the inertia
tensor: the free energy of the fibre has :math:`-\tfrac12 kT \ln \det I` in it, singular at collinear shapes, and known.
"""

from __future__ import annotations

from itertools import combinations
from math import prod

import torch
from torch import Tensor

__all__ = ["is_shape", "log_inertia", "pairs_of"]


def pairs_of(n_sites: int) -> list[tuple[int, int]]:
    """Pairs of sites in the order of their distances."""
    return list(combinations(range(n_sites), 2))


def log_inertia(distances: Tensor, masses: Tensor, dimensions: int) -> Tensor:
    """Logarithm of the squared volume of the orbit of rotations, shape ``(n,)``, but for a constant.

    Parameters
    ----------
    distances : Tensor, shape (n, n_pairs), nm
        All of 2, 3 or 4 sites.
    masses : Tensor, shape (n_sites,), Da
    dimensions : int
        In 3 that is ln det of the inertia tensor (twice the logarithm of the one moment of two sites); in 2 the logarithm of
        the one moment; in 1 there are no rotations.
    """
    first, second, third = _moments(distances, masses)
    if dimensions == 1:
        return torch.zeros_like(first)
    if dimensions == 2:
        return torch.log(first)
    if len(masses) == 2:
        return 2.0 * torch.log(first)
    return torch.log(first * second - third)


def is_shape(distances: Tensor, n_sites: int) -> Tensor:
    """Whether sites can have these distances, without being collinear, or coplanar where there are four; shape ``(n,)``."""
    inside = (distances > 0.0).all(1)
    _, areas, volume = _shape(distances, n_sites)
    for area in areas.values():
        inside &= area > 0.0
    return inside if volume is None else inside & (volume > 0.0)


def _moments(distances: Tensor, masses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Elementary symmetric functions of the principal second moments."""
    lengths, areas, volume = _shape(distances, len(masses))
    total = masses.sum()

    def summed(squares: dict[tuple[int, ...], Tensor]) -> Tensor:
        terms = (prod(masses[site] for site in sites) * square for sites, square in squares.items())
        return sum(terms, torch.zeros_like(distances[:, 0])) / total

    third = torch.zeros_like(distances[:, 0]) if volume is None else prod(masses) * volume / total
    return summed(lengths), summed(areas), third


def _shape(distances: Tensor, n_sites: int) -> tuple[dict, dict, Tensor | None]:
    """Squares of lengths, of parallelograms of triples, and of the parallelepiped of four sites."""
    squares = {pair: column**2 for pair, column in zip(pairs_of(n_sites), distances.unbind(1), strict=True)}
    areas = {}
    for i, j, k in combinations(range(n_sites), 3):
        products = _products(squares, i, (j, k))
        areas[i, j, k] = products[j, j] * products[k, k] - products[j, k] ** 2
    if n_sites < 4:
        return squares, areas, None
    products = _products(squares, 0, (1, 2, 3))
    gram = torch.stack([torch.stack([products[min(j, k), max(j, k)] for k in (1, 2, 3)], 1) for j in (1, 2, 3)], 1)
    a, b, c = gram[:, 0].unbind(1), gram[:, 1].unbind(1), gram[:, 2].unbind(1)
    volume = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0])
    return squares, areas, volume


def _products(squares: dict, origin: int, others: tuple[int, ...]) -> dict:
    """Scalar products of the vectors from one site to others."""

    def square(one: int, other: int) -> Tensor | float:
        return 0.0 if one == other else squares[min(one, other), max(one, other)]

    return {(j, k): 0.5 * (square(origin, j) + square(origin, k) - square(j, k)) for j in others for k in others if k >= j}

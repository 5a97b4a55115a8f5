"""Smooth coordination numbers and their moments, fast enough for every step of a thousand walkers."""

from functools import lru_cache

import numpy as np

# Frames per block of pair distances: arrays that stay in cache and below the size at which malloc asks the kernel
# for fresh pages, which costs more than the arithmetic.
_BLOCK = 384


@lru_cache(maxsize=8)
def _pair_matrices(n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Difference matrix (n_pairs, n_atoms) with +1 and -1, and its absolute value transposed, for all pairs."""
    i, j = np.triu_indices(n_atoms, 1)
    difference = np.zeros((len(i), n_atoms))
    difference[np.arange(len(i)), i] = 1
    difference[np.arange(len(i)), j] = -1
    return difference, np.ascontiguousarray(np.abs(difference.T))


def coordination_numbers(positions: np.ndarray, radius: float) -> np.ndarray:
    """Smooth coordination number of every atom, c_i = sum_j (1-(r/radius)^8)/(1-(r/radius)^16).

    The quotient equals 1/(1+(r/radius)^8), which has no hole at r = radius.

    Parameters
    ----------
    positions : ndarray of shape (n, n_atoms, 3)
        nm.
    radius : float
        nm.

    Returns
    -------
    ndarray of shape (n_atoms, n)
        Atoms first: the layout in which the sums over pairs are matrix products.
    """
    n, n_atoms, _ = positions.shape
    numbers = np.empty((n_atoms, n))
    for start in range(0, n, _BLOCK):
        numbers[:, start : start + _BLOCK] = _coordination_block(positions[start : start + _BLOCK], radius)
    return numbers


def _coordination_block(positions: np.ndarray, radius: float) -> np.ndarray:
    n, n_atoms, _ = positions.shape
    difference, incidence = _pair_matrices(n_atoms)
    axes = np.ascontiguousarray(positions.reshape(n, -1).T).reshape(n_atoms, 3, n)
    # Atoms kept at z = 0 are frequent and a test for it is cheap.
    dimensions = 3 if axes[:, 2].any() else 2
    difference = difference / radius
    # A matrix product yields all pair vectors, several times faster than indexing the pairs.
    s = difference @ axes[:, 0]
    s *= s
    for axis in range(1, dimensions):
        component = difference @ axes[:, axis]
        component *= component
        s += component
    s *= s
    s *= s
    s += 1.0
    return incidence @ np.reciprocal(s, out=s)


def central_moment(coordination: np.ndarray, order: int) -> np.ndarray:
    """Mean (order 1) or central moment (order 2 or 3) over atoms of coordination numbers (n_atoms, n), shape (n,)."""
    average = np.full(len(coordination), 1 / len(coordination))
    mean = average @ coordination
    if order == 1:
        return mean
    deviation = coordination - mean
    return average @ (deviation**2 if order == 2 else deviation * deviation * deviation)

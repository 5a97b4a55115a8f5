"""Smooth coordination numbers and their moments, fast enough for every step of a thousand walkers."""

from functools import lru_cache

import numpy as np

from ..structure.nearest_image import nearest_image

# Numbers per array of a block: a few such arrays stay in cache.
_BLOCK = 32_000
# Atoms up to which sums over pairs are products with a matrix of atoms times pairs, 100 MB in double precision.
_MOST_ATOMS = 300


@lru_cache(maxsize=8)
def _pairs(n_atoms: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and second atoms of all pairs, and the matrix (n_atoms, n_pairs) with 1 where an atom is in a pair."""
    first, second = np.triu_indices(n_atoms, 1)
    atoms = np.arange(n_atoms)[:, None]
    return first, second, ((atoms == first) | (atoms == second)).astype(np.float64)


def coordination_numbers(positions: np.ndarray, radius: float, box: np.ndarray | None = None) -> np.ndarray:
    """Smooth coordination number of every atom, c_i = sum_j (1-(r/radius)^8)/(1-(r/radius)^16).

    The quotient equals 1/(1+(r/radius)^8), which has no hole at r = radius.

    Parameters
    ----------
    positions : ndarray of shape (n, n_atoms, 3)
        nm.
    radius : float
        nm.
    box : ndarray of shape (3, 3), optional
        Vectors of a periodic box whose nearest images count, nm.

    Returns
    -------
    ndarray of shape (n_atoms, n)
        Atoms first: the layout in which the sums over pairs are matrix products.
    """
    n, n_atoms, _ = positions.shape
    if n_atoms > _MOST_ATOMS:
        return np.stack([_of_many_atoms(frame, radius, box) for frame in positions], axis=1)
    n_blocks = -(-n * n_atoms * n_atoms // (2 * _BLOCK))
    if n_blocks <= 1:
        return _coordination_block(positions, radius, box)
    return np.hstack([_coordination_block(block, radius, box) for block in np.array_split(positions, n_blocks)])


def _coordination_block(positions: np.ndarray, radius: float, box: np.ndarray | None) -> np.ndarray:
    first, second, incidence = _pairs(positions.shape[1])
    if box is None:
        s = _scaled_squares(positions, radius, first, second)
    else:
        images = nearest_image(positions[:, first] - positions[:, second], box)
        s = np.einsum("npi,npi->pn", images, images) / radius**2
    s *= s
    s *= s
    s += 1.0
    return incidence @ np.reciprocal(s, out=s)


def _of_many_atoms(positions: np.ndarray, radius: float, box: np.ndarray | None) -> np.ndarray:
    """Coordination numbers, shape (n_atoms,), of one frame, some atoms at a time."""
    step = max(1, 20 * _BLOCK // len(positions))
    numbers = []
    for start in range(0, len(positions), step):
        images = nearest_image(positions[start : start + step, None] - positions, box)
        s = (np.einsum("ijk,ijk->ij", images, images) / radius**2) ** 4
        numbers.append(np.reciprocal(1.0 + s).sum(1) - 1.0)  # without the atom itself
    return np.concatenate(numbers)


def _scaled_squares(positions: np.ndarray, radius: float, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Squared distances of pairs over the squared radius, shape (n_pairs, n)."""
    # Atoms kept at z = 0 are frequent and a test for it is cheap.
    dimensions = 3 if positions[:, :, 2].any() else 2
    s = 0.0
    for component in np.array(positions.transpose(2, 1, 0)[:dimensions], order="C"):
        component /= radius
        difference = component.take(first, axis=0)
        difference -= component.take(second, axis=0)
        difference *= difference
        difference += s
        s = difference
    return s


def mean_and_deviations(positions: np.ndarray, radius: float, box: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean (n,) of the coordination numbers of all atoms, and their deviations from it (n_atoms, n)."""
    numbers = coordination_numbers(positions, radius, box)
    mean = numbers.sum(axis=0)
    mean /= len(numbers)
    numbers -= mean
    return mean, numbers

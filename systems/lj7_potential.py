"""Energy, gradient and curvature of seven Lennard-Jones discs in the plane, in units of epsilon and sigma."""

import numpy as np

N_DISCS = 7
PAIRS = np.triu_indices(N_DISCS, 1)
"""First and second disc of the 21 pairs."""
_N_ZERO_MODES = 3  # two translations and the rotation

# Pair p is disc i minus disc j: +1 and -1 in column p. Sums over pairs become matrix products.
_SIGN = np.zeros((N_DISCS, len(PAIRS[0])))
_SIGN[PAIRS[0], np.arange(len(PAIRS[0]))] = 1.0
_SIGN[PAIRS[1], np.arange(len(PAIRS[0]))] = -1.0
_SIGN_PRODUCTS = (_SIGN[:, None] * _SIGN[None]).reshape(N_DISCS**2, -1)


def pair_distances(positions: np.ndarray) -> np.ndarray:
    """Distances of the 21 pairs of positions of shape (7, 2)."""
    return np.linalg.norm(positions[PAIRS[0]] - positions[PAIRS[1]], axis=-1)


def energy(positions: np.ndarray, alpha: float = 0.01) -> float:
    """U = 4 sum over pairs of s^-2 - s^-1, s = alpha + r^6, of positions of shape (7, 2)."""
    s = alpha + pair_distances(positions) ** 6
    return float(4 * (s**-2 - s**-1).sum())


def _pair_derivatives(positions: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pair vectors (21, 2), and the first and second derivative of the pair energy with respect to r^2."""
    vectors = positions[PAIRS[0]] - positions[PAIRS[1]]
    r2 = (vectors**2).sum(axis=1)
    r4 = r2 * r2
    i = 1 / (alpha + r4 * r2)
    first_s, second_s = 4 * i * i * (1 - 2 * i), 8 * i * i * i * (3 * i - 1)
    return vectors, first_s * 3 * r4, second_s * 9 * r4 * r4 + first_s * 6 * r2


def gradient(positions: np.ndarray, alpha: float = 0.01) -> np.ndarray:
    """Gradient of the energy, shape (7, 2)."""
    vectors, first, _ = _pair_derivatives(positions, alpha)
    return _SIGN @ (2 * first[:, None] * vectors)


def hessian(positions: np.ndarray, alpha: float = 0.01) -> np.ndarray:
    """Second derivatives of the energy, shape (14, 14)."""
    vectors, first, second = _pair_derivatives(positions, alpha)
    block = 4 * second[:, None, None] * vectors[:, :, None] * vectors[:, None, :] + 2 * first[:, None, None] * np.eye(2)
    total = (_SIGN_PRODUCTS @ block.reshape(-1, 4)).reshape(N_DISCS, N_DISCS, 2, 2)
    return total.transpose(0, 2, 1, 3).reshape(2 * N_DISCS, 2 * N_DISCS)


def zero_modes(positions: np.ndarray) -> np.ndarray:
    """Orthonormal translations and rotation, shape (14, 3)."""
    x, y = (positions - positions.mean(axis=0)).T
    modes = np.zeros((N_DISCS, 2, 3))
    modes[:, 0, 0] = modes[:, 1, 1] = 1.0
    modes[:, 0, 2], modes[:, 1, 2] = -y, x
    modes = modes.reshape(-1, 3)
    return modes / np.linalg.norm(modes, axis=0)


def vibrations(positions: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (11,) and eigenvectors (14, 11) of the Hessian orthogonal to the zero modes, ascending."""
    zero = zero_modes(positions)
    matrix = hessian(positions, alpha)
    projector = np.eye(2 * N_DISCS) - zero @ zero.T
    # The zero modes are lifted far above the spectrum, where they cannot mix with anything.
    values, vectors = np.linalg.eigh(projector @ matrix @ projector + 1e6 * zero @ zero.T)
    return values[:-_N_ZERO_MODES], vectors[:, :-_N_ZERO_MODES]

"""Minima, saddles and Kramers rates of seven Lennard-Jones discs in the plane.

Reduced units: energy epsilon, length sigma, time friction m sigma^2/epsilon.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np

from .lj7_potential import N_DISCS, PAIRS, energy, gradient, hessian, pair_distances, vibrations

MINIMUM_NAMES = ("hexagon", "c1", "c2", "trapezoid")
"""The minima by ascending energy."""

_PERMUTATIONS = np.array(list(permutations(range(N_DISCS))))


@dataclass(frozen=True, eq=False)
class StationaryPoint:
    """A configuration without forces.

    Attributes
    ----------
    positions : ndarray of shape (7, 2)
        sigma, centered at the origin.
    energy : float
        epsilon.
    eigenvalues : ndarray of shape (11,)
        Of the Hessian, ascending, without the three zero modes; epsilon/sigma^2.
    mode : ndarray of shape (7, 2)
        Normalized eigenvector of the lowest of them.
    """

    positions: np.ndarray
    energy: float
    eigenvalues: np.ndarray
    mode: np.ndarray

    @property
    def index(self) -> int:
        """Number of unstable modes."""
        return int((self.eigenvalues < 0).sum())

    @property
    def log_weight(self) -> float:
        """ln of (moment of inertia)^(1/2) / prod |eigenvalue|^(1/2).

        The orbit of a configuration under rotation has the length 2 pi (sum |r|^2)^(1/2) in configuration space.
        """
        return 0.5 * float(np.log((self.positions**2).sum()) - np.log(np.abs(self.eigenvalues)).sum())

    def is_same_structure(self, other: "StationaryPoint") -> bool:
        """Equal up to rotation, reflection and exchange of discs (energy and sorted distances agree)."""
        return abs(self.energy - other.energy) < 1e-5 and bool(
            np.allclose(np.sort(pair_distances(self.positions)), np.sort(pair_distances(other.positions)), atol=1e-3)
        )


@dataclass(frozen=True, eq=False)
class Saddle:
    """An index-1 saddle, its two ends by steepest descent, and how often it occurs around them.

    Attributes
    ----------
    point : StationaryPoint
    ends : tuple of two StationaryPoint
    multiplicity : dict
        For the energy rank of each end among the minima: the number of distinct labelled saddles of this kind
        around one labelled minimum, rotations and translations aside.
    """

    point: StationaryPoint
    ends: tuple[StationaryPoint, StationaryPoint]
    multiplicity: dict[int, int]


def _characterize(positions: np.ndarray, alpha: float) -> StationaryPoint:
    positions = positions - positions.mean(axis=0)
    values, vectors = vibrations(positions, alpha)
    return StationaryPoint(positions, energy(positions, alpha), values, vectors[:, 0].reshape(N_DISCS, 2))


def _follow(positions: np.ndarray, alpha: float, uphill: int, max_steps: int = 150) -> StationaryPoint | None:
    """Newton steps in the eigenmodes, uphill in the lowest ``uphill`` ones and downhill in the others."""
    for _ in range(max_steps):
        values, vectors = vibrations(positions, alpha)
        slope = vectors.T @ gradient(positions, alpha).ravel()
        if np.abs(slope).max() < 1e-10:
            point = _characterize(positions, alpha)
            return point if point.index == uphill else None
        direction = np.where(np.arange(len(values)) < uphill, 1.0, -1.0)
        step = vectors @ (direction * slope / np.maximum(np.abs(values), 1e-3))
        positions = positions + (step * min(1.0, 0.1 / np.linalg.norm(step))).reshape(N_DISCS, 2)
    return None


def relax(positions: np.ndarray, alpha: float = 0.01) -> StationaryPoint | None:
    """The minimum at the end of the steepest-descent path from positions of shape (7, 2).

    Returns
    -------
    StationaryPoint or None
        None if discs drift apart instead.
    """
    from scipy.integrate import solve_ivp  # every command imports this module

    solution = solve_ivp(
        lambda t, x: -gradient(x.reshape(N_DISCS, 2), alpha).ravel(),
        (0.0, 5.0),
        positions.ravel(),
        method="LSODA",
        jac=lambda t, x: -hessian(x.reshape(N_DISCS, 2), alpha),
        rtol=1e-6,
        atol=1e-8,
    )
    return _follow(solution.y[:, -1].reshape(N_DISCS, 2), alpha, uphill=0)


def minima(alpha: float = 0.01) -> tuple[StationaryPoint, ...]:
    """The distinct compact minima by energy, from random starts; four of them, see ``MINIMUM_NAMES``."""
    return _minima(float(alpha))


# Cached behind a plain signature, so that a default and the same value given are one entry.
@lru_cache(maxsize=4)
def _minima(alpha: float, n_starts: int = 60) -> tuple[StationaryPoint, ...]:
    from scipy.optimize import minimize

    found: list[StationaryPoint] = []
    for start in np.random.default_rng(0).uniform(-1.6, 1.6, (n_starts, 2 * N_DISCS)):
        result = minimize(
            lambda x: (energy(x.reshape(N_DISCS, 2), alpha), gradient(x.reshape(N_DISCS, 2), alpha).ravel()),
            start,
            jac=True,
            method="L-BFGS-B",
        )
        point = _follow(result.x.reshape(N_DISCS, 2), alpha, uphill=0)
        if point is not None and point.energy < -11 and not any(map(point.is_same_structure, found)):
            found.append(point)
    return tuple(sorted(found, key=lambda point: point.energy))


def rank_among(point: StationaryPoint, known: tuple[StationaryPoint, ...]) -> int:
    """Position of a structure in a list, -1 if it is not there."""
    return next((rank for rank, minimum in enumerate(known) if point.is_same_structure(minimum)), -1)


def _isometries(source: np.ndarray, target: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every (order, matrix) with source[order] @ matrix = target: exchanges of discs with rotations or reflections."""
    distances = np.linalg.norm(source[:, None] - source[None], axis=-1)
    permuted = distances[_PERMUTATIONS[:, PAIRS[0]], _PERMUTATIONS[:, PAIRS[1]]]
    for order in _PERMUTATIONS[np.abs(permuted - pair_distances(target)).max(axis=1) < 1e-3]:
        u, _, v = np.linalg.svd(source[order].T @ target)
        yield order, u @ v


def count_around(saddle: np.ndarray, end: np.ndarray, reference: np.ndarray) -> int:
    """Number of distinct labelled saddles equivalent to ``saddle`` around one labelled minimum ``reference``.

    Every exchange of discs that carries ``end``, the minimum below the saddle, onto the reference carries the saddle
    to a place around the reference; different places are counted. All arguments have the shape (7, 2), centered.
    """
    places: list[np.ndarray] = []
    for order, matrix in _isometries(end, reference):
        place = saddle[order] @ matrix
        if all(np.abs(place - other).max() > 1e-2 for other in places):
            places.append(place)
    return len(places)


def saddles(alpha: float = 0.01) -> tuple[Saddle, ...]:
    """The distinct index-1 saddles that join the four minima, lowest first, by eigenvector following."""
    return _saddles(float(alpha))


@lru_cache(maxsize=4)
def _saddles(alpha: float, n_starts: int = 45) -> tuple[Saddle, ...]:
    rng = np.random.default_rng(0)
    known = minima(alpha)
    points: list[StationaryPoint] = []
    for minimum in known:
        for _ in range(n_starts):
            start = minimum.positions + rng.uniform(0.05, 0.2) * rng.normal(size=(N_DISCS, 2))
            point = _follow(start, alpha, uphill=1)
            if point is not None and not any(map(point.is_same_structure, points)):
                points.append(point)
    joined = [_join(point, known, alpha) for point in sorted(points, key=lambda point: point.energy)]
    return tuple(saddle for saddle in joined if saddle is not None)


def _join(point: StationaryPoint, known: tuple[StationaryPoint, ...], alpha: float) -> Saddle | None:
    """Follow both descents; None if one ends outside the known minima."""
    # The ends keep the frame of the saddle: only that makes places around a minimum comparable.
    ends = tuple(relax(point.positions + sign * 0.02 * point.mode, alpha) for sign in (1, -1))
    if any(end is None or rank_among(end, known) < 0 for end in ends):
        return None
    multiplicity: dict[int, int] = {}
    for end in ends:
        rank = rank_among(end, known)
        multiplicity[rank] = max(multiplicity.get(rank, 0), count_around(point.positions, end.positions, known[rank].positions))
    return Saddle(point, ends, multiplicity)


def kramers_exit_rates(kt: float, alpha: float = 0.01) -> dict[tuple[str, str], float]:
    """Overdamped Kramers-Langer rates between the minima, in 1/time.

    k = n |lambda_-|/(2 pi) (I_s/I_m)^(1/2) (prod lambda_m / prod |lambda_s|)^(1/2) exp(-dE/kT), summed over the
    saddles between two kinds of minima; n counts the labelled saddles, products leave out the three zero modes, and
    the ratio of the moments of inertia is what the rotation contributes (Langer, Ann. Phys. 54, 258, 1969).

    Parameters
    ----------
    kt : float
        epsilon.
    alpha : float

    Returns
    -------
    dict
        Keys (from, to) of ``MINIMUM_NAMES``.
    """
    known = minima(alpha)
    rates: dict[tuple[str, str], float] = {}
    for saddle in saddles(alpha):
        ranks = [rank_among(end, known) for end in saddle.ends]
        if ranks[0] == ranks[1]:
            continue
        for source, target in (ranks, ranks[::-1]):
            exponent = saddle.point.log_weight - known[source].log_weight
            exponent -= (saddle.point.energy - known[source].energy) / kt
            key = MINIMUM_NAMES[source], MINIMUM_NAMES[target]
            attempt = saddle.multiplicity[source] * abs(saddle.point.eigenvalues[0]) / (2 * np.pi)
            rates[key] = rates.get(key, 0.0) + attempt * float(np.exp(exponent))
    return rates


def kramers_rate(kt: float, alpha: float = 0.01) -> float:
    """Rate from the hexagon to C2, directly or through other minima, in 1/time.

    The minima form a Markov chain with the rates of :func:`kramers_exit_rates`; each exit counts with the
    probability that the chain reaches C2 before it returns to the hexagon.

    The simulated k_AB of ``systems.lj7`` lies above this, even near the total exit rate, where kT is not small
    against 0.3 epsilon: B is a disc in (mu2, mu3), and the steepest-descent path from the hexagon to C1 passes it at
    a distance of 0.05, so that many a path on its way to C1 counts as an arrival in B.
    """
    rates = kramers_exit_rates(kt, alpha)
    between = ("c1", "trapezoid")
    matrix, right = np.zeros((2, 2)), np.zeros(2)
    for row, source in enumerate(between):
        matrix[row, row] = sum(rate for (start, _), rate in rates.items() if start == source)
        for column, target in enumerate(between):
            matrix[row, column] -= rates.get((source, target), 0.0)
        right[row] = rates.get((source, "c2"), 0.0)
    reach = dict(zip(between, np.linalg.solve(matrix, right), strict=True)) | {"c2": 1.0}
    return sum(rate * reach[target] for (source, target), rate in rates.items() if source == "hexagon")

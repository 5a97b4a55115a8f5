"""Exact committor and rate of Langevin dynamics with momenta on a line: a yardstick for sampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

Field = Callable[[np.ndarray], np.ndarray]

_MAX_SPEED = 6.0
"""Largest velocity of the grid, in thermal ones."""
_GRADING = 0.9
"""How much finer the grid is at the edges of A and B, where the committor is steepest: 0 for equal spacing, below 1."""


@dataclass(frozen=True)
class PhaseSolution:
    """Committor and rate on a grid in phase space.

    Attributes
    ----------
    x : ndarray of shape (nx,)
        nm, from the edge of A to that of B.
    v : ndarray of shape (nv,)
        nm/ps.
    committor : ndarray of shape (nx, nv)
        Probability of reaching B before A.
    flux : ndarray of shape (nx,)
        Reactive flux through x over the equilibrium probability of having visited A last, 1/ps. Without errors of the grid it
        would be the same at every x.
    rate_per_ps : float
        The flux where the density is lowest, which is where errors of the grid weigh least.
    """

    x: np.ndarray
    v: np.ndarray
    committor: np.ndarray
    flux: np.ndarray
    rate_per_ps: float

    def mean_committor(self) -> np.ndarray:
        """Average over the velocities of equilibrium, shape (nx,): what can be known from positions alone."""
        return self.committor @ _maxwell(self.v, self._thermal_speed())

    def at(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Committor at points, interpolated; 0 in A and 1 in B."""
        from scipy.interpolate import RegularGridInterpolator  # every command imports the built-in systems

        inside = np.clip(x, self.x[0], self.x[-1]), np.clip(v, self.v[0], self.v[-1])
        q = RegularGridInterpolator((self.x, self.v), self.committor)(np.stack(inside, axis=-1))
        return np.where(x <= self.x[0], 0.0, np.where(x >= self.x[-1], 1.0, q))

    def _thermal_speed(self) -> float:
        spacing = self.v[1] - self.v[0]
        return float(spacing * len(self.v) / (2.0 * _MAX_SPEED))


def solve(
    energy: Field,
    force: Field,
    edges: tuple[float, float],
    kt: float,
    mass: float,
    friction: float,
    n_x: int = 320,
    n_v: int = 240,
) -> PhaseSolution:
    r"""Solve the backward Klein-Kramers equation by finite differences of second order.

    .. math::
        v\,\partial_x q + \left(\frac{F(x)}{m} - \gamma v\right) \partial_v q + \frac{\gamma k_B T}{m}\,\partial_v^2 q = 0

    with q = 0 where a trajectory enters A (x at its edge, v < 0) and 1 where it enters B. Time reversal gives the probability
    1 - q(x, -v) of having visited A last, and with it the reactive flux through x, the integral of v rho q over v (the rest is
    odd in v), and the population that k_AB is normalized by, the integral of rho (1-q). The states are tested all the time.

    Parameters
    ----------
    energy, force : callable
        x in nm -> kJ/mol, and its negative derivative; confining.
    edges : tuple of float
        A is x <= the first, B is x >= the second, nm.
    kt : float
        kJ/mol.
    mass : float
        Da.
    friction : float
        1/ps.
    n_x, n_v : int
        Points along x, and along v up to 6 thermal velocities. With the defaults the rate over barriers of 5 to 8 kT is within
        0.1 % of the limit.
    """
    speed = np.sqrt(kt / mass)
    x, width = _graded(edges, n_x)
    v = (np.arange(n_v) - (n_v - 1) / 2) * (2.0 * _MAX_SPEED * speed / n_v)
    ahead, behind = _derivatives(width, 1.0 / (n_x - 1))
    slope, curvature = _in_velocity(n_v, v[1] - v[0])
    generator = sparse.kron(ahead, sparse.diags(np.maximum(v, 0.0))) + sparse.kron(behind, sparse.diags(np.minimum(v, 0.0)))
    generator += sparse.kron(sparse.diags(force(x) / mass), slope)
    generator += sparse.kron(sparse.identity(n_x), friction * (speed**2 * curvature - sparse.diags(v) @ slope))
    q = _committor(generator.tocsr(), v, n_x)
    flux = _flux(energy, x, width, v, q, kt, speed)
    return PhaseSolution(x, v, q, flux, float(flux[np.argmax(energy(x))]))


def _graded(edges: tuple[float, float], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points x(t) at equal distances of t from 0 to 1, denser at both ends, and dx/dt."""
    t, length = np.linspace(0.0, 1.0, n), edges[1] - edges[0]
    x = edges[0] + length * (t - _GRADING * np.sin(2 * np.pi * t) / (2 * np.pi))
    return x, length * (1.0 - _GRADING * np.cos(2 * np.pi * t))


def _derivatives(width: np.ndarray, step: float) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """d/dx from points ahead, and from points behind: a trajectory knows where it goes, as q does."""
    n = len(width)
    ahead = sparse.diags([-1.5, 2.0, -0.5], [0, 1, 2], shape=(n, n)).tolil()
    ahead[n - 2, n - 2 :] = [-1.0, 1.0]
    behind = sparse.diags([1.5, -2.0, 0.5], [0, -1, -2], shape=(n, n)).tolil()
    behind[1, :2] = [-1.0, 1.0]
    scale = sparse.diags(1.0 / (step * width))
    return (scale @ ahead.tocsr()).tocsr(), (scale @ behind.tocsr()).tocsr()


def _in_velocity(n: int, spacing: float) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """d/dv and d2/dv2, with slope 0 beyond the largest velocities."""
    slope = sparse.diags([-0.5, 0.5], [-1, 1], shape=(n, n)).tolil()
    curvature = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n)).tolil()
    slope[0, 0], slope[n - 1, n - 1] = -0.5, 0.5
    curvature[0, 0] = curvature[n - 1, n - 1] = -1.0
    return slope.tocsr() / spacing, curvature.tocsr() / spacing**2


def _committor(generator: sparse.csr_matrix, v: np.ndarray, n_x: int) -> np.ndarray:
    """The solution of generator q = 0 with its values where trajectories enter A and B, shape (n_x, n_v)."""
    from scipy.sparse.linalg import spsolve  # every command imports the built-in systems

    row = np.arange(n_x)[:, None]
    into_a, into_b = ((row == 0) & (v < 0)).ravel(), ((row == n_x - 1) & (v > 0)).ravel()
    free, q = ~(into_a | into_b), into_b.astype(np.float64)
    rows = generator[free]
    q[free] = spsolve(rows[:, free].tocsc(), -np.asarray(rows[:, into_b].sum(axis=1)).ravel())
    return q.reshape(n_x, len(v))


def _flux(energy: Field, x: np.ndarray, width: np.ndarray, v: np.ndarray, q: np.ndarray, kt: float, speed: float) -> np.ndarray:
    """As :attr:`PhaseSolution.flux`."""
    from scipy.integrate import quad, simpson  # every command imports the built-in systems

    lowest, share = energy(x).min(), _maxwell(v, speed)
    density = np.exp(-(energy(x) - lowest) / kt)
    in_a = quad(lambda point: np.exp(-(energy(point) - lowest) / kt), -np.inf, x[0], epsabs=0, epsrel=1e-9, limit=200)[0]
    between = simpson(density * (1.0 - q @ share) * width, dx=1.0 / (len(x) - 1))
    return density * (q @ (v * share)) / (in_a + between)


def _maxwell(v: np.ndarray, speed: float) -> np.ndarray:
    """Probabilities of the cells of the velocity grid in equilibrium."""
    weight = np.exp(-0.5 * (v / speed) ** 2)
    return weight / weight.sum()

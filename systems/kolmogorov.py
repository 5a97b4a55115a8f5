"""Exact committors and rates of overdamped dynamics in one and two dimensions: yardsticks for sampling."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.linalg import spsolve

from openmm_rare.states.states import IN_A, IN_B, States

Field = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class GridSolution:
    """Committor and rate on a grid.

    Attributes
    ----------
    x, y : ndarray of shape (nx,), (ny,)
        Centers of the cells, nm.
    committor : ndarray of shape (nx, ny)
        Probability of reaching B before A; NaN in cells of negligible density.
    density : ndarray of shape (nx, ny)
        Equilibrium density, 1/nm^2; 0 where the committor is NaN.
    rate_per_ps : float
        Reactive flux divided by the equilibrium probability of having visited A last.
    channel_fractions : dict
        Fraction of the reactive trajectories by the channel of their last crossing of the ridge.
    """

    x: np.ndarray
    y: np.ndarray
    committor: np.ndarray
    density: np.ndarray
    rate_per_ps: float
    channel_fractions: dict[str, float]


@dataclass(frozen=True)
class _Network:
    """Cells as a reversible jump process: ``weight`` (n,) sums to 1, edges i-j carry ``flux`` = weight_i rate_ij."""

    weight: np.ndarray
    i: np.ndarray
    j: np.ndarray
    flux: np.ndarray

    def hitting_probability(self, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
        """Probability (n,) of reaching the set ``one`` before ``zero``; boolean arrays of shape (n,)."""
        n = len(self.weight)
        free = ~(zero | one)
        rows, columns = np.concatenate([self.i, self.j]), np.concatenate([self.j, self.i])
        jumps: csr_matrix = coo_matrix((np.tile(self.flux, 2), (rows, columns)), shape=(n, n)).tocsr()
        total = np.asarray(jumps.sum(axis=1)).ravel()
        # Divided by its diagonal, each row holds jump probabilities: densities over many decades drop out.
        scaled = jumps[free].multiply(1 / total[free, None]).tocsr()
        matrix = -scaled[:, free]
        matrix.setdiag(1.0)
        probability = one.astype(np.float64)
        probability[free] = spsolve(matrix.tocsc(), scaled[:, one].sum(axis=1))
        return probability

    def last_crossings(self, q: np.ndarray, in_b: np.ndarray, on_b_side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cell entered on B's side, and reactive flux, of every edge across the ridge: a path counts at its last crossing.

        With e the probability, on B's side, of reaching B before returning to A's side, the edge from i on A's side to j
        on B's carries (1-q_i) rho_i rate_ij e_j: the solution on a state space in which B's side is doubled by labels.
        """
        e = self.hitting_probability(~on_b_side, in_b)
        crosses = on_b_side[self.i] != on_b_side[self.j]
        i, j = self.i[crosses], self.j[crosses]
        source, target = np.where(on_b_side[i], j, i), np.where(on_b_side[i], i, j)
        return target, (1 - q[source]) * self.flux[crosses] * e[target]


def _network(potential: Field, x: np.ndarray, y: np.ndarray, kt: float, diffusion: float, keep: np.ndarray) -> _Network:
    """Finite volumes: flux through a face = D exp(-U(face)/kT)/spacing^2, so detailed balance holds exactly."""
    number = np.full(keep.shape, -1)
    number[keep] = np.arange(keep.sum())
    u = potential(x[:, None], y[None, :])
    lowest = u[keep].min()
    weight = np.exp(-(u[keep] - lowest) / kt)
    parts = []
    for axis in (0, 1):
        spacing = (x, y)[axis][1] - (x, y)[axis][0]
        shift = np.array([spacing / 2, 0.0] if axis == 0 else [0.0, spacing / 2])
        lower = tuple(slice(None, -1) if k == axis else slice(None) for k in (0, 1))
        upper = tuple(slice(1, None) if k == axis else slice(None) for k in (0, 1))
        both = keep[lower] & keep[upper]
        face = potential(x[:, None] + shift[0], y[None, :] + shift[1])[lower]
        flux = diffusion / spacing**2 * np.exp(-(face - lowest) / kt)
        parts.append((number[lower][both], number[upper][both], flux[both]))
    i, j, flux = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _Network(weight / weight.sum(), i, j, flux / weight.sum())


def solve(
    potential: Field,
    x_edges: np.ndarray,
    y_edges: np.ndarray,
    kt: float,
    diffusion: float,
    states: States,
    side: Field,
    channels: Mapping[str, Field],
    ceiling: float,
) -> GridSolution:
    """Solve the backward Kolmogorov equation by finite volumes with reflecting outer walls.

    k_AB = (reactive flux over the ridge) / (integral of rho (1-q)), with q the committor and rho the density.

    Parameters
    ----------
    potential : callable
        (x, y) in nm -> energy in kJ/mol, broadcasting.
    x_edges, y_edges : ndarray
        Edges of the cells, equally spaced, nm.
    kt : float
        kJ/mol.
    diffusion : float
        kT/(m friction), nm^2/ps.
    states : States
        In variables of one particle in the xy plane.
    side : callable
        (x, y) -> bool, True on B's side of the ridge.
    channels : mapping from name to callable
        (x, y) of the cell entered on B's side -> bool; the channels must be disjoint and complete.
    ceiling : float
        Cells this far (kJ/mol) above the lowest are left out; take tens of kT more than the barriers.

    Returns
    -------
    GridSolution
    """
    x, y = ((edges[1:] + edges[:-1]) / 2 for edges in (x_edges, y_edges))
    grid_x, grid_y = np.meshgrid(x, y, indexing="ij")
    u = potential(grid_x, grid_y)
    status = states.classify(np.stack([grid_x, grid_y, 0 * grid_x], -1).reshape(-1, 1, 3)).reshape(u.shape)
    keep = u - u.min() < ceiling
    network = _network(potential, x, y, kt, diffusion, keep)
    on_b_side, in_b = side(grid_x, grid_y)[keep], status[keep] == IN_B
    q = network.hitting_probability(status[keep] == IN_A, in_b)
    entered, reactive = network.last_crossings(q, in_b, on_b_side)
    at = grid_x[keep][entered], grid_y[keep][entered]
    fractions = {name: float(reactive[chosen(*at)].sum() / reactive.sum()) for name, chosen in channels.items()}
    committor, density = np.full(u.shape, np.nan), np.zeros(u.shape)
    committor[keep] = q
    density[keep] = network.weight / ((x[1] - x[0]) * (y[1] - y[0]))
    rate = reactive.sum() / (network.weight @ (1 - q))
    return GridSolution(x, y, committor, density, float(rate), fractions)

"""Seven particles in the plane: the two-channel potential hidden in two of fourteen rotated coordinates.

The other twelve are rough but independent of it, in energy and in noise, so that rate, committor and channel
fractions equal those of :mod:`openmm_rare.systems.two_channel_2d` exactly, for the Euler-Maruyama chain as well.
"""

import math

import numpy as np
import openmm

from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, LinearCombination

from . import two_channel_2d
from .kolmogorov import GridSolution

N_PARTICLES: int = 7
N_COORDINATES: int = 2 * N_PARTICLES
STIFFNESS: float = 100.0
"""kJ/mol/nm^2, of the twelve rough directions."""
CORRUGATION: float = 4.0
"""kJ/mol; the ripples are twice as high, 1.6 kT at 600 K."""
WAVELENGTH: float = 0.4
"""nm."""
_SEED = 14


def _mixture() -> np.ndarray:
    """Householder reflection of the particles, shape (7, 7), with no entry near zero."""
    rng = np.random.default_rng(_SEED)
    normal = rng.choice([-1, 1], N_PARTICLES) * rng.uniform(1, 2, N_PARTICLES)
    # fsum: the same digits everywhere, for the fingerprint
    return np.eye(N_PARTICLES) - 2 * np.outer(normal, normal) / math.fsum(normal**2)


def rotation() -> np.ndarray:
    """The fixed orthogonal matrix R, shape (14, 14): rotated coordinates = R (x1, y1, ..., x7, y7).

    The particles are mixed alike along both axes, x + y and x - y, so that each pair of rotated coordinates comes from one
    weighted centroid. OpenMM computes that several times faster than a general matrix.
    """
    return np.kron(_mixture(), np.array([[1, 1], [1, -1]]) / np.sqrt(2))


def rotated_coordinates(positions: np.ndarray) -> np.ndarray:
    """Rotated coordinates, shape (n, 14), of positions of shape (n, 7, 3), nm."""
    return positions[:, :, :2].reshape(len(positions), N_COORDINATES) @ rotation().T


def positions_from(coordinates: np.ndarray) -> np.ndarray:
    """Inverse of :func:`rotated_coordinates`, with z = 0."""
    positions = np.zeros((len(coordinates), N_PARTICLES, 3))
    positions[:, :, :2] = (coordinates @ rotation()).reshape(-1, N_PARTICLES, 2)
    return positions


def energy(coordinates: np.ndarray) -> np.ndarray:
    """Energy in kJ/mol of rotated coordinates (n, 14): U_2D(s1, s2) + sum of K s^2/2 + C (1 - cos(2 pi s/L)).

    Returns
    -------
    ndarray of shape (n,)
    """
    rough = coordinates[:, 2:]
    ripples = CORRUGATION * (1 - np.cos(2 * np.pi / WAVELENGTH * rough))
    return two_channel_2d.energy(*coordinates[:, :2].T) + (0.5 * STIFFNESS * rough**2 + ripples).sum(axis=1)


def _force(expression: str, weights: np.ndarray) -> openmm.CustomCentroidBondForce:
    """An energy of s and t, the pair of rotated coordinates that belongs to each row of weights of the particles."""
    force = openmm.CustomCentroidBondForce(1, f"{expression}; s=scale*(x1+y1); t=scale*(x1-y1)")
    force.addPerBondParameter("scale")
    for row in weights.tolist():
        group = force.addGroup(list(range(N_PARTICLES)), row)
        force.addBond([group], [math.fsum(row) / math.sqrt(2)])  # OpenMM divides by the sum of the weights
    return force


def _rough(coordinate: str) -> str:
    """The energy of one rough coordinate as an OpenMM expression."""
    ripple = f"{CORRUGATION!r}*(1-cos({2 * np.pi / WAVELENGTH!r}*{coordinate}))"
    return f"{0.5 * STIFFNESS!r}*{coordinate}^2+{ripple}"


def build(temperature: float = 600.0, timestep: float = two_channel_2d.TIMESTEP) -> RareEventSystem:
    """Seven particles moving in the xy plane.

    Parameters
    ----------
    temperature : float
        K.
    timestep : float
        ps.
    """
    system = openmm.System()
    for _ in range(N_PARTICLES):
        system.addParticle(two_channel_2d.MASS)
    weights = _mixture()
    system.addForce(_force(two_channel_2d.expression("s", "t"), weights[:1]))
    system.addForce(_force(f"{_rough('s')}+{_rough('t')}", weights[1:]))
    matrix = rotation()
    coefficients = np.zeros((2, N_PARTICLES, 3))
    coefficients[:, :, :2] = matrix[:2].reshape(2, N_PARTICLES, 2)
    variables = CollectiveVariables([LinearCombination(name, c) for name, c in zip("xy", coefficients, strict=True)])
    start = np.zeros((1, N_COORDINATES))
    start[0, :2] = two_channel_2d.CENTER_A
    return RareEventSystem(
        name="rugged_14d",
        system=system,
        positions=positions_from(start)[0],
        states=two_channel_2d.states(variables),
        temperature=temperature,
        friction=two_channel_2d.FRICTION,
        timestep=timestep,
        num_dimensions=2,
        descriptor={
            "kind": "coordinates",
            "columns": [3 * i + axis for i in range(N_PARTICLES) for axis in (0, 1)],
            "scale": 0.5,
            "matrix": matrix.tolist(),
        },
        notes="The two-channel potential in 2 of 14 rotated coordinates after Kim & Cai; the rest is this package's.",
    )


def exact(temperature: float = 600.0, n_grid: int = 200) -> GridSolution:
    """Committor in the first two rotated coordinates, rate and channel fractions: those of the plane."""
    return two_channel_2d.exact(temperature, n_grid)

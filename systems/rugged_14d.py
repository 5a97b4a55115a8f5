"""Seven particles in the plane: the two-channel potential hidden in two of fourteen rotated coordinates.

The other twelve are rough but independent of it, in energy and in noise, so that rate, committor and channel
fractions equal those of :mod:`openmm_rare.systems.two_channel_2d` exactly, for the Euler-Maruyama chain as well.
"""

import numpy as np
import openmm

from openmm_rare.states import CollectiveVariables, LinearCombination

from . import two_channel_2d
from .base import RareEventSystem
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


def rotation() -> np.ndarray:
    """The fixed orthogonal matrix R, shape (14, 14): rotated coordinates = R (x1, y1, ..., x7, y7)."""
    # QR of a Gaussian matrix; positive diagonal of R makes the factor unique, and rounding hides the LAPACK.
    q, r = np.linalg.qr(np.random.default_rng(_SEED).normal(size=(N_COORDINATES, N_COORDINATES)))
    return (q * np.sign(np.diag(r))).T.round(10)


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


def _expression() -> str:
    """The energy in terms of x1, y1, ..., x7, y7; a single expression runs faster than one force per direction."""
    particles = [f"{axis}{i + 1}" for i in range(N_PARTICLES) for axis in "xy"]
    terms = [two_channel_2d.expression("s0", "s1"), f"{CORRUGATION * (N_COORDINATES - 2)!r}"]
    definitions = []
    for k, row in enumerate(rotation().tolist()):
        if k > 1:
            terms.append(f"{0.5 * STIFFNESS!r}*s{k}^2-{CORRUGATION!r}*cos({2 * np.pi / WAVELENGTH!r}*s{k})")
        definitions.append(f"s{k}=" + "+".join(f"({c!r})*{name}" for c, name in zip(row, particles, strict=True)))
    return "; ".join(["+".join(terms), *definitions])


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
    force = openmm.CustomCompoundBondForce(N_PARTICLES, _expression())
    force.addBond(list(range(N_PARTICLES)), [])
    system.addForce(force)
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

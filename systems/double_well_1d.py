"""One particle on a line in a quartic double well: everything about it is known exactly."""

import numpy as np
import openmm
from openmm import unit

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.units import KB, parse_quantity

MASS: float = 40.0
"""Da."""
FRICTION: float = 10.0
"""1/ps."""
HALF_DISTANCE: float = 0.5
"""nm; the minima lie at plus and minus this."""
EDGE: float = 0.4
"""nm; A is x <= -EDGE, B is x >= EDGE."""
TIMESTEP: float = 0.01
"""ps. With the default barrier the curvature of the wells times dt/(m friction) is 0.02; :func:`chain_rate` says what
the step does to the rate."""


def energy(x: np.ndarray, barrier: float) -> np.ndarray:
    """U(x) = barrier ((x/x0)^2 - 1)^2 in kJ/mol, x in nm."""
    return barrier * ((x / HALF_DISTANCE) ** 2 - 1) ** 2


def build(temperature: float = 300.0, barrier: float = 25.0, timestep: float = TIMESTEP) -> RareEventSystem:
    """One particle that moves along x only.

    Parameters
    ----------
    temperature : float
        K.
    barrier : float
        kJ/mol; text with a unit and quantities will do for every number here.
    timestep : float
        ps.

    Raises
    ------
    ValueError
        If the barrier is not positive.
    """
    height = parse_quantity(barrier, unit.kilojoule_per_mole, "barrier")
    if height <= 0:
        raise InputError(f"barrier = {barrier} must be a positive energy in kJ/mol")
    force = openmm.CustomExternalForce(f"{height!r}*(x^2*{HALF_DISTANCE**-2!r}-1)^2")
    force.addParticle(0, [])
    system = openmm.System()
    system.addParticle(MASS)
    system.addForce(force)
    a, b = Range({"x": (-np.inf, -EDGE)}), Range({"x": (EDGE, np.inf)})
    return RareEventSystem(
        name="double_well_1d",
        system=system,
        positions=np.array([[-HALF_DISTANCE, 0.0, 0.0]]),
        states=States(CollectiveVariables([Coordinate("x", 0, 0)]), a, b),
        temperature=temperature,
        friction=FRICTION,
        timestep=timestep,
        num_dimensions=1,
        descriptor={"kind": "coordinates", "columns": [0], "scale": 0.25},
        notes="Quartic double well; exact committor and rate by quadrature.",
    )


def _resistance(lower: float, upper: float, kt: float, barrier: float) -> float:
    """Integral of exp((U - barrier)/kT), nm."""
    from scipy.integrate import quad  # every command imports this module

    return quad(lambda x: np.exp((energy(x, barrier) - barrier) / kt), lower, upper, epsrel=1e-11, limit=200)[0]


def committor(x: np.ndarray, temperature: float = 300.0, barrier: float = 25.0) -> np.ndarray:
    """Probability of reaching B before A from x (nm): the integral of exp(U/kT) from A's edge, normalized.

    Returns
    -------
    ndarray of the shape of x
    """
    kt = KB * temperature
    total = _resistance(-EDGE, EDGE, kt, barrier)
    inside = np.clip(np.asarray(x, dtype=np.float64), -EDGE, EDGE)
    return np.vectorize(lambda point: _resistance(-EDGE, point, kt, barrier) / total, otypes=[float])(inside)


def rate(temperature: float = 300.0, barrier: float = 25.0) -> float:
    """k_AB in 1/ps without time-step error: reactive flux / equilibrium probability of having visited A last.

    k_AB = D / (integral of exp(U/kT) from A to B) / (integral of exp(-U/kT) (1-q)), D = kT/(m friction).
    """
    from scipy.integrate import quad

    kt = KB * temperature
    edge, wall = EDGE, 3 * HALF_DISTANCE

    def boltzmann(x: float) -> float:
        return float(np.exp(-energy(x, barrier) / kt))

    total = _resistance(-edge, edge, kt, barrier)
    in_a = quad(boltzmann, -wall, -edge, epsrel=1e-10, limit=200)[0]
    # By symmetry q(x) + q(-x) = 1, so that between the states half of the density was last in A.
    between = quad(boltzmann, -edge, edge, epsrel=1e-10, limit=200)[0] / 2
    return kt / (MASS * FRICTION) * np.exp(-barrier / kt) / (total * (in_a + between))


def chain_rate(
    temperature: float = 300.0, barrier: float = 25.0, timestep: float = TIMESTEP, points_per_step: float = 4.0
) -> float:
    """k_AB in 1/ps of the Euler-Maruyama chain itself, states tested every step.

    The transition density of one step is put on a grid (midpoint rule), whose stationary vector pi, committor q and
    backward committor r give k_AB = (sum over i in A, j outside A, of pi_i P_ij q_j) / (dt sum of pi r).

    Parameters
    ----------
    temperature, barrier, timestep : float
        K, kJ/mol, ps.
    points_per_step : float
        Grid points per standard deviation of one step's noise.
    """
    kt = KB * temperature
    mobility = timestep / (MASS * FRICTION)
    width = np.sqrt(2 * kt * mobility)
    # Both edges lie on borders of cells.
    per_state = int(np.ceil(EDGE * points_per_step / width))
    spacing = EDGE / per_state
    n = 2 * int(np.ceil(2.2 * per_state))
    x = (np.arange(n) - (n - 1) / 2) * spacing
    force = -4 * barrier * x / HALF_DISTANCE**2 * ((x / HALF_DISTANCE) ** 2 - 1)
    step = np.exp(-((x[None, :] - (x + mobility * force)[:, None]) ** 2) / (2 * width**2))
    step /= step.sum(axis=1, keepdims=True)
    in_a, in_b = x < -EDGE, x > EDGE
    pi = _stationary(step)
    q = _hitting(step, in_a, in_b)
    r = _hitting(step.T * pi / pi[:, None], in_b, in_a)
    flux = pi[in_a] @ step[np.ix_(in_a, ~in_a)] @ q[~in_a]
    return float(flux / (timestep * (pi @ r)))


def _stationary(step: np.ndarray) -> np.ndarray:
    """Normalized pi with pi = pi P, by a linear solve in which the sum replaces one equation."""
    matrix = step.T - np.eye(len(step))
    matrix[0] = 1.0
    right = np.zeros(len(step))
    right[0] = 1.0
    return np.linalg.solve(matrix, right)


def _hitting(step: np.ndarray, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
    """Probability of reaching the set ``one`` before ``zero`` under the transition matrix ``step``."""
    free = ~(zero | one)
    probability = one.astype(np.float64)
    matrix = np.eye(int(free.sum())) - step[np.ix_(free, free)]
    probability[free] = np.linalg.solve(matrix, step[np.ix_(free, one)].sum(axis=1))
    return probability

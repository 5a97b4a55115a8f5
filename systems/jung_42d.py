"""Two wells on a plane behind a barrier of 7 kT, and forty oscillators that do not matter: the model of Jung et al.

Jung, Covino & Hummer (arXiv:1901.04595), figures 1 to 3 and equation 1 of the supporting information. The 42 coordinates
are those of 14 particles of mass 1: x and y of the first are the plane. With kT = 0.1 kJ/mol the mean transition path takes
about 11 ps, as in the paper.
"""

from numbers import Integral

import numpy as np
import openmm

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Coordinate, Disc, States
from openmm_rare.units import KB

N_OSCILLATORS: int = 40
MOST_OSCILLATORS: int = 10_000
KT: float = 0.1
"""kJ/mol."""
FRICTION: float = 2.5
"""1/ps."""
TIMESTEP: float = 0.02
"""ps."""
CENTER_A: tuple[float, float] = (-0.75, -0.5)
CENTER_B: tuple[float, float] = (0.75, 0.5)
"""nm; the wells."""
RADIUS: float = 0.15
"""nm; of the discs A and B."""
_TRANSITION_TIME = 11.0  # ps
_WALL_X, _WALL_Y, _DEPTH, _STEEPNESS = 2.0, 10.0, 7.0, 12.0  # kT and nm
_SEED = 42


def frequencies(n_oscillators: int = N_OSCILLATORS) -> np.ndarray:
    """Angular frequencies of the oscillators, shape (n_oscillators,), 1/ps.

    Two have periods of twice and once the mean transition path time, the others are drawn evenly from 0 to 10 per ps.
    """
    slow = 2.0 * np.pi / (_TRANSITION_TIME * np.array([2.0, 1.0]))
    others = np.random.default_rng(_SEED).uniform(0.0, 10.0, max(n_oscillators - len(slow), 0))
    return np.concatenate([slow, others])[:n_oscillators]


def energy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Energy of the plane in kT, of coordinates in nm."""
    total = _WALL_X * x**6 + _WALL_Y * y**6
    for x0, y0 in (CENTER_A, CENTER_B):
        total = total - _DEPTH * np.exp(-_STEEPNESS * ((x - x0) ** 2 + (y - y0) ** 2))
    return total


def forces(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forces in the plane in kT/nm, of coordinates in nm."""
    force_x, force_y = -6.0 * _WALL_X * x**5, -6.0 * _WALL_Y * y**5
    for x0, y0 in (CENTER_A, CENTER_B):
        dx, dy = x - x0, y - y0
        well = -2.0 * _STEEPNESS * _DEPTH * np.exp(-_STEEPNESS * (dx**2 + dy**2))
        force_x, force_y = force_x + well * dx, force_y + well * dy
    return force_x, force_y


def committor(
    x: np.ndarray, y: np.ndarray, n_shots: int, seed: int = 1, steps_per_test: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """The committor of the dynamics used, sampled in the plane alone: the oscillators do not couple to it.

    The same splitting (BAOAB) as :class:`openmm_rare.BAOABLangevinIntegrator`, written down once more in NumPy.
    Both p(x, y) and 1 - p(-x, -y) are sampled, which the symmetry of the model makes equal.

    Parameters
    ----------
    x, y : ndarray, shape (n,), nm
        Outside the states.
    n_shots : int
        From each point, at least 2; half of them from its mirror image.
    seed : int
    steps_per_test : int
        Steps between two tests of the states.

    Returns
    -------
    committor, stderr : ndarray, shape (n,)
        With the errors of (k + 1/2)/(n + 1), which are never zero.

    Raises
    ------
    ValueError
        If there are fewer than 2 shots.
    """
    if n_shots < 2:
        raise InputError(f"n_shots = {n_shots} must be at least 2: half of them start at the mirror image")
    half = n_shots // 2
    rng = np.random.default_rng(seed)
    start = np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    in_b = np.zeros(start.shape[1])
    for sign in (1.0, -1.0):
        reached_b = _shots(np.repeat(sign * start, half, axis=1), rng, steps_per_test).reshape(-1, half).sum(1)
        in_b += reached_b if sign > 0 else half - reached_b
    p, smooth = in_b / (2 * half), (in_b + 0.5) / (2 * half + 1)
    return p, np.sqrt(smooth * (1.0 - smooth) / (2 * half))


def _shots(place: np.ndarray, rng: np.random.Generator, steps_per_test: int) -> np.ndarray:
    """Whether walkers that start at places ``(2, n)`` reach B before A, booleans ``(n,)``."""
    kept, half = np.exp(-FRICTION * TIMESTEP), 0.5 * TIMESTEP
    noise = np.sqrt((1.0 - kept**2) * KT)
    velocity = np.sqrt(KT) * rng.normal(size=place.shape)
    reached, number = np.zeros(place.shape[1], dtype=bool), np.arange(place.shape[1])
    force = KT * np.stack(forces(*place))
    while len(number):
        for _ in range(steps_per_test):
            velocity = velocity + half * force
            place = place + half * velocity
            velocity = kept * velocity + noise * rng.normal(size=place.shape)
            place = place + half * velocity
            force = KT * np.stack(forces(*place))
            velocity = velocity + half * force
        in_a, in_b = ((place[0] - cx) ** 2 + (place[1] - cy) ** 2 <= RADIUS**2 for cx, cy in (CENTER_A, CENTER_B))
        reached[number[in_b]] = True
        free = ~(in_a | in_b)
        number, place, velocity, force = number[free], place[:, free], velocity[:, free], force[:, free]
    return reached


def _plane() -> str:
    """The energy of the plane in kJ/mol as an OpenMM expression."""
    wells = "".join(f"-{_DEPTH!r}*exp(-{_STEEPNESS!r}*((x-({x0!r}))^2+(y-({y0!r}))^2))" for x0, y0 in (CENTER_A, CENTER_B))
    return f"{KT!r}*({_WALL_X!r}*x^6+{_WALL_Y!r}*y^6{wells})"


def build(n_oscillators: int = N_OSCILLATORS) -> RareEventSystem:
    """Particles of mass 1 with inertia; all else is kept at the paper's values.

    Parameters
    ----------
    n_oscillators : int
        40 in the paper, 10 000 at most. Coordinates of the last particle that are left over have a spring too, and nobody sees
        them.

    Raises
    ------
    ValueError
        For anything but such a number.
    """
    if isinstance(n_oscillators, bool) or not isinstance(n_oscillators, Integral) or not 0 <= n_oscillators <= MOST_OSCILLATORS:
        raise InputError(f"n_oscillators = {n_oscillators!r} must be a whole number from 0 to {MOST_OSCILLATORS}")
    n_coordinates = 2 + n_oscillators
    n_particles = -(-n_coordinates // 3)
    system = openmm.System()
    for _ in range(n_particles):
        system.addParticle(1.0)
    plane = openmm.CustomExternalForce(_plane())
    plane.addParticle(0, [])
    oscillators = openmm.CustomExternalForce("0.5*(kx*x^2+ky*y^2+kz*z^2)")
    for axis in "xyz":
        oscillators.addPerParticleParameter(f"k{axis}")
    constants = np.ones(3 * n_particles)
    constants[:2] = 0.0
    constants[2:n_coordinates] = frequencies(n_oscillators) ** 2
    for index, row in enumerate(constants.reshape(-1, 3).tolist()):
        oscillators.addParticle(index, row)
    for force in (plane, oscillators):
        system.addForce(force)
    positions = np.zeros((n_particles, 3))
    positions[0, :2] = CENTER_A
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])
    a, b = (Disc({"x": x, "y": y}, RADIUS) for x, y in (CENTER_A, CENTER_B))
    return RareEventSystem(
        name="jung_42d",
        system=system,
        positions=positions,
        states=States(variables, a, b),
        temperature=KT / KB,
        friction=FRICTION,
        timestep=TIMESTEP,
        inertial=True,
        descriptor={"kind": "coordinates", "columns": list(range(n_coordinates)), "scale": 1.0},
        notes="Jung, Covino & Hummer 2019, equation 1 of the supporting information; two slow oscillators, 38 others.",
    )

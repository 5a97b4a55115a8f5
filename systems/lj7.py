"""Seven Lennard-Jones discs in the plane: the main benchmark of Kim & Cai, with its parameters fixed here.

U = 4 epsilon sum over pairs of s^-2 - s^-1, s = alpha + (r/sigma)^6, alpha = 0.01. The hexagon (A) turns into the
minimum C2 (B). Yardsticks: :func:`kramers_rate` and the stationary points of ``lj7_landscape``.
"""

import math
from typing import Any

import numpy as np
import openmm
from openmm import unit

from openmm_rare.errors import InputError
from openmm_rare.problem import EV, RareEventSystem, ReducedUnits
from openmm_rare.states.states import (
    Channels,
    CollectiveVariables,
    CoordinationMoment,
    Disc,
    LabelRule,
    States,
    coordination_numbers,
)
from openmm_rare.units import KB, parse_quantity

from .lj7_landscape import kramers_exit_rates, kramers_rate

__all__ = ["CENTERS", "arrival_channel", "build", "handedness", "hexagon", "kramers_exit_rates", "kramers_rate"]

EPSILON: float = 0.3284 * EV
"""kJ/mol; makes the barrier from the hexagon, 1.4919 epsilon, 0.49 eV."""
SIGMA: float = 0.34
"""nm, as for argon."""
MASS: float = 39.948
"""Da, as for argon."""
ALPHA: float = 0.01
"""Softness of the core."""
TIME_UNIT: float = 0.05
"""ps; friction m sigma^2/epsilon. It puts the rate at 600 K near the 4.4e-4/fs of the paper."""
FRICTION: float = TIME_UNIT * EPSILON / (MASS * SIGMA**2)
"""1/ps."""
TIMESTEP_REDUCED: float = 2.5e-4
"""Time units. To first order the Euler-Maruyama step raises the rate by dt/4 (sum of curvatures in A - sum of
|curvatures| at the saddle), 0.8 % here; see ``two_channel_2d.timestep_error``."""
RING_RADIUS: float = 1.117467019527
"""sigma; distance of the outer discs of the hexagon from the central one."""
RADIUS_MOMENTS: float = 1.5 * SIGMA
"""nm; of the coordination numbers behind the variables mu2 and mu3."""

CENTERS: dict[str, tuple[float, float]] = {
    "hexagon": (0.7472, 1.3183),
    "c1": (0.9586, 0.2989),
    "c2": (0.7559, 0.3512),
    "trapezoid": (0.5926, -0.1162),
}
"""(mu2, mu3) of the minima."""

HOT: float = 600.0
"""K; the temperature unless another is given, below which A shrinks."""
RADIUS_A: float = 0.15
"""Of the disc A in (mu2, mu3) from there on upwards."""
CHANNEL_NAMES: tuple[str, ...] = ("direct_left", "direct_right", "through_c1_left", "through_c1_right")
RADIUS_C1: float = 0.10
"""Of the disc around C1 in (mu2, mu3) that a path must visit to count as "through C1"."""
GAP_OFFSET: float = 0.004
"""Of the descriptor's distance from A: 0.6 of how far (mu2, mu3) moves in one step between 300 and 600 K."""


def handedness(positions: np.ndarray) -> np.ndarray:
    """A pseudoscalar whose sign tells a configuration from its mirror image.

    With z_i the complex position of disc i relative to the mean, c_i its coordination number (radius 1.5 sigma) and c
    their mean, it is Im[ conj(sum z_i^2) sum (c_i-c)^2 z_i^2 ]: the angle between the long axis of the cluster and the
    axis along which coordination is uneven. Translation, rotation and exchange of discs do not change it, reflection
    changes its sign.

    The hexagon is its own mirror image, but C1, C2 and the two saddles that lead out of the hexagon are not, so every
    path breaks the symmetry, and mirror-image channels differ in how. The sign is constant along the
    steepest-descent paths from both saddles to C1 and C2, and from C1 over the lowest saddle to C2, which is why we
    take it where the path arrives. Of some thirty pseudoscalars tried it agreed best (96 %) with the handedness of the
    minimum to which hot arrivals relax.

    Parameters
    ----------
    positions : ndarray of shape (n, 7, 3)
        nm.

    Returns
    -------
    ndarray of shape (n,)
        sigma^4; positive is "left".
    """
    z = (positions[:, :, 0] + 1j * positions[:, :, 1]) / SIGMA
    z = z - z.mean(axis=1, keepdims=True)
    square = z * z
    coordination = coordination_numbers(positions, RADIUS_MOMENTS).T
    uneven = (coordination - coordination.mean(axis=1, keepdims=True)) ** 2
    return (square.sum(axis=1).conj() * (uneven * square).sum(axis=1)).imag


def arrival_channel(positions: np.ndarray, values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels with the handedness of these frames in B; whether C1 was visited stays as it was.

    Parameters
    ----------
    positions : ndarray of shape (n, 7, 3)
        nm.
    values : ndarray of shape (n, 2)
        mu2 and mu3.
    labels : ndarray of int, shape (n,)
        Indices into ``CHANNEL_NAMES``, where right follows left.

    Returns
    -------
    ndarray of int, shape (n,)
        Indices into ``CHANNEL_NAMES``.
    """
    return labels // 2 * 2 + (handedness(positions) < 0)


def hexagon() -> np.ndarray:
    """Positions (7, 3) of the ground state in nm, central disc first."""
    angles = np.arange(6) * np.pi / 3
    ring = RING_RADIUS * SIGMA * np.stack([np.cos(angles), np.sin(angles), np.zeros(6)], axis=1)
    return np.concatenate([np.zeros((1, 3)), ring])


def _temperature(temperature: float | None, kt_over_epsilon: float | None) -> float:
    if temperature is not None and kt_over_epsilon is not None:
        raise InputError(f"give temperature ({temperature} K) or kt_over_epsilon ({kt_over_epsilon}), not both")
    if kt_over_epsilon is not None:
        temperature = parse_quantity(kt_over_epsilon, unit.dimensionless, "kt_over_epsilon") * EPSILON / KB
    value = parse_quantity(HOT if temperature is None else temperature, unit.kelvin, "temperature")
    if value <= 0.0:
        raise InputError(f"temperature = {value} K must be positive")
    return value


def build(
    temperature: float | None = None,
    kt_over_epsilon: float | None = None,
    radius_a: float | None = None,
    radius_b: float = 0.10,
    timestep_reduced: float = TIMESTEP_REDUCED,
) -> RareEventSystem:
    """Seven discs moving in the xy plane, free to drift.

    Parameters
    ----------
    temperature : float, optional
        K; 600 K unless the next is given. (600 K is kT = 0.1574 epsilon.)
    kt_over_epsilon : float, optional
        The temperature in reduced units instead.
    radius_a : float, optional
        Of the disc around the hexagon in (mu2, mu3); by default 0.15, and below 600 K in proportion to T^2.5, because a disc
        that holds nearly the whole basin is hardly ever left. The rate constant does not depend on it, but a model belongs to
        its states: where it is to serve several temperatures, build once and use ``with_temperature``.
    radius_b : float
        Of the disc around C2.
    timestep_reduced : float
        Time units.

    Raises
    ------
    ValueError
        If both temperatures are given, or the states overlap, or B reaches the minimum C1.
    """
    radius_b = parse_quantity(radius_b, unit.dimensionless, "radius_b")
    to_c1 = math.dist(CENTERS["c1"], CENTERS["c2"])
    if radius_b >= to_c1:
        raise InputError(f"radius_b = {radius_b} must be below {to_c1:.3f}: the minimum C1 would lie in B")
    temperature = _temperature(temperature, kt_over_epsilon)
    if radius_a is None:
        radius_a = RADIUS_A * min(temperature / HOT, 1.0) ** 2.5
    radius_a = parse_quantity(radius_a, unit.dimensionless, "radius_a")
    apart = math.dist(CENTERS["hexagon"], CENTERS["c2"])
    if radius_a >= apart:
        raise InputError(f"radius_a = {radius_a} must be below {apart:.3f}: C2 would lie in A")
    return RareEventSystem(
        name="lj7",
        system=_system(),
        positions=hexagon(),
        states=_states(radius_a, radius_b),
        temperature=temperature,
        friction=FRICTION,
        timestep=parse_quantity(timestep_reduced, unit.dimensionless, "timestep_reduced") * TIME_UNIT,
        num_dimensions=2,
        descriptor=_descriptor(radius_a),
        reduced=ReducedUnits(EPSILON, SIGMA, TIME_UNIT),
        parameters={"radius_a": radius_a},
        notes="LJ7 in the plane after Kim & Cai; alpha, epsilon, sigma, friction and radii are this package's choice.",
    )


def _states(radius_a: float, radius_b: float) -> States:
    """Discs around the hexagon and C2 in the plane of mu2 and mu3, with channels by way and by handedness."""
    variables = CollectiveVariables([CoordinationMoment(f"mu{order}", order, RADIUS_MOMENTS) for order in (2, 3)])
    a, b, c1 = (
        Disc(dict(zip(variables.names, CENTERS[name], strict=True)), radius)
        for name, radius in (("hexagon", radius_a), ("c2", radius_b), ("c1", RADIUS_C1))
    )
    rules = [LabelRule(c1, "through_c1_left", after="direct_left")]  # arrivals are told left from right
    return States(variables, a, b, Channels(CHANNEL_NAMES, rules, arrival_channel))


def _descriptor(radius_a: float) -> dict[str, Any]:
    """Distances and coordination numbers, whatever the order of the discs, their moments, and how far A is."""
    gap = {"radius": RADIUS_MOMENTS, "center": list(CENTERS["hexagon"]), "disc_radius": radius_a, "offset": GAP_OFFSET}
    return {
        "kind": "concatenate",
        "parts": [
            {"kind": "sorted_distances"},
            *({"kind": "coordination", "radius": radius * SIGMA, "sorted": True} for radius in (1.25, 1.5, 1.75)),
            {"kind": "coordination_moments", "radius": RADIUS_MOMENTS},
            {"kind": "disc_gap", **gap},
        ],
    }


def _system() -> openmm.System:
    system = openmm.System()
    for _ in range(7):
        system.addParticle(MASS)
    force = openmm.CustomBondForce(f"{4 * EPSILON!r}*i*(i-1); i=1/({ALPHA!r}+{SIGMA**-6!r}*r^6)")
    for i in range(7):
        for j in range(i + 1, 7):
            force.addBond(i, j, [])
    system.addForce(force)
    return system

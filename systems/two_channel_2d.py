"""One particle in the plane, two minima, two channels between them: the first benchmark of Kim & Cai.

The paper's functional form is unpublished; this one is ours, with its barriers (1.02 and 0.98 eV from A).
"""

from dataclasses import dataclass

import numpy as np
import openmm

from openmm_rare.problem import EV, RareEventSystem
from openmm_rare.states.states import Channels, CollectiveVariables, Coordinate, Disc, LabelRule, Range, States
from openmm_rare.units import KB

from .kolmogorov import GridSolution, solve

MASS: float = 40.0
"""Da."""
FRICTION: float = 10.0
"""1/ps."""
TIMESTEP: float = 0.01
"""ps. The largest curvature times dt/(m friction) is 0.021, which makes the rate 0.5 % too high at any temperature
(:func:`timestep_error`)."""

CONFINEMENT, HILL, DEPTH_A, DEPTH_B = 0.25, 1.0, 1.105607, 1.005607
"""eV (confinement: eV/nm^4). DEPTH_A and HILL_Y were solved for the two barriers; B lies 0.0985 eV above A."""
WELL_WIDTH, HILL_WIDTH, HILL_Y = 0.5, 0.4, 0.027212
"""nm."""
CENTER_A: tuple[float, float] = (-0.9169, -0.0026)
CENTER_B: tuple[float, float] = (0.9128, -0.0029)
"""nm; the minima."""
RADIUS: float = 0.2
"""nm; of the discs A and B."""
_LENGTH: float = 4.0  # nm; beyond +-2 nm the energy exceeds that of A by 4 eV


@dataclass(frozen=True)
class StationaryPoint:
    """A point of zero force.

    Attributes
    ----------
    position : ndarray of shape (2,)
        nm.
    energy : float
        kJ/mol.
    curvatures : ndarray of shape (2,)
        Eigenvalues of the Hessian, kJ/mol/nm^2, ascending.
    """

    position: np.ndarray
    energy: float
    curvatures: np.ndarray

    @property
    def index(self) -> int:
        """Number of unstable directions."""
        return int((self.curvatures < 0).sum())


def _gaussians() -> list[tuple[float, float, float, float]]:
    """(height in kJ/mol, center x, center y, width) of the three Gaussians."""
    return [
        (-DEPTH_A * EV, -1.0, 0.0, WELL_WIDTH),
        (-DEPTH_B * EV, 1.0, 0.0, WELL_WIDTH),
        (HILL * EV, 0.0, HILL_Y, HILL_WIDTH),
    ]


def energy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """U(x, y) = c (x^2+y^2)^2 + sum of h exp(-((x-x0)^2+(y-y0)^2)/(2 w^2)), in kJ/mol, of coordinates in nm."""
    total = CONFINEMENT * EV * (x**2 + y**2) ** 2
    for height, x0, y0, width in _gaussians():
        total = total + height * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2))
    return total


def expression(x: str, y: str) -> str:
    """The same energy as an OpenMM expression in the named variables, constants written in."""
    terms = [f"{CONFINEMENT * EV!r}*({x}^2+{y}^2)^2"]
    for height, x0, y0, width in _gaussians():
        terms.append(f"{height!r}*exp({-0.5 / width**2!r}*(({x}-({x0!r}))^2+({y}-({y0!r}))^2))")
    return "+".join(terms)


def gradient(points: np.ndarray) -> np.ndarray:
    """Gradient of the energy, kJ/mol/nm, of points of shape (..., 2) in nm; the same shape."""
    total = 4 * CONFINEMENT * EV * (points**2).sum(axis=-1, keepdims=True) * points
    for height, x0, y0, width in _gaussians():
        offset = points - [x0, y0]
        bell = np.exp(-(offset**2).sum(axis=-1, keepdims=True) / (2 * width**2))
        total = total - height / width**2 * bell * offset
    return total


def _hessian(point: np.ndarray, step: float = 1e-5) -> np.ndarray:
    columns = [(gradient(point + e) - gradient(point - e)) / (2 * step) for e in step * np.eye(2)]
    return np.array(columns + np.transpose(columns)) / 2


def stationary_points() -> list[StationaryPoint]:
    """All stationary points within 2 nm of the origin, found by Newton searches from a grid, lowest energy first."""
    from scipy.optimize import root  # every command imports this module

    found: list[StationaryPoint] = []
    for start in np.stack(np.meshgrid(np.linspace(-1.5, 1.5, 11), np.linspace(-1.5, 1.5, 11)), -1).reshape(-1, 2):
        result = root(gradient, start, jac=_hessian, tol=1e-12)
        new = all(np.linalg.norm(result.x - point.position) > 1e-3 for point in found)
        if np.abs(gradient(result.x)).max() < 1e-6 and np.linalg.norm(result.x) < _LENGTH / 2 and new:
            curvatures = np.linalg.eigvalsh(_hessian(result.x))
            found.append(StationaryPoint(result.x, float(energy(*result.x)), curvatures))
    return sorted(found, key=lambda point: point.energy)


def timestep_error(timestep: float = TIMESTEP) -> float:
    """Relative error of the harmonic rate over the lower saddle due to the Euler-Maruyama step, to first order.

    The scheme samples exp(-U/kT) (1 + h (|grad U|^2/(4 kT) - tr H/2)) with diffusion kT (1 + h H), h = dt/(m friction).
    Put into Kramers' formula, k_h/k = 1 + (h/4) (sum of curvatures in A - sum of |curvatures| at the saddle).
    """
    points = stationary_points()
    saddle = next(point for point in points if point.index == 1)
    difference = points[0].curvatures.sum() - np.abs(saddle.curvatures).sum()
    return timestep / (4 * MASS * FRICTION) * float(difference)


def states(variables: CollectiveVariables) -> States:
    """Discs around the minima, and the channels, for two variables named x and y.

    The channel of a path is the side of the hill, upper or lower in y, on which it last crosses x = 0 towards B.
    """
    a, b = (Disc({"x": x, "y": y}, RADIUS) for x, y in (CENTER_A, CENTER_B))
    rules = [
        LabelRule(Range({"x": (-np.inf, 0.0)}), "undecided"),
        LabelRule(Range({"x": (0.0, np.inf), "y": (HILL_Y, np.inf)}), "upper", after="undecided"),
        LabelRule(Range({"x": (0.0, np.inf), "y": (-np.inf, HILL_Y)}), "lower", after="undecided"),
    ]
    return States(variables, a, b, Channels(("undecided", "upper", "lower"), rules))


def build(temperature: float = 600.0, timestep: float = TIMESTEP) -> RareEventSystem:
    """One particle in the xy plane.

    Parameters
    ----------
    temperature : float
        K.
    timestep : float
        ps.
    """
    force = openmm.CustomExternalForce(expression("x", "y"))
    force.addParticle(0, [])
    system = openmm.System()
    system.addParticle(MASS)
    system.addForce(force)
    return RareEventSystem(
        name="two_channel_2d",
        system=system,
        positions=np.array([[*CENTER_A, 0.0]]),
        states=states(CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])),
        temperature=temperature,
        friction=FRICTION,
        timestep=timestep,
        num_dimensions=2,
        descriptor={"kind": "coordinates", "columns": [0, 1], "scale": 0.5},
        notes="Two channels of 1.02 and 0.98 eV after Kim & Cai; functional form and parameters are this package's.",
    )


def exact(temperature: float = 600.0, n_grid: int = 200) -> GridSolution:
    """Committor, rate and channel fractions without time-step error, by finite volumes.

    Parameters
    ----------
    temperature : float
        K.
    n_grid : int
        Cells along each of x and y over 4 nm. The default is within 0.01 % of the limit for 300 to 1200 K.

    Returns
    -------
    GridSolution
        With channels "upper" and "lower".
    """
    kt = KB * temperature
    edges = np.linspace(-_LENGTH / 2, _LENGTH / 2, n_grid + 1)
    definition = states(CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)]))
    return solve(
        energy,
        edges,
        edges,
        kt,
        diffusion=kt / (MASS * FRICTION),
        states=definition,
        side=lambda x, y: x > 0,
        channels={"upper": lambda x, y: y > HILL_Y, "lower": lambda x, y: y <= HILL_Y},
        ceiling=1.1 * EV + 40 * kt,
    )

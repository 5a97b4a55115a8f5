"""Systems that are hard to sample, with exact rates: what does a first try at default settings say, and after how long?

    python examples/validation/hard_systems.py                      # all that a first try must master: about ten CPU-minutes
    python examples/validation/hard_systems.py triple_deep --seeds 1 2 3

One particle of 40 Da with a friction of 10/ps, in one or two dimensions: intermediates of 4 and 7 kT on the way, a channel
over an intermediate, a narrow channel that is invisible when hot, the surface of Mueller and Brown at three time steps, and
an A of parts that hardly exchange, where the run starts in the wrong one: in the plane, on a line, on a ring whose parts no
variable of the states tells apart, and along a direction in six dimensions.
Every outcome must be right (within three standard errors of the exact rate), or warn, or end with a sentence that says what
to do. The exact rate is, in one dimension, that of the chain of Euler-Maruyama steps; in two, that of the differential
equation on a grid of finite volumes.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import openmm
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from openmm_rare import ImportanceSamplingRate, Range, RareEventSystem, RateSettings, Silent
from openmm_rare.errors import RunError
from openmm_rare.states.states import Coordinate
from openmm_rare.units import KB

__all__ = ["FIRST_TRIES", "HARD_SYSTEMS", "HardSystem", "exact_rate", "first_try"]

MASS, FRICTION = 40.0, 10.0  # Da, 1/ps
INFINITY = 9.0  # nm, beyond which nothing moves

_MUELLER_BROWN = "+".join(
    f"({0.2 * height:g})*exp(({a:g})*(x-({x:g}))^2+({b:g})*(x-({x:g}))*(y-({y:g}))+({c:g})*(y-({y:g}))^2)"
    for height, a, b, c, x, y in (
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    )
)
_TRIPLE = "20*(x/1.3)^8-30*exp(-(x+0.8)^2/0.08)-{depth}*exp(-x^2/0.08)-36*exp(-(x-0.8)^2/0.08)"


@dataclass(frozen=True)
class HardSystem:
    """One particle in an external potential.

    Attributes
    ----------
    energy : str
        kJ/mol, of x and y in nm, as OpenMM and Python both read it (with ^ for a power).
    temperature : float
        K.
    timestep : float
        ps.
    a, b : mapping
        Bounds (nm) of each coordinate.
    start : tuple of float
        nm, in A.
    limits : tuple of (float, float)
        nm: of each dimension, for the exact rate.
    variables : str
        Axes that are variables of the states; the others are inputs of the network alone.
    """

    energy: str
    temperature: float
    timestep: float
    a: Mapping[str, tuple[float, float]]
    b: Mapping[str, tuple[float, float]]
    start: tuple[float, float]
    limits: tuple[tuple[float, float], ...]
    variables: str = "xy"

    def potential(self, x: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
        """kJ/mol."""
        return eval(self.energy.replace("^", "**"), {"exp": np.exp, "sqrt": np.sqrt}, {"x": x, "y": y})

    def build(self, name: str) -> RareEventSystem:
        """The problem, as a user would set it up."""
        force, axes = openmm.CustomExternalForce(self.energy), "xy"[: len(self.limits)]
        force.addParticle(0, [])
        variables = [Coordinate(axis, 0, column) for column, axis in enumerate(axes) if axis in self.variables]
        return self.problem(name, force, [[*self.start, 0.0]], variables, len(axes))

    def problem(
        self, name: str, force: openmm.Force, start: list[list[float]], variables: list[Coordinate], num_dimensions: int
    ) -> RareEventSystem:
        """The problem of particles that this force moves."""
        system = openmm.System()
        for _ in start:
            system.addParticle(MASS)
        system.addForce(force)
        dynamics = {"temperature": self.temperature, "friction": FRICTION, "timestep": self.timestep}
        states = Range(self.a), Range(self.b), variables
        return RareEventSystem.from_openmm(system, start, *states, name=name, num_dimensions=num_dimensions, **dynamics)


@dataclass(frozen=True)
class TurnedSystem(HardSystem):
    """The same in two dimensions of six: x is that of the first of two particles, y lies along the diagonal of the other five.

    All masses are equal, so that the rate is that in the plane.
    """

    stiffness: float = 1000.0
    """kJ/mol/nm^2: of the four directions that nothing happens in."""

    def build(self, name: str) -> RareEventSystem:
        """The problem, as a user would set it up."""
        others = ["y1", "z1", "x2", "y2", "z2"]
        squares = "+".join(f"{other}^2" for other in others)
        force = openmm.CustomCompoundBondForce(
            2, f"{self.energy} + {self.stiffness / 2}*({squares}-y^2); x=x1; y=({'+'.join(others)})/sqrt(5)"
        )
        force.addBond([0, 1], [])
        x, y = self.start[0], self.start[1] / np.sqrt(5.0)
        return self.problem(name, force, [[x, y, y], [y, y, y]], [Coordinate("x", 0, 0)], 3)


def _triple(depth: float) -> HardSystem:
    a, b = {"x": (-INFINITY, -0.65)}, {"x": (0.65, INFINITY)}
    return HardSystem(_TRIPLE.format(depth=depth), 400.0, 0.01, a, b, (-0.8, 0.0), ((-1.6, 1.6),))


def _mueller_brown(timestep: float) -> HardSystem:
    a, b = {"x": (-0.708, -0.408), "y": (1.292, 1.592)}, {"x": (0.473, 0.773), "y": (-0.122, 0.178)}
    return HardSystem(_MUELLER_BROWN, 300.0, timestep, a, b, (-0.558, 1.442), ((-1.8, 1.4), (-0.8, 2.4)))


_TWO_BASINS = (
    "25*(4*x^2-1)^2+32*(4*y^2-1)^2-10*exp(-x^2/0.045)/(1+exp(-y/0.1))",
    400.0,
    0.005,
    {"x": (-INFINITY, -0.4)},
    {"x": (0.4, INFINITY)},
    (-0.5, -0.5),
    ((-1.0, 1.0), (-1.0, 1.0)),
)

HARD_SYSTEMS: dict[str, HardSystem] = {
    "triple_shallow": _triple(20),
    "triple_deep": _triple(34),
    "side_intermediate": HardSystem(
        "2*(x^2+y^2)^2-40*exp(-((x+1)^2+y^2)/0.32)-40*exp(-((x-1)^2+y^2)/0.32)-24*exp(-(x^2+(y-1)^2)/0.245)",
        450.0,
        0.01,
        {"x": (-INFINITY, -0.8), "y": (-0.3, 0.3)},
        {"x": (0.8, INFINITY), "y": (-0.4, 0.4)},
        (-1.0, 0.0),
        ((-2.2, 2.2), (-2.2, 2.4)),
    ),
    "hidden_trench": HardSystem(
        "28*(x^2-1)^2+3*y^2-22*exp(-(y-1.3)^2/0.0128)*exp(-x^2/0.4)",
        350.0,
        0.004,
        {"x": (-INFINITY, -0.85)},
        {"x": (0.85, INFINITY)},
        (-1.0, 0.0),
        ((-1.6, 1.6), (-3.0, 3.0)),
    ),
    "two_basins_a": HardSystem(*_TWO_BASINS),  # A of two parts, 9.6 kT apart
    "two_basins_6d": TurnedSystem(*_TWO_BASINS),
    "wrong_well": HardSystem(  # A of three wells, of which only the last is near B
        "20*(x/1.9)^8-38*exp(-(x+1.5)^2/0.04)-40*exp(-(x+0.95)^2/0.04)-36*exp(-(x+0.4)^2/0.04)-44*exp(-(x-0.6)^2/0.08)",
        400.0,
        0.005,
        {"x": (-INFINITY, -0.3)},
        {"x": (0.4, INFINITY)},
        (-1.5, 0.0),
        ((-2.2, 1.7),),
    ),
    "ring": HardSystem(  # three wells on a ring, two of them A; y, which tells them apart, is an input only
        "600*(sqrt(x^2+y^2)-1)^2-12*(x^3-3*x*y^2)/(x^2+y^2+0.01)^1.5+9*exp(-((x+1)^2+y^2)/0.08)"
        "+7*exp(-((x-0.5)^2+(y-0.866)^2)/0.08)",
        400.0,
        0.002,
        {"x": (-INFINITY, -0.4)},
        {"x": (0.85, INFINITY)},
        (-0.5, 0.87),
        ((-1.5, 1.5), (-1.5, 1.5)),
        variables="x",
    ),
    "mueller_brown": _mueller_brown(0.05),
    "mueller_brown_short_steps": _mueller_brown(0.01),
    "mueller_brown_shorter_steps": _mueller_brown(0.001),
}

FIRST_TRIES: tuple[str, ...] = tuple(HARD_SYSTEMS)


def _inside(bounds: Mapping[str, tuple[float, float]], *place: np.ndarray) -> np.ndarray:
    """Whether places lie in a state."""
    values = dict(zip("xy", place, strict=False))
    return np.logical_and.reduce([(lo < values[axis]) & (values[axis] < hi) for axis, (lo, hi) in bounds.items()])


def _chain_rate(system: HardSystem, points: int = 5) -> float:
    """Rate of the chain of steps in one dimension, with so many grid points within the noise of a step."""
    ((lo, hi),), kt = system.limits, KB * system.temperature
    mobility = system.timestep / (MASS * FRICTION)
    width = np.sqrt(2.0 * kt * mobility)
    spacing, edge = width / points, system.a["x"][1]
    # a border between two grid points lies on the edge of A
    x = edge + (np.arange(int((hi - lo) / spacing)) - np.floor((edge - lo) / spacing) + 0.5) * spacing
    force = -(system.potential(x + 1e-6) - system.potential(x - 1e-6)) / 2e-6
    step = np.exp(-((x[None] - (x + mobility * force)[:, None]) ** 2) / (2.0 * width**2))
    step /= step.sum(1, keepdims=True)
    in_a, in_b = _inside(system.a, x), _inside(system.b, x)
    balance = step.T - np.eye(len(x))
    balance[0] = 1.0
    density = np.linalg.solve(balance, np.eye(len(x))[0])

    def reaches(step: np.ndarray, zero: np.ndarray, one: np.ndarray) -> np.ndarray:
        free, q = ~(zero | one), one.astype(float)
        q[free] = np.linalg.solve(np.eye(free.sum()) - step[np.ix_(free, free)], step[np.ix_(free, one)].sum(1))
        return q

    to_b = reaches(step, in_a, in_b)
    from_a = reaches(step.T * density / density[:, None], in_b, in_a)
    return float(density[in_a] @ step[np.ix_(in_a, ~in_a)] @ to_b[~in_a] / (system.timestep * (density @ from_a)))


def _grid_rate(system: HardSystem, n: int) -> float:
    """Rate of the differential equation on n finite volumes along x."""
    (x0, x1), (y0, y1) = system.limits
    kt, spacing = KB * system.temperature, (x1 - x0) / n
    x = x0 + (np.arange(n) + 0.5) * spacing
    y = y0 + (np.arange(round((y1 - y0) / spacing)) + 0.5) * spacing
    x, y = np.meshgrid(x, y, indexing="ij")
    energy = system.potential(x, y)
    kept = energy - energy.min() < 32.0 * kt + 40.0
    number = np.full(energy.shape, -1)
    number[kept] = np.arange(kept.sum())
    u = energy[kept]
    density = np.exp(-(u - u.min()) / kt)
    density /= density.sum()
    pairs = []
    for one, other in ((number[:-1], number[1:]), (number[:, :-1], number[:, 1:])):
        both = (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[both], other[both]]))
    i, j = np.concatenate([*pairs, *(pair[::-1] for pair in pairs)], axis=1)
    hop = kt / (MASS * FRICTION) / spacing**2 * np.exp(-(u[j] - u[i]) / (2.0 * kt))
    rates = coo_matrix((hop, (i, j)), shape=(len(u), len(u))).tocsr()
    step = coo_matrix((hop / np.asarray(rates.sum(1)).ravel()[i], (i, j)), shape=rates.shape).tocsr()
    in_a, in_b = _inside(system.a, x, y)[kept], _inside(system.b, x, y)[kept]
    free, q = ~(in_a | in_b), in_b.astype(float)
    matrix = -step[free][:, free]
    matrix.setdiag(1.0 + matrix.diagonal())
    q[free] = spsolve(matrix.tocsc(), np.asarray(step[free][:, in_b].sum(1)).ravel())
    return float(density[in_a] @ (rates[in_a] @ q) / (density @ (1.0 - q)))


def exact_rate(name: str) -> float:
    """k_AB in 1/ps; on a grid extrapolated, with what is left from states that cut cells (below a percent)."""
    system = HARD_SYSTEMS[name]
    if len(system.limits) == 1:
        return _chain_rate(system)
    coarse, fine = _grid_rate(system, 150), _grid_rate(system, 300)
    return fine + (fine - coarse) / 3.0


def first_try(name: str, seed: int, target_error: float, settings: RateSettings | None = None) -> str:
    """Run once; the outcome in a line."""
    begun, truth = time.process_time(), exact_rate(name)
    try:
        run = ImportanceSamplingRate(
            HARD_SYSTEMS[name].build(name), target_error=target_error, seed=seed, settings=settings, progress=Silent()
        )
        estimate = run.run()
    except RunError as error:
        return f"{name} seed {seed}: stopped after {time.process_time() - begun:.1f} CPU-s: {error}"
    low, high = np.log(estimate.rate_ci95)
    z = ((low + high) / 2.0 - np.log(truth)) / ((high - low) / 3.92)
    verdict = "right" if abs(z) < 3.0 else "WARNED" if estimate.warnings else "WRONG WITHOUT A WORD"
    return (
        f"{name} seed {seed}: k = {estimate.rate_per_ps:.3g} +- {estimate.rate_stderr:.1g}, exact {truth:.4g}, z = {z:+.1f}: "
        f"{verdict}; {estimate.walker_steps:.2g} steps, {time.process_time() - begun:.0f} CPU-s; {' '.join(estimate.warnings)}"
    )


def main() -> None:
    """Try, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=FIRST_TRIES, metavar="NAME", help=", ".join(HARD_SYSTEMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--target-error", type=float, default=0.15)
    parser.add_argument("--waiting-steps", type=int, help="default: that of the settings")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(HARD_SYSTEMS):
        parser.error(f"no such system: {', '.join(sorted(unknown))}")
    settings = (
        RateSettings() if arguments.waiting_steps is None else replace(RateSettings(), waiting_steps=arguments.waiting_steps)
    )
    outcomes = [first_try(name, seed, arguments.target_error, settings) for name in arguments.names for seed in arguments.seeds]
    print("\n".join(outcomes))
    if any("WITHOUT A WORD" in outcome for outcome in outcomes):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""Double wells for path sampling, along a line or in a plane, and their transition paths by direct simulation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.dynamics.overdamped import OverdampedLangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.units import KB

BARRIER, STRIDE, EDGE = 3.0, 5, 0.7
"""kT; steps between frames; nm: A is x < -EDGE, B is x > EDGE. Mass 1, kT 1 kJ/mol."""


def coordinate(snapshot):
    """x of the particle, nm."""
    return float(snapshot.statics.coordinates._value[0][0])


@dataclass(frozen=True)
class World:
    """A particle in a double well along x, and a way to simulate it that shares no code with the package.

    Attributes
    ----------
    energy : str
        What is added to the double well, kJ/mol.
    valley : callable
        y of the bottom of the valley at x.
    timestep, friction : float
        ps, 1/ps.
    inertial : bool
        Langevin dynamics with momenta; otherwise overdamped along x.
    axis : int
        Of which the square is observed.
    moves : callable
        Positions ``(2, n)`` of walkers frame by frame, given their first positions and random numbers.
    """

    energy: str
    valley: Callable
    timestep: float
    friction: float
    inertial: bool
    axis: int
    moves: Callable[[np.ndarray, np.random.Generator], Iterator[np.ndarray]]

    def make_engine(self, seed=1, **options):
        """The dynamics of the package."""
        system = openmm.System()
        system.addParticle(1.0)
        force = openmm.CustomExternalForce(f"{BARRIER}*(x^2-1)^2{self.energy}")
        force.addParticle(0, [])
        system.addForce(force)
        arguments = (1.0 / KB, self.friction, self.timestep)
        integrator = (
            BAOABLangevinIntegrator(*arguments) if self.inertial else OverdampedLangevinIntegrator(*arguments, num_dimensions=1)
        )
        integrator.setRandomNumberSeed(seed)
        options = {"n_steps_per_frame": STRIDE, "n_frames_max": 5000} | options
        return RareEventEngine(Topology(1), system, integrator, options=options, platform="Reference")

    def observable(self, snapshot):
        """Square of a coordinate of the particle, nm^2."""
        return float(snapshot.statics.coordinates._value[0][self.axis]) ** 2

    def make_modifier(self, engine):
        """Draws velocities, if there are any."""
        return paths.RandomVelocities(engine=engine) if self.inertial else paths.NoModification()

    def make_states(self):
        """Volumes A and B."""
        x = paths.CoordinateFunctionCV("x", coordinate)
        a = paths.CVDefinedVolume(x, float("-inf"), -EDGE).named("A")
        return a, paths.CVDefinedVolume(x, EDGE, float("inf")).named("B")

    def make_path(self, engine, values):
        """A path through given values of x."""
        box, frames = np.eye(3) * unit.nanometer, []
        velocity = unit.nanometer / unit.picosecond
        still = {"velocities": np.zeros((1, 3)) * velocity} if self.inertial else {"kinetics": engine.no_velocities()}
        for value in values:
            coordinates = np.array([[value, self.valley(value), 0.0]]) * unit.nanometer
            frames.append(Snapshot.construct(coordinates, box, engine=engine, **still))
        return paths.Trajectory(frames)

    def direct_paths(self, n_walkers=4000, n_frames=2000, seed=3):
        """Lengths and means of the observable of the transition paths of unbiased dynamics, both directions: ``(n_paths,)``."""
        moves = self.moves(np.stack([-np.ones(n_walkers), np.full(n_walkers, self.valley(-1.0))]), np.random.default_rng(seed))
        last, since, total = np.full(n_walkers, -1), np.zeros(n_walkers), np.zeros(n_walkers)
        found = []
        for _, place in zip(range(n_frames), moves, strict=False):
            side, square = np.where(place[0] < -EDGE, -1, np.where(place[0] > EDGE, 1, 0)), place[self.axis] ** 2
            since, total = since + 1, total + square
            arrived = (side != 0) & (side != last)
            found.append(np.stack([since[arrived] + 1, total[arrived] / (since[arrived] + 1)]))
            inside = side != 0
            last = np.where(inside, side, last)
            since[inside], total[inside] = 0, square[inside]  # the frame in the state is the first of the next path
        length, square = np.concatenate(found, axis=1)
        return length, square

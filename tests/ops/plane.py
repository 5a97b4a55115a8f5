"""Two wells on a plane for path sampling with inertia, and their transition paths by direct simulation."""

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from openmm_rare.inertial import LangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.units import KB

BARRIER, STIFFNESS, TILT, FRICTION, TIMESTEP, STRIDE, EDGE = 3.0, 3.0, 0.7, 2.5, 0.02, 5, 0.7
"""kT; kT/nm^2; slope of the valley; 1/ps; ps; steps between frames; nm: A is x < -EDGE, B is x > EDGE. Mass 1, kT 1 kJ/mol."""


def make_engine(seed=1, **options):
    """Langevin dynamics of one particle in a valley along y = TILT x."""
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{BARRIER}*(x^2-1)^2+{STIFFNESS}*(y-{TILT}*x)^2+z^2")
    force.addParticle(0, [])
    system.addForce(force)
    integrator = LangevinIntegrator(1.0 / KB, FRICTION, TIMESTEP)
    integrator.setRandomNumberSeed(seed)
    options = {"n_steps_per_frame": STRIDE, "n_frames_max": 5000} | options
    return RareEventEngine(Topology(1), system, integrator, options=options, platform="Reference")


def coordinate(snapshot):
    """x of the particle, nm."""
    return float(snapshot.statics.coordinates._value[0][0])


def observable(snapshot):
    """y^2 of the particle, nm^2."""
    return float(snapshot.statics.coordinates._value[0][1]) ** 2


def make_modifier(engine):
    """Draws velocities."""
    return paths.RandomVelocities(engine=engine)


def make_states():
    """Volumes A and B."""
    x = paths.CoordinateFunctionCV("x", coordinate)
    a = paths.CVDefinedVolume(x, float("-inf"), -EDGE).named("A")
    return a, paths.CVDefinedVolume(x, EDGE, float("inf")).named("B")


def make_path(engine, values):
    """A path through given values of x."""
    frames = []
    for value in values:
        coordinates = np.array([[value, TILT * value, 0.0]]) * unit.nanometer
        still = np.zeros((1, 3)) * unit.nanometer / unit.picosecond
        frames.append(Snapshot.construct(coordinates, np.eye(3) * unit.nanometer, still, engine=engine))
    return paths.Trajectory(frames)


def direct_paths(n_walkers=4000, n_frames=2000, seed=3):
    """Lengths and means of y^2 of the transition paths of unbiased dynamics, both directions: arrays of shape (n_paths,)."""
    rng = np.random.default_rng(seed)
    place = np.stack([-np.ones(n_walkers), np.full(n_walkers, -TILT)])
    velocity, kept = rng.standard_normal((2, n_walkers)), np.exp(-FRICTION * TIMESTEP)

    def kick():
        x, y = place
        across = 2.0 * STIFFNESS * (y - TILT * x)
        velocity[0] -= 0.5 * TIMESTEP * (4.0 * BARRIER * x * (x**2 - 1.0) - TILT * across)
        velocity[1] -= 0.5 * TIMESTEP * across

    last, since, total = np.full(n_walkers, -1), np.zeros(n_walkers), np.zeros(n_walkers)
    found = []
    for _ in range(n_frames):
        for _ in range(STRIDE):
            kick()
            place += 0.5 * TIMESTEP * velocity
            velocity *= kept
            velocity += np.sqrt(1.0 - kept**2) * rng.standard_normal((2, n_walkers))
            place += 0.5 * TIMESTEP * velocity
            kick()
        side, square = np.where(place[0] < -EDGE, -1, np.where(place[0] > EDGE, 1, 0)), place[1] ** 2
        since, total = since + 1, total + square
        arrived = (side != 0) & (side != last)
        found.append(np.stack([since[arrived] + 1, total[arrived] / (since[arrived] + 1)]))
        inside = side != 0
        last = np.where(inside, side, last)
        since[inside], total[inside] = 0, square[inside]  # the frame in the state is the first of the next path
    length, square = np.concatenate(found, axis=1)
    return length, square

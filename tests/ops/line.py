"""A double well on a line for path sampling, and its transition paths by direct simulation."""

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

from openmm_rare.committor import CommittorModel
from openmm_rare.integrators import OverdampedLangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.units import KB

BARRIER, FRICTION, TIMESTEP, STRIDE, EDGE = 3.0, 1.0, 0.005, 5, 0.7
"""kT; 1/ps; ps; steps between frames; nm: A is x < -EDGE, B is x > EDGE. Mass 1, kT 1 kJ/mol."""


def make_engine(seed=1, **options):
    """Overdamped dynamics of one particle along x."""
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{BARRIER}*(x^2-1)^2")
    force.addParticle(0, [])
    system.addForce(force)
    integrator = OverdampedLangevinIntegrator(1.0 / KB, FRICTION, TIMESTEP, num_dimensions=1)
    integrator.setRandomNumberSeed(seed)
    options = {"n_steps_per_frame": STRIDE, "n_frames_max": 5000} | options
    return RareEventEngine(Topology(1), system, integrator, options=options, platform="Reference")


def coordinate(snapshot):
    """x of the particle, nm."""
    return float(snapshot.statics.coordinates._value[0][0])


def observable(snapshot):
    """x^2 of the particle, nm^2."""
    return coordinate(snapshot) ** 2


def make_modifier(engine):
    """Leaves frames as they are: there are no velocities."""
    return paths.NoModification()


def make_states():
    """Volumes A and B."""
    x = paths.CoordinateFunctionCV("x", coordinate)
    a = paths.CVDefinedVolume(x, float("-inf"), -EDGE).named("A")
    return a, paths.CVDefinedVolume(x, EDGE, float("inf")).named("B")


def make_path(engine, values):
    """A path through given values of x."""
    frames = []
    for value in values:
        coordinates = np.array([[value, 0.0, 0.0]]) * unit.nanometer
        frames.append(
            Snapshot.construct(coordinates, np.eye(3) * unit.nanometer, kinetics=engine.no_velocities(), engine=engine)
        )
    return paths.Trajectory(frames)


def make_model(slope):
    """A committor model of one coordinate whose logit is `slope` x."""
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (8,), 300.0, "line")
    tensors = {name: np.zeros_like(value) for name, value in model.tensors().items()}
    tensors["feature_scale"] += 1.0
    tensors["network.0.weight"][:, 0] = slope * np.tile([1.0, -1.0], 4)
    tensors["network.2.weight"][0] = np.tile([1.0, -1.0], 4) / 4.0  # silu(z) - silu(-z) = z
    model.set_tensors(tensors)
    return model


def direct_paths(n_walkers=4000, n_frames=6000, seed=3):
    """Lengths and mean squares of x of the transition paths of unbiased dynamics, both directions.

    Returns
    -------
    length, square : ndarray, shape (n_paths,)
    """
    rng = np.random.default_rng(seed)
    x = -np.ones(n_walkers)
    spread = np.sqrt(2.0 * TIMESTEP / FRICTION)
    last, since, total = np.full(n_walkers, -1), np.zeros(n_walkers), np.zeros(n_walkers)
    found = []
    for _ in range(n_frames):
        for _ in range(STRIDE):
            x += -4.0 * BARRIER * x * (x**2 - 1.0) * TIMESTEP / FRICTION + spread * rng.standard_normal(n_walkers)
        side = np.where(x < -EDGE, -1, np.where(x > EDGE, 1, 0))
        since, total = since + 1, total + x**2
        arrived = (side != 0) & (side != last)
        found.append(np.stack([since[arrived] + 1, total[arrived] / (since[arrived] + 1)]))
        inside = side != 0
        last = np.where(inside, side, last)
        since[inside], total[inside] = 0, x[inside] ** 2  # the frame in the state is the first of the next path
    length, square = np.concatenate(found, axis=1)
    return length, square

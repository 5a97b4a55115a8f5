"""Small problems with momenta, for tests: a double well in one dimension, a rigid dimer in a trap, and water in a box."""

import numpy as np
import openmm

from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import Coordinate, Distance, Range
from openmm_rare.units import KB

TEMPERATURE = 300.0
KT = KB * TEMPERATURE


def well(height=4.0, friction=5.0, timestep=0.01, **options):
    """V = h kT (x^2 - 1)^2 with kT/m = 1 nm^2/ps^2; A left of -0.8, B right of 0.8."""
    system, force = openmm.System(), openmm.CustomExternalForce(f"{height * KT}*(x^2-1)^2")
    system.addParticle(KT)
    force.addParticle(0, [])
    system.addForce(force)
    regions = Range({"x": (-9.0, -0.8)}), Range({"x": (0.8, 9.0)})
    options = {"num_dimensions": 1, "inertial": True, "name": "well"} | options
    return RareEventSystem.from_openmm(
        system, [[-1.0, 0.0, 0.0]], *regions, Coordinate("x", 0, 0), TEMPERATURE, friction, timestep, **options
    )


def well_in_numpy(height=4.0, friction=5.0, timestep=0.01, check_interval=1, n=2000, n_steps=20_000, seed=1):
    """Transitions between A and B of the same dynamics, both ways, without restarts: their number, and the time.

    The time is that of all walkers, each with A or B the state visited last.
    """
    rng, kept = np.random.default_rng(seed), np.exp(-friction * timestep)
    x, v, count = np.where(np.arange(n) % 2, 1.0, -1.0), rng.normal(size=n), 0
    last, begin = np.sign(x), n_steps // 10
    force = -4.0 * height * x * (x**2 - 1.0)
    for step in range(1, n_steps + 1):
        v += 0.5 * timestep * force
        x += 0.5 * timestep * v
        v = kept * v + np.sqrt(1.0 - kept**2) * rng.normal(size=n)
        x += 0.5 * timestep * v
        force = -4.0 * height * x * (x**2 - 1.0)
        v += 0.5 * timestep * force
        if step % check_interval == 0:
            side = np.where(np.abs(x) >= 0.8, np.sign(x), last)
            count += int((side != last).sum()) if step > begin else 0
            last = side
    return count, n * (n_steps - begin) * timestep


def trapped_dimer():
    """Two particles at a fixed distance, the first of them on a spring of 500 kJ/mol/nm^2 in each direction."""
    system, force = openmm.System(), openmm.CustomExternalForce("250*(x^2+y^2+z^2)")
    for _ in range(2):
        system.addParticle(20.0)
    system.addConstraint(0, 1, 0.1)
    force.addParticle(0, [])
    system.addForce(force)
    regions = Range({"x": (-9.0, 0.1)}), Range({"x": (0.2, 9.0)})
    positions = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    return RareEventSystem.from_openmm(
        system, positions, *regions, Coordinate("x", 0, 0), TEMPERATURE, 2.0, 0.01, inertial=True, name="dimer"
    )


def water(n_side=3, method=openmm.NonbondedForce.CutoffPeriodic, **options):
    """Rigid TIP3P water in a periodic box; A and B: two molecules side by side, and farther apart."""
    edge, n = 0.31 * n_side, n_side**3
    system, force = openmm.System(), openmm.NonbondedForce()
    system.setDefaultPeriodicBoxVectors(*(edge * np.eye(3)))
    force.setNonbondedMethod(method)
    force.setCutoffDistance(0.45 * edge)
    corners = np.stack(np.meshgrid(*[np.arange(n_side)] * 3, indexing="ij"), axis=-1).reshape(n, 3)
    molecule = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.0239987, 0.0926627, 0.0]])
    for first in range(0, 3 * n, 3):
        for mass, charge, sigma, epsilon in ((15.999, -0.834, 0.315075, 0.635968), *((1.008, 0.417, 1.0, 0.0),) * 2):
            system.addParticle(mass)
            force.addParticle(charge, sigma, epsilon)
        for i, j in ((0, 1), (0, 2), (1, 2)):
            force.addException(first + i, first + j, 0.0, 1.0, 0.0)
            system.addConstraint(first + i, first + j, float(np.linalg.norm(molecule[i] - molecule[j])))
    system.addForce(force)
    positions = (0.31 * corners[:, None] + molecule).reshape(-1, 3)
    friction, timestep = (options.pop(name, default) for name, default in (("friction", 5.0), ("timestep", 0.002)))
    options = {"inertial": True, "check_interval": 10, "name": "water"} | options
    regions = Range({"r": (0.0, 0.32)}), Range({"r": (0.4, 9.0)})
    return RareEventSystem.from_openmm(
        system, positions, *regions, Distance("r", (0, 3)), TEMPERATURE, friction, timestep, **options
    )


def two_wells(boxed=True):
    """A particle between two wells at x = -0.2 and 0.2 nm; in a box, where walkers move one at a time, beside another one."""
    system, wells = openmm.System(), openmm.CustomExternalForce("8*((x/0.2)^2-1)^2+200*(y^2+z^2)")
    wells.addParticle(system.addParticle(10.0))
    system.addForce(wells)
    if boxed:
        system.addParticle(10.0)
        system.setDefaultPeriodicBoxVectors(*(3.0 * np.eye(3)))
        pairs = openmm.NonbondedForce()
        pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        for _ in range(2):
            pairs.addParticle(0.0, 0.1, 0.0)
        system.addForce(pairs)
    return system, np.array([[-0.2, 0.0, 0.0], [1.0, 1.0, 1.0]])[: 1 + boxed]

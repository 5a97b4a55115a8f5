"""The force that pulls into a region: its energy is that of the distance, for every kind of variable and region."""

import numpy as np
import openmm
import pytest

from openmm_rare.states.states import (
    Angle,
    CollectiveVariables,
    Coordinate,
    Coordination,
    CoordinationMoment,
    Dihedral,
    Disc,
    Distance,
    FunctionRegion,
    FunctionVariable,
    LinearCombination,
    Range,
)
from openmm_rare.systems.lj7 import handedness
from openmm_rare.tps.first_paths.pull_force import ALLOWED, Pull, why_no_pull

N_ATOMS = 5
VARIABLES = CollectiveVariables(
    [
        Coordinate("x", 0, 0),
        Distance("d", (0, 1)),
        Angle("a", (0, 1, 2)),
        Dihedral("t", (0, 1, 2, 3)),
        *(CoordinationMoment(f"m{order}", order, 0.5) for order in (1, 2, 3)),
        LinearCombination("l", np.arange(15.0).reshape(5, 3) - 7.0),
        FunctionVariable("h", handedness),
    ]
)
FLUCTUATION = np.linspace(0.1, 0.8, 9)
REGIONS = [
    Range({"x": (3.0, 4.0)}),
    Range({"d": (5.0, np.inf)}),
    Range({"d": (-np.inf, 0.1)}),
    Range({"a": (0.0, 0.2), "d": (-np.inf, np.inf)}),
    Range({"t": (3.0, -3.0)}),
    Range({"t": (1.0, 1.2), "m1": (3.0, 4.0)}),
    Range({"t": (0.0, 7.0), "x": (2.0, 3.0)}),  # all the way round
    Range({"m2": (5.0, 6.0), "m3": (5.0, 6.0)}),
    Range({"l": (-np.inf, -90.0)}),
    Disc({"t": 3.0, "a": 0.2}, 0.3),
    Disc({"m2": 0.5, "m3": 0.5}, 0.1),
]


def random_positions(n):
    return np.random.default_rng(1).normal(size=(n, N_ATOMS, 3))


def context_of(force, platform):
    system = openmm.System()
    for _ in range(N_ATOMS):
        system.addParticle(1.0)
    system.addForce(force)
    return openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform))


def energies(context, positions):
    found = []
    for frame in positions:
        context.setPositions(frame)
        found.append(context.getState(energy=True).getPotentialEnergy()._value)
    return np.array(found)


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: str(region.describe()))
def test_the_energy_is_that_of_the_distance(region):
    pull, positions = Pull(VARIABLES, region, FLUCTUATION), random_positions(6)
    distance = pull.distance(positions)
    assert (distance > 0.0).all()
    for platform in ("Reference", "CPU"):
        context = context_of(pull.force(3.0, 0.0, N_ATOMS), platform)
        np.testing.assert_allclose(energies(context, positions), 1.5 * distance**2, rtol=1e-5, atol=1e-6)
        allowed = float(np.median(distance))
        context.setParameter(ALLOWED, allowed)
        expected = 1.5 * np.maximum(distance - allowed, 0.0) ** 2
        np.testing.assert_allclose(energies(context, positions), expected, rtol=1e-5, atol=1e-5)
        assert (expected == 0.0).any()  # what is near enough feels nothing


@pytest.mark.parametrize("region", [REGIONS[4], REGIONS[5], REGIONS[9], REGIONS[10]], ids=lambda region: type(region).__name__)
def test_forces_are_the_gradient(region):
    context = context_of(Pull(VARIABLES, region, FLUCTUATION).force(2.0, 0.1, N_ATOMS), "Reference")
    (start,), step = 0.4 * random_positions(1), 1e-5
    context.setPositions(start)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    moved = np.eye(15).reshape(15, N_ATOMS, 3) * step
    slope = (energies(context, start + moved) - energies(context, start - moved)) / (2.0 * step)
    np.testing.assert_allclose(forces.ravel(), -slope, rtol=1e-4, atol=1e-4 * np.abs(slope).max())
    assert np.abs(forces).max() > 0.1


def test_inside_there_is_no_force_and_no_nan():
    variables = CollectiveVariables([Coordinate("x", 0, 0), Coordinate("y", 0, 1)])
    for region in (Disc({"x": 1.0, "y": 0.0}, 0.2), Range({"x": (0.8, 1.2), "y": (-0.2, 0.2)})):
        pull = Pull(variables, region, [0.1, 0.1])
        positions = np.zeros((1, N_ATOMS, 3))
        positions[0, 0, 0] = 1.0
        context = context_of(pull.force(2.0, 0.0, N_ATOMS), "Reference")
        context.setPositions(positions[0])
        forces = context.getState(forces=True).getForces(asNumpy=True)._value
        assert np.isfinite(forces).all() and np.abs(forces).max() < 1e-3 and pull.distance(positions)[0] == 0.0
        positions[0, 0, 0] = 1.19  # in the region, but near its end: a path should get farther
        assert pull.distance(positions)[0] > 0.5


def test_in_a_periodic_box_the_nearest_images_count():
    box = np.diag([2.0, 2.1, 2.2])
    variables = CollectiveVariables([Distance("d", (0, 1), box=box), CoordinationMoment("m", 1, 0.15, box=box)])
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*box)
    for _ in range(N_ATOMS):
        system.addParticle(1.0)
    pull = Pull(variables, Range({"d": (3.0, 4.0), "m": (1.0, 2.0)}), [0.1, 0.1])
    system.addForce(pull.force(2.0, 0.0, N_ATOMS))
    reference = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    positions = random_positions(5)
    np.testing.assert_allclose(energies(context, positions), pull.distance(positions) ** 2, rtol=1e-3)
    plain = Pull(CollectiveVariables([Distance("d", (0, 1))]), Range({"d": (3.0, 4.0)}), [0.1])  # negative control
    assert not np.allclose(plain.distance(positions) ** 2, energies(context, positions), rtol=0.05)


@pytest.mark.parametrize("box", [None, np.diag([2.0, 2.1, 2.2])], ids=["plain", "periodic"])
@pytest.mark.parametrize("power", [6, 12])
def test_the_coordination_of_a_group_has_its_gradient(power, box):
    """Of neighbors around two atoms: the energy is that of the value, and forces are differences of energies."""
    variable = Coordination("n", (0, 1), (2, 3, 4), 0.3, power, box=box)
    variables = CollectiveVariables([variable])
    pull, positions = Pull(variables, Range({"n": (5.5, 6.0)}), [0.2]), 0.3 * random_positions(4)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*(np.diag([2.0, 2.1, 2.2])))
    for _ in range(N_ATOMS):
        system.addParticle(1.0)
    system.addForce(pull.force(2.0, 0.0, N_ATOMS))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    shifted = positions + np.array([0.9, 0.0, 0.0])[None, None]  # across the boundary, for some
    shifted[:, 2] -= [2.0, 0.0, 0.0] if box is not None else 0.0
    np.testing.assert_allclose(energies(context, shifted), pull.distance(shifted) ** 2, rtol=1e-3)
    step, (start,) = 1e-5, shifted[:1]
    context.setPositions(start)
    forces = context.getState(forces=True).getForces(asNumpy=True)._value
    moved = np.eye(15).reshape(15, N_ATOMS, 3) * step
    slope = (pull.distance(start + moved) ** 2 - pull.distance(start - moved) ** 2) / (2.0 * step)
    np.testing.assert_allclose(forces.ravel(), -slope, rtol=1e-3, atol=1e-3 * np.abs(slope).max())
    assert np.abs(forces).max() > 0.1


def test_what_cannot_pull_is_refused():
    assert not why_no_pull(VARIABLES, REGIONS[0])
    for region, message in [
        (FunctionRegion(handedness), "is a function, which has no distance"),
        (Range({"h": (1.0, 2.0)}), "is given by the function h, which has no forces"),
    ]:
        assert why_no_pull(VARIABLES, region) == message
        with pytest.raises(ValueError, match=message):
            Pull(VARIABLES, region, FLUCTUATION)
    with pytest.raises(ValueError, match="variable 'x' never changes in A"):
        Pull(VARIABLES, REGIONS[0], np.zeros(9))

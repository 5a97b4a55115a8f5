"""The Langevin integrator for path sampling: time reversal, temperature, constraints, and the right discrete ensemble."""

import numpy as np
import openmm
import pytest

from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.systems import build
from openmm_rare.units import KB
from stats import assert_within, mean_and_stderr

TEMPERATURE, MASS, STIFFNESS = 300.0, 10.0, 4000.0
KT = KB * TEMPERATURE
LENGTH = 0.2


def molecules(n, constrained):
    """Rigid or springy dimers, each on a soft spring to the origin."""
    system = openmm.System()
    bond, hold = openmm.HarmonicBondForce(), openmm.CustomExternalForce("500*(x^2+y^2+z^2)")
    positions = []
    for i in range(n):
        for x in (0.0, LENGTH):
            system.addParticle(MASS)
            positions.append((x, 0.0, 0.0))
        hold.addParticle(2 * i, [])
        if constrained:
            system.addConstraint(2 * i, 2 * i + 1, LENGTH)
        else:
            bond.addBond(2 * i, 2 * i + 1, LENGTH, STIFFNESS)
    system.addForce(bond)
    system.addForce(hold)
    return system, np.array(positions)


def start(system, positions, integrator, platform, make_context):
    integrator.setRandomNumberSeed(7)
    context = make_context(system, integrator, platform, positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 11)
    return context


def phase(context):
    state = context.getState(positions=True, velocities=True)
    return state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value


@pytest.mark.parametrize("constrained", [False, True])
def test_without_friction_it_retraces_its_path(platform, make_context, constrained):
    system, positions = molecules(5, constrained)
    integrator = BAOABLangevinIntegrator(TEMPERATURE, 0.0, 0.002)
    integrator.setConstraintTolerance(1e-9)
    context = start(system, positions, integrator, platform, make_context)
    first, velocities = phase(context)
    integrator.step(200)
    there, velocities_there = phase(context)
    context.setVelocities(-velocities_there)
    integrator.step(200)
    back, velocities_back = phase(context)
    assert np.abs(there - first).max() > 0.01
    tolerance = 1e-9 if platform == "Reference" else 2e-4
    np.testing.assert_allclose(back, first, atol=tolerance)
    np.testing.assert_allclose(velocities_back, -velocities, atol=100 * tolerance)


def test_a_leapfrog_does_not():
    """Negative control of the test above: OpenMM's Verlet integrator turned round in the same way."""
    system, positions = molecules(5, False)
    integrator = openmm.VerletIntegrator(0.002)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 11)
    first, _ = phase(context)
    integrator.step(200)
    context.setVelocities(-phase(context)[1])
    integrator.step(200)
    assert np.abs(phase(context)[0] - first).max() > 1e-4


def spelled_out(friction, timestep, projected=True):
    """The same splitting without noise, constraints after every part of it: slow, and plainly right."""
    integrator = openmm.CustomIntegrator(timestep)
    integrator.addGlobalVariable("kept", np.exp(-friction * timestep))
    integrator.addPerDofVariable("unconstrained", 0)

    def kick():
        integrator.addComputePerDof("v", "v+0.5*dt*f/m")
        integrator.addConstrainVelocities()

    def drift():
        integrator.addComputePerDof("x", "x+0.5*dt*v")
        integrator.addComputePerDof("unconstrained", "x")
        integrator.addConstrainPositions()
        if projected:
            integrator.addComputePerDof("v", "v+(x-unconstrained)/(0.5*dt)")
        integrator.addConstrainVelocities()

    kick()
    drift()
    integrator.addComputePerDof("v", "kept*v")
    integrator.addConstrainVelocities()
    drift()
    kick()
    return integrator


@pytest.mark.parametrize("constrained", [False, True])
def test_fewer_passes_over_the_coordinates_change_nothing(constrained):
    system, positions = molecules(5, constrained)
    ends = []
    for integrator in (BAOABLangevinIntegrator(1e-20, 3.0, 0.004), spelled_out(3.0, 0.004), spelled_out(3.0, 0.004, False)):
        integrator.setConstraintTolerance(1e-12)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(positions)
        context.setVelocitiesToTemperature(TEMPERATURE, 11)
        integrator.step(100)
        ends.append(np.concatenate(phase(context)))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-8)
    if constrained:  # negative control: constraints that move atoms without changing their velocities
        assert np.abs(ends[0] - ends[2]).max() > 1e-4


@pytest.mark.parametrize("constrained", [False, True])
def test_temperature_and_constraints(constrained):
    n = 400
    system, positions = molecules(n, constrained)
    integrator = BAOABLangevinIntegrator(TEMPERATURE, 20.0, 0.004)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    integrator.setRandomNumberSeed(5)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 3)
    integrator.step(200)
    kinetic, position = [], []
    for _ in range(20):
        integrator.step(50)
        x, v = phase(context)
        kinetic.append(MASS * (v**2).sum(axis=1).reshape(n, 2).sum(axis=1) / KT)
        position.append((x[::2] ** 2).sum(axis=1))
        if constrained:
            bond, relative = x[1::2] - x[::2], v[1::2] - v[::2]
            np.testing.assert_allclose(np.linalg.norm(bond, axis=1), LENGTH, rtol=1e-4)
            assert np.abs((bond * relative).sum(axis=1)).max() < 1e-3
    freedom = 5 if constrained else 6
    mean, error = mean_and_stderr(np.mean(kinetic, axis=0))
    # velocities of the splitting are off by (omega dt)^2/4 along the bond; along the soft springs it is far less
    stiff = 0.0 if constrained else STIFFNESS * (2 / MASS) * 0.004**2 / 4
    assert_within(mean, freedom - stiff, error)
    with pytest.raises(AssertionError):  # negative control: the wrong number of degrees of freedom
        assert_within(mean, 11 - freedom, error)
    mean, error = mean_and_stderr(np.mean(position, axis=0))
    if not constrained:  # positions of a harmonic oscillator are exact at any time step
        assert_within(mean, 3 * KT / 1000.0, error)
        with pytest.raises(AssertionError):
            assert_within(mean, 2 * KT / 1000.0, error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1, 1, 1), "must be positive"), ((300, -1, 1), "not negative"), ((300, 1, 0), "must be positive")],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        BAOABLangevinIntegrator(*arguments)


def test_jung_42d_is_the_potential_of_the_paper():
    from openmm_rare.systems import jung_42d

    target = build("jung_42d")
    context = openmm.Context(target.system, openmm.VerletIntegrator(0.01), openmm.Platform.getPlatformByName("Reference"))
    rng = np.random.default_rng(2)
    positions = rng.normal(size=target.positions.shape)
    context.setPositions(positions)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    rest = positions.reshape(-1)[2:]
    expected = jung_42d.KT * jung_42d.energy(*positions[0, :2]) + 0.5 * (jung_42d.frequencies() ** 2 * rest**2).sum()
    assert energy == pytest.approx(expected, rel=1e-10)
    barrier = jung_42d.energy(0.0, 0.0) - jung_42d.energy(*jung_42d.CENTER_A)
    assert barrier == pytest.approx(7.0, abs=1.0)  # kT; "approximately 7" in the paper

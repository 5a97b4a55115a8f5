"""Shifted noise with momenta: weights are exact with constraints, and nothing else changes."""

import itertools

import numpy as np
import openmm
import pytest

import platforms
from openmm_rare.dynamics.biased_langevin import BiasedLangevinIntegrator
from openmm_rare.dynamics.copies.replication import replicate
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.dynamics.overdamped import shifting_group
from openmm_rare.dynamics.path_weights import has_momenta, log_weights, restart_weights
from stats import assert_within, mean_and_stderr

TEMPERATURE = 300.0
DYNAMICS = (TEMPERATURE, 20.0, 0.002)
N, STEPS = 2500, 20
WATER = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.0239987, 0.0926627, 0.0]])


def waters(n=2):
    """Rigid TIP3P molecules in a row, which OpenMM keeps rigid by SETTLE, and their positions."""
    system, force = openmm.System(), openmm.NonbondedForce()
    for first in range(0, 3 * n, 3):
        for mass, charge, sigma, epsilon in ((15.999, -0.834, 0.315075, 0.635968), *((1.008, 0.417, 1.0, 0.0),) * 2):
            system.addParticle(mass)
            force.addParticle(charge, sigma, epsilon)
        for i, j in itertools.combinations(range(3), 2):
            force.addException(first + i, first + j, 0.0, 1.0, 0.0)
            system.addConstraint(first + i, first + j, float(np.linalg.norm(WATER[i] - WATER[j])))
    system.addForce(force)
    return system, np.concatenate([WATER + [0.0, 0.0, 0.3 * i] for i in range(n)])


def trimer():
    """Three particles with two rigid bonds."""
    system = openmm.System()
    for mass in (12.0, 16.0, 4.0):
        system.addParticle(mass)
    for i in range(2):
        system.addConstraint(i, i + 1, 0.15)
    angle = openmm.HarmonicAngleForce()
    angle.addAngle(0, 1, 2, 2.0, 100.0)
    system.addForce(angle)
    bent = np.array([np.cos(2.0), np.sin(2.0), 0.0])
    return system, 0.15 * np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], bent])


MOLECULES = {"water": waters, "trimer": trimer}
FIELDS = {"water": 5.0, "trimer": 20.0}
EACH_MOLECULE = pytest.mark.parametrize("name", MOLECULES)


def field(n, size, strength):
    """A bias that turns molecules: forces along x + z, opposite ones on neighbors."""
    force = openmm.CustomExternalForce(f"-{strength}*sign*(x+z)")
    force.addPerParticleParameter("sign")
    for particle in range(n * size):
        force.addParticle(particle, [(-1.0) ** (particle % size)])
    force.setForceGroup(1)
    return force


def biased(*arguments, seed=5, **options):
    made = BiasedLangevinIntegrator(*(arguments or DYNAMICS), **options)
    made.setRandomNumberSeed(seed)
    return made


def altered(integrator, old, new):
    """The same integrator, its expressions changed, by way of XML."""
    text = openmm.XmlSerializer.serialize(integrator)
    assert text.count(old) == 1
    return openmm.XmlSerializer.deserialize(text.replace(old, new))


def run(name, integrator, platform="Reference", make_context=platforms.make_context, n=N, bias=True):
    """How far copies of a molecule have turned, from rest, and their log weights."""
    system, positions = MOLECULES[name]()
    system, size = replicate(system, n), len(positions)
    if bias:
        system.addForce(field(n, size, FIELDS[name]))
    context = make_context(system, integrator, platform, np.tile(positions, (n, 1)))
    integrator.step(STEPS)
    x, _, z = context.getState(positions=True).getPositions(asNumpy=True)._value.T
    return (x + z).reshape(n, size) @ (-1.0) ** np.arange(size), log_weights(context, n) if bias else np.zeros(n)


@EACH_MOLECULE
def test_weights_have_mean_one_and_bring_back_unbiased_averages(name, platform, make_context):
    """Constraints act on positions and velocities of every step."""
    turned, log_weight = run(name, biased(), platform, make_context)
    plain = BAOABLangevinIntegrator(*DYNAMICS)
    plain.setRandomNumberSeed(6)
    truth, its_error = mean_and_stderr(run(name, plain, bias=False)[0])
    weight = np.exp(log_weight)
    mean, error = mean_and_stderr(weight)
    assert error < 0.01 < 0.15 < log_weight.std()
    assert_within(mean, 1.0, error, 4)
    estimate, error = mean_and_stderr(weight * turned)
    assert_within(estimate, truth, np.hypot(error, its_error))
    for wrong in (np.ones(N), weight**2, 1.0 / weight):  # negative controls
        with pytest.raises(AssertionError):
            assert_within(np.average(turned, weights=wrong), truth, np.hypot(mean_and_stderr(turned)[1], its_error))


@pytest.mark.parametrize(
    ("old", "new"),
    [("(noise-0.5*shift)", "(0.5*shift-noise)"), ("log_path_weight-shift", "log_path_weight-0.5*shift")],
    ids=["sign", "half"],
)
def test_weights_of_another_shift_do_not_have_mean_one(old, new):
    """Negative controls, and an integrator from XML is as good as another."""
    same = altered(biased(), old, old)
    assert type(same) is openmm.CustomIntegrator and has_momenta(same) and shifting_group(same) == 1
    right, wrong = (np.exp(run("trimer", each, n=4 * N)[1]) for each in (same, altered(biased(), old, new)))
    assert np.array_equal(right, np.exp(run("trimer", biased(), n=4 * N)[1]))
    assert_within(*(values := mean_and_stderr(right))[:1], 1.0, values[1])
    mean, error = mean_and_stderr(wrong)
    with pytest.raises(AssertionError):
        assert_within(mean, 1.0, error)


@EACH_MOLECULE
def test_the_projection_leaves_the_motion_and_makes_weights_spread_less(name):
    turned, log_weight = run(name, biased())
    raw = altered(biased(), "v*sqrt(m)", "shift")
    other, whole = run(name, raw)
    (mean, error), (same, its_error) = mean_and_stderr(turned), mean_and_stderr(other)
    assert_within(mean, same, np.hypot(error, its_error))
    mean, error = mean_and_stderr(np.exp(whole))
    assert_within(mean, 1.0, error)  # exact, but
    assert whole.var() > 1.15 * log_weight.var()


def test_without_strength_there_is_no_weight_and_the_ensemble_is_that_of_the_plain_integrator():
    plain = BAOABLangevinIntegrator(*DYNAMICS)
    plain.setRandomNumberSeed(6)
    turned, log_weight = run("water", biased(strength=0.0))
    assert (log_weight == 0.0).all()
    other, _ = run("water", plain, bias=False)
    for moment in (1, 2):
        (mean, error), (same, its_error) = mean_and_stderr(turned**moment), mean_and_stderr(other**moment)
        assert_within(mean, same, np.hypot(error, its_error))
    pushed, error = mean_and_stderr(run("water", biased())[0])  # negative control
    with pytest.raises(AssertionError):
        assert_within(pushed, other.mean(), np.hypot(error, its_error))


def test_without_noise_a_step_is_that_of_the_plain_integrator():
    """OpenMM draws other numbers for the two, which make other passes over the coordinates."""
    ends = []
    for integrator in (biased(1e-20, *DYNAMICS[1:]), BAOABLangevinIntegrator(1e-20, *DYNAMICS[1:])):
        system, positions = waters()
        context = platforms.make_context(system, integrator, "Reference", positions)
        context.setVelocitiesToTemperature(TEMPERATURE, 3)
        integrator.step(100)
        state = context.getState(positions=True, velocities=True)
        ends.append([state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value])
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-6)
    assert np.abs(ends[0][0] - positions).max() > 0.01


def test_forces_are_evaluated_once_a_step():
    system, calls = waters(1)[0], [0, 0]

    def counting(group):
        def force(state):
            calls[group] += 1
            return 0.0, np.zeros((3, 3))

        made = openmm.PythonForce(force)
        made.setForceGroup(group)
        return made

    for group in (0, 1):
        system.addForce(counting(group))
    integrator = biased()
    context = platforms.make_context(system, integrator, "Reference", WATER)
    integrator.step(1)
    calls[:] = 0, 0
    integrator.step(10)
    assert calls == [10, 10] and context.getStepCount() == 11


@pytest.mark.parametrize("dimensions", [1, 2])
def test_what_does_not_move_has_no_weight(dimensions):
    system = openmm.System()
    for _ in range(N):
        system.addParticle(1.0)
    force = openmm.CustomExternalForce("-x-10*y-100*z")
    force.setForceGroup(1)
    for particle in range(N):
        force.addParticle(particle, [])
    system.addForce(force)
    integrator = biased(*DYNAMICS, num_dimensions=dimensions, max_shift=0.1)
    context = platforms.make_context(system, integrator, "Reference", np.zeros((N, 3)))
    integrator.step(STEPS)
    state = context.getState(positions=True, velocities=True)
    for values in (state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value):
        assert (values[:, dimensions:] == 0.0).all() and (values[:, :dimensions] != 0.0).all()
    mean, error = mean_and_stderr(np.exp(log_weights(context, N)))
    assert_within(mean, 1.0, error)
    assert log_weights(context, N).var() < 1.2 * STEPS * dimensions * 0.1**2
    restart_weights(context)
    assert (log_weights(context, N // 2) == 0.0).all()


def test_virtual_sites_hand_the_bias_on_to_their_atoms():
    def make(n=N):
        system = openmm.System()
        for mass in (10.0, 10.0, 0.0) * n:
            system.addParticle(mass)
        force = openmm.CustomExternalForce("-60*x")
        force.setForceGroup(1)
        for first in range(0, 3 * n, 3):
            system.setVirtualSite(first + 2, openmm.TwoParticleAverageSite(first, first + 1, 0.5, 0.5))
            force.addParticle(first + 2, [])
        system.addForce(force)
        return system

    integrator = biased(virtual_sites=True)
    context = platforms.make_context(make(), integrator, "Reference", np.tile([[0.0, 0, 0], [0.2, 0, 0], [0.1, 0, 0]], (N, 1)))
    integrator.step(STEPS)
    assert context.getState().getTime()._value == pytest.approx(2 * STEPS * 0.002)
    positions = context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(N, 3, 3)
    np.testing.assert_allclose(positions[:, 2], positions[:, :2].mean(axis=1), atol=1e-9)
    weight = np.exp(log_weights(context, N))
    (mean, error), moved = mean_and_stderr(weight), positions[:, 2, 0] - 0.1
    assert_within(mean, 1.0, error)
    assert_within((weight * moved).mean(), 0.0, mean_and_stderr(weight * moved)[1])
    with pytest.raises(AssertionError):  # negative control
        assert_within(moved.mean(), 0.0, mean_and_stderr(moved)[1])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((300, 0, 0.002), {}, "friction = 0 leaves no noise to shift"),
        ((300, 1, 0.002), {"strength": -1}, "strength = -1.0 is negative"),
        ((300, 1, 0.002), {"max_shift": 0}, "max_shift = 0.0 must be positive"),
        ((300, 1, 0.002), {"bias_group": 0}, "allowed: 1 to 31, because group 0"),
        ((300, 1, 0.002), {"num_dimensions": 4}, "num_dimensions = 4; allowed: 1, 2 or 3"),
        ((300, -1, 0.002), {}, "friction = -1.0 /ps not negative"),
        ((300 * openmm.unit.picosecond, 1, 0.002), {}, "temperature"),
    ],
)
def test_what_cannot_be_right_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        BiasedLangevinIntegrator(*arguments, **options)


def test_weights_that_are_none_are_refused():
    system, positions = waters(1)
    integrator = biased()
    system.addForce(field(1, 3, 1.0))
    context = platforms.make_context(system, integrator, "Reference", positions)
    with pytest.raises(ValueError, match="n_walkers = 2 does not divide the Context's 3 particles"):
        log_weights(context, 2)
    integrator.setPerDofVariableByName("log_path_weight", [openmm.Vec3(float("nan"), 0, 0)] * 3)
    with pytest.raises(ValueError, match="walkers \\[0\\] \\(1 in all\\) is not finite"):
        log_weights(context, 1)
    assert not has_momenta(BAOABLangevinIntegrator(*DYNAMICS)) and not has_momenta(openmm.VerletIntegrator(1.0))

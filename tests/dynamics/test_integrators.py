"""The overdamped integrators: drift, noise, exact path weights, and what they refuse, on every platform."""

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_rare.dynamics.overdamped import (
    BiasedOverdampedLangevinIntegrator,
    OverdampedLangevinIntegrator,
    check_system,
)
from openmm_rare.dynamics.path_weights import log_weights
from openmm_rare.units import KB
from stats import assert_within, mean_and_stderr

TEMPERATURE, FRICTION, TIMESTEP, MASS = 300.0, 2.0, 0.01, 5.0
KT = KB * TEMPERATURE
SPREAD = np.sqrt(2 * KT * TIMESTEP / (FRICTION * MASS))
BOTH = pytest.mark.parametrize("kind", [OverdampedLangevinIntegrator, BiasedOverdampedLangevinIntegrator])


def stiffness(a):
    """Force constant for which one step moves a harmonic oscillator by the fraction a of its displacement."""
    return a * FRICTION * MASS / TIMESTEP


def system_of(n, masses=MASS, potential=None, bias=None):
    """n independent particles, each in a potential of x, y, z (group 0) with a bias (group 1)."""
    system = openmm.System()
    for mass in np.broadcast_to(masses, n):
        system.addParticle(mass)
    for group, energy in enumerate((potential, bias)):
        if energy is not None:
            force = openmm.CustomExternalForce(energy)
            force.setForceGroup(group)
            for particle in range(n):
                force.addParticle(particle, [])
            system.addForce(force)
    return system


def seeded(integrator, seed=2024):
    integrator.setRandomNumberSeed(seed)
    return integrator


def positions_of(context):
    return context.getState(positions=True).getPositions(asNumpy=True)._value.copy()


def velocities_of(context):
    return context.getState(velocities=True).getVelocities(asNumpy=True)._value.copy()


class Recorder:
    """Constant force that records where it was called."""

    def __init__(self, name, calls, force):
        self.name, self.calls, self.force = name, calls, force

    def __call__(self, state):
        positions = state.getPositions(asNumpy=True)._value
        self.calls.append((self.name, positions.copy()))
        return 0.0, np.full_like(positions, self.force)


class Kicks:
    """Bias force that moves the particles by one given array per step."""

    def __init__(self, kicks, timestep):
        self.kicks, self.factor, self.calls = kicks, FRICTION * MASS / timestep, 0

    def __call__(self, state):
        self.calls += 1
        return 0.0, self.factor * self.kicks[self.calls - 1]


# ---------------------------------------------------------------------------------------------------- drift and noise


@BOTH
def test_without_noise_the_drift_is_eulers(platform, make_context, kind):
    a, n_steps, start = 0.1, 20, 0.7
    system = system_of(3, potential=f"{0.5 * stiffness(a)}*(x^2+y^2+z^2)")
    integrator = seeded(kind(1e-12, FRICTION, TIMESTEP))
    context = make_context(system, integrator, platform, np.full((3, 3), start))
    integrator.step(n_steps)
    np.testing.assert_allclose(positions_of(context), start * (1 - a) ** n_steps, rtol=2e-5)
    # negative control: the continuous decay is told apart from the discrete one
    assert abs(start * np.exp(-a * n_steps) / positions_of(context)[0, 0] - 1) > 0.1


@BOTH
def test_without_forces_particles_diffuse(platform, make_context, kind):
    n, n_steps = 4000, 10
    masses = np.where(np.arange(n) % 2, 1.0, 4.0)
    integrator = seeded(kind(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system_of(n, masses), integrator, platform, np.zeros((n, 3)))
    integrator.step(n_steps)
    for mass in (1.0, 4.0):
        moved = positions_of(context)[masses == mass].ravel()
        truth = 2 * KT * TIMESTEP * n_steps / (FRICTION * mass)
        variance, stderr = mean_and_stderr(moved**2)
        assert_within(moved.mean(), 0, np.sqrt(truth / moved.size))
        assert_within(variance, truth, stderr)
        assert_within(np.mean(moved**4) / truth**2, 3, np.sqrt(96 / moved.size))  # a Gaussian's fourth moment
        with pytest.raises(AssertionError):
            assert_within(variance, truth * mass / 2.5, stderr)  # as if all had the mean mass


@BOTH
def test_stationary_variance_is_the_discrete_one(platform, make_context, kind):
    a, n = 0.5, 7000
    k = stiffness(a)
    integrator = seeded(kind(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system_of(n, potential=f"{0.5 * k}*(x^2+y^2+z^2)"), integrator, platform, np.zeros((n, 3)))
    integrator.step(40)  # the memory of the start is (1 - a)^40 = 1e-12
    variance, stderr = mean_and_stderr(positions_of(context).ravel() ** 2)
    assert_within(variance, KT / k / (1 - a / 2), stderr)
    with pytest.raises(AssertionError):
        assert_within(variance, KT / k, stderr)


def strong_order(platform, make_context, noise):
    """Slope of log error against log dt at time 1, where `noise(level)` gives the Brownian increments of 2^level steps."""
    levels, finest, ends = (3, 4, 5), 8, {}
    for level in (*levels, finest):
        timestep, increments = 2.0**-level, noise(level)
        system = system_of(increments.shape[1], potential="10*(x^4/4-x^2/2+y^4/4-y^2/2+z^4/4-z^2/2)")
        kicks = openmm.PythonForce(Kicks(increments, timestep))
        kicks.setForceGroup(1)
        system.addForce(kicks)
        # nearly no noise of its own, and no bound on the shift: all noise comes through the bias force
        integrator = BiasedOverdampedLangevinIntegrator(1e-12, FRICTION, timestep, max_shift=1e30)
        context = make_context(system, integrator, platform, np.full(increments.shape[1:], 0.3))
        integrator.step(2**level)
        ends[level] = positions_of(context)
    errors = [np.sqrt(np.mean((ends[level] - ends[finest]) ** 2)) for level in levels]
    return -np.polyfit(levels, np.log2(errors), 1)[0]


def test_strong_convergence_order_is_one(platform, make_context):
    finest, n = 8, 100
    rng = np.random.default_rng(7)
    increments = rng.normal(0, np.sqrt(0.5 * 2.0**-finest), (2**finest, n, 3))
    order = strong_order(platform, make_context, lambda level: increments.reshape(2**level, -1, n, 3).sum(axis=1))
    assert -0.2 < order - 1 < 0.25
    # negative control: other noise at every time step does not converge
    fresh = strong_order(platform, make_context, lambda level: rng.normal(0, np.sqrt(0.5 * 2.0**-level), (2**level, n, 3)))
    assert fresh < 0.5


# -------------------------------------------------------------------------------------------------------- path weights


@pytest.mark.parametrize("max_shift", [0.5, 0.15])
def test_reweighted_is_unbiased(platform, make_context, max_shift):
    """Walkers of two particles in a harmonic well; with the smaller bound, the shift is clamped at most times."""
    a, n_walkers, n_steps = 0.1, 5000, 20
    k = stiffness(a)
    push = 0.4 * KT / SPREAD  # shifts the noise by 0.2 standard deviations
    bias = f"-{push}*x-{0.1 * k}*x^2+{0.1 * k}*y^2"
    system = system_of(2 * n_walkers, potential=f"{0.5 * k}*(x^2+y^2+z^2)", bias=bias)
    integrator = seeded(BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP, max_shift=max_shift))
    context = make_context(system, integrator, platform, np.zeros((2 * n_walkers, 3)))
    integrator.step(n_steps)
    weights = np.exp(log_weights(context, n_walkers))
    x, y = positions_of(context).reshape(n_walkers, 2, 3)[:, 0, :2].T
    variance = KT / k * (1 - (1 - a) ** (2 * n_steps)) / (1 - a / 2)
    assert_within(*(lambda mean, stderr: (mean, 1, stderr))(*mean_and_stderr(weights)))
    for observable, truth in ((x, 0), (x**2, variance), (y**2, variance), (x * y, 0)):
        estimate, stderr = mean_and_stderr(weights * observable)
        assert_within(estimate, truth, stderr)
    # negative controls: without weights, and with the weights of other paths
    for wrong in (np.ones(n_walkers), np.roll(weights, 1)):
        estimate, stderr = mean_and_stderr(wrong * x)
        with pytest.raises(AssertionError):
            assert_within(estimate, 0, stderr)
    estimate, stderr = mean_and_stderr(np.exp(2 * np.log(weights)))
    with pytest.raises(AssertionError):
        assert_within(estimate, 1, stderr)


def test_each_shift_is_the_clamped_bias(platform, make_context):
    shifts = np.array([0.3, -0.2, 0.1, 0.7, -0.7, 1e6])  # in standard deviations, before the bound
    expected = np.array([0.3, -0.2, 0.1, 0.5, -0.5, 0.5])
    system = system_of(6)
    bias = openmm.CustomExternalForce("-f*(x+y+z)")
    bias.addPerParticleParameter("f")
    bias.setForceGroup(3)
    for particle, shift in enumerate(shifts / 0.4):
        bias.addParticle(particle, [shift * 2 * KT / SPREAD])
    system.addForce(bias)
    integrator = seeded(
        BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP, bias_group=3, strength=0.4, max_shift=0.5)
    )
    context = make_context(system, integrator, platform, np.zeros((6, 3)))
    integrator.step(1)
    shifted_noise = positions_of(context) / SPREAD
    u = expected[:, None]
    log_weight = -u * (shifted_noise - u) - u**2 / 2
    np.testing.assert_allclose(velocities_of(context), log_weight, atol=1e-6)
    np.testing.assert_allclose(log_weights(context, 3), log_weight.reshape(3, -1).sum(axis=1), atol=4e-6)
    # negative control: the same relation does not hold for the shifts before the bound
    u = shifts[3:5, None]
    assert np.abs(velocities_of(context)[3:5] + u * (shifted_noise[3:5] - u / 2)).min() > 1e-3


def test_log_weight_is_exactly_zero_without_bias_force(platform, make_context):
    system = system_of(4, potential="50*x^2")
    bias = openmm.CustomExternalForce("-20*x")
    bias.setForceGroup(1)
    bias.addParticle(0, [])
    system.addForce(bias)
    integrator = seeded(BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system, integrator, platform, np.zeros((4, 3)))
    integrator.step(50)
    assert (log_weights(context, 4) == 0).tolist() == [False, True, True, True]
    assert (velocities_of(context)[0] == 0).tolist() == [False, True, True]
    assert context.getState(energy=True).getKineticEnergy()._value == 0
    integrator.setGlobalVariableByName("strength", 0)
    context.setVelocities(np.zeros((4, 3)))
    integrator.step(50)
    assert (velocities_of(context) == 0).all()


def test_a_mask_switches_the_bias_of_single_particles(platform, make_context):
    system = system_of(4, potential="50*x^2", bias="-20*x")
    mask = openmm.CustomExternalForce("-on*(x+y+z)")
    mask.addPerParticleParameter("on")
    mask.setForceGroup(4)
    for particle, on in enumerate((1.0, 0.0, 1.0, 0.0)):
        mask.addParticle(particle, [on])
    system.addForce(mask)
    integrator = seeded(BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP, mask_group=4))
    context = make_context(system, integrator, platform, np.zeros((4, 3)))
    integrator.step(50)
    assert (log_weights(context, 4) == 0).tolist() == [False, True, False, True]
    assert (positions_of(context) != 0).all()


def test_log_weights_refuses_wrong_numbers_and_nan(platform, make_context):
    system = system_of(6)
    bias = openmm.PythonForce(Recorder("f1", [], np.nan))
    bias.setForceGroup(1)
    system.addForce(bias)
    integrator = seeded(BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system, integrator, platform, np.zeros((6, 3)))
    for n_walkers in (4, 0, 7):
        with pytest.raises(ValueError, match=f"n_walkers = {n_walkers} does not divide the Context's 6 particles"):
            log_weights(context, n_walkers)
    if platform == "OpenCL":
        return  # it sums forces as integers, where NaN is lost
    integrator.step(1)
    with pytest.raises(ValueError, match=r"walkers \[0, 1, 2\] \(3 in all\) is not finite.*check the bias force"):
        log_weights(context, 3)


# ------------------------------------------------------------------------------------------------ mechanics of a step


@BOTH
@pytest.mark.parametrize("num_dimensions", [1, 2])
def test_other_coordinates_never_move(platform, make_context, kind, num_dimensions):
    n = 100
    system = system_of(n, potential="50*(x^2+y^2+z^2)", bias="-20*(x+y+z)")
    integrator = seeded(kind(TEMPERATURE, FRICTION, TIMESTEP, num_dimensions))
    start = np.random.default_rng(3).normal(size=(n, 3))
    context = make_context(system, integrator, platform, start)
    before = positions_of(context)
    integrator.step(50)
    after = positions_of(context)
    assert np.array_equal(after[:, num_dimensions:], before[:, num_dimensions:])
    assert (velocities_of(context)[:, num_dimensions:] == 0).all()
    assert (after[:, :num_dimensions] != before[:, :num_dimensions]).all()


def test_each_force_is_evaluated_once_per_step_before_moving(platform, make_context):
    calls = []
    system = system_of(2)
    for group in (0, 1):
        force = openmm.PythonForce(Recorder(f"f{group}", calls, 3.0))
        force.setForceGroup(group)
        system.addForce(force)
    integrator = seeded(BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system, integrator, platform, np.zeros((2, 3)))
    calls.clear()
    for _ in range(3):
        frame = positions_of(context)
        integrator.step(1)
        assert sorted(name for name, _ in calls) == ["f0", "f1"]
        assert all(np.array_equal(seen, frame) for _, seen in calls)
        assert (positions_of(context) != frame).all()
        calls.clear()
    integrator.step(4)
    assert sorted(name for name, _ in calls) == ["f0"] * 4 + ["f1"] * 4


def test_unbiased_dynamics_sees_group_zero_only(platform, make_context):
    calls = []
    system = system_of(2)
    for group in (0, 1):
        force = openmm.PythonForce(Recorder(f"f{group}", calls, 3.0))
        force.setForceGroup(group)
        system.addForce(force)
    integrator = seeded(OverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP))
    context = make_context(system, integrator, platform, np.zeros((2, 3)))
    calls.clear()
    integrator.step(3)
    assert [name for name, _ in calls] == ["f0"] * 3
    assert (velocities_of(context) == 0).all()


@BOTH
def test_same_seed_same_path(platform, make_context, kind):
    def end(seed):
        integrator = seeded(kind(TEMPERATURE, FRICTION, TIMESTEP), seed)
        context = make_context(system_of(20, potential="50*x^2", bias="-5*x"), integrator, platform, np.zeros((20, 3)))
        integrator.step(10)
        return positions_of(context)

    first = end(11)
    assert np.array_equal(end(11), first)
    assert (end(12) != first).all()


@BOTH
def test_integrator_restored_from_xml_is_the_same_dynamics(platform, make_context, kind):
    def end(integrator):
        context = make_context(system_of(5, potential="50*x^2", bias="-5*x"), integrator, platform, np.zeros((5, 3)))
        integrator.step(10)
        return positions_of(context), velocities_of(context)

    original = seeded(kind(TEMPERATURE, FRICTION, TIMESTEP, num_dimensions=2))
    text = openmm.XmlSerializer.serialize(original)
    restored = openmm.XmlSerializer.deserialize(text)
    assert openmm.XmlSerializer.serialize(restored) == text
    assert not vars(original).keys() - {"this", "thisown"}
    np.testing.assert_array_equal(end(restored), end(original))


# ------------------------------------------------------------------------------------------------- units and refusals


@BOTH
def test_quantities_and_floats_mean_the_same(kind):
    quantities = (300 * unit.kelvin, 0.002 / unit.femtosecond, 10 * unit.femtosecond)
    with_units, without = kind(*quantities), kind(300, 2, 0.01)
    assert with_units.getStepSize()._value == pytest.approx(0.01)
    for i in range(without.getNumGlobalVariables()):
        assert with_units.getGlobalVariableName(i) == without.getGlobalVariableName(i)
        assert with_units.getGlobalVariable(i) == pytest.approx(without.getGlobalVariable(i), rel=1e-12)
    assert without.getGlobalVariableByName("kT") == pytest.approx(KT)


@BOTH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0),
        ("temperature", 300 * unit.picosecond),
        ("temperature", "300 K"),
        ("friction", -1),
        ("friction", 1 * unit.picosecond),
        ("timestep", np.nan),
        ("timestep", np.inf * unit.femtosecond),
        ("num_dimensions", 0),
        ("num_dimensions", 4),
        ("num_dimensions", 1.5),
    ],
)
def test_bad_arguments_are_named(kind, name, value):
    arguments = {"temperature": 300, "friction": 1, "timestep": 0.002} | {name: value}
    with pytest.raises(ValueError, match=f"{name} = "):
        kind(**arguments)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bias_group", 0),
        ("bias_group", 32),
        ("strength", -0.1),
        ("strength", np.inf),
        ("max_shift", 0),
        ("max_shift", np.nan),
        ("mask_group", 1),
        ("mask_group", 0),
    ],
)
def test_bad_bias_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} = "):
        BiasedOverdampedLangevinIntegrator(300, 1, 0.002, **{name: value})


def test_check_system_refuses_what_would_be_ignored():
    good = system_of(2, potential="x^2", bias="x")
    check_system(good, bias_group=1)
    with pytest.raises(ValueError, match=r"force 1 \(CustomExternalForce\) is in force group 1"):
        check_system(good)
    constrained = system_of(2)
    constrained.addConstraint(0, 1, 0.1)
    check_system(constrained)
    with pytest.raises(ValueError, match="1 constraints.*num_dimensions = 2; set it to 3"):
        check_system(constrained, num_dimensions=2)
    for force in (openmm.CMMotionRemover(), openmm.AndersenThermostat(300, 1), openmm.MonteCarloBarostat(1, 300)):
        system = system_of(2)
        system.addForce(force)
        with pytest.raises(ValueError, match=rf"force 0 \({force.getName()}\).*remove"):
            check_system(system)


def test_assert_within_needs_a_meaningful_standard_error():
    assert_within([1.0, 2.0], [1.4, 2.0], 0.1)
    useless = [(1, 1, 0), (1, 1, np.nan), (1, 1, -1), (np.nan, 1, 1), (1, np.inf, 1)]
    for estimate, truth, stderr in [*useless, ([1, 2], [1, 3], 0.1)]:
        with pytest.raises(AssertionError):
            assert_within(estimate, truth, stderr)

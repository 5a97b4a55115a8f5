"""The native integrator: the same distribution as the readable one, exact weights, states that agree with Python's."""

import gc
import re
from dataclasses import fields

import numpy as np
import openmm
import pytest

from openmm_rare.dynamics import native
from openmm_rare.dynamics.native_integrator import IDLE, BiasedOverdampedLangevinIntegrator
from openmm_rare.dynamics.native_states import has_native_states
from openmm_rare.states.states import (
    IN_B,
    Angle,
    Channels,
    CollectiveVariables,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Disc,
    Distance,
    FunctionRegion,
    LabelRule,
    LinearCombination,
    Range,
    States,
)
from openmm_rare.units import KB
from stats import assert_within, mean_and_stderr

pytestmark = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))

TEMPERATURE, FRICTION, TIMESTEP, MASS = 300.0, 2.0, 0.01, 5.0
KT = KB * TEMPERATURE
MOBILITY = TIMESTEP / (FRICTION * MASS)
SPREAD = np.sqrt(2 * KT * MOBILITY)
N = 4000


def system_of(n_particles, masses=MASS, potential=None, bias=None):
    """Independent particles, each in a potential of x, y, z (group 0) with a bias (group 1)."""
    system = openmm.System()
    for mass in np.broadcast_to(masses, n_particles):
        system.addParticle(mass)
    for group, energy in enumerate((potential, bias)):
        if energy is not None:
            force = openmm.CustomExternalForce(energy)
            force.setForceGroup(group)
            for particle in range(n_particles):
                force.addParticle(particle, [])
            system.addForce(force)
    return system


def integrator_of(n_walkers, **options):
    return BiasedOverdampedLangevinIntegrator(TEMPERATURE, FRICTION, TIMESTEP, n_walkers=n_walkers, **{"seed": 5, **options})


def positions_of(context, n_walkers):
    return context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(n_walkers, -1, 3).copy()


def test_drift_noise_and_weight_of_one_step(precise_platform, make_context):
    masses = np.array([5.0, 0.0, 20.0])
    shift = np.array([0.3, -0.2, 0.4])
    wanted = shift / 0.7 * np.sqrt(2 * KT * FRICTION * MASS / TIMESTEP)  # force whose shift of the first particle this is
    bias = "-({}*x+{}*y+{}*z)".format(*wanted)
    system = system_of(3 * N, np.tile(masses, N), "-30*x+20*y-10*z", bias)
    integrator = integrator_of(N, num_dimensions=2, bias_group=1, strength=0.7)
    context = make_context(system, integrator, precise_platform, np.zeros((3 * N, 3)))
    integrator.step(1)
    moved = positions_of(context, N)
    assert (moved[:, 1] == 0.0).all() and (moved[:, :, 2] == 0.0).all()
    drift = np.array([30.0, -20.0]) * TIMESTEP / FRICTION / masses[[0, 2], None]
    spread = np.sqrt(2 * KT * TIMESTEP / FRICTION / masses[[0, 2]])[:, None]
    shifts = np.clip(shift[:2] * np.sqrt(MASS / masses[[0, 2]])[:, None], -0.5, 0.5)
    xi = (moved[:, [0, 2], :2] - drift) / spread - shifts
    assert_within(*(lambda m, e: (m, 0.0, e))(*mean_and_stderr(xi)))
    assert_within(*(lambda m, e: (m, 1.0, e))(*mean_and_stderr(xi**2)))
    np.testing.assert_allclose(integrator.log_weights(), -(shifts * xi + 0.5 * shifts**2).sum((1, 2)), atol=1e-4)
    with pytest.raises(AssertionError):  # negative control: the noise without its shift
        assert_within(*(lambda m, e: (m, 0.0, e))(*mean_and_stderr(xi + shifts)))


def test_variance_of_the_discrete_chain(native_platform, make_context):
    a = 0.3  # fraction of the displacement that a step takes back
    stiffness = a / MOBILITY
    integrator = integrator_of(N)
    context = make_context(
        system_of(N, potential=f"{stiffness / 2}*(x*x+y*y+z*z)"), integrator, native_platform, np.zeros((N, 3))
    )
    integrator.step(100)
    mean, error = mean_and_stderr((positions_of(context, N) ** 2).reshape(-1))
    assert_within(mean, SPREAD**2 / (1 - (1 - a) ** 2), error)
    with pytest.raises(AssertionError):  # negative control: the variance without the error of the time step
        assert_within(mean, KT / stiffness, error)


@pytest.mark.parametrize("bias_interval", [1, 7])
def test_weights_are_exact(precise_platform, make_context, bias_interval):
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    states = States(variables, Range({"x": (-9.0, -0.6)}), Range({"x": (0.6, 9.0)}))

    def run(bias_group):
        system = system_of(N, potential="4*(x*x-1)^2", bias="-6*x-3*x*x")
        integrator = integrator_of(N, states=states, bias_group=bias_group, bias_interval=bias_interval)
        if bias_group is None:
            integrator.setIntegrationForceGroups({0})
        _context = make_context(system, integrator, precise_platform, np.zeros((N, 3)))
        integrator.step(60)
        return np.exp(integrator.log_weights()), integrator.states()

    (weight, state), (one, plain) = run(1), run(None)
    assert (one == 1.0).all()
    mean, error = mean_and_stderr(weight)
    assert_within(mean, 1.0, error)
    p, e = mean_and_stderr(weight * (state == IN_B))
    q, f = mean_and_stderr(plain == IN_B)
    assert_within(p, q, np.hypot(e, f))
    raw, g = mean_and_stderr(state == IN_B)
    with pytest.raises(AssertionError):  # negative control: the bias without its weights
        assert_within(raw, q, np.hypot(f, g))


VARIABLES = [
    Coordinate("z", 1, 2),
    Distance("r", (0, 2)),
    Angle("angle", (0, 1, 2)),
    Dihedral("dihedral", (0, 1, 2, 3)),
    CoordinationMoment("mu1", 1, 0.3),
    CoordinationMoment("mu2", 2, 0.3),
    CoordinationMoment("mu3", 3, 0.25),
    LinearCombination("sum", np.linspace(-1.0, 1.0, 12).reshape(4, 3)),
]
REGIONS = [
    Range({"z": (-0.1, float("inf"))}),
    Range({"r": (0.2, 0.4)}),
    Range({"angle": (0.5, 2.0)}),
    Range({"dihedral": (2.5, -2.0)}),  # upwards through the end of the period
    Disc({"dihedral": 3.0}, 0.6),
    Disc({"mu2": 0.2, "mu3": 0.0}, 0.15),
    Range({"mu1": (1.0, 2.0), "sum": (-0.1, 0.5)}),
]


@pytest.mark.parametrize("region", REGIONS, ids=lambda region: "-".join(getattr(region, "center", None) or region.bounds))
def test_states_agree_with_python(region, precise_platform, make_context):
    n = 500
    states = States(CollectiveVariables(VARIABLES), Disc({"sum": 50.0}, 1.0), region)
    assert has_native_states(states)
    start = np.random.default_rng(1).normal(scale=0.15, size=(n, 4, 3))
    integrator = integrator_of(n, states=states)
    context = make_context(system_of(4 * n, 400.0), integrator, precise_platform, start.reshape(-1, 3))
    running, arrived = np.ones(n, dtype=bool), np.zeros(n, dtype=int)
    for step in range(1, 6):
        before = positions_of(context, n)
        integrator.step(1)
        after = positions_of(context, n)
        assert np.array_equal(after[~running], before[~running])  # whoever has arrived is held
        assert (after[running] != before[running]).all()
        arrived[running] = step
        running &= states.classify(after) == 0
        assert np.array_equal(integrator.states() == 0, running)
    assert np.array_equal(integrator.steps(), arrived)
    assert 20 < running.sum() < n - 20  # otherwise the test would say little


def test_labels_follow_the_rules_of_python(precise_platform, make_context):
    n, variables = 500, CollectiveVariables(VARIABLES)
    rules = [
        LabelRule(Range({"z": (0.1, float("inf"))}), to="high", after="start"),
        LabelRule(Range({"angle": (0.0, 1.0)}), to="bent"),
        LabelRule(Disc({"mu2": 0.2, "mu3": 0.0}, 0.15), to="start", after="bent"),
    ]
    channels = Channels(("start", "high", "bent"), rules)
    states = States(variables, Disc({"sum": -50.0}, 1.0), Range({"sum": (0.5, 90.0)}), channels)
    integrator = integrator_of(n, states=states)
    context = make_context(
        system_of(4 * n, 400.0), integrator, precise_platform, np.random.default_rng(2).normal(scale=0.15, size=(4 * n, 3))
    )
    expected = np.arange(n) % 3
    integrator.set_labels(expected)
    for _ in range(5):
        running = integrator.states() == 0
        integrator.step(1)
        frames = positions_of(context, n)[running]
        _, expected[running] = states.observe(frames, expected[running])
        assert np.array_equal(integrator.labels(), expected)
    assert 20 < (integrator.states() == IN_B).sum() < n - 20 and (np.bincount(expected, minlength=3) > 20).all()
    assert (expected != np.arange(n) % 3).sum() > 100  # negative control: labels that nobody changes would not do


def test_a_force_may_hold_walkers_in_the_course_of_a_step(native_platform, make_context):
    n, system = 10, system_of(10)
    integrator = integrator_of(n)

    def look(state):
        x = state.getPositions(asNumpy=True)._value
        integrator.hold(np.flatnonzero(x[:, 0] > 0.0))
        return 0.0, np.zeros_like(x)

    system.addForce(openmm.PythonForce(look))
    start = np.zeros((n, 3))
    start[:3, 0] = 1.0
    context = make_context(system, integrator, native_platform, start)
    integrator.step(1)
    after = positions_of(context, n)[:, 0]
    assert np.array_equal(after[:3], start[:3]) and (after[3:] != start[3:]).all()
    assert (integrator.states()[:3] == IDLE).all() and (integrator.states()[3:] == 0).all()
    integrator.set_states(np.zeros(n))
    assert (integrator.states() == 0).all()


def test_resampled_walkers_go_on_from_their_parents(native_platform, make_context):
    n = 6
    integrator = integrator_of(n, bias_group=1)
    context = make_context(system_of(2 * n, bias="-20*x"), integrator, native_platform, np.zeros((2 * n, 3)))
    integrator.set_states(np.array([0, 0, 0, IDLE, 0, 0]))
    integrator.step(3)
    positions, weights, parents = positions_of(context, n), integrator.log_weights(), np.array([5, 1, 1, 3, 0, 0])
    integrator.resample(parents)
    assert np.array_equal(positions_of(context, n), positions[parents])
    assert np.array_equal(integrator.log_weights(), weights[parents])
    assert np.array_equal(integrator.states(), [0, 0, 0, IDLE, 0, 0]) and np.array_equal(integrator.steps(), [3, 3, 3, 0, 3, 3])
    integrator.step(1)
    moved = positions_of(context, n)
    assert (moved[1] != moved[2]).all()  # clones do not share their noise


def box_of(n_particles):
    """Particles that do not feel each other, in a box that GPUs put them back into."""
    system = system_of(n_particles, potential="-40*x")
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.4)
    for _ in range(n_particles):
        force.addParticle(0.0, 0.3, 0.0)
    system.addForce(force)
    return system


def test_resampled_walkers_take_the_periods_that_they_have_moved_with_them(native_platform, make_context):
    n = 40
    start = np.random.default_rng(6).uniform(-9.0, 9.0, size=(2 * n, 3))
    integrator = integrator_of(n)
    context = make_context(box_of(2 * n), integrator, native_platform, start)
    integrator.step(300)
    positions, parents = positions_of(context, n), np.random.default_rng(7).integers(n, size=n)
    assert np.ptp(positions) > 10.0  # the box is 2 nm wide
    integrator.resample(parents)
    np.testing.assert_allclose(positions_of(context, n), positions[parents], rtol=0.0, atol=1e-5)


def test_regions_in_a_periodic_system_are_refused_where_they_would_be_wrong(native_platform, make_context):
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-9.0, -8.0)}), Range({"x": (8.0, 9.0)}))
    arguments = box_of(2), integrator_of(2, states=states), native_platform, np.zeros((2, 3))
    if native_platform in ("Reference", "CPU"):
        make_context(*arguments)
    else:
        with pytest.raises(openmm.OpenMMException, match="give each the box of the system, or use Reference or CPU"):
            make_context(*arguments)


@pytest.mark.parametrize(
    "box", [[1.0, 1.1, 1.2], [[1.0, 0.0, 0.0], [0.4, 1.1, 0.0], [-0.3, 0.5, 1.2]]], ids=["rectangular", "triclinic"]
)
def test_states_of_nearest_images_agree_with_python(box, precise_platform, make_context):
    n, vectors = 500, np.diag(box) if np.ndim(box) == 1 else np.array(box)
    system = box_of(4 * n)
    system.setDefaultPeriodicBoxVectors(*vectors)
    variables = [
        Distance("r", (0, 2), box=box),
        Angle("angle", (0, 1, 2), box=box),
        Dihedral("dihedral", (0, 1, 2, 3), box=box),
        CoordinationMoment("mu1", 1, 0.3, box=box),
        CoordinationMoment("mu2", 2, 0.3, box=box),
        CoordinationMoment("other", 2, 0.4, box=box),
    ]
    region = {
        "r": (0.0, 0.45),
        "angle": (0.5, 2.6),
        "dihedral": (1.5, -0.5),
        "mu1": (0.2, 1.5),
        "mu2": (0.0, 0.3),
        "other": (0.0, 2.0),
    }
    states = States(CollectiveVariables(variables), Disc({"mu1": 50.0}, 1.0), Range(region))
    start = np.random.default_rng(1).uniform(-3.0, 3.0, size=(n, 4, 3))
    integrator = integrator_of(n, states=states)
    context = make_context(system, integrator, precise_platform, start.reshape(-1, 3))
    for _ in range(3):
        running = integrator.states() == 0
        integrator.step(1)
        found = integrator.states()
        assert np.array_equal(states.classify(positions_of(context, n))[running], found[running])
    assert 20 < (found == IN_B).sum() < n - 20
    unboxed = [type(each)(*(getattr(each, f.name) for f in fields(each) if f.init and f.name != "box")) for each in variables]
    wrong = States(CollectiveVariables(unboxed), states.a, states.b)  # negative control
    assert (wrong.classify(positions_of(context, n)) != found).sum() > 20


def test_a_checkpoint_holds_everything(native_platform, make_context):
    integrator = integrator_of(20, bias_group=1)
    context = make_context(system_of(20, bias="-20*x"), integrator, native_platform, np.zeros((20, 3)))
    integrator.step(5)
    saved = context.createCheckpoint()
    integrator.step(5)
    expected = positions_of(context, 20), integrator.log_weights(), integrator.steps()
    integrator.step(2)
    context.loadCheckpoint(saved)
    integrator.step(5)
    for now, then in zip((positions_of(context, 20), integrator.log_weights(), integrator.steps()), expected, strict=True):
        assert np.array_equal(now, then)


def test_xml_round_trip():
    states = States(CollectiveVariables(VARIABLES), Disc({"sum": 50.0}, 1.0), REGIONS[0])
    text = openmm.XmlSerializer.serialize(integrator_of(7, states=states, bias_group=3, strength=0.7, num_dimensions=2))
    assert openmm.XmlSerializer.serialize(openmm.XmlSerializer.deserialize(text)) == text
    for expected in ('numWalkers="7"', 'biasForceGroups="8"', 'biasStrength=".7"', '<Disc radius="1">'):
        assert expected in text


def test_wrong_arguments(make_context):
    for options, message in (
        ({"num_dimensions": 4}, "1, 2 or 3"),
        ({"bias_interval": 0}, "at least 1 step"),
        ({"check_interval": 0}, "at least 1 step"),
        ({"max_shift": 0.0}, "must be positive"),
        ({"n_walkers": 0}, "at least one walker"),
    ):
        with pytest.raises(openmm.OpenMMException, match=message):
            integrator_of(**{"n_walkers": 2, **options})
    with pytest.raises(openmm.OpenMMException, match="the temperature must be positive"):
        BiasedOverdampedLangevinIntegrator(-1.0, FRICTION, TIMESTEP)
    with pytest.raises(ValueError, match="friction"):
        BiasedOverdampedLangevinIntegrator(TEMPERATURE, 1.0 * openmm.unit.picosecond, TIMESTEP)
    with pytest.raises(openmm.OpenMMException, match="3 walkers do not divide the 4 particles"):
        make_context(system_of(4), integrator_of(3), "Reference", np.zeros((4, 3)))
    far = States(CollectiveVariables([Coordinate("x", 2, 0)]), Range({"x": (-2.0, -1.0)}), Range({"x": (1.0, 2.0)}))
    with pytest.raises(openmm.OpenMMException, match="refers to particle 2; a walker has 2"):
        make_context(system_of(4), integrator_of(2, states=far), "Reference", np.zeros((4, 3)))
    with pytest.raises(openmm.OpenMMException, match="not bound to a context"):
        integrator_of(2).log_weights()
    integrator = integrator_of(2)
    _context = make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
    system = system_of(2)
    system.setParticleMass(1, -1.0)
    with pytest.raises(openmm.OpenMMException, match="the mass of particle 1 is negative"):
        make_context(system, integrator_of(2), "Reference", np.zeros((2, 3)))
    integrator.setStepSize(float("nan"))
    with pytest.raises(openmm.OpenMMException, match="the step size is not finite"):
        integrator.step(1)


@pytest.mark.parametrize(
    "options, complaint",
    [
        ({"n_walkers": 2.5}, "n_walkers = 2.5 must be a whole number"),
        ({"n_walkers": "2"}, "n_walkers = '2' must be a whole number"),
        ({"n_walkers": -1}, "at least one walker"),
        ({"seed": 2**31}, "seed = 2147483648 must be between"),
        ({"num_dimensions": None}, "num_dimensions = None must be a whole number"),
        ({"bias_group": 32}, "bias_group = 32 must be a force group"),
        ({"bias_group": -1}, "bias_group = -1 must be a force group"),
        ({"strength": float("nan")}, "the strength of the bias must be finite"),
        ({"max_shift": float("nan")}, "the largest shift must be positive"),
    ],
)
def test_numbers_out_of_range_are_refused(options, complaint):
    with pytest.raises((ValueError, openmm.OpenMMException), match=complaint):
        integrator_of(**{"n_walkers": 2, **options})


@pytest.mark.parametrize("group", [0, 31])
def test_every_force_group_may_be_the_bias(group):
    (bits,) = re.findall('biasForceGroups="([^"]*)"', openmm.XmlSerializer.serialize(integrator_of(2, bias_group=group)))
    assert int(bits) % 2**32 == 1 << group


@pytest.mark.parametrize(
    "method, values, complaint",
    [
        ("set_log_weights", np.zeros(3), "2 numbers are needed, one for each walker, not 3"),
        ("set_log_weights", [], "2 numbers are needed"),
        ("set_log_weights", [0.0, np.nan], "a log weight is nan, which is not finite"),
        ("set_log_weights", [-np.inf, 0.0], "a log weight is -inf, which is not finite"),
        ("set_log_weights", np.zeros((2, 1)), r"one list of numbers, not an array of float64 of shape \(2, 1\)"),
        ("set_log_weights", 0.0, "one list of numbers"),
        ("set_log_weights", None, "one list of numbers"),
        ("set_log_weights", np.zeros(2, dtype=complex), "not an array of complex128"),
        ("set_log_weights", ["a", "b"], "one list of numbers"),
        ("set_states", [0, 1], "1 is no state"),  # no region absorbs
        ("set_states", [0, -2], "-2 is no state"),
        ("set_states", [0.0, np.nan], "whole numbers of 32 bits, not nan"),
        ("set_states", [2**40, 0], "whole numbers of 32 bits, not 1099511627776"),
        ("set_labels", [0, -1], "-1 is no label"),
        ("set_labels", [0], "2 numbers are needed"),
        ("resample", [0, 2], "there is no walker 2"),
        ("resample", [-1, 0], "there is no walker -1"),
        ("resample", [0.5, 1.0], "whole numbers of 32 bits, not 0.5"),
        ("resample", [1], "2 numbers are needed"),
        ("hold", [2], "there is no walker 2"),
        ("hold", [-1], "there is no walker -1"),
        ("hold", [True, False], "not an array of bool"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(method, values, complaint, make_context):
    integrator = integrator_of(2)
    _context = make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
    with pytest.raises((ValueError, openmm.OpenMMException), match=complaint):
        getattr(integrator, method)(values)
    assert (integrator.states() == 0).all() and (integrator.log_weights() == 0.0).all()


def test_arrays_need_not_be_contiguous(make_context):
    integrator = integrator_of(2)
    _context = make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
    integrator.set_log_weights(np.arange(4.0)[::-2])
    integrator.set_labels(np.arange(4, dtype=np.int8)[::-2])
    integrator.hold([])
    assert integrator.log_weights().tolist() == [3.0, 1.0] and integrator.labels().tolist() == [3, 1]


CALLS = [
    ("step", 1),
    ("set_states", [0, 0]),
    ("set_log_weights", [0, 0]),
    ("set_labels", [0, 0]),
    ("resample", [0, 0]),
    ("hold", [0]),
    ("states",),
    ("log_weights",),
    ("labels",),
    ("steps",),
]


@pytest.mark.parametrize("moment", ["before a Context", "after the Context", "after a failed Context"])
def test_without_a_context_every_method_refuses(moment, make_context):
    integrator = integrator_of(2)
    if moment == "after the Context":
        context = make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
        integrator.step(1)
        del context
    elif moment == "after a failed Context":
        with pytest.raises(openmm.OpenMMException, match="do not divide"):
            make_context(system_of(5), integrator, "Reference", np.zeros((5, 3)))
    gc.collect()
    for name, *arguments in CALLS:
        with pytest.raises(openmm.OpenMMException, match="not bound to a context"):
            getattr(integrator, name)(*arguments)


def test_a_second_context_is_refused_and_does_no_harm(make_context):
    integrator = integrator_of(2)
    _context = make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
    with pytest.raises(openmm.OpenMMException, match="already bound to a context"):
        make_context(system_of(4), integrator, "Reference", np.zeros((4, 3)))
    gc.collect()
    integrator.step(2)
    assert (integrator.steps() == 2).all()


@pytest.mark.parametrize(
    "pattern, replacement, complaint",
    [
        ('numWalkers="2"', 'numWalkers="x"', "at least one walker"),
        ('temperature="300"', "", "Unknown property 'temperature'"),
        ('temperature="300"', 'temperature="warm"', "the temperature must be positive"),
        ('stepSize="[^"]*"', 'stepSize="nan"', "the step size must be positive"),
        ('biasStrength="1"', 'biasStrength="nan"', "the strength of the bias must be finite"),
        ('version="1"', 'version="2"', "Unsupported version number"),
        ('kind="0"', 'kind="9"', "this kind of variable does not exist"),
        ('kind="0"', 'kind="-1"', "this kind of variable does not exist"),
        ('kind="0"', "", "Unknown property 'kind'"),
        ('kind="0"', 'kind="1"', "refers to particle 2; a walker has 2"),
        ('<Index i="0"/>', "", "a coordinate needs a particle and an axis"),
        ('<Index i="0"/>', '<Index i="-1"/>', "refers to particle -1"),
        ('<Index i="2"/>', '<Index i="3"/>', "a coordinate needs a particle and an axis"),
        ('period="0"', 'period="-1"', "the period of a variable must be positive"),
        ('period="0"', 'period="nan"', "the period of a variable must be positive"),
        ('<Range[^>]*variable="0"/>', "", "a region needs at least one range or disc"),
        ('lower="-2"', 'lower="nan"', "the bounds of a range must be numbers"),
        ('(<Range[^>]*)variable="0"', r'\1variable="1"', "a range refers to a variable that does not exist"),
        ('radius="1"', 'radius="-1"', "a disc needs a positive radius"),
        ('value="5"', 'value="nan"', "the center of a disc must be finite"),
        ('(<Center[^>]*)variable="0"', r'\1variable="-1"', "a disc refers to a variable that does not exist"),
        ("<Center[^>]*>", "", "a disc needs a center"),
    ],
)
def test_xml_that_does_not_fit_is_refused(pattern, replacement, complaint, make_context):
    states = States(CollectiveVariables([Coordinate("x", 0, 2)]), Range({"x": (-2.0, -1.0)}), Disc({"x": 5.0}, 1.0))
    text = openmm.XmlSerializer.serialize(integrator_of(2, states=states))
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    with pytest.raises(openmm.OpenMMException, match=complaint):
        make_context(system_of(4), openmm.XmlSerializer.deserialize(changed), "Reference", np.zeros((4, 3)))


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_checkpoints_that_do_not_fit_are_refused(platform, make_context):
    contexts = [
        make_context(system_of(4), integrator_of(n), platform, np.zeros((4, 3)))
        for n in (2, 4)  # walkers
    ]
    saved = contexts[0].createCheckpoint()
    for context, checkpoint in ((contexts[1], saved), (contexts[0], saved[:-1]), (contexts[0], saved[:-100])):
        with pytest.raises(openmm.OpenMMException, match="the checkpoint is cut off"):
            context.loadCheckpoint(checkpoint)
    contexts[0].loadCheckpoint(saved)
    contexts[0].getIntegrator().step(1)


def damaged_at(saved, place):
    """A checkpoint with a bit of one byte turned."""
    return saved[:place] + bytes([saved[place] ^ (1 << place % 8)]) + saved[place + 1 :]


def test_a_damaged_checkpoint_leaves_the_walkers_as_they_are(native_platform, make_context):
    integrator = integrator_of(3)
    context = make_context(system_of(6), integrator, native_platform, np.full((6, 3), 0.25))
    integrator.step(2)
    integrator.set_log_weights(np.arange(3.0))
    saved = context.createCheckpoint()
    own = 2 * 4 + 3 * (2 * 8 + 3 * 4) + 8  # at the end, of the integrator: numbers of walkers and regions, walkers, checksum
    for place in range(len(saved) - own, len(saved)):
        with pytest.raises(openmm.OpenMMException, match="loadCheckpoint: the checkpoint is .*damaged"):
            context.loadCheckpoint(damaged_at(saved, place))
        assert np.array_equal(integrator.log_weights(), np.arange(3.0))
    context.loadCheckpoint(saved)
    integrator.step(1)


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_damaged_positions_of_a_checkpoint_are_refused(platform, make_context):
    context = make_context(system_of(4), integrator_of(2), platform, np.full((4, 3), 0.25))
    context.getIntegrator().step(2)
    saved = context.createCheckpoint()
    place = saved.index(positions_of(context, 2)[1, 1].tobytes())
    with pytest.raises(openmm.OpenMMException, match="the checkpoint is damaged"):
        context.loadCheckpoint(damaged_at(saved, place + 3))


def checksum_of(content):
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in content:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return value


@pytest.mark.parametrize(
    ("place", "wrong", "complaint"),
    [
        (40, 7, "a state that there is not"),
        (48, -1, "negative steps or labels"),
        (56, -1, "negative steps or labels"),
        (-8, 129, "a place beyond the random numbers"),
        (-8, 1 << 40, "a place beyond the random numbers"),
    ],
)
def test_nothing_out_of_bounds_comes_out_of_a_checkpoint_with_a_right_checksum(place, wrong, complaint, make_context):
    context = make_context(system_of(4), integrator_of(2), "Reference", np.zeros((4, 3)))
    saved, n_own = context.createCheckpoint(), 2 * 4 + 2 * (2 * 8 + 3 * 4) + (4 * 8 + 128 + 1) * 8  # states from byte 40 on
    places = positions_of(context, 2).tobytes() + context.getState().getPeriodicBoxVectors(asNumpy=True)._value.tobytes()
    own, checksum = bytearray(saved[-n_own - 8 : -8]), int.from_bytes(saved[-8:], "little")
    assert checksum_of(bytes(own) + places) == checksum
    at, width = (len(own) - 8, 8) if place == -8 else (place, 4)
    own[at : at + width] = wrong.to_bytes(width, "little", signed=True)
    forged = saved[: -n_own - 8] + bytes(own) + checksum_of(bytes(own) + places).to_bytes(8, "little")
    with pytest.raises(openmm.OpenMMException, match=complaint):
        context.loadCheckpoint(forged)


@pytest.mark.parametrize(
    "x, complaint",
    [
        (-1.0, "the bias force on walker 1 is not finite"),
        # the second is the CPU platform's, the third a GPU's
        (np.nan, "the positions of walker 1 are not finite: use|Particle coordinate is NaN|walker 1 is not finite: if its pos"),
    ],
)
def test_a_bias_that_is_not_finite_is_refused(x, complaint, native_platform, make_context):
    integrator = integrator_of(2, bias_group=1)
    start = np.array([[1.0, 0.0, 0.0], [x, 0.0, 0.0]])
    _context = make_context(system_of(2, bias="sqrt(x)"), integrator, native_platform, start)
    with pytest.raises(openmm.OpenMMException, match=complaint):
        integrator.step(1)
        integrator.log_weights()  # GPUs do not wait for each step


def test_steps_end_when_no_walker_moves(native_platform, make_context):
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-9.0, -8.0)}), Range({"x": (-7.0, 9.0)}))
    integrator = integrator_of(5, states=states, check_interval=4)
    context = make_context(system_of(5), integrator, native_platform, np.zeros((5, 3)))
    integrator.step(1000)
    assert (integrator.steps() == 4).all() and (integrator.states() == IN_B).all()
    assert context.getStepCount() < 40
    integrator.set_states(np.zeros(5))
    integrator.step(3)
    assert (integrator.steps() == 3).all() and (integrator.states() == 0).all()


def test_particles_that_openmm_moves_about_stay_in_their_walkers(native_platform, make_context):
    """GPUs sort particles by place if there is a cutoff; what a walker does must not depend on that."""
    n = 64
    start = np.random.default_rng(4).uniform(-4.0, 4.0, size=(2 * n, 3))
    states = States(CollectiveVariables([Distance("r", (0, 1))]), Range({"r": (0.0, 1.5)}), Range({"r": (8.0, 99.0)}))

    def run(method, integrator):
        system = system_of(2 * n, potential="x*x+y*y", bias="-20*x")
        force = openmm.NonbondedForce()
        force.setNonbondedMethod(method)
        for _ in range(2 * n):
            force.addParticle(0.0, 0.3, 0.0)
        system.addForce(force)
        context = make_context(system, integrator, native_platform, start)
        integrator.step(300)
        if isinstance(integrator, openmm.BrownianIntegrator):
            return [positions_of(context, n)]
        now = [positions_of(context, n), integrator.log_weights(), integrator.states(), integrator.steps()]
        integrator.resample(np.arange(n)[::-1])
        assert np.array_equal(positions_of(context, n), now[0][::-1])
        integrator.step(1)
        return [*now, positions_of(context, n), integrator.log_weights()]

    methods = (openmm.NonbondedForce.NoCutoff, openmm.NonbondedForce.CutoffNonPeriodic)
    one, other = (run(method, integrator_of(n, states=states, bias_group=1)) for method in methods)
    for now, then in zip(one, other, strict=True):
        assert np.array_equal(now, then)
    assert 5 < (one[2] == 0).sum() < n - 5
    slots = [openmm.BrownianIntegrator(TEMPERATURE, FRICTION, TIMESTEP) for _ in methods]
    for integrator in slots:
        integrator.setRandomNumberSeed(5)
    (plain,), (sorted_,) = (run(method, integrator) for method, integrator in zip(methods, slots, strict=True))
    # negative control: OpenMM's own integrator, whose noise goes with the place
    assert np.array_equal(plain, sorted_) == (native_platform in ("Reference", "CPU"))


def left(positions):
    return positions[:, 0, 0] < 0.0


def test_python_functions_are_not_native():
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), FunctionRegion(left), Range({"x": (0.0, 1.0)}))
    assert not has_native_states(states)
    with pytest.raises(ValueError, match="test such states from Python"):
        integrator_of(2, states=states)

"""Constraints: they are kept, weights are exact and spread less, equilibrium is Boltzmann's, and what cannot be is refused."""

import itertools
from functools import cache

import numpy as np
import openmm
import pytest

import platforms
from openmm_rare.bias.bias import Bias
from openmm_rare.dynamics import native, native_integrator
from openmm_rare.dynamics.native_integrator import IDLE
from openmm_rare.dynamics.overdamped import BiasedOverdampedLangevinIntegrator, check_system
from openmm_rare.dynamics.overdamped import OverdampedLangevinIntegrator as Unbiased
from openmm_rare.dynamics.path_weights import log_weights
from openmm_rare.problem import RareEventSystem
from openmm_rare.rates import stage
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range
from openmm_rare.units import KB
from openmm_rare.walkers.backends import make_dynamics
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.slots import SlotContext
from stats import assert_within, mean_and_stderr

TEMPERATURE, FRICTION, TIMESTEP = 300.0, 2.0, 2e-4
KT = KB * TEMPERATURE
DYNAMICS = (TEMPERATURE, FRICTION, TIMESTEP)
LENGTH = 0.3
N = 3000
# masses, positions and constraints of molecules that OpenMM treats in different ways: SHAKE, SETTLE, and CCMA
MOLECULES = {
    "dimer": ([5.0, 5.0], [[0.0, 0.0, 0.0], [0.0, 0.0, LENGTH]], [(0, 1)]),
    "water": ([16.0, 3.0, 3.0], [[0.0, 0.0, 0.0], [0.1, 0.1, 0.25], [0.1, -0.1, 0.25]], [(0, 1), (0, 2), (1, 2)]),
    "chain": (
        [5.0, 3.0, 8.0, 4.0],
        [[0.0, 0.0, 0.0], [0.1, 0.0, 0.28], [-0.1, 0.1, 0.56], [0.0, -0.1, 0.8]],
        [(0, 1), (1, 2), (2, 3)],
    ),
}
EACH_MOLECULE = pytest.mark.parametrize("name", MOLECULES)
NEEDS_PLUGIN = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))
EACH_KIND = pytest.mark.parametrize("kind", ["python", pytest.param("native", marks=NEEDS_PLUGIN)])


def molecules(name, n=N, bias=60.0, field=0.0):
    """n molecules, each pulled and turned by a bias, in a field along z; the forces on neighbors are opposite."""
    masses, positions, pairs = MOLECULES[name]
    system = openmm.System()
    for mass in masses * n:
        system.addParticle(mass)
    for walker, (i, j) in itertools.product(range(n), pairs):
        distance = np.linalg.norm(np.subtract(positions[i], positions[j]))
        system.addConstraint(walker * len(masses) + i, walker * len(masses) + j, distance)
    if name == "chain":
        system.addForce(angles_of(positions, n))
    for group, energy in enumerate((f"{field}*sign*z", f"{bias}*sign*(z+0.7*x)")):
        force = openmm.CustomExternalForce(energy)
        force.addPerParticleParameter("sign")
        force.setForceGroup(group)
        for particle in range(len(masses) * n):
            force.addParticle(particle, [(-1.0) ** (particle % len(masses))])
        system.addForce(force)
    return system, np.tile(positions, (n, 1))


def angles_of(positions, n):
    """Springs at the bends of n chains: OpenMM's CCMA converges where these stay about what they are."""
    bonds, force = np.diff(positions, axis=0), openmm.HarmonicAngleForce()
    cosines = -np.einsum("ia,ia->i", bonds[:-1], bonds[1:]) / np.prod(
        [np.linalg.norm(b, axis=1) for b in (bonds[:-1], bonds[1:])], 0
    )
    for walker, (i, angle) in itertools.product(range(n), enumerate(np.arccos(cosines))):
        first = walker * len(positions) + i
        force.addAngle(first, first + 1, first + 2, angle, 200.0)
    return force


def integrator_of(kind, n=N, bias=True, seed=5, **options):
    if kind == "native":
        return native_integrator.BiasedOverdampedLangevinIntegrator(
            *DYNAMICS, n_walkers=n, seed=seed, bias_group=1 if bias else None, **options
        )
    made = BiasedOverdampedLangevinIntegrator if bias else Unbiased
    integrator = made(*DYNAMICS, constrained=True, **options)
    integrator.setRandomNumberSeed(seed)
    return integrator


def weights_of(context, n=N):
    integrator = context.getIntegrator()
    return integrator.log_weights() if hasattr(integrator, "log_weights") else log_weights(context, n)


def positions_of(context, n=N):
    return context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(n, -1, 3).copy()


def kept(platform):
    """What OpenMM makes of its tolerance of 1e-5: on GPUs its CCMA leaves more, where constraints are few, in any dynamics."""
    return 2e-5 if platform in ("Reference", "CPU") else 8e-4


def worst_distance(name, positions):
    """The largest relative error of a constraint."""
    start, pairs = np.array(MOLECULES[name][1]), np.array(MOLECULES[name][2]).T
    wanted = np.linalg.norm(np.subtract(*start[pairs]), axis=-1)
    found = np.linalg.norm(positions[:, pairs[0]] - positions[:, pairs[1]], axis=-1)
    return np.abs(found / wanted - 1.0).max()


def turned(positions):
    """How far each molecule has turned towards x, where the bias pulls: the dipole of the signs."""
    return (positions[:, :, 0] * (-1.0) ** np.arange(positions.shape[1])).sum(axis=1)


def run(name, integrator, platform, make_context, steps=20, **options):
    """Positions and log weights after some steps."""
    system, start = molecules(name, **options)
    if not options.get("bias", 1.0):
        integrator.setIntegrationForceGroups({0})
    context = make_context(system, integrator, platform, start)
    integrator.step(steps)
    return positions_of(context), weights_of(context)


@EACH_KIND
@EACH_MOLECULE
def test_constraints_hold_after_many_steps(name, kind, platform, make_context):
    n = 100
    system, start = molecules(name, n)
    integrator = integrator_of(kind, n)
    context = make_context(system, integrator, platform, start)
    integrator.step(300)
    assert worst_distance(name, positions_of(context, n)) < kept(platform)
    free = BiasedOverdampedLangevinIntegrator(*DYNAMICS)
    context = make_context(system, free, platform, start)
    free.step(300)
    assert worst_distance(name, positions_of(context, n)) > 0.1  # negative control


@NEEDS_PLUGIN
@EACH_MOLECULE
def test_native_weights_are_exact(name, precise_platform, make_context):
    assert_exact(name, integrator_of("native"), precise_platform, make_context)


@NEEDS_PLUGIN
def test_weights_are_exact_with_shifts_that_are_kept(platform, make_context):
    assert_exact("water", integrator_of("native", bias_interval=5), platform, make_context)


@EACH_MOLECULE
def test_python_weights_are_exact(name, platform, make_context):
    assert_exact(name, integrator_of("python"), platform, make_context)


@cache
def unbiased(name):
    """How far molecules have turned without a bias."""
    positions, none = run(name, integrator_of("python", bias=False, seed=6), "Reference", platforms.make_context)
    assert (none == 0.0).all()
    return turned(positions)


def assert_exact(name, integrator, platform, make_context):
    """E[w] = 1, and what the bias turns has not turned with its weights; without them it has."""
    positions, log_weight = run(name, integrator, platform, make_context)
    weight = np.exp(log_weight)
    mean, error = mean_and_stderr(weight)
    assert_within(mean, 1.0, error)
    truth, f = mean_and_stderr(unbiased(name))
    estimate, e = mean_and_stderr(weight * turned(positions))
    assert_within(estimate, truth, np.hypot(e, f))
    raw, g = mean_and_stderr(turned(positions))
    for wrong in (raw, mean_and_stderr(weight**2 * turned(positions))[0]):
        with pytest.raises(AssertionError):
            assert_within(wrong, truth, np.hypot(f, g))


@EACH_KIND
@EACH_MOLECULE
def test_the_projection_makes_weights_spread_less(name, kind, platform, make_context):
    _, projected = run(name, integrator_of(kind), platform, make_context)
    raw = BiasedOverdampedLangevinIntegrator(*DYNAMICS)
    raw.setRandomNumberSeed(5)
    raw.addConstrainPositions()  # the weight counts what this takes back
    positions, whole = run(name, raw, platform, make_context)
    assert worst_distance(name, positions) < kept(platform)
    mean, error = mean_and_stderr(np.exp(whole))
    assert_within(mean, 1.0, error)  # exact, but
    assert whole.var() > 2.0 * projected.var()


def sample(name, integrator, platform, make_context):
    """Means, with their errors, of the turn, of ln w, and of its squared deviation."""
    positions, log_weight = run(name, integrator, platform, make_context)
    columns = turned(positions), log_weight, (log_weight - log_weight.mean()) ** 2
    return [mean_and_stderr(values) for values in columns]


@cache
def python_sample(name, strength):
    return sample(name, integrator_of("python", strength=strength), "Reference", platforms.make_context)


@NEEDS_PLUGIN
@EACH_MOLECULE
def test_native_is_python(name, platform, make_context):
    found = sample(name, integrator_of("native", seed=7), platform, make_context)
    for (mean, error), (other, e), (weaker, f) in zip(found, python_sample(name, 1.0), python_sample(name, 0.5), strict=True):
        assert_within(mean, other, np.hypot(error, e))
        with pytest.raises(AssertionError):  # negative control: a weaker bias shows in every mean
            assert_within(mean, weaker, np.hypot(error, f))


@NEEDS_PLUGIN
@EACH_MOLECULE
def test_held_walkers_do_not_move(name, precise_platform, make_context):
    n = 40
    system, start = molecules(name, n)
    integrator = integrator_of("native", n)
    # held off their constraints by more than the tolerance, so that constraints would move them
    context = make_context(system, integrator, precise_platform, start * 1.0005)
    before, held = positions_of(context, n), np.arange(n) % 3 == 0
    assert worst_distance(name, before) > 3e-4
    integrator.set_states(np.where(held, IDLE, 0))
    integrator.step(10)
    after, log_weight = positions_of(context, n), integrator.log_weights()
    assert np.array_equal(after[held], before[held]) and (log_weight[held] == 0.0).all()
    assert (after[~held] != before[~held]).all() and (log_weight[~held] != 0.0).all()
    assert worst_distance(name, after[~held]) < kept(precise_platform)
    integrator.hold(np.arange(n))
    integrator.step(10)
    assert np.array_equal(positions_of(context, n), after)
    assert not context.getState(velocities=True).getVelocities(asNumpy=True)._value.any()  # no scratch is left


@EACH_KIND
def test_particles_without_mass_stay(kind, platform, make_context):
    n = 20
    pairs, start = molecules("dimer", 2 * n)
    for particle in range(0, 4 * n, 4):  # of every second dimer, the constraint and the masses are taken away
        pairs.setParticleMass(particle, 0.0)
        pairs.setParticleMass(particle + 1, 0.0)
    for index in reversed(range(0, 2 * n, 2)):
        pairs.removeConstraint(index)
    integrator = integrator_of(kind, n)
    context = make_context(pairs, integrator, platform, start)
    before = positions_of(context, n)
    integrator.step(20)
    moved = (positions_of(context, n) != before).all(axis=2)
    assert moved.tolist() == [[False, False, True, True]] * n
    weight = weights_of(context, n)
    assert np.isfinite(weight).all() and (weight != 0.0).all()


@EACH_KIND
def test_a_rigid_dipole_has_boltzmanns_orientations(kind, platform, make_context):
    """<cos theta> = coth(x) - 1/x for the energy -x kT cos theta; the two masses are equal: no metric correction."""
    n, x = 1000, 2.0
    system, start = molecules("dimer", n, field=x * KT / LENGTH)
    integrator = integrator_of(kind, n, bias=False)
    integrator.setIntegrationForceGroups({0})
    context = make_context(system, integrator, platform, start)
    integrator.step(1200)
    frames = []
    for _ in range(10):
        integrator.step(100)
        positions = positions_of(context, n)
        frames.append((positions[:, 1, 2] - positions[:, 0, 2]) / LENGTH)
    mean, error = mean_and_stderr(np.mean(frames, axis=0))
    assert_within(mean, 1.0 / np.tanh(x) - 1.0 / x, error)
    for wrong in (np.tanh(x), 0.6978):  # negative controls: on a line, and in a plane
        with pytest.raises(AssertionError):
            assert_within(mean, wrong, error)


def target_of(timestep=TIMESTEP, num_dimensions=3):
    system, start = molecules("dimer", 1)
    system.removeForce(1)
    return RareEventSystem.from_openmm(
        system,
        start,
        Range({"z": (-9.0, 0.2)}),
        Range({"z": (0.5, 9.0)}),
        CollectiveVariables([Coordinate("z", 0, 2)]),
        TEMPERATURE,
        FRICTION,
        timestep,
        num_dimensions=num_dimensions,
    )


class Climb:
    """ln I is the height of the first particle."""

    def log_importance_gradient(self, positions):
        gradient = np.zeros_like(positions)
        gradient[:, 0, 2] = 10.0
        return 10.0 * positions[:, 0, 2], gradient


@pytest.mark.parametrize("bias", [None, Bias(Climb(), force="python")], ids=["unbiased", "biased"])
def test_every_backend_applies_constraints(bias, backend, platform):
    n = 200
    slots = SlotContext(target_of(), n, Machine(platform, backend), 3, bias)
    slots.step(50)
    assert worst_distance("dimer", slots.positions()) < kept(platform)
    weight = np.exp(slots.log_weights())
    if bias is None:
        assert (weight == 1.0).all()
    else:
        assert_within(*(lambda mean, error: (mean, 1.0, error))(*mean_and_stderr(weight)))
        assert weight.std() > 0.1


def test_the_noise_of_numpy_is_not_used_with_constraints():
    bias = Bias(Climb(), force="python")
    assert type(make_dynamics(target_of(), 2, 1, bias, backend="python")).__name__ == "CustomIntegratorDynamics"


def test_training_goes_without_the_residual_where_there_are_constraints():
    free = target_of()
    for index in reversed(range(free.system.getNumConstraints())):
        free.system.removeConstraint(index)
    settings = RateSettings(residual_weight=3.0)
    assert [stage._residual(target, settings)[1] for target in (target_of(), free)] == [0.0, 3.0]


def test_too_large_a_step_is_noticed(backend, platform):
    slots = SlotContext(target_of(timestep=5.0), 50, Machine(platform, backend), 3)
    slots.step(20)
    with pytest.raises(FloatingPointError, match=r"between particles 0 and 1 of .* is off by .* use a smaller time step"):
        slots.positions()
    slots = SlotContext(target_of(), 50, Machine(platform, backend), 3)
    slots.step(20)
    slots.positions()  # negative control


@pytest.mark.parametrize("num_dimensions", [1, 2])
def test_fewer_dimensions_are_refused(num_dimensions, make_context):
    system, start = molecules("dimer", 2)
    with pytest.raises(ValueError, match=rf"2 constraints.*3 dimensions only, and num_dimensions = {num_dimensions}; set"):
        check_system(system, 1, num_dimensions)
    check_system(system, 1, 3)
    with pytest.raises(ValueError, match="1 constraints"):
        SlotContext(target_of(num_dimensions=num_dimensions), 2, Machine("Reference", "python"), 1)
    for kind in (Unbiased, BiasedOverdampedLangevinIntegrator):
        with pytest.raises(ValueError, match=f"num_dimensions = {num_dimensions}; with constrained=True it must be 3"):
            kind(*DYNAMICS, num_dimensions, constrained=True)
    if native.plugin().available:
        integrator = integrator_of("native", 2, num_dimensions=num_dimensions)
        with pytest.raises(openmm.OpenMMException, match=f"in 3 dimensions, not in {num_dimensions}; set the number"):
            make_context(system, integrator, "Reference", start)

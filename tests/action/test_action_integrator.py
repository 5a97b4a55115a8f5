"""The integrator for OpenMM: what it does in a Context is what the map does, at one force a step; and what it refuses."""

import numpy as np
import openmm
import pytest

from openmm_rare.action.checking.energy_course import course_of
from openmm_rare.action.checking.kinetics import PairModes
from openmm_rare.action.data import ActionData
from openmm_rare.action.features.pair_features import PairFeatures
from openmm_rare.action.features.pair_types import PairTypes
from openmm_rare.action.integrator import LearnedActionIntegrator
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.action.midpoint_map import MidpointMap, verlet_steps
from openmm_rare.action.model_file import load_action, save_action
from openmm_rare.action.phase_space import ContextPotential
from openmm_rare.action.sampling import canonical_starts, system_hash
from openmm_rare.action.thermostat import Rows, ThermostattedMap
from openmm_rare.errors import DynamicsError, InputError
from openmm_rare.units import KB
from phase_models import example

ethane = example("ethane")

FINE, KT = 0.00025, KB * 300.0


@pytest.fixture(scope="module")
def data():
    options = {"temperature": 300.0, "timestep": FINE, "strides": (8, 16), "samples": 350, "seed": 2}
    return ActionData.from_simulation(ethane.system(), ethane.positions(), **options)


@pytest.fixture(scope="module")
def actions(data):
    features = PairFeatures.fitting(PairTypes.of_system(ethane.system()), data.space, data.q, data.p)
    return {stride: LinearAction.fit(data, stride, features) for stride in (8, 16)}


def context_of(data, row=0, system=None):
    context = openmm.Context(
        system or ethane.system(), openmm.VerletIntegrator(FINE), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(data.space.positions(data.q[row : row + 1])[0])
    context.setVelocities(data.space.velocities(data.p[row : row + 1])[0])
    return context


def test_data_are_stretches_of_verlet_dynamics_with_velocities_of_the_same_time(data):
    assert len(data) == 350 and data.strides.tolist() == [8, 16]
    potential = ContextPotential(context_of(data), data.space)
    made = verlet_steps(potential, data.q[:3], data.p[:3], FINE, 16)
    np.testing.assert_allclose(made.q, data.q_next[1, :3], atol=1e-12)
    np.testing.assert_allclose(made.p, data.p_next[1, :3], atol=1e-9)
    back = verlet_steps(potential, made.q, -made.p, FINE, 16)
    np.testing.assert_allclose(back.q, data.q[:3], atol=1e-10)
    warm = (data.p**2).mean(axis=1) / KT
    assert 1.15 < warm.mean() < 1.45  # half at 300 K, half at 480 K


def test_linear_action_of_ethane(actions):
    assert actions[8].report.own < 0.05 and actions[16].report.own < 0.05, actions[8].report


def test_the_integrator_is_the_map_at_one_force_a_step(data, actions):
    action = actions[8]
    integrator = LearnedActionIntegrator(context_of(data), action, metropolize=False, tolerance=1e-8)
    rows = data.q[:1], data.p[:1], None
    for _ in range(20):  # with a Context of its own
        rows = MidpointMap(action, ContextPotential(context_of(data), data.space), 1e-8 * np.sqrt(KT)).require(*rows)[:3]
    integrator.step(8)
    integrator.step(12)
    state = integrator.context.getState(positions=True, velocities=True)
    for made, wanted in (
        (state.getPositions(asNumpy=True)._value, data.space.positions(rows[0])[0]),
        (state.getVelocities(asNumpy=True)._value, data.space.velocities(rows[1])[0]),
    ):
        np.testing.assert_allclose(made, wanted, atol=1e-7)
    summary = integrator.summary
    assert summary.steps == 20 and summary.forces_per_step == 1.0 and summary.acceptance_rate == 1.0
    assert 2.0 < summary.evaluations_per_step < 9.0 and summary.worst_residual < 1e-8 * np.sqrt(KT)
    moved = context_of(data, 3)
    integrator.context.setPositions(moved.getState(positions=True).getPositions())
    integrator.step(1)  # sees that somebody has moved the particles
    assert integrator.summary.forces_per_step == 1.0


def test_temperature_and_seeds(data, actions):
    def end(**options):
        integrator = LearnedActionIntegrator(context_of(data), actions[16], 300.0, 5.0, **options)
        integrator.step(15)
        return integrator.context.getState(positions=True).getPositions(asNumpy=True)._value, integrator.summary

    (one, summary), (same, _), (other, _) = end(seed=1), end(seed=1), end(seed=2)
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-3
    assert summary.acceptance_rate > 0.5 and summary.failed_steps == 0 and summary.forces_per_step == 1.0


def test_an_unsolved_step_is_never_returned(data, actions):
    context = context_of(data)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    strict = LearnedActionIntegrator(context, actions[16], metropolize=False, tolerance=1e-13, max_evaluations=3)
    with pytest.raises(DynamicsError, match="were not solved in 3 evaluations"):
        strict.step(5)
    np.testing.assert_allclose(context.getState(positions=True).getPositions(asNumpy=True)._value, before, atol=1e-12)
    options = {"tolerance": 1e-13, "max_evaluations": 3}
    lenient = LearnedActionIntegrator(context, actions[16], 300.0, **options)
    lenient.step(5)
    assert lenient.summary.failed_steps == 5 and lenient.summary.acceptance_rate == 0.0
    with pytest.raises(DynamicsError, match="were not solved"):
        LearnedActionIntegrator(context, actions[16], 300.0, on_failure="raise", **options).step(5)


def changed(system, how):
    if how == "constraint":
        system.addConstraint(0, 1, 0.15)
    elif how == "barostat":
        system.setDefaultPeriodicBoxVectors(*(3.0 * np.eye(3)))
        next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)).setNonbondedMethod(2)
        system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    elif how == "remover":
        system.addForce(openmm.CMMotionRemover())
    elif how == "site":
        system.addParticle(0.0)
        for force in system.getForces():
            if isinstance(force, openmm.NonbondedForce):
                force.addParticle(0.0, 0.3, 0.0)
        system.setVirtualSite(8, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    return system


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("constraint", "1 constraints, and the map lives on unconstrained phase space"),
        ("barostat", "MonteCarloBarostat"),
        ("remover", "CMMotionRemover changes velocities between steps; remove it"),
        ("site", "1 virtual sites, which have no momenta"),
    ],
)
def test_systems_that_no_action_moves_are_refused_in_one_line(data, actions, how, says):
    system = changed(ethane.system(), how)
    with pytest.raises(InputError, match=says) as error:
        ActionData.from_simulation(system, ethane.positions(), temperature=300.0, timestep=FINE, strides=8)
    assert "\n" not in str(error.value)
    context = openmm.Context(system, openmm.VerletIntegrator(FINE), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(np.vstack([ethane.positions(), np.zeros((system.getNumParticles() - 8, 3))]))
    with pytest.raises(InputError, match=says):
        LearnedActionIntegrator(context, actions[8], 300.0)


def test_arguments_that_contradict_each_other_are_refused(data, actions, tmp_path):
    context = context_of(data)
    for options, says in [
        ({}, "Metropolis needs a temperature"),
        ({"temperature": -1.0}, "temperature = -1.0 K must be positive"),
        ({"metropolize": False, "on_failure": "reject"}, "on_failure = 'reject'"),
        ({"temperature": 300.0, "system": "0" * 64}, "learned for another System"),
    ]:
        with pytest.raises(InputError, match=says):
            LearnedActionIntegrator(context, actions[8], **options)
    with pytest.raises(InputError, match="samples = 2 must be at least 10"):
        ActionData.from_simulation(ethane.system(), ethane.positions(), temperature=300.0, timestep=FINE, strides=8, samples=2)
    data.save(tmp_path / "data.npz")
    lighter = ethane.system()
    lighter.setParticleMass(0, 1.0)
    with pytest.raises(InputError, match="these training data are of another System"):
        ActionData.load(tmp_path / "data.npz").required_of(lighter)
    save_action(tmp_path / "action.npz", actions[8], data.space, system_hash(ethane.system()))
    again, space, system = load_action(tmp_path / "action.npz")
    np.testing.assert_array_equal(again.gradient(data.q[:2], data.p[:2]), actions[8].gradient(data.q[:2], data.p[:2]))
    assert system == data.system and space.n == 24


def test_a_training_that_was_killed_goes_on(tmp_path, data):
    options = {"temperature": 300.0, "timestep": FINE, "strides": 8, "samples": 40, "seed": 5}
    whole = ActionData.from_simulation(ethane.system(), ethane.positions(), **options)
    ActionData.from_simulation(ethane.system(), ethane.positions(), **options, folder=tmp_path)
    (tmp_path / "data-2.npz").unlink()
    (tmp_path / "data-3.npz").unlink()
    again = ActionData.from_simulation(ethane.system(), ethane.positions(), **options, folder=tmp_path)
    np.testing.assert_array_equal(again.q_next, whole.q_next)
    np.testing.assert_array_equal(again.action, whole.action)


@pytest.mark.slow
def test_ethane_with_steps_of_2_and_4_fs(data, actions):
    """Energy, the temperature of C-H bonds, and what Metropolis accepts, beside Verlet."""
    q, p = canonical_starts(ethane.system(), data.space, 300.0, FINE, 24, np.random.SeedSequence(9), "Reference")
    potential, kinetics = ContextPotential(context_of(data), data.space), PairModes(actions[8].features)
    options = {"kt": KT, "kinetics": kinetics}
    h, tolerance = 8 * FINE, 1e-6 * np.sqrt(KT)
    steppers = {
        "action": MidpointMap(actions[8], potential, tolerance).step,
        "verlet": lambda q, p, pull: verlet_steps(potential, q, p, h, 1, pull),
        "fine": lambda q, p, pull: verlet_steps(potential, q, p, FINE, 8, pull),
    }
    found = {
        name: course_of(step, potential, q.copy(), p.copy(), timestep=h, steps=300, **options)
        for name, step in steppers.items()
    }
    bonds = {name: each.temperatures["pairs 2"] for name, each in found.items()}
    assert found["action"].rms < 0.03 and found["verlet"].rms > 0.3 and found["action"].lost == 0
    assert abs(found["action"].drift) < 3 * found["action"].drift_stderr
    assert abs(bonds["action"] - bonds["fine"]) < 0.02 and bonds["verlet"] < bonds["fine"] - 0.1
    rates = {}
    for stride, steps in ((8, 100), (16, 100)):
        for name, scale in (("action", 1.0), ("verlet", 0.0)):
            action = actions[stride]
            plain = LinearAction(action.features, scale * action.coefficients, action.timestep, "verlet", action.frequency)
            moves = ThermostattedMap(
                MidpointMap(plain, potential, tolerance), KT, 5.0, True, bool(scale), np.random.default_rng(1)
            )
            rows = Rows(q.copy(), p.copy(), potential(q))
            for _ in range(steps):
                rows = moves.step(rows)
            rates[stride, name] = moves.tally.accepted / moves.tally.steps
    assert rates[8, "action"] > 0.98 and rates[16, "action"] > 0.93 and rates[16, "verlet"] < 0.05, rates

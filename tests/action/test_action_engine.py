"""Learned steps as an engine for two-way shooting: it comes back, it can be stored, and its paths join the states."""

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")
import openpathsampling as paths
from openpathsampling.engines.topology import Topology

from openmm_rare.action.data import ActionData
from openmm_rare.action.features.plain_features import PlainFeatures
from openmm_rare.action.linear_action import LinearAction
from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import InputError
from openmm_rare.ops.action_engine import ActionEngine
from openmm_rare.ops.shooting import ShootingStrategy, shoot_to_state, shooting_scheme
from openmm_rare.ops.snapshots import frames_of, trajectory_of
from openmm_rare.ops.volumes import state_volumes
from phase_models import example

double_well = example("double_well")


@pytest.fixture(scope="module")
def action():
    problem = double_well.problem()
    data = ActionData.from_simulation(
        problem.system,
        problem.positions,
        temperature=300.0,
        timestep=double_well.FINE,
        strides=8,
        samples=150,
        hotter=3.0,
        num_dimensions=1,
    )
    return LinearAction.fit(data, 8, PlainFeatures.fitting(data.q, data.p, (2, 0)))


def engine_of(action, **options):
    system = double_well.problem().system
    engine = ActionEngine(
        Topology(9), system, action, 300.0, options.pop("friction", 1.0), 1, {"n_steps_per_frame": 1}, **options
    )
    engine.initialize()
    return engine


def at(engine, x, seed=0):
    """A frame with the particle of the well at x, and velocities."""
    positions = np.zeros((1, 9, 3))
    positions[0, 0, 0], positions[0, 1:, 0] = x, double_well.COUPLING * x
    velocities = np.zeros((1, 9, 3))
    velocities[0, :, 0] = np.random.default_rng(seed).normal(size=9) * np.sqrt(8.314e-3 * 300 / 40)
    return trajectory_of(Frames(positions, velocities, np.eye(3)[None]), engine)[0]


def test_frames_lead_back_with_reversed_velocities(action):
    engine = engine_of(action, friction=0.0, tolerance=1e-10)
    start = at(engine, 0.0)
    ahead, _ = engine.shoot(start, lambda frames: np.where(np.arange(len(frames)) == 9, 0, -1), 10)
    assert len(ahead) == 10 and np.abs(ahead.positions[-1] - ahead.positions[0]).max() > 0.01
    assert engine.mover.summary.acceptance_rate == 1.0  # a rejected step turns round by itself
    last = trajectory_of(ahead[-1:], engine)[0].reversed
    back, _ = engine.shoot(last, lambda frames: np.where(np.arange(len(frames)) == 9, 0, -1), 10)
    there = frames_of([start])
    np.testing.assert_allclose(back.positions[-1], there.positions[0], atol=1e-6)
    np.testing.assert_allclose(back.velocities[-1], -there.velocities[0], atol=1e-5)
    still = ahead.positions[:, :, 1:], ahead.velocities[:, :, 1:]
    assert all((each == 0.0).all() for each in still)  # what does not move


def test_the_engine_comes_back_from_a_storage(action, tmp_path):
    engine = engine_of(action, seed=3)
    start = at(engine, 0.0)
    storage = paths.Storage(str(tmp_path / "engine.nc"), "w")
    storage.save(paths.Trajectory([start]))
    storage.save(engine)
    storage.close()
    storage = paths.Storage(str(tmp_path / "engine.nc"), "r")
    again = next(each for each in storage.engines if isinstance(each, ActionEngine))
    q, p = np.random.default_rng(1).normal(size=(2, 3, 9))
    np.testing.assert_array_equal(again.action.gradient(q, p), action.gradient(q, p))
    assert again.platform_name == "Reference" and again.snapshot_timestep == engine.snapshot_timestep
    storage.close()


def test_two_way_shooting_runs_on_learned_steps(action):
    engine, problem = engine_of(action, seed=5), double_well.problem()
    states = list(state_volumes(problem.states))
    modifier = paths.RandomVelocities(engine=engine)
    np.random.seed(1)
    while True:
        start = modifier(at(engine, 0.0))
        (forward, last), (backward, first) = (shoot_to_state(engine, states, each) for each in (start, start.reversed))
        if first != last:
            break
    path = trajectory_of(backward.reversed, engine) + paths.Trajectory([start]) + trajectory_of(forward, engine)
    network = paths.TPSNetwork.from_states_all_to_all(states)
    scheme = shooting_scheme(network, ShootingStrategy(paths.UniformSelector(), modifier, engine))
    sampling = paths.PathSampling(None, scheme, scheme.initial_conditions_from_trajectories(path))
    sampling.run(6)
    final = sampling.sample_set[0].trajectory
    ends = [states[k](final[end]) for k in (0, 1) for end in (0, -1)]
    assert sum(ends) == 2 and engine.mover.summary.acceptance_rate > 0.97


def test_an_engine_refuses_what_no_action_moves(action):
    system = double_well.problem().system
    system.addForce(openmm.AndersenThermostat(300.0, 1.0))
    with pytest.raises(InputError, match="AndersenThermostat draws velocities between steps; remove it"):
        ActionEngine(Topology(9), system, action, 300.0, num_dimensions=1)

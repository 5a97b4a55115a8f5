"""Chains as plain functions: the same task gives the same result anywhere, and samples the paths of direct simulation."""

import pickle
from dataclasses import replace

import numpy as np
import openmm
import pytest
from test_path_sampling import block_average
from test_path_sampling import direct as simulated

import line
from openmm_rare.dynamics.frames import Frames
from openmm_rare.ops.shooting import ShootingMover
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import RareEventSystem
from openmm_rare.tps.chains.chain import run_chain
from openmm_rare.tps.chains.task import ChainState, ChainTask, PathProblem
from openmm_rare.units import KB
from processes import in_fresh
from stats import assert_within, mean_and_stderr


def make_target(**options):
    """The double well of `line` as a system of ours."""
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{line.BARRIER}*(x^2-1)^2")
    force.addParticle(0, [])
    system.addForce(force)
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    a, b = Range({"x": (float("-inf"), -line.EDGE)}), Range({"x": (line.EDGE, float("inf"))})
    start = np.array([[-1.0, 0.0, 0.0]])
    arguments = {"num_dimensions": 1, **options}
    return RareEventSystem("line", system, start, States(variables, a, b), 1.0 / KB, line.FRICTION, line.TIMESTEP, **arguments)


def make_task(selector="lorentzian", chain=0, trials=20, storage=None, n_frames=30, **options):
    """The first round of a chain."""
    target = make_target(**options)
    settings = PathSettings(
        selector=selector, width=0.5, trials_per_round=trials, steps_per_frame=line.STRIDE, offset=4, max_frames=5000
    )
    positions = np.zeros((n_frames, 1, 3))
    positions[:, 0, 0] = np.linspace(-0.8, 0.8, n_frames)
    inner = np.abs(positions[:, 0, 0]) < line.EDGE
    keep = np.flatnonzero(inner)
    positions = positions[keep[0] - 1 : keep[-1] + 2]
    boxes = np.repeat(2.0 * np.eye(3)[None], len(positions), axis=0)
    path = Frames(positions, np.zeros_like(positions) if target.inertial else None, boxes)
    model = line.make_model(8.0)
    problem = PathProblem(target, settings, "Reference")
    return ChainTask(problem, chain, 0, 7, ChainState(path), model.to_bytes(), None, storage)


def rows_of(trials):
    """Everything about trials that can be compared."""
    return [(t.cycle, t.point.tolist(), t.n_a, t.n_b, t.expected, t.accepted, t.relaxed, t.n_frames) for t in trials]


def test_a_task_gives_the_same_result_whatever_came_before_and_in_any_process(tmp_path):
    kinds = [("lorentzian", False), ("lorentzian", True), ("aimless", False)]
    tasks = [pickle.loads(pickle.dumps(make_task(selector, inertial=inertial, trials=8))) for selector, inertial in kinds]
    (tmp_path / "tasks.pickle").write_bytes(pickle.dumps(tasks))
    code = """
        import pickle
        from openmm_rare.tps.chains.chain import run_chain
        with open("tasks.pickle", "rb") as tasks, open("results.pickle", "wb") as results:
            pickle.dump([run_chain(task) for task in pickle.load(tasks)], results)
    """
    in_fresh(code, tmp_path)
    for task, elsewhere in zip(tasks, pickle.loads((tmp_path / "results.pickle").read_bytes()), strict=True):
        state, trials = run_chain(task)
        run_chain(replace(task, chain=1))
        for other_state, other_trials in (run_chain(task), elsewhere):
            assert rows_of(other_trials) == rows_of(trials) and other_state.names == state.names
            np.testing.assert_array_equal(other_state.path.positions, state.path.positions)
            assert (other_state.pair, other_state.relaxed) == (state.pair, state.relaxed)
        assert rows_of(run_chain(replace(task, seed=8))[1]) != rows_of(trials)  # negative control


def test_the_first_path_is_left_at_the_first_transition_and_said_to_be_unphysical():
    _, trials = run_chain(make_task("uniform", trials=30, n_frames=400))  # so long that a Metropolis step would hardly leave it
    relaxed = [trial.relaxed for trial in trials]
    first = relaxed.index(True) - 1
    assert trials[first].accepted and not any(trial.accepted for trial in trials[:first])
    assert not any(t.n_a == t.n_b == 1 for t in trials[:first])
    # rejected transition paths: afterwards the selector's probabilities count
    assert all(relaxed[first + 1 :])


def durations(selector, n_rounds=14, per_round=40, seed=3):
    """Frames of the current path after each step, and its weight."""
    task = replace(make_task(selector, trials=per_round), seed=seed)
    rows = []
    for number in range(n_rounds):
        state, trials = run_chain(replace(task, round=number))
        length = len(task.state.path)
        for trial in trials:
            length = len(trial.path) if trial.path is not None else length
            rows.append((length, trial.relaxed))
        task = replace(task, state=state)
    return np.array([length for length, relaxed in rows if relaxed], dtype=float)


@pytest.fixture(scope="module")
def direct():
    """Lengths of the transition paths of direct simulation."""
    return simulated(line)[0]


@pytest.mark.parametrize("selector", ["lorentzian", "aimless"])
def test_chains_sample_the_paths_of_direct_simulation(selector, direct):
    seen = direct[direct >= (7 if selector == "aimless" else 0)]
    mean, error = mean_and_stderr(seen)
    lengths = durations(selector)
    estimate, stderr = block_average(lengths, np.ones_like(lengths))
    assert_within(estimate, mean, np.hypot(stderr, error))


def test_a_broken_acceptance_is_seen(direct, monkeypatch):
    """Negative control: every transition path is accepted, as on the way from the first path."""
    monkeypatch.setattr(ShootingMover, "relax", lambda mover, relaxing: setattr(mover, "_relaxing", True))
    lengths = durations("lorentzian")
    mean, error = mean_and_stderr(direct)
    estimate, stderr = block_average(lengths, np.ones_like(lengths))
    with pytest.raises(AssertionError):
        assert_within(estimate, mean, np.hypot(stderr, error))


def test_a_stretch_that_the_storage_has_already_is_not_stored_twice(tmp_path):
    """As after a kill between the storage and the checkpoint; and what a storage says that was cut off."""
    begin = """
        from test_chains import *
        from openmm_rare.ops.simstore import open_simstore
        def look(n_steps, state):
            storage = open_simstore("steps.db", "r")
            assert [step.mccycle for step in storage.steps] == list(range(n_steps))
            last = storage.steps[-1].active[0].trajectory
            assert len(last) == len(state.path) and str(last.__uuid__) == str(state.names[0])
            assert any(len(step.change.trials[0].trajectory) == 3 for step in storage.steps[1:])
            return np.array([len(storage.snapshots), len(storage.trajectories)])
        task = make_task(storage="steps.db", trials=6)
        state, trials = run_chain(task)
        np.save("sizes.npy", look(7, state))
    """
    again = (
        begin
        + """
        np.testing.assert_array_equal(look(7, state), np.load("first.npy"))
        state, trials = run_chain(replace(task, state=state, round=1))
        assert (look(13, state) > np.load("sizes.npy")).all()
        content = open("steps.db", "rb").read()
        open("cut.db", "wb").write(content[: len(content) // 3])
        with pytest.raises(ValueError, match="cut.db is no readable storage.*move it away, and a new one is begun"):
            run_chain(make_task(storage="cut.db", trials=6))
        assert open("cut.db", "rb").read() == content[: len(content) // 3]
    """
    )
    in_fresh(begin, tmp_path)
    (tmp_path / "sizes.npy").rename(tmp_path / "first.npy")
    in_fresh(again, tmp_path)


def test_a_shot_that_reaches_no_state_is_a_trial_without_outcome():
    task = make_task("uniform", trials=10)
    problem = replace(task.problem, settings=replace(task.problem.settings, max_frames=3))
    _, trials = run_chain(replace(task, problem=problem))
    unfinished = [trial for trial in trials if trial.n_a + trial.n_b == 0]
    assert unfinished and not any(trial.accepted for trial in unfinished)

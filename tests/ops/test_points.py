"""Shooting points sampled by walkers: what walkers sample, what weighted paths average to, storage, and runs of the command."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import openmm
import pytest
from executors import workers_here
from test_path_run import assert_same_run, configure
from test_path_sampling import block_average
from test_path_sampling import direct as simulated

import line
import plane
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import InputError
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling, read_path_ensemble
from openmm_rare.folders.path_warnings import ensemble_warnings
from openmm_rare.paths.ensemble import PathEnsemble, mean_over_paths
from openmm_rare.report import paths as path_report
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.systems import RareEventSystem
from openmm_rare.tps import point_sampler, sampler
from openmm_rare.tps.chains.barrier_bias import log_bias, log_path_weight
from openmm_rare.tps.chains.point_task import WalkerState
from openmm_rare.tps.chains.points import run_walker
from openmm_rare.tps.chains.task import ChainTask, PathProblem
from openmm_rare.units import KB
from openmm_rare.workflow.path_sampling import run_path_sampling
from processes import in_fresh
from stats import assert_within, mean_and_stderr

SLOPE = 6.0
"""Of the model: q = 6 x. The true committor is steeper near x = 0 and flat beyond; no bias need be right."""


def make_target(world, bond=0.0):
    """The double wells of `line` and `plane` as systems of ours, with a second particle on a rigid bond if it has a length."""
    system = openmm.System()
    system.addParticle(1.0)
    force = openmm.CustomExternalForce(f"{line.BARRIER}*(x^2-1)^2{world.energy}")
    force.addParticle(0, [])
    system.addForce(force)
    if bond:
        system.addParticle(0.5)
        system.addConstraint(0, 1, bond)
    a, b = Range({"x": (float("-inf"), -line.EDGE)}), Range({"x": (line.EDGE, float("inf"))})
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), a, b)
    start = np.array([[-1.0, world.valley(-1.0), 0.0], [-1.0, world.valley(-1.0), bond]])[: 1 + bool(bond)]
    options = {"num_dimensions": 3 if world.inertial else 1, "inertial": world.inertial}
    return RareEventSystem("wells", system, start, states, 1.0 / KB, world.friction, world.timestep, **options)


def make_task(world, trials=10, reach=1.0, wait=6, length=20, storage=None, **state):
    """A walker at the top of the barrier, its start-up over."""
    settings = PathSettings(
        method="points",
        reach=reach,
        wait=wait,
        start_up=0,
        trials_per_round=trials,
        steps_per_frame=line.STRIDE,
        max_frames=5000,
    )
    problem = PathProblem(make_target(world), settings, "Reference")
    place = Frames(np.zeros((1, 1, 3)), np.zeros((1, 1, 3)) if world.inertial else None, 2.0 * np.eye(3)[None])
    walker = WalkerState(place, length, True, 0)
    return ChainTask(problem, 0, 0, 7, replace(walker, **state), line.make_model(SLOPE).to_bytes(), None, storage)


WORLDS = pytest.mark.parametrize("world", [line.LINE, plane.PLANE], ids=["overdamped", "inertial"])


@cache
def sampled(world, reach):
    """Trials of one long-lived walker, after it has forgotten its start; more where fewer give a path."""
    _, trials = run_walker(make_task(world, trials=700 if reach < 2.0 else 1500, reach=reach))
    return trials[10:]


def density_of_points(reach):
    """Mean and variance of x^2 over equilibrium times b, between the states."""
    x = np.linspace(-line.EDGE, line.EDGE, 4001)
    density = np.exp(-line.BARRIER * (x**2 - 1.0) ** 2 + log_bias(SLOPE * x, reach))
    mean = np.average(x**2, weights=density)
    return mean


@WORLDS
@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_walkers_sample_equilibrium_times_the_bias(world, reach):
    values = np.array([trial.point[0, 0] ** 2 for trial in sampled(world, reach)])
    estimate, stderr = block_average(values, np.ones(len(values)))
    assert_within(estimate, density_of_points(reach), stderr)
    with pytest.raises(AssertionError):  # negative control: of another bias
        assert_within(estimate, density_of_points(5.0 - reach), stderr)


def test_walkers_on_rigid_bonds_sample_the_same():
    """The second particle feels no force: equilibrium along x stays what it is, and kicks must not stretch the bond."""
    bond, target = 0.3, make_target(plane.PLANE, 0.3)
    template = make_task(plane.PLANE, trials=300)
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 2, (8,), 300.0, "line")
    model.set_tensors(line.make_model(SLOPE).tensors())
    positions = np.array([[[0.0, 0.0, 0.0], [0.0, 0.0, bond]]])
    state = replace(template.state, frames=Frames(positions, np.zeros_like(positions), template.state.frames.boxes))
    task = replace(template, problem=replace(template.problem, system=target), state=state, model=model.to_bytes())
    state, trials = run_walker(task)
    points = np.array([trial.point for trial in trials[10:]])
    np.testing.assert_allclose(np.linalg.norm(points[:, 1] - points[:, 0], axis=1), bond, rtol=1e-4)
    along, velocities = state.frames.positions[0, 1] - state.frames.positions[0, 0], state.frames.velocities[0]
    assert abs(along @ (velocities[1] - velocities[0])) < 1e-4
    estimate, stderr = block_average(points[:, 0, 0] ** 2, np.ones(len(points)))
    assert_within(estimate, density_of_points(1.0), stderr)
    with pytest.raises(AssertionError):  # negative control: of another bias
        assert_within(estimate, density_of_points(4.0), stderr)


@WORLDS
@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_weighted_paths_are_those_of_direct_simulation_for_every_bias(world, reach):
    module = line if world is line.LINE else plane
    made = [trial for trial in sampled(world, reach) if trial.accepted]
    weights = np.array([trial.weight for trial in made])
    lengths = np.array([len(trial.path) for trial in made], dtype=float)
    squares = np.array([np.mean(trial.path[:, 0, world.axis] ** 2) for trial in made])
    truth = [mean_and_stderr(values) for values in simulated(module)]
    for values, (mean, error) in zip((lengths, squares), truth, strict=True):
        estimate, stderr = block_average(values, weights)
        assert_within(estimate, mean, np.hypot(stderr, error))
    mean, error = truth[0]
    estimate, stderr = block_average(lengths, np.ones(len(lengths)))
    with pytest.raises(AssertionError):  # negative control: without weights, paths that linger are too many
        assert_within(estimate, mean, np.hypot(stderr, error))


def test_a_path_weighs_one_over_the_sum_of_the_bias_that_it_was_made_with():
    logit = np.array([-3.0, 0.5, 5.0])
    p = 1.0 / (1.0 + np.exp(-logit))
    bias = 4.0 * p * (1.0 - p) * np.exp(-4.0 * np.maximum(np.abs(logit) - 2.0, 0.0))
    np.testing.assert_allclose(np.exp(log_bias(logit, 2.0)), bias, rtol=1e-12)
    assert np.exp(log_path_weight(logit, 2.0)) == pytest.approx(1.0 / bias.sum())
    for trial in sampled(line.LINE, 1.0)[:50]:
        if trial.accepted:
            logit = SLOPE * trial.path[1:-1, 0, 0].astype(float)
            assert trial.weight == pytest.approx(1.0 / np.exp(log_bias(logit, 1.0)).sum(), rel=1e-4)
        else:
            assert trial.weight == 0.0 and trial.path is None


def rows_of(trials):
    return [(t.cycle, t.point.tolist(), t.n_a, t.n_b, t.expected, t.accepted, t.n_frames, t.weight, t.moved) for t in trials]


@WORLDS
def test_a_task_gives_the_same_result_whatever_came_before(world):
    task = make_task(world, trials=6)
    state, trials = run_walker(task)
    run_walker(replace(task, chain=1))
    again, same = run_walker(task)
    assert rows_of(same) == rows_of(trials)
    np.testing.assert_array_equal(again.frames.positions, state.frames.positions)
    assert rows_of(run_walker(replace(task, seed=8))[1]) != rows_of(trials)  # negative control


def test_openpathsampling_reads_the_paths_and_their_weights(tmp_path):
    """In a process that knows the file and the package only; a stretch that the storage has already is not stored twice."""
    make = """
        from test_points import *
        for task in (make_task(plane.PLANE, trials=8, storage="steps.db"), make_task(line.LINE, trials=8, storage="line.db")):
            state, trials = run_walker(task)
            run_walker(task)
            made = [trial for trial in trials if trial.accepted]
            assert len(made) > 1
            columns = {"weights": [t.weight for t in made], "lengths": [len(t.path) for t in made], "last": made[-1].path}
            np.savez(task.storage + ".npz", **columns)
    """
    read = """
        import numpy as np
        import openpathsampling as paths
        from openpathsampling.experimental.storage import Storage, monkey_patch_all
        from openmm_rare.ops.point_storage import weighted_paths
        for name in ("steps.db", "line.db"):
            made = np.load(name + ".npz")
            found = list(weighted_paths(name))
            np.testing.assert_array_equal([weight for _, weight in found], made["weights"])
            assert [len(path) for path, _ in found] == made["lengths"].tolist()
            last = np.array([snapshot.xyz for snapshot in found[-1][0]])
            np.testing.assert_allclose(last, made["last"], atol=1e-6)
            steps = Storage(name, "r").steps
            assert [step.change.details.weight for step in steps] == made["weights"].tolist()
            assert all(step.active[0].ensemble(step.active[0].trajectory) for step in steps)
    """
    in_fresh(make, tmp_path)
    in_fresh(read, tmp_path)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)
    monkeypatch.setattr(path_report, "write_path_report", lambda *given: None)


POINTS = {"method": "points", "chains": 1, "walkers": 3, "start_up": 2, "scouting": 0, "wait": 20}


def test_a_run_that_stops_anywhere_and_goes_on_is_the_same_run(tmp_path, monkeypatch, in_this_process):
    config = configure(trials=18, **POINTS)
    run_path_sampling(config, tmp_path / "whole")
    original, left = point_sampler.run_walker, [0]

    def dying(task):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(point_sampler, "run_walker", dying)
    for calls in (2, 5, 3, -1):
        left[0] = calls
        with suppress(KeyboardInterrupt):
            run_path_sampling(config, tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    np.testing.assert_array_equal(*(read_path_ensemble(tmp_path / each).weights for each in ("whole", "broken")))
    monkeypatch.setattr(point_sampler, "run_walker", original)
    run_path_sampling(configure(trials=18, seed=2, **POINTS), tmp_path / "other")  # negative control
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "whole", tmp_path / "other")


def test_what_an_analysis_reads(tmp_path, in_this_process):
    result = run_path_sampling(configure(trials=40, **POINTS), tmp_path / "run")
    record = PathRecord.load(tmp_path / "run")
    _, model, shots, ensemble = load_path_sampling(tmp_path / "run")
    accepted, counted = record.table("accepted"), record.table("relaxed")
    connects = (record.table("n_a") > 0) & (record.table("n_b") > 0)
    np.testing.assert_array_equal(accepted, connects & counted)  # nothing is rejected
    assert ensemble.kind == "walker" and len(ensemble.paths) == accepted.sum() == result["accepted"] == result["generated"]
    np.testing.assert_array_equal(np.sort(ensemble.weights), np.sort(record.table("weight")[accepted]))
    weights = ensemble.weights
    assert result["effective_paths"] == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert (
        result["walkers"] == 3 and "chains" not in result and "acceptance" not in result and 0.2 < result["moves_kept"] <= 1.0
    )
    assert result["selector"] == "points" and len(shots) == 120
    mean, stderr = mean_over_paths(ensemble.durations, weights, ensemble.chains)
    assert (result["mean_path_time_ps"], result["mean_path_time_ps_stderr"]) == (mean, stderr)
    assert mean == pytest.approx(np.average(ensemble.durations, weights=weights)) != pytest.approx(ensemble.durations.mean())
    assert model.logit(np.array([[[-0.5, 0, 0]]])) < model.logit(np.array([[[0.5, 0, 0]]]))


def test_options_that_do_not_fit_are_refused_in_one_line():
    with pytest.raises(InputError, match="selector = 'uniform' is for method = \"chains\" only: leave it out, or choose that"):
        PathSettings(method="points", selector="uniform")
    with pytest.raises(InputError, match='walkers = 3 is for method = "points" only'):
        PathSettings(walkers=3)
    with pytest.raises(InputError, match="chains = 2"):
        PathSettings(method="points", chains=2)
    with pytest.raises(InputError, match="method = 'point' must be one of chains, points; did you mean 'points'"):
        PathSettings(method="point")
    with pytest.raises(InputError, match="reach = 0.0 must be positive"):
        PathSettings(method="points", reach=0.0)
    assert PathSettings(method="points", walkers=3).as_chains() == PathSettings()


def weighted(n_walkers=8, n=60, seed=1, apart=0.0, memory=0.0):
    """Paths of walkers whose lengths are independent of their weights, and of which one walker is apart from the others."""
    rng = np.random.default_rng(seed)
    walker = np.repeat(np.arange(n_walkers), n)
    lengths = 30.0 + 6.0 * rng.normal(size=len(walker)) + apart * (walker == 0)
    weights = rng.lognormal(sigma=0.5, size=len(walker))
    if memory:
        weights *= np.where(rng.random(len(walker)) < memory, 300.0, 1.0)
    paths = [np.zeros((round(max(each, 5.0)), 1, 3)) for each in lengths]
    return PathEnsemble(paths, weights, walker, 0.1, np.tile(np.arange(1, n + 1), n_walkers))


def test_weighted_paths_are_judged_by_their_trials_and_weights():
    assert ensemble_warnings(weighted()) == []
    (apart,) = ensemble_warnings(weighted(apart=12.0))
    assert apart.startswith("The walkers disagree about the mean path time (walker 0 by")
    assert "A few paths outweigh the others" in "".join(ensemble_warnings(weighted(memory=0.01)))


def test_what_was_seen_at_a_time_does_not_depend_on_weights():
    ensemble = weighted()
    seen = ensemble.seen(0.5)
    np.testing.assert_array_equal(seen > 0, ensemble.trials <= 30)
    np.testing.assert_array_equal(seen[seen > 0], ensemble.weights[seen > 0])
    steps = PathEnsemble(ensemble.paths[:3], np.array([2.0, 2.0, 4.0]), np.zeros(3), 0.1)
    np.testing.assert_array_equal(steps.seen(0.5), [2.0, 2.0, 0.0])


def test_errors_of_weighted_means_are_those_of_repeats():
    """Means of walkers, each with a level of its own for a while, against what the error bars say."""
    rng = np.random.default_rng(3)
    found = []
    for _ in range(200):
        walker = np.repeat(np.arange(8), 60)
        level = np.repeat(rng.normal(size=8 * 6), 10)
        values, weights = level + rng.normal(size=480), rng.lognormal(sigma=0.7, size=480)
        found.append(mean_over_paths(values, weights, walker))
    z = np.array([mean / error for mean, error in found])
    assert_within(np.mean(z**2), 1.0, np.sqrt(2.0 / len(z)) * 1.3, 4)
    naive = np.array([mean for mean, _ in found]) * np.sqrt(480.0) / np.sqrt(2.0)  # negative control: as if independent
    assert np.mean(naive**2) > 2.0


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_end(tmp_path):
    program = "from openmm_rare.cli.main import main; main()"
    options = ["--walkers", "2", "--trials", "12", "--seed", "4"]
    settings = ["method = 'points'", "scouting = 0", "start_up = 2", "wait = 20"]
    text = "\n".join(["[system]", "name = 'double_well_1d'", "[path_sampling]", *settings])
    (tmp_path / "run.toml").write_text(text)
    command = [sys.executable, "-c", program, "tps", str(tmp_path / "run.toml"), *options, "--resume", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    killed = tmp_path / "killed"
    process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not ((killed / "shots.npz").exists() and PathRecord.load(killed).cycles >= 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run([*command, str(killed)], check=True, capture_output=True, text=True)
    assert "of equal weight" in done.stdout
    assert_same_run(tmp_path / "whole", killed)
    assert (killed / "report.html").exists() and (killed / "chain-1" / "steps.db").exists()

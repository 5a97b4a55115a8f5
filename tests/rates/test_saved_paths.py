"""Paths that are saved during a rate: their weights, what they depend on, and the files that they end in."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from momenta import water, well
from test_trees import exits, rules

from openmm_rare import RateSettings
from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.directions import VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.cli.main import main
from openmm_rare.dynamics.frames import Frames
from openmm_rare.folders.saved_paths import write_saved_paths
from openmm_rare.io.tasks import Memory, Silent
from openmm_rare.parallel.executors import Here
from openmm_rare.parallel.local import Processes
from openmm_rare.rates.branching import Branching
from openmm_rare.rates.importance import ImportanceSamplingRate
from openmm_rare.rates.keeping.kept_paths import Candidates, Keep, KeptPaths
from openmm_rare.rates.keeping.past import PastTable, frames_of, longer
from openmm_rare.rates.keeping.saved_paths import SavedPaths
from openmm_rare.rates.splitting.rate import SplittingRate
from openmm_rare.rates.trees import follower
from openmm_rare.rates.trees.follower import TreeFollower
from openmm_rare.rates.trees.tree import TreeRules
from openmm_rare.report.results import read_result
from openmm_rare.states.states import Range, States
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers.machine import Machine
from stats import assert_within, mean_and_stderr

SMALL = RateSettings(flux_walkers=50, block_ps=5.0, pilot_roots=100, production_roots=400)


def along(problem, settings=SMALL, recorder=None, **options):
    direction = VariableDirection.of(problem.states, problem.states.variables.names[0], problem.starts)
    options = {"target_error": 0.3, "progress": Silent(), "recorder": recorder} | options
    return SplittingRate(problem, direction, settings, **options)


def ran(run):
    """Estimate without what speaks of wall time, and what was saved."""
    return replace(run.run(), wall_seconds=0.0, notes=()), run.saved_paths


def contents(saved):
    """Everything of saved paths, as bytes."""
    columns = [saved.weights, saved.roots, saved.exits, saved.steps, *saved.positions, *saved.log_importance]
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)


@pytest.mark.parametrize("n", [1, 3])
def test_weights_of_what_is_kept_are_unbiased(n):
    """Three rounds of trees of very different weights, each with some arrivals: any sum over arrivals, from n of them."""
    rng = np.random.default_rng(1)
    arrivals = [(root, rng.normal(0.0, 2.0), rng.random()) for root in range(12) for _ in range(1 + root % 3)]
    truth = sum(np.exp(log_weight) * value for _, log_weight, value in arrivals)
    found, naive = [], []
    for seed in range(4000):
        draws, kept = np.random.default_rng(seed), KeptPaths.none(1)
        for part in range(3):
            keep = Keep(n, whole=True, above=kept.threshold(n))
            candidates = Candidates(keep, 1, draws)
            for root, log_weight, value in arrivals:
                if root % 3 == part:
                    candidates.arrive(root, log_weight, 1, longer(None, np.full((1, 3), value)))
            kept = kept.join(candidates.kept()).top(n + 1)
        paths, weights = kept.weighted(n)
        assert len(paths) == n
        value = np.array([path[-1, 0, 0] for path in paths.frames()], dtype=float)
        found.append((weights * value).sum())
        naive.append((paths.contribution * value).sum())
    value, error = mean_and_stderr(np.array(found))
    assert_within(value, truth, error, 4)
    value, error = mean_and_stderr(np.array(naive))
    with pytest.raises(AssertionError):  # negative control: trees that are kept count for themselves alone
        assert_within(value, truth, error, 4)


def test_pasts_share_their_frames_in_tables():
    root = longer(longer(None, np.zeros((2, 3))), np.ones((2, 3)))
    one, other = longer(root, np.full((2, 3), 2.0)), longer(longer(root, np.full((2, 3), 3.0)), np.full((2, 3), 4.0))
    table = PastTable.of([one, other, None, one], 2)
    assert len(table.positions) == 5 and table.parent[0] == -1 and table.tip[2] == -1
    again = PastTable.of_record(table.record()).pasts()
    assert [None if past is None else frames_of(past)[:, 0, 0].tolist() for past in again] == [
        [0.0, 1.0, 2.0],
        [0.0, 1.0, 3.0, 4.0],
        None,
        [0.0, 1.0, 2.0],
    ]
    deep = None
    for _ in range(20_000):  # as long as paths may be
        deep = longer(deep, np.zeros((1, 3)))
    assert len(frames_of(PastTable.of([deep], 1).pasts()[0])) == 20_000


def check_paths(saved, problem, run_exits=None):
    """Paths lead from the first frame outside A to the first one in B, without jumps."""
    assert len(saved.positions) == len(saved.weights) > 0 and saved.n_trees >= len(saved.positions)
    for number, path in enumerate(saved.positions):
        status = problem.states.classify(path.astype(float))
        assert status[-1] == 2 and not status[:-1].any() and len(path) > 2
        frames = 1 + int(np.ceil(saved.steps[number] / saved.steps_per_frame))
        assert len(path) == frames == len(saved.log_importance[number])
        assert np.abs(np.diff(path[:, 0, 0])).max() < 0.45
        if run_exits is not None:
            np.testing.assert_array_equal(path[0], run_exits[saved.exits[number]])


@pytest.mark.parametrize("kind", ["momenta", "overdamped"])
def test_saving_paths_changes_no_number_and_survives_a_kill(kind, monkeypatch):
    if kind == "momenta":
        problem = well(4.0, check_interval=5)

        def made(settings, recorder):
            return along(problem, settings, recorder)

    else:
        problem = double_well_1d.build(temperature=600.0)
        quick = {"training_walkers": 100, "training_roots": 50, "stage_rounds": 2, "last_stage_rounds": 2, "updates": 20}
        quick |= {"first_stage_rounds": 2, "last_updates": 20, "min_ess": 30.0, "pilot_roots": 100, "production_roots": 200}

        def made(settings, recorder):
            settings = replace(settings, **quick, flux_walkers=100)
            return ImportanceSamplingRate(problem, settings, target_error=0.3, progress=Silent(), recorder=recorder)

    plain, nothing = ran(made(SMALL, Memory()))
    memory = Mortal(10**6)
    estimate, saved = ran(made(replace(SMALL, save_paths=4), memory))
    assert nothing is None and len(saved.positions) == 4
    assert repr(estimate) == repr(plain)
    exits_of_run = np.concatenate([record["exits"] for record in memory.load("flux")])
    check_paths(saved, problem, exits_of_run)
    assert not any("kept_root" in record or "past_tip" in record for record in memory.load("pilot"))
    broken = Mortal(memory.written - 1)
    with pytest.raises(Killed):
        made(replace(SMALL, save_paths=4), broken).run()
    assert contents(ran(made(replace(SMALL, save_paths=4), broken))[1]) == contents(saved)
    more = ran(made(replace(SMALL, save_paths=6), Memory()))[1]  # negative control, and the same paths among more
    assert contents(more) != contents(saved) and set(saved.roots) <= set(more.roots)


class Killed(Exception):
    """The process is gone."""


class Mortal(Memory):
    """Keeps what it gets, so many times."""

    def __init__(self, lives):
        super().__init__()
        self.lives, self.written = lives, 0

    def append(self, kind, data):
        super().append(kind, data)
        self.written += 1
        if self.written == self.lives:
            raise Killed

    def load(self, kind):
        return [dict(record) for record in super().load(kind)]


def kept_of(rules, executor, start, rounds=1):
    """What trees of some roots keep, the branches that are left pending followed on in further rounds."""
    trees, n = TreeFollower(rules, executor), len(start)
    batch = trees.follow(start, np.zeros(n), np.random.SeedSequence(3))
    kept = batch.kept
    for number in range(rounds - 1):
        left = {"pending": batch.pending, "pending_tops": batch.pending_tops, "pending_pasts": batch.pending_pasts}
        batch = trees.follow(start[:0], np.zeros(0), np.random.SeedSequence(4 + number), first_root=n, **left)
        kept = kept.join(batch.kept)
    return kept, batch


def columns(kept):
    return b"".join(np.ascontiguousarray(each).tobytes() for each in vars(kept).values())


def test_paths_of_trees_are_the_same_in_any_number_of_processes(monkeypatch):
    monkeypatch.setattr(follower, "_UNIT", 2)
    problem = well(3.0, check_interval=5)
    one, start = replace(rules(problem), keep=Keep(3, whole=True)), exits(16)
    here, _ = kept_of(one, Here(), start)
    with Processes(2, "Reference") as two:
        there, _ = kept_of(one, two, start)
    assert columns(here) == columns(there) and len(here) == 4
    monkeypatch.setattr(follower, "_UNIT", 16)
    assert columns(kept_of(one, Here(), start)[0]) == columns(here)
    ends, _ = kept_of(replace(one, keep=Keep(3, whole=False)), Here(), start)
    np.testing.assert_array_equal(ends.length, 1)
    last = [path[-1] for path in here.frames()]
    np.testing.assert_array_equal(ends.positions, np.array(last))


def test_branches_that_were_left_pending_know_where_they_come_from():
    problem, start = well(3.0, check_interval=5), exits(12)
    kept, batch = kept_of(replace(rules(problem, max_age=40), keep=Keep(50, whole=True)), Here(), start, rounds=40)
    assert len(batch.pending) == 0 and kept.steps.max() > 80 and len(kept) > 3
    for root, steps, path in zip(kept.root, kept.steps, kept.frames(), strict=True):
        np.testing.assert_array_equal(path[0], start.positions[root].astype(np.float32))
        assert len(path) == 1 + steps // 5 and np.abs(np.diff(path[:, 0, 0])).max() < 0.45
    shuffled = kept.positions[np.random.default_rng(0).permutation(len(kept.positions)), 0, 0]
    assert np.abs(np.diff(shuffled)).max() > 0.45  # negative control


def water_paths(n):
    """A pair of water molecules that part, among others, in a periodic box that the first of them has left."""
    problem = water(check_interval=2)
    near = States(problem.states.variables, problem.states.a, Range({"r": (0.35, 9.0)}))
    problem = replace(problem, states=near)
    direction = VariableDirection.of(problem.states, "r", problem.starts)
    importance = CalibratedImportance(direction, LevelTable([-0.03, 0.0], [-1.0, 0.0], False), 0.0, problem.timestep)
    few = TreeRules(problem, Machine("CPU"), importance, Branching(-1.0, stride=2), 4000, keep=Keep(n, whole=True))
    edge = problem.system.getDefaultPeriodicBoxVectors()[0][0]._value
    moved = np.repeat(problem.positions[None], 4, axis=0)
    moved[:, :3, 2] -= 0.02  # the first molecule, out of A
    moved[:, :3] += edge * np.array([1.0, 0.0, 0.0])
    moving = np.zeros_like(moved)
    moving[:, :3, 2] = -2.0
    kept, _ = kept_of(few, Here(), Frames(moved, moving))
    paths, weights = kept.weighted(n)
    frames = paths.frames()
    log_importance = [np.zeros(len(path)) for path in frames]
    zeros = np.zeros(len(frames), dtype=int)
    return problem, SavedPaths(
        frames, weights, weights / 4, paths.root, zeros, paths.steps, 2, log_importance, log_importance, len(frames)
    )


def test_files_of_paths_in_water_are_read_back_with_whole_molecules(tmp_path):
    mdtraj = pytest.importorskip("mdtraj")
    problem, saved = water_paths(2)
    check_water(saved, problem)
    said = write_saved_paths(tmp_path, saved, problem)
    assert said["paths"] == len(saved.positions) and said["frame_ps"] == pytest.approx(0.004)
    rows = list(csv.DictReader((tmp_path / "paths" / "paths.csv").open()))
    table = list(csv.DictReader((tmp_path / "paths" / "frames.csv").open()))
    assert [float(row["weight"]) for row in rows] == pytest.approx(saved.weights)
    for row, path, steps in zip(rows, saved.positions, saved.steps, strict=True):
        found = mdtraj.load(tmp_path / "paths" / row["file"], top=tmp_path / "paths" / "topology.pdb")
        assert found.n_frames == int(row["frames"]) == len(path) and found.unitcell_lengths is not None
        assert float(row["duration_ps"]) == pytest.approx(steps * problem.timestep)
        status = problem.states.classify(found.xyz.astype(float))
        np.testing.assert_array_equal(status, problem.states.classify(path.astype(float)))
        molecules = found.xyz.reshape(len(path), -1, 3, 3)
        assert np.linalg.norm(molecules[:, :, 1:] - molecules[:, :, :1], axis=-1).max() < 0.1
        edge = found.unitcell_lengths[0, 0]
        middle = molecules.mean(axis=2)
        assert np.abs(middle - 0.5 * edge).max() <= 0.5 * edge + 1e-4  # all in the box, the first in its middle
        np.testing.assert_allclose(middle[:, 0], 0.5 * edge, atol=1e-4)
        own = [each for each in table if each["file"] == row["file"]]
        r = problem.states.variables(path.astype(float))[:, 0]
        assert [float(each["r"]) for each in own] == pytest.approx(r, abs=1e-6)
        assert float(own[-1]["time_ps"]) == pytest.approx(float(row["duration_ps"]))
    away = saved.positions[0].reshape(len(saved.positions[0]), -1, 3, 3).mean(axis=2)  # negative control: as dynamics left it
    assert np.abs(away - away[:, :1]).max() > 0.8 * edge


def check_water(saved, problem):
    for path in saved.positions:
        status = problem.states.classify(path.astype(float))
        assert status[-1] == 2 and not status[:-1].any()


CONFIG = """
[system]
name = "langevin_well"
parameters = { barrier = 3.0 }
[sampling]
importance = "x"
target_error = 0.4
flux_walkers = 50
block_ps = 5.0
pilot_roots = 100
production_roots = 200
"""


def test_the_command_writes_paths_and_says_where(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(CONFIG)
    run = CliRunner().invoke
    done = run(main, ["rate", "my.toml", "--save-paths", "3", "--out", "o"])
    assert done.exit_code == 0, done.output
    assert "vmd paths/topology.pdb paths/path-001.dcd" in done.output
    assert sorted(path.name for path in (tmp_path / "o" / "paths").glob("*.dcd")) == [f"path-00{n}.dcd" for n in (1, 2, 3)]
    result = read_result(tmp_path / "o")
    assert result["saved_paths"]["paths"] == 3 and (tmp_path / "o" / "figures" / "saved_paths.png").is_file()
    page = (tmp_path / "o" / "report.html").read_text(encoding="utf8")
    assert "paths/topology.pdb" in page and "The saved paths" in page

    def ends():
        """Of all files; heads of trajectories say when they were written."""
        return {path.name: path.read_bytes()[-300:] for path in (tmp_path / "o" / "paths").iterdir()}

    content = ends()
    (tmp_path / "o" / "paths" / "path-002.dcd").unlink()
    refused = run(main, ["rate", "my.toml", "--save-paths", "4", "--out", "o", "--resume"])
    assert refused.exit_code == 2 and "save_paths = 4 differs from the run in o, which has 3" in refused.output
    again = run(main, ["rate", "my.toml", "--save-paths", "3", "--out", "o", "--resume"])
    assert again.exit_code == 0, again.output
    assert ends() == content
    plain = run(main, ["rate", "my.toml", "--out", "plain"])
    assert plain.exit_code == 0 and not (tmp_path / "plain" / "paths").exists()
    assert read_result(tmp_path / "plain")["rate_per_ps"] == result["rate_per_ps"]
    for method in ("brute_force", "barrier"):
        refused = run(main, ["rate", "double_well_1d", "--save-paths", "3", "--method", method, "--out", "n"])
        assert refused.exit_code == 2 and "save_paths = 3" in refused.output and not (tmp_path / "n").exists()

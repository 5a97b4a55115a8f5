"""K8: what to distrust in sampled paths is said in the terminal, in result.json and in the report, with an exit status."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("openpathsampling")

from executors import workers_here

import chain4
from openmm_rare.cli.main import main
from openmm_rare.committor.model import CommittorModel
from openmm_rare.folders.path_folder import PathRecord, doubts_of_run, load_path_sampling
from openmm_rare.folders.path_summary import path_rows, summarize_paths
from openmm_rare.folders.path_warnings import ensemble_warnings, run_warnings
from openmm_rare.mechanism.cross_fit import cross_fit
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.settings.paths import PathSettings
from openmm_rare.tps import sampler


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)


def tps(folder, *arguments, **lines):
    """The command on the small chain; without a check of the first path, so that this fault reaches the dynamics."""
    config = folder / "config.toml" if (folder / "config.toml").exists() else chain4.write(folder, **lines)
    done = CliRunner().invoke(main, ["tps", str(config), "--seed", "1", *arguments, "--out", str(folder / "run")])
    assert done.exit_code in (0, 3), done.output
    return done, json.loads((folder / "run" / "result.json").read_text()), (folder / "run" / "report.html").read_text()


def never(monkeypatch):
    """Shots end nowhere, as those of a run with too small a max_frames do."""
    original = sampler.run_chain

    def given_up(task):
        state, trials = original(task)
        lost = [replace(trial, n_a=0, n_b=0, accepted=False, path=None) for trial in trials]
        return replace(state, relaxed=False), lost

    monkeypatch.setattr(sampler, "run_chain", given_up)


def test_trials_that_are_all_given_up_are_told_everywhere(tmp_path, monkeypatch):
    """Case 28."""
    never(monkeypatch)
    done, result, page = tps(tmp_path)
    assert result["trials"] == result["unfinished"] == 10 and result["reliable"] is False
    (sentence,) = result["warnings"]
    assert "All 10 trials were given up" in sentence and "Start anew with a larger max_frames" in sentence
    assert f"Warning: {sentence}" in done.output and sentence in page and "All checks passed" not in page
    assert done.exit_code == 0 and "given up 10" in done.output
    assert tps(tmp_path, "--resume", "--strict")[0].exit_code == 3


def test_a_run_without_a_chance_stops(tmp_path, monkeypatch):
    never(monkeypatch)
    done, result, _ = tps(tmp_path, "--trials", "400", "--chains", "2")
    assert result["trials"] == 20 and "The run stopped after 10 of 400" in result["warnings"][0]
    again, told, _ = tps(tmp_path, "--trials", "400", "--chains", "2", "--resume")
    assert told == result and "continuing at trial 10 of 400 in 2 chains" in again.output


def test_a_good_run_is_called_reliable(tmp_path, monkeypatch):
    """Negative control; the page says what nobody can see, and how to go on from where the command ran."""
    done, result, page = tps(tmp_path, "--trials", "50", "--chains", "2", "--strict")
    assert done.exit_code == 0 and result["reliable"] is True and result["warnings"] == [] and "Warning" not in done.output
    assert "All checks passed" in page and "A way that no chain and no first path has taken cannot be seen here" in page
    assert f"openmm-rare analyze {tmp_path / 'run'}<" in page
    rows = dict(path_rows(result))
    assert rows["trials"] == "100 in 2 chains" and "not yet" not in rows["a true path after"]
    monkeypatch.setattr(
        "openmm_rare.workflow.analysis.cross_fit", lambda *given: cross_fit(*given[:4], given[4][:1], *given[5:])
    )
    options = ["--configurations", "2", "--fresh-shots", "4", "--formula-inputs", "0"]
    few = CliRunner().invoke(main, ["analyze", str(tmp_path / "run"), *options, "--strict", "--trust"])
    assert few.exit_code == 3, few.output
    found = json.loads((tmp_path / "run" / "mechanism" / "analysis.json").read_text())
    assert found["reliable"] is False and found["calibration"]["slope_stderr"] is None
    assert "tested at 2 configurations, 5 at least" in few.output and "unknown: 2 configurations" in few.output
    assert found["paths"]["mean_time_stderr"] == result["mean_path_time_ps_stderr"]
    assert not any("nan" in line for line in few.output.split("report:")[0].lower().split())


def test_a_short_run_says_that_it_is_short(tmp_path):
    done, result, page = tps(tmp_path, "--trials", "12", "--strict")
    assert done.exit_code == 3 and result["trials"] == 12 and len(result["warnings"]) == 1
    assert any(word in result["warnings"][0] for word in ("Only", "No path")) and result["warnings"][0] in page


def test_a_run_says_where_it_resumes(tmp_path):
    begun, _, _ = tps(tmp_path, "--trials", "3", "--resume")
    assert f"no run in {tmp_path / 'run'} to continue: a new one begins" in begun.output
    longer, result, _ = tps(tmp_path, "--trials", "7", "--resume")
    assert "continuing at trial 3 of 7 in 1 chain" in longer.output and result["trials"] == 7
    same, _, _ = tps(tmp_path, "--trials", "7", "--resume")
    assert "nothing left to do: 7 trials in 1 chain are there already" in same.output
    fewer, result, _ = tps(tmp_path, "--trials", "2", "--resume")
    assert "nothing left to do: 7 trials" in fewer.output and result["trials"] == 7
    assert not result["notes"]
    other, result, _ = tps(tmp_path, "--trials", "7", "--resume", "--initial-path", "hot")
    assert "Note: The run in " in other.output and "'hot' is not read any more." in result["notes"][0]


MODEL = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (2,))


def fabricated(n=200, n_chains=2, seed=1, **columns):
    """A run in which nothing is wrong, apart from the columns given; each chain has a path of its own first."""
    rng, record = np.random.default_rng(seed), PathRecord(states=[{"relaxed": np.array(True)}] * n_chains)
    shape = (n, n_chains)
    connects = rng.random(shape) < 0.45
    n_a = np.where(connects, 1, rng.choice([0, 2], shape))
    given = {
        "expected": np.full(shape, 0.45),
        "accepted": connects & (rng.random(shape) < 0.8),
        "relaxed": np.ones(shape, bool),
    }
    alike = {"n_frames": np.full(shape, 40), "weight": np.ones(shape), "moved": np.full(shape, np.nan)}
    table = {"n_a": n_a, "n_b": 2 - n_a, **alike, **given, **columns}
    for chain in range(n_chains):
        for cycle in range(n):
            row = {name: np.asarray(value)[cycle, chain] for name, value in table.items()} | {
                "chain": chain,
                "cycle": cycle + 1,
            }
            for name in record.trials:
                record.trials[name].append(row[name])
    chains, cycles = record.table("chain"), record.table("cycle")
    kept = record.table("accepted")
    lengths = 20 + rng.integers(0, 30, kept.sum())
    weights = np.concatenate([np.diff(np.append(cycles[kept & (chains == each)], n + 1)) for each in range(n_chains)])
    return record, PathEnsemble([np.zeros((each, 1, 3)) for each in lengths], weights, chains[kept], 0.1)


def told(record, ensemble, settings=None, inertial=False):
    return summarize_paths(record, ensemble, MODEL, settings or PathSettings(), inertial)["warnings"]


def test_nothing_is_said_of_a_run_in_which_nothing_is_wrong():
    for seed in range(10):
        assert told(*fabricated(seed=seed)) == []


def lengthened(ensemble, chosen):
    """The same paths, some of them twice as long."""
    paths = [np.repeat(path, 2, axis=0) if long else path for path, long in zip(ensemble.paths, chosen, strict=True)]
    return replace(ensemble, paths=paths)


def half(shape, first, second):
    """A table that changes in the middle of the run."""
    return np.repeat([[first], [second]], [shape[0] // 2, shape[0] - shape[0] // 2], axis=0) * np.ones(shape)


SHAPE = (200, 2)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"n_a": np.full(SHAPE, 2), "n_b": np.zeros(SHAPE, int)}, "All shots of 400 trials ended in A, none in B"),
        ({"n_b": np.full(SHAPE, 2), "n_a": np.zeros(SHAPE, int)}, "All shots of 400 trials ended in B, none in A"),
        ({"n_a": np.tile([[2], [0]], (100, 2)), "n_b": np.tile([[0], [2]], (100, 2))}, "None of the 400 trials"),
        ({"expected": np.full(SHAPE, 0.1)}, "transition paths each where the committor expected 0.10"),
        ({"expected": np.full(SHAPE, np.nan)}, "gave NaN at shooting points"),
        ({"relaxed": np.zeros(SHAPE, bool)}, "No path that started from one of the dynamics was accepted"),
        ({"accepted": np.arange(400).reshape(SHAPE) < 4}, "Only 4 paths were accepted"),
        (
            {"n_a": half(SHAPE, 1, 0).astype(int), "n_b": half(SHAPE, 1, 0).astype(int)},
            "200 of 400 trials (50 %) were given up",
        ),
    ],
)
def test_faults_of_trials_are_told(columns, sentence):
    warnings = told(*fabricated(**columns))
    assert any(sentence in each for each in warnings), warnings


def test_momenta_make_more_paths_than_a_committor_of_positions_expects():
    """Shots in opposite directions from one place are not independent: only too few paths speak against the committor."""
    more, fewer = (fabricated(expected=np.full(SHAPE, value)) for value in (0.2, 0.9))
    assert told(*more) and told(*fewer, inertial=True) and not told(*more, inertial=True)


def test_a_committor_is_judged_by_the_latest_trials():
    assert not told(*fabricated(expected=half(SHAPE, 0.1, 0.45)))  # it has learned since
    assert told(*fabricated(expected=half(SHAPE, 0.45, 0.1)))


def test_paths_that_disagree_are_told():
    _, ensemble = fabricated()
    assert ensemble_warnings(ensemble) == []
    apart = lengthened(ensemble, ensemble.chains == 1)
    assert any("The chains disagree about the mean path time" in each for each in ensemble_warnings(apart))
    position = np.concatenate([np.arange((ensemble.chains == each).sum()) for each in (0, 1)])
    drifting = lengthened(ensemble, position > 40)
    assert any("The mean path time drifts" in each for each in ensemble_warnings(drifting))
    alike = lengthened(PathEnsemble([np.zeros((20, 1, 3))] * 80, np.ones(80), np.zeros(80), 0.1), np.arange(80) // 25 == 1)
    assert any("remember each other so long" in each for each in ensemble_warnings(alike))
    heavy = replace(ensemble, weights=np.where(np.arange(len(ensemble.paths)) == 5, 1e4, ensemble.weights))
    assert any("count as about 1 independent" in each for each in ensemble_warnings(heavy))
    coarse = replace(ensemble, paths=[path[: 3 + index % 2] for index, path in enumerate(ensemble.paths)])
    assert any("1.5 frames between the states" in each for each in ensemble_warnings(coarse))
    broken = replace(ensemble, paths=[path + np.nan for path in ensemble.paths])
    assert any("NaN" in each for each in ensemble_warnings(broken))


def test_a_few_trials_given_up_are_no_fault():
    record, ensemble = fabricated()
    for row in range(4):
        record.trials["n_a"][row] = record.trials["n_b"][row] = 0
    assert told(record, ensemble) == []
    record.trials["n_a"][4] = record.trials["n_b"][4] = 0
    assert "5 of 400 trials (1 %) were given up" in told(record, ensemble)[0]


def test_an_error_that_nobody_knows_is_told():
    record, ensemble = fabricated()
    result = summarize_paths(record, ensemble, MODEL, PathSettings())
    blind = result | {"yield_stderr": float("nan"), "acceptance_stderr": 0.0}
    (sentence,) = run_warnings(record, blind, ensemble, PathSettings(), False)
    assert sentence.startswith("The error of the yield and of the acceptance is not known")


def test_a_run_of_an_earlier_version_is_read(tmp_path):
    """Version 0.1.0 counted rounds in shots.npz, and knew no sentences and no digests."""
    tps(tmp_path, "--trials", "10")
    result = tmp_path / "run" / "result.json"
    assert doubts_of_run(tmp_path / "run") == json.loads(result.read_text())["warnings"] != []
    record = tmp_path / "run" / "shots.npz"
    with np.load(record) as archive:
        arrays = {name: archive[name] for name in archive.files if name not in ("run", "digests", "models")}
    np.savez(record, rounds=np.array(2), **arrays)
    result.write_text(json.dumps({"trials": 10}))
    assert doubts_of_run(tmp_path / "run") is None
    assert PathRecord.load(tmp_path / "run").cycles == 10 and len(load_path_sampling(tmp_path / "run", trust=True)[2])
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    assert tps(tmp_path, "--trials", "15", "--resume")[1]["trials"] == 15

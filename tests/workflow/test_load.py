"""Runs as arrays: they say what the result says, and what is damaged is refused."""

import json
import shutil
import tarfile
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from openmm_rare.workflow.load import PathRun, RateRun, load_run

ARCHIVE = Path(__file__).parents[1] / "data" / "before_the_move.tar.xz"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A rate and a run of path sampling."""
    folder = tmp_path_factory.mktemp("runs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def copy(runs, tmp_path):
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def test_arrays_of_a_rate_give_its_numbers(runs):
    run = load_run(runs / "rate")
    estimate = run.estimate
    assert isinstance(run, RateRun) and run.config.system.name == "double_well_1d" and run.transitions.size == 0
    assert run.exit_weights.sum() / run.time_ps.sum() == pytest.approx(estimate.flux_per_ps)
    assert len(run.exits) == len(run.exit_walkers) == len(run.exit_weights) == estimate.n_exits
    assert run.exits.shape[1:] == (1, 3) and run.exit_walkers.max() < run.time_ps.shape[1]
    n_roots = len(run.roots)
    assert n_roots == estimate.n_roots == len(run.start_weights) == len(run.contributions) == len(run.returned)
    assert (run.contributions + run.returned).sum() / run.start_weights.sum() == pytest.approx(estimate.mean_weight, abs=1e-3)
    assert run.channel_contributions.sum() == pytest.approx(run.contributions.sum())
    assert np.exp(run.log_weights.astype(float)).sum() == pytest.approx(run.contributions.sum(), rel=1e-4)
    assert run.variables == ("x",) and len(run.paths) == len(run.path_log_importance) > 20
    assert all(
        len(path) == len(log) and path.shape[1] == 1 for path, log in zip(run.paths, run.path_log_importance, strict=True)
    )
    assert all(path[-1, 0] > 0.0 > path[0, 0] for path in run.paths)
    assert run.training["temperature_k"][-1] == 900.0 and len(run.training["heldout_loss"]) == 10
    with pytest.raises(FrozenInstanceError):
        run.exits = None


def test_arrays_of_path_sampling_give_its_numbers(runs):
    run = load_run(runs / "tps")
    assert isinstance(run, PathRun) and len(run.trials["chain"]) == run.result["trials"] == 30
    counted = run.trials["relaxed"]
    connects = ((run.trials["n_a"] > 0) & (run.trials["n_b"] > 0))[counted]
    assert connects.mean() == pytest.approx(run.result["yield"])
    assert run.shooting_points.shape == (len(run.reached), 1, 3) and run.reached.sum() == 2 * len(run.reached)
    assert run.ensemble.mean_time()[0] == pytest.approx(run.result["mean_path_time_ps"])


def test_a_run_that_is_not_finished_is_loaded_without_its_result(copy):
    for name in ("rate", "tps"):
        (copy / name / "result.json").unlink()
    assert load_run(copy / "rate").estimate is None and load_run(copy / "tps").result == {}


def test_counted_transitions_give_their_rate(tmp_path):
    from openmm_rare.cli.main import main

    words = "rate double_well_1d --temperature".split()
    main([*words, "1200 K", "--brute-force", "--target-error", "0.2", "--out", str(tmp_path)], standalone_mode=False)
    run = load_run(tmp_path)
    later = int(np.ceil(0.2 * len(run.transitions)))
    rate = run.transitions[later:].sum() / run.time_ps[later:].sum()
    assert rate == pytest.approx(run.estimate.rate_per_ps) and run.estimate.method == "brute_force" and not len(run.roots)


@pytest.mark.parametrize("name", ["rate/run.nc", "rate/result.json", "rate/config.toml", "tps/shots.npz", "tps/result.json"])
def test_what_is_damaged_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ValueError, match=Path(name).name.replace(".", r"\.")):
        load_run(copy / Path(name).parent)


def test_what_is_of_another_run_is_refused(copy):
    path = copy / "rate" / "result.json"
    other = json.loads(path.read_text()) | {"run": "another"}
    del other["checksum"]
    path.write_text(json.dumps(other))
    with pytest.raises(ValueError, match="another run"):
        load_run(copy / "rate")


def test_what_is_no_single_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run folder"):
        load_run(tmp_path)
    (tmp_path / "scan.json").write_text("{}")
    with pytest.raises(ValueError, match="several temperatures"):
        load_run(tmp_path)

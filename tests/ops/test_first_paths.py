"""First paths found independently for each chain, and what runs say about ways that their chains do not share."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from executors import Here, workers_here

from openmm_rare import Silent
from openmm_rare.cli.main import main
from openmm_rare.config.run import SamplingConfig, build_system, load_config, parse_config
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.folders.path_files import read_first_paths
from openmm_rare.folders.path_folder import PathRecord, doubts_of_run, initial_paths_of, with_path_settings
from openmm_rare.io.tasks import Noting
from openmm_rare.paths.inputs import PathInputs
from openmm_rare.settings.paths import PathSettings
from openmm_rare.tps import sampler
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.first_paths import first_paths
from openmm_rare.workflow.path_sampling import run_path_sampling

CONFIG = Path(__file__).parents[2] / "examples" / "validation" / "two_channels_inertial.toml"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)


@pytest.fixture(scope="module")
def config():
    return load_config(CONFIG)


@pytest.fixture(scope="module")
def system(config):
    return build_system(config)


def upper(path):
    """Whether a path from A to B first crosses x = 0 above the hill."""
    return bool(path[np.argmax(path[:, 0, 0] > 0.0), 0, 1] > 0.1)


def line(y):
    """A path by one of the ways."""
    share = np.linspace(0.0, 1.0, 40)
    return np.stack([-1.0 + 2.0 * share, y * np.sin(np.pi * share), np.zeros(40)], axis=1)[:, None]


def found(system, n=2, seed=1, **settings):
    inputs = PathInputs(system, build_descriptor(system.descriptor_spec(), 1))
    problem, progress = PathProblem(system, PathSettings(**settings), "Reference"), Noting(Silent())
    return first_paths(problem, n, seed, progress, Here(), inputs), progress.notes


def test_both_ways_are_found_from_any_seed(system):
    """What a chain would not find by itself, with a negative control: without looking, all begin with lines."""
    both, apart = 0, 0
    for seed in range(1, 6):
        first, notes = found(system, seed=seed)
        both += len({upper(path.positions) for path in first.found}) == 2
        apart += upper(first.starts[0].positions) != upper(first.starts[1].positions)
        assert "Chain 1 starts from another path than those before it" in notes[0]
        assert all((system.states.classify(path.positions[[0, -1]]) == [1, 2]).all() for path in first.found)
    assert both >= 4 and apart >= 3
    blind, notes = found(system, scouting=0)
    assert not blind.found and not notes and len(blind.starts) == 2
    assert np.ptp([path.positions[:, 0, 0] for path in blind.starts], axis=0).max() < 1e-12  # x of lines, y of other seeds
    assert np.ptp([path.positions[:, 0, 1] for path in blind.starts], axis=0).max() > 0.01


def test_first_paths_depend_on_the_seed_alone(system):
    one, same, other = (found(system, seed=seed, scouting=8)[0] for seed in (3, 3, 4))
    for a, b in zip(one.starts + one.found, same.starts + same.found, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
    assert not np.array_equal(one.starts[0].positions, other.starts[0].positions)


def test_files_go_to_the_chains_in_turn(system, tmp_path):
    names = []
    for y in (0.9, -0.6):
        names.append(str(tmp_path / f"{y}.npz"))
        np.savez(names[-1], positions=line(y))
    for n, expected in ((1, [True]), (2, [True, False]), (3, [True, False, True])):
        first, _ = found(system, n, initial_path=tuple(names), scouting=0)
        assert [upper(path.positions) for path in first.starts] == expected
    first, _ = found(system, 1, initial_path=tuple(names))  # that which no chain takes is relaxed and compared
    assert len(first.starts) == 1 and {upper(path.positions) for path in first.found} == {True, False}


def test_several_first_paths_are_written_and_read(config, tmp_path):
    several = with_path_settings(config, initial_path=["hot", "some/file.npz"])
    assert initial_paths_of(several) == ("hot", str(Path.cwd() / "some" / "file.npz"))
    assert parse_config(several.to_toml(tmp_path), tmp_path) == several
    assert 'initial_path = "line"' in with_path_settings(config, initial_path="line").to_toml()
    with pytest.raises(ValueError, match=r"initial_path = \[\] must name something"):
        PathSettings(initial_path=())
    with pytest.raises(ValueError, match="path_sampling.initial_path = 3 must be text"):
        parse_config(config.to_toml() + "[path_sampling]\ninitial_path = 3\n", CONFIG.parent)


@pytest.fixture(scope="module")
def divided(tmp_path_factory):
    """Two chains, each with a first path by a way of its own, by the command."""
    place = tmp_path_factory.mktemp("divided")
    for name, y in (("upper", 0.9), ("lower", -0.6)):
        np.savez(place / f"{name}.npz", positions=line(y))
    named = place / "config.toml"
    own = CONFIG.read_text().replace("two_channels_inertial:", "two_channels_of_chains:")  # tests before have the other one
    named.write_text(own + "[path_sampling]\nscouting = 10\nstorage = false\n")
    (place / "two_channels_of_chains.py").write_text(CONFIG.with_suffix(".py").read_text())
    options = ["--trials", "70", "--chains", "2", "--initial-path", str(place / "upper.npz"), "--initial-path"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampler, "Processes", workers_here)
        out = ["--out", str(place / "out")]
        done = CliRunner().invoke(main, ["tps", str(named), *options, str(place / "lower.npz"), *out, "--strict"])
    return place / "out", done


def test_terminal_result_and_report_say_that_chains_disagree(divided):
    out, done = divided
    assert done.exit_code in (0, 3), done.output
    result = json.loads((out / "result.json").read_text())
    (sentence,) = [each for each in result["warnings"] if "The chains disagree about where paths pass" in each]
    assert re.search(r"y there is .* nm in chain 0, -.* nm in chain 1", sentence) and not result["reliable"]
    assert done.exit_code == 3 and f"Warning: {sentence}" in done.output
    page = (out / "report.html").read_text()
    assert "The chains disagree about where paths pass" in page and "All checks passed" not in page
    assert sentence in doubts_of_run(out)  # which is what analyze says
    assert len(load_config(out / "config.toml").path_sampling.initial_path) == 2


def test_a_run_that_looks_around_resumes_as_if_it_had_not_stopped(config, tmp_path):
    config = replace(config, sampling=SamplingConfig(seed=2))
    config = with_path_settings(config, storage=False, scouting=8, chains=2, trials=10)
    run_path_sampling(config, tmp_path / "whole")
    run_path_sampling(with_path_settings(config, trials=5), tmp_path / "cut")
    run_path_sampling(config, tmp_path / "cut", resume=True)
    whole, cut = (np.load(tmp_path / name / "shots.npz") for name in ("whole", "cut"))
    for name in set(whole.files) - {"models"}:
        np.testing.assert_array_equal(whole[name], cut[name], err_msg=name)
    assert json.loads(str(whole["models"]))[-1] == json.loads(str(cut["models"]))[-1]  # before it, the end of the first half
    folders = tmp_path / "whole", tmp_path / "cut"
    for a, b in zip(*(read_first_paths(each, PathRecord.load(each).digests) for each in folders), strict=True):
        np.testing.assert_array_equal(a, b)
    assert read_first_paths(tmp_path / "whole", {})

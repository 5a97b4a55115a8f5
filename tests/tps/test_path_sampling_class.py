"""Path sampling from a script: the same as the command, to the bit, with a folder or without."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("openpathsampling")

from executors import workers_here

from openmm_rare.committor.load import load_committor
from openmm_rare.config.run import SamplingConfig
from openmm_rare.folders.path_folder import read_path_ensemble, with_path_settings
from openmm_rare.io.tasks import Silent
from openmm_rare.paths.direct_committor import direct_committor
from openmm_rare.report import paths
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import build
from openmm_rare.tps import sampler
from openmm_rare.tps.path_sampling import PathSampling
from openmm_rare.workflow.load import load_run
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)
    monkeypatch.setattr(paths, "write_path_report", lambda *about: None)


def sample(problem, seed=1, folder=None, **options):
    settings = PathSettings(**({"storage": False, "trials": 20, "threads": 1} | options))
    return PathSampling(problem, settings, seed=seed, progress=Silent(), folder=folder).run()


def arrays_of(found):
    shots = found.shots.arrays()
    return [*(shots[name] for name in sorted(shots)), *found.ensemble.paths, found.ensemble.weights]


def assert_same(one, other):
    for mine, theirs in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for name, value in one.model.tensors().items():
        np.testing.assert_array_equal(value, other.model.tensors()[name])


@pytest.mark.parametrize("method", ["chains", "points"])
def test_a_script_gets_what_the_command_gets(tmp_path, method):
    options = {"method": method} | ({"walkers": 2, "start_up": 2} if method == "points" else {})
    name, problem = "double_well_1d", build("double_well_1d")
    config = replace(configuration(name), sampling=SamplingConfig(seed=3))
    config = with_path_settings(config, storage=False, trials=40, threads=1, **options)
    command = run_path_sampling(config, tmp_path / "command", progress=Silent())
    found = sample(problem, 3, tmp_path / "script", trials=40, **options)
    without = sample(problem, 3, trials=40, **options)
    assert str(found.result) == str(without.result) == str(command)  # NaN is not equal to itself
    assert_same(found, without)
    run = load_run(tmp_path / "command")
    np.testing.assert_array_equal(run.shooting_points, found.shots.arrays()["positions"])
    for mine, theirs in zip(run.ensemble.paths, found.ensemble.paths, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    stored = [load_committor(tmp_path / each / "model.npz").tensors() for each in ("command", "script")]
    assert all(np.array_equal(stored[0][key], found.model.tensors()[key]) for key in stored[0])
    assert sorted(each.name for each in (tmp_path / "script").iterdir()) == sorted(
        each.name for each in (tmp_path / "command").iterdir()
    )
    with pytest.raises(AssertionError):  # negative control
        assert_same(found, sample(problem, 4, trials=40, **options))


def test_a_script_goes_on_where_its_folder_stands(tmp_path):
    problem = build("jung_42d")
    whole = sample(problem, trials=15, folder=tmp_path / "whole")
    sample(problem, trials=5, folder=tmp_path / "run")
    assert_same(whole, sample(problem, trials=15, folder=tmp_path / "run"))
    with pytest.raises(ValueError, match="seed = 2 differs from the run in .*, which has 1"):
        sample(problem, 2, tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already"):
        PathSampling(problem, PathSettings(), progress=Silent(), folder=tmp_path / "run", resume=False).run()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("hello")
    with pytest.raises(ValueError, match="is not empty and holds no run"):
        sample(problem, folder=tmp_path / "mine")


def test_a_problem_of_ones_own_needs_no_configuration(tmp_path):
    problem = replace(build("double_well_1d"), name="mine")
    found = sample(problem, trials=30, folder=tmp_path / "run")
    assert found.result["system"] == "mine" and found.ensemble is not None
    assert json.loads((tmp_path / "run" / "result.json").read_text())["trials"] == 30
    assert len(read_path_ensemble(tmp_path / "run").paths) == len(found.ensemble.paths)
    again = PathSampling(problem, PathSettings(storage=False, trials=5), model=found.model, progress=Silent())
    assert again.run().result["trials"] == 5  # from what it knows
    with pytest.raises(ValueError, match="was trained for another system, other states or other dynamics"):
        PathSampling(build("double_well_1d", barrier=30.0), model=found.model)
    with pytest.raises(ValueError, match="platform"):
        PathSampling(problem, machine="Abacus")
    middle = found.shots.arrays()["positions"][:1]
    assert direct_committor(problem, middle, 2, seed=1)[0].shape == (1,)

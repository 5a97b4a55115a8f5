"""States are tested at an interval that belongs to their definition: of paths, of their committor, and of a rate alike."""

import json

import numpy as np
import pytest

from openmm_rare import CommittorEnsemble, CommittorModel, ImportanceSamplingRate, MultiStateModel
from openmm_rare.committor.fitting import as_tested_for, labelled, require_fitting
from openmm_rare.committor.load import load_committor
from openmm_rare.io.tasks import Silent
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import build
from openmm_rare.tps.chains.task import PathProblem

NAME = "double_well_1d"


def model_of(problem, kind=CommittorModel, **options):
    about = (problem.descriptor_spec(), len(problem.positions))
    label = {"temperature": problem.temperature, "fingerprint": problem.fingerprint(), "check_interval": problem.check_interval}
    return kind(*about, hidden=(4,), **label | options)


def path_sampling(problem, **options):
    pytest.importorskip("openpathsampling")
    from openmm_rare.tps.path_sampling import PathSampling

    model, folder = options.pop("model", None), options.pop("folder", None)
    settings = PathSettings(**({"storage": False, "trials": 5, "threads": 1} | options))
    return PathSampling(problem, settings, model=model, progress=Silent(), folder=folder)


def test_paths_are_tested_at_their_frames_and_so_is_their_committor(tmp_path):
    sampling = path_sampling(build(NAME), folder=tmp_path / "run")
    model = sampling.run().model
    assert (model.check_interval, sampling.problem.check_interval, build(NAME).check_interval) == (10, 10, 1)
    assert model.fingerprint == build(NAME).with_check_interval(10).fingerprint() != build(NAME).fingerprint()
    saved = load_committor(tmp_path / "run" / "model.npz")
    assert (saved.check_interval, saved.fingerprint) == (10, model.fingerprint)
    text = (tmp_path / "run" / "config.toml").read_text()
    assert "check_interval = 10\n" in text and "steps_per_frame = 10\n" in text
    sentence = (
        r"the model knows A and B as tested every 10 steps, but here they are tested every step, .* for a rate set "
        r"check_interval = 10 in \[system\], .*; for paths set steps_per_frame = 10"
    )
    with pytest.raises(ValueError, match=sentence) as refused:
        ImportanceSamplingRate(build(NAME), model=model)
    assert "\n" not in str(refused.value)
    ImportanceSamplingRate(build(NAME).with_check_interval(10), model=model)
    path_sampling(build(NAME), model=model)


def test_a_folder_of_paths_gives_back_the_problem_that_was_sampled(tmp_path):
    path_sampling(build(NAME), folder=tmp_path / "run", trials=30, steps_per_frame=7).run()
    from openmm_rare.folders.path_folder import load_path_sampling

    system, model, _, _ = load_path_sampling(tmp_path / "run")
    assert system.check_interval == 7 and model.fingerprint == system.fingerprint()


def test_a_model_of_a_rate_is_no_start_for_paths_with_other_frames():
    model = model_of(build(NAME))
    with pytest.raises(ValueError, match="tested every step, but here they are tested every 10 steps, .*steps_per_frame = 1"):
        path_sampling(build(NAME), model=model)
    path_sampling(build(NAME), model=model, steps_per_frame=1)


def test_models_that_do_not_say_are_told_by_their_fingerprint():
    old, problem = model_of(build(NAME), check_interval=None), build(NAME)
    require_fitting(old, problem)
    assert as_tested_for(problem, old) is problem
    sampling = path_sampling(problem, model=old)
    assert sampling.run().model.check_interval == 10 and old.check_interval is None
    with pytest.raises(ValueError, match="was trained for another system, other states or other dynamics"):
        require_fitting(old, problem.with_check_interval(10))  # negative control
    made = labelled(CommittorEnsemble([old, model_of(problem, check_interval=None)]), problem)
    assert made.check_interval == 1 and made.fingerprint == problem.fingerprint()


def test_frames_follow_the_system_unless_they_are_given():
    problem = build(NAME)
    for interval, given, expected in ((1, 0, 10), (5, 0, 5), (1, 3, 3), (5, 3, 3)):
        sampled = PathProblem(problem.with_check_interval(interval), PathSettings(steps_per_frame=given), "Reference")
        assert (sampled.settings.steps_per_frame, sampled.system.check_interval) == (expected, expected)
    assert PathProblem(problem.with_check_interval(5), PathSettings(), "Reference").system.check_interval == 5
    notes = path_sampling(problem.with_check_interval(5), steps_per_frame=20).notes
    assert "A and B are tested at frames, every 20 steps, and not every 5, the check_interval of double_well_1d." in notes
    assert not any("at frames" in note for note in path_sampling(problem, steps_per_frame=20).notes)
    with pytest.raises(ValueError, match="steps_per_frame = -1 must be at least 0"):
        PathSettings(steps_per_frame=-1)


@pytest.mark.parametrize("kind", ["model", "ensemble", "multi"])
def test_every_kind_of_model_keeps_it(tmp_path, kind):
    problem = build(NAME).with_check_interval(6)
    made = {
        "model": lambda: model_of(problem),
        "ensemble": lambda: CommittorEnsemble([model_of(problem), model_of(problem)]),
        "multi": lambda: model_of(problem, MultiStateModel, state_names=("A", "B")),
    }[kind]()
    made.save(tmp_path / "model.npz")
    again = load_committor(tmp_path / "model.npz")
    assert again.check_interval == made.check_interval == 6
    other = problem.with_check_interval(1)
    with pytest.raises(ValueError, match="model.npz knows A and B as tested every 6 steps, but here .* tested every step"):
        require_fitting(again, other, tmp_path / "model.npz")
    require_fitting(again, as_tested_for(other, again))


@pytest.mark.parametrize("value", [0, -3, 2.5, "10", True])
def test_an_interval_that_is_none_is_refused(tmp_path, value):
    model = model_of(build(NAME))
    arrays = {"metadata": np.array(json.dumps(model.metadata() | {"check_interval": value})), **model.tensors()}
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(ValueError, match="check_interval = .* is no number of steps"):
        load_committor(tmp_path / "model.npz")

"""`openmm-rare action`: from a configuration to a checked step and a sample, what it refuses, and how it goes on."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from openmm_rare.action.checking.map_check import MapRow, check_map
from openmm_rare.cli.main import main
from openmm_rare.config.run import load_config, parse_config
from openmm_rare.errors import InputError
from openmm_rare.report.action import training_doubts, training_rows
from openmm_rare.workflow.action import open_action

CONFIG = """
[system]
name = "double_well_1d"

[action]
stride = 8
samples = 60
features = "coordinates"
direct_steps = 60
trajectories = 6
duration = "20 ps"
"""


def run(*arguments):
    return CliRunner().invoke(main, ["action", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("action")
    (folder / "config.toml").write_text(CONFIG)
    done = run("train", folder / "config.toml", "--out", folder / "out")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained / "out", tmp_path / "out")
    return tmp_path / "out"


def test_training_leaves_an_action_and_says_how_good_it_is(trained):
    said = json.loads((trained / "out" / "training.json").read_text())
    assert said["own"] < 0.05 and said["timestep_ps"] == pytest.approx(8 * said["fine_timestep_ps"])
    again = open_action(trained / "out")
    assert again.action.timestep == said["timestep_ps"] and again.settings.samples == 60
    assert load_config(trained / "out" / "config.toml").action == again.settings


def test_what_is_said_to_come_next_runs(tmp_path):
    """With --trust, where the System is made by code that does not lie in the folder of the run."""
    (tmp_path / "wells.py").write_text("from openmm_rare.systems.double_well_1d import build\n")
    (tmp_path / "config.toml").write_text(CONFIG.replace('name = "double_well_1d"', 'builder = "wells:build"'))
    done = run("train", tmp_path / "config.toml", "--out", tmp_path / "out")
    (following,) = re.findall("next: openmm-rare action (.*)", done.output)
    assert following.endswith("out --trust") and "give --trust" in run("check", tmp_path / "out").output
    assert run(*following.split()).exit_code == 0


def test_a_check_compares_and_writes_a_page(folder):
    done = run("check", folder, "--strict")
    assert done.exit_code == 0, done.output
    for method in ("fine Verlet", "Verlet, long step", "direct predictor", "learned action"):
        assert method in done.output
    rows = {
        name: MapRow.of_dict(row) for name, row in json.loads((folder / "check.json").read_text()).items() if name != "checksum"
    }
    assert rows["action"].course.rms < 0.3 * rows["verlet"].course.rms
    assert rows["action"].irreversibility < 1e-3 < rows["direct"].irreversibility
    assert rows["action"].lack_of_symplecticity < 1e-5 and rows["action"].acceptance > 0.99
    page = (folder / "report.html").read_text()
    assert "Experimental" in page and page.count("data:image/png;base64,") == 2
    assert (folder / "figures" / "energy.png").is_file() and (folder / "figures" / "temperatures.png").is_file()


def test_a_check_that_was_killed_goes_on(folder):
    run("check", folder)
    before = json.loads((folder / "check.json").read_text())
    text = (folder / "check.json").read_text()
    assert re.search("learned|action", text)
    again = run("check", folder)
    assert again.exit_code == 0 and "check of" not in again.output
    assert json.loads((folder / "check.json").read_text()) == before


def test_samples_are_those_of_the_double_well_and_a_run_goes_on_where_it_was_killed(folder):
    options = ("--steps", 300, "--every", 5, "--seed", 4)
    whole = run("run", folder, *options)
    assert whole.exit_code == 0 and "exact" in whole.output, whole.output
    frames = np.load(folder / "run" / "frames.npz")
    assert frames["positions"].shape == (60, 1, 3) and (frames["positions"][:, 0, 1:] == 0.0).all()
    found = json.loads((folder / "run" / "run.json").read_text())
    assert found["accepted"] > 0.95 * found["steps"] and found["failed"] == 0
    shutil.rmtree(folder / "run")
    run("run", folder, *options)
    again = np.load(folder / "run" / "frames.npz")
    np.testing.assert_array_equal(frames["positions"], again["positions"])
    assert "holds a run already" in run("run", folder, *options).output
    assert "holds another run than this" in run("run", folder, "--steps", 10, "--resume").output


def test_a_run_that_was_killed_continues_bit_for_bit(folder, monkeypatch):
    options = ("--steps", 300, "--every", 5, "--seed", 4)
    run("run", folder, *options)
    whole = np.load(folder / "run" / "frames.npz")["positions"]
    shutil.rmtree(folder / "run")
    from openmm_rare.workflow import action_run

    append, calls = action_run.RunFile.append, []

    def killed(self, kind, data):
        append(self, kind, data)
        calls.append(kind)
        if len(calls) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(action_run.RunFile, "append", killed)
    stopped = run("run", folder, *options)
    assert stopped.exit_code == 130 and "continue with --resume" in stopped.output
    monkeypatch.undo()
    assert run("run", folder, *options, "--resume").exit_code == 0
    np.testing.assert_array_equal(np.load(folder / "run" / "frames.npz")["positions"], whole)


def test_a_run_that_hardly_moves_does_not_pass_for_equilibrium(trained, tmp_path):
    """Steps of many periods, of which few are accepted."""
    out = tmp_path / "out"
    text = CONFIG.replace("stride = 8", "stride = 200").replace("samples = 60", "samples = 12")
    (tmp_path / "config.toml").write_text(text)
    assert run("train", tmp_path / "config.toml", "--out", out).exit_code == 0
    done = run("run", out, "--steps", 20, "--every", 5)
    assert done.exit_code == 0 and "of 20 steps were accepted" in done.output and "exact in a long run only" in done.output
    (sentence,) = json.loads((out / "run" / "run.json").read_text())["warnings"]
    assert "smaller --stride" in sentence


def test_no_other_command_takes_over_the_folder_of_an_action(folder):
    for command in (["latent", "fit"], ["rate"], ["tps"], ["scan", "--temperature", "300 K"]):
        done = CliRunner().invoke(main, [*command, "double_well_1d", "--out", str(folder), "--resume"])
        assert done.exit_code == 2 and "holds a learned action" in done.output, done.output
    assert open_action(folder).settings.samples == 60


def test_an_action_that_has_learned_nothing_is_warned_of(trained):
    said = json.loads((trained / "out" / "training.json").read_text())
    assert not training_doubts(said) and "value of the action" in str(training_rows(said))
    few = said | {"own": 3e7, "value": float("nan")}  # a single stretch that was not seen has no spread
    assert "it has learned nothing" in training_doubts(few)[0] and "nan" not in str(training_rows(few))


def test_advice_after_damage_and_about_a_run_that_is_there_can_be_followed(trained, folder):
    again = ("train", trained / "config.toml", "--out", folder, "--resume")
    for name in ("data-0.npz", "action.npz", "training.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:100])
        done = run("check", folder)
        assert done.exit_code == 2 and "openmm-rare action train --resume" in done.output, done.output
        if "remove it" in done.output:
            (folder / name).unlink()
        assert run(*again).exit_code == 0 and (folder / name).read_bytes()[-64:] == whole[-64:]
    (folder / "check.json").write_text('{"fine": 3}\n')
    assert "check.json is truncated or damaged" in run("check", folder).output
    (folder / "run").mkdir()  # left by a run that was killed at once
    assert run("run", folder, "--steps", 20, "--every", 5).exit_code == 0
    second = run("run", folder, "--steps", 20, "--every", 5)
    assert second.exit_code == 2 and "or remove it" in second.output and "--out" not in second.output


def test_folders_that_hold_something_else_are_refused(trained, folder, tmp_path):
    again = run("train", trained / "config.toml", "--out", trained / "out")
    assert again.exit_code == 2 and "holds a run already" in again.output
    other = run("train", trained / "config.toml", "--out", folder, "--resume", "--stride", 4)
    assert other.exit_code == 2 and "holds another training than this" in other.output
    assert run("train", trained / "config.toml", "--out", folder, "--resume").exit_code == 0
    none = run("check", tmp_path / "nowhere")
    assert none.exit_code == 2 and "holds no learned action" in none.output
    wrong = run("run", folder, "--temperature", "-3 K")
    assert wrong.exit_code == 2 and "must be positive" in wrong.output
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(re.sub(r"(?m)^# .*sha.*\n?", "", text) + "\n[system.parameters]\nbarrier = 30.0\n")
    moved = run("check", folder)
    assert moved.exit_code == 2 and "of another System" in moved.output, moved.output


@pytest.mark.parametrize(
    ("line", "says"),
    [('features = "pairs"', "--features coordinates"), ('features = "coordinates"\ntimestep = "500 ps"', "use a shorter one")],
)
def test_a_training_that_cannot_be_leaves_no_folder_behind(line, says, tmp_path):
    (tmp_path / "config.toml").write_text(f'[system]\nname = "double_well_1d"\n[action]\nsamples = 12\n{line}\n')
    done = run("train", tmp_path / "config.toml", "--out", tmp_path / "out")
    assert done.exit_code == 2 and says in done.output, done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('kernel = "leapfrog"', "kernel = 'leapfrog' must be one of verlet, midpoint"),
        ("stride = 1", "stride = 1 must be at least 2"),
        ('timestep = "3 K"', "action.timestep"),
        ("strides = 4", "unknown key 'strides' in section [action]; did you mean 'stride'?"),
        ("spacing = 0", "spacing = 0 must be at least 1"),
        ("hotter = 0.5", "hotter = 0.5 must be at least 1"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(line, says, tmp_path):
    with pytest.raises(InputError, match=re.escape(says)):
        parse_config(f'[system]\nname = "lj7"\n[action]\n{line}\n', tmp_path)


def test_settings_are_kept_beside_those_of_a_rate(tmp_path):
    config = parse_config(CONFIG + "[sampling]\ntarget_error = 0.2\n", tmp_path)
    again = parse_config(config.to_toml(), tmp_path)
    assert again.action == config.action and again.sampling == config.sampling
    assert parse_config('[system]\nname = "lj7"\n', tmp_path).action is None


def test_a_check_says_what_is_wrong_with_a_bad_action(folder):
    """Negative control: the same action with coefficients that nothing was learned from."""
    found = open_action(folder)
    rng = np.random.default_rng(1)
    bad = type(found.action)(
        found.action.features,
        found.action.coefficients * (1.0 + rng.normal(size=len(found.action.coefficients))),
        found.action.timestep,
        "verlet",
        found.action.frequency,
    )
    options = {"stride": 8, "temperature": 300.0, "trajectories": 6, "duration": 20.0, "num_dimensions": 1}
    good = check_map(found.action, found.context(), **options)
    worse = check_map(bad, found.context(), **options)
    assert not good.doubts
    assert worse.doubts and worse.rows["action"].course.rms > 10 * good.rows["action"].course.rms
    with pytest.raises(InputError, match="trajectories = 1 must be at least 2"):
        check_map(found.action, found.context(), **options | {"trajectories": 1})

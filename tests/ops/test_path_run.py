"""The command `openmm-rare tps`: the run folder, resuming, what an analysis reads, first paths, and bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from executors import workers_here

from openmm_rare.cli.main import main
from openmm_rare.committor.model import CommittorModel
from openmm_rare.config.run import SamplingConfig, build_system
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling, read_path_ensemble, with_path_settings
from openmm_rare.io import growing_file
from openmm_rare.io.growing_file import GrowingFile
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.io.tasks import Silent
from openmm_rare.learning.shots import Shots
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.report import paths
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.systems import RareEventSystem, build
from openmm_rare.tps import sampler
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.driven_path import hot_path
from openmm_rare.tps.first_paths.initial_path import initial_path
from openmm_rare.tps.trajectories.connection import between_states
from openmm_rare.tps.trajectories.file import read_path
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(sampler, "Processes", workers_here)
    monkeypatch.setattr(paths, "write_path_report", lambda *about: None)  # test_path_report.py looks at it


def configure(name="double_well_1d", seed=1, **options):
    """A run without the storage of OpenPathSampling, which would change this process."""
    config = replace(configuration(name), sampling=SamplingConfig(seed=seed))
    return with_path_settings(config, **({"storage": False, "trials": 40, "chains": 2} | options))


def contents(folder):
    """All arrays that a run computed."""
    with np.load(folder / "shots.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    return arrays | {f"path {i}": path for i, path in enumerate(read_path_ensemble(folder).paths)}


def assert_same_run(one, other):
    first, second = contents(one), contents(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


@pytest.mark.parametrize("selector", ["lorentzian", "aimless"])
def test_a_run_that_stops_anywhere_and_goes_on_is_the_same_run(tmp_path, monkeypatch, selector):
    config = configure(trials=20, selector=selector, density_correction=selector == "lorentzian")
    run_path_sampling(config, tmp_path / "whole")
    original, left = sampler.run_chain, [5]

    def dying(task):
        left[0] -= 1
        if left[0] == 0:  # the second chain has not reported when this happens
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(sampler, "run_chain", dying)
    broken = tmp_path / "broken"
    for calls in (4, 3):
        left[0] = calls
        with pytest.raises(KeyboardInterrupt):
            run_path_sampling(config, broken, resume=True)
    monkeypatch.setattr(sampler, "run_chain", original)
    (broken / "chain-0" / "paths-000003.npz").write_bytes(b"half a file of a round that never ended")
    (broken / ".shots.123.tmp.npz").write_bytes(b"half")
    result = run_path_sampling(config, broken, resume=True)
    assert_same_run(tmp_path / "whole", broken)
    assert result["trials"] == 40 and not list(broken.glob(".*tmp*"))
    other = tmp_path / "other"  # negative control
    run_path_sampling(configure(trials=20, selector=selector, density_correction=selector == "lorentzian", seed=2), other)
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "whole", other)


def test_a_run_that_is_killed_before_its_first_path_begins_again(tmp_path, monkeypatch):
    config, original = configure(trials=10), sampler.first_paths

    def killed(*arguments):
        shutil.copytree(tmp_path / "run", tmp_path / "left")  # what `kill -9` would leave here
        (tmp_path / "left" / "chain-0").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(sampler, "first_paths", killed)
    with pytest.raises(KeyboardInterrupt):
        run_path_sampling(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()  # an error leaves nothing
    monkeypatch.setattr(sampler, "first_paths", original)
    assert run_path_sampling(config, tmp_path / "left", resume=True)["trials"] == 20


def test_more_trials_continue_a_finished_run_as_if_it_had_been_longer(tmp_path):
    run_path_sampling(configure(trials=30), tmp_path / "long")
    run_path_sampling(configure(trials=10), tmp_path / "short")
    with pytest.raises(ValueError, match="holds a run already: continue it with --resume"):
        run_path_sampling(configure(trials=30), tmp_path / "short")
    run_path_sampling(configure(trials=30), tmp_path / "short", resume=True)
    assert_same_run(tmp_path / "long", tmp_path / "short")
    with pytest.raises(ValueError, match="seed = 5 differs from the run in .*, which has 1"):
        run_path_sampling(configure(trials=30, seed=5), tmp_path / "short", resume=True)
    with pytest.raises(ValueError, match="is of another system, other states or other dynamics"):
        run_path_sampling(configure("two_channel_2d", trials=30), tmp_path / "short", resume=True)
    with pytest.raises(ValueError, match="width = 2.0 differs from the run"):
        run_path_sampling(configure(trials=30, width=2.0), tmp_path / "short", resume=True)


@pytest.mark.parametrize("selector", ["lorentzian", "aimless"])
def test_a_run_makes_as_many_trials_as_it_is_told(tmp_path, monkeypatch, selector):
    """Rounds of five; also when a run is stopped in a round that ends early, or in what is left of one."""
    given = {"selector": selector, "density_correction": selector == "lorentzian"}
    for trials in (7, 9, 23):
        result = run_path_sampling(configure(trials=trials, **given), tmp_path / "whole", resume=True)
        record = PathRecord.load(tmp_path / "whole")
        assert result["trials"] == 2 * trials and record.cycles == trials
        for chain in (0, 1):
            assert record.table("cycle")[record.table("chain") == chain].tolist() == list(range(1, trials + 1))
    ensemble = read_path_ensemble(tmp_path / "whole")
    assert ensemble.weights.sum() == record.table("relaxed").sum() + 2 or selector == "aimless"
    original, left = sampler.run_chain, [0]

    def dying(task):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(task)

    monkeypatch.setattr(sampler, "run_chain", dying)
    for trials in (7, 9, 23):
        for calls in (2, 4, -1):  # the second chain has not reported; never
            left[0] = calls
            with suppress(KeyboardInterrupt):
                run_path_sampling(configure(trials=trials, **given), tmp_path / "broken", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    run_path_sampling(configure(trials=23, **given), tmp_path / "once")
    with pytest.raises(AssertionError):  # negative control: the rounds were cut elsewhere
        assert_same_run(tmp_path / "whole", tmp_path / "once")


@pytest.mark.parametrize("moment", ["rest of the record", "model", "result"])
def test_a_run_that_is_killed_while_it_writes_is_the_same_run(tmp_path, monkeypatch, moment):
    """Between the rows of a stretch and what makes them count, before the model of it is written, and before all is joined."""
    config = configure(trials=25)
    run_path_sampling(config, tmp_path / "whole")
    owner, name, nth = {
        "rest of the record": (growing_file, "write_npz", 3),
        "model": (CommittorModel, "save", 4),
        "result": (GrowingFile, "write", 2),
    }[moment]
    original, left = getattr(owner, name), [nth]

    def dying(*arguments):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(KeyboardInterrupt):
        run_path_sampling(config, tmp_path / "killed")
    monkeypatch.setattr(owner, name, original)
    assert (tmp_path / "killed" / "shots.npz.parts" / "rows").exists()
    done = PathRecord.load(tmp_path / "killed").cycles
    assert done == {"rest of the record": 10, "model": 15, "result": 25}[moment]
    run_path_sampling(config, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")
    assert not (tmp_path / "killed" / "shots.npz.parts").exists()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux says how much a process writes")
def test_a_round_writes_as_much_however_many_there_were(tmp_path, monkeypatch):
    """The whole record, written after each round, took 15 kB more with each here, and 17 GB for 2000 trials of 1651 atoms."""
    sizes, whole, original = [], [], PathRecord.grow

    def written():
        (line,) = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar:")]
        return int(line.split()[1])

    def watched(record, folder):
        state = sum(array.nbytes for state in record.states for array in state.values())  # of paths that get longer and shorter
        before = written()
        original(record, folder)
        sizes.append(written() - before - state)
        whole.append(sum(array.nbytes for array in record.shots.arrays().values()))

    monkeypatch.setattr(PathRecord, "grow", watched)
    run_path_sampling(configure(trials=120), tmp_path / "run")
    early, late = np.mean(sizes[:4]), np.mean(sizes[-4:])
    assert len(sizes) == 24 and 0.8 < late / early < 1.2
    assert np.mean(whole[-4:]) > 4 * np.mean(whole[:4])  # negative control
    monkeypatch.undo()


def test_paths_of_a_stretch_that_was_not_recorded_are_made_again(tmp_path, monkeypatch):
    """As after a kill between the paths and the record, in what is left of a round."""
    run_path_sampling(configure(trials=22), tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    run_path_sampling(configure(trials=25), tmp_path / "run", resume=True)
    for chain in ("chain-0", "chain-1"):  # written before the record
        shutil.copytree(tmp_path / "run" / chain, tmp_path / "killed" / chain, dirs_exist_ok=True)
    run_path_sampling(configure(trials=25), tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "killed")


def test_the_processes_do_not_matter(tmp_path):
    run_path_sampling(configure(trials=15, processes=1, threads=1), tmp_path / "one")
    run_path_sampling(configure(trials=15, processes=2, threads=1), tmp_path / "two")
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_what_an_analysis_reads(tmp_path):
    result = run_path_sampling(configure(trials=60), tmp_path / "run")
    system, model, shots, ensemble = load_path_sampling(tmp_path / "run")
    types = (RareEventSystem, CommittorModel, Shots, PathEnsemble)
    assert all(isinstance(*pair) for pair in zip((system, model, shots, ensemble), types, strict=True))
    record = PathRecord.load(tmp_path / "run")
    relaxed, accepted = record.table("relaxed"), record.table("accepted")
    # each step has one current path, apart from those before the first transition path of the dynamics
    assert ensemble.weights.sum() == relaxed.sum() + 2 and len(ensemble.paths) == accepted.sum()
    assert len(shots) == result["trials"] - result["unfinished"] and len(shots) == 120
    for path in ensemble.paths:
        status = system.states.classify(path)
        assert {status[0], status[-1]} == {IN_A, IN_B} and not status[1:-1].any()
    assert ensemble.frame_time == pytest.approx(10 * system.timestep)
    assert result["generated"] >= result["accepted"] > 0 and 0 < result["yield"] < 1 and result["yield_stderr"] > 0
    assert model.logit(np.array([[[-0.5, 0, 0]]])) < model.logit(np.array([[[0.5, 0, 0]]]))


def test_plain_aimless_shooting_has_weights(tmp_path):
    run_path_sampling(configure(selector="aimless", corrected=False, offset=2), tmp_path / "run")
    ensemble = read_path_ensemble(tmp_path / "run")
    steps = ensemble.weights * np.array([len(path) - 4 for path in ensemble.paths])
    np.testing.assert_allclose(steps, np.round(steps))
    assert ensemble.weights.max() < 5.0


def problem(name="double_well_1d", **options):
    return PathProblem(build(name), PathSettings(**options), "Reference")


@pytest.mark.parametrize("name", ["double_well_1d", "jung_42d"])
def test_a_straight_line_connects_the_states(name):
    mine = problem(name)
    frames = initial_path(mine, 1, Silent())
    status = mine.system.states.classify(frames.positions)
    assert status[0] == IN_A and status[-1] == IN_B and not status[1:-1].any()
    if name == "jung_42d":  # the oscillators move, as dynamics makes them
        assert frames.positions[:, 3].std() > 0.01


def test_hot_dynamics_reaches_b():
    mine = problem("double_well_1d")
    frames = hot_path(mine, 1, Silent())
    status = mine.system.states.classify(frames.positions)
    assert {status[0], status[-1]} == {IN_A, IN_B} and not status[1:-1].any()


def test_a_path_from_a_file(tmp_path):
    mine = problem()
    line = initial_path(mine, 1, Silent()).positions
    around = np.concatenate([np.repeat(line[:1], 5, axis=0), line, np.repeat(line[-1:], 3, axis=0)])
    np.savez(tmp_path / "path.npz", positions=around)
    np.testing.assert_array_equal(read_path(str(tmp_path / "path.npz"), mine).positions, line)
    import mdtraj

    topology = mdtraj.Topology()
    topology.add_atom("X", mdtraj.element.argon, topology.add_residue("X", topology.add_chain()))
    mdtraj.Trajectory(around, topology).save_pdb(str(tmp_path / "path.pdb"))
    np.testing.assert_allclose(read_path(str(tmp_path / "path.pdb"), mine).positions, line, atol=2e-4)


def spoiled(kind, line):
    """Positions with something wrong."""
    bad = line.copy()
    if kind == "nan":
        bad[7, 0, 0] = np.nan
    return {"nan": bad, "neither": line[1:-1], "a only": line[:-1], "atoms": np.repeat(line, 2, axis=1)}[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", r"frame 7 holds NaN"),
        ("neither", r"does not connect A and B: frame 0 lies in neither state: x = "),
        ("a only", r"does not connect A and B: frame 0 lies in A: x = .*; frame \d+ lies in neither state"),
        ("atoms", r"positions must have the shape \(n_frames, 1, 3\)"),
    ],
)
def test_a_bad_path_is_refused_and_nothing_is_left_behind(tmp_path, kind, message):
    line = initial_path(problem(), 1, Silent()).positions
    np.savez(tmp_path / "path.npz", positions=spoiled(kind, line))
    with pytest.raises(ValueError, match=message):
        run_path_sampling(configure(initial_path=str(tmp_path / "path.npz")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_files_that_are_no_paths_are_refused(tmp_path):
    for name, content, message in [
        ("broken.npz", b"PK\x03\x04 half", "cannot be read"),
        ("broken.dcd", b"nonsense", "cannot be read by mdtraj"),
        ("broken.xyzzy", b"nonsense", "cannot be read by mdtraj"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_path(str(tmp_path / name), problem())
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="holds no array named positions"):
        read_path(str(tmp_path / "other.npz"), problem())
    with pytest.raises(ValueError, match='must be "auto", "line", "hot", "biased", or a file; there is no such file'):
        read_path("nowhere.npz", problem())
    with pytest.raises(ValueError, match='"line" needs a state B given by Cartesian coordinates'):
        initial_path(problem("lj7", initial_path="line"), 1, Silent())


def test_paths_between_states_in_either_direction():
    system = build("double_well_1d")
    line = initial_path(problem(), 1, Silent()).positions
    assert between_states(system, line[::-1], "it") == slice(0, len(line))
    assert between_states(system, np.concatenate([line[:1], line[-1:]]), "it") is None  # nothing to shoot from


def test_a_model_of_something_else_is_refused(tmp_path):
    config = configure()
    system = build_system(config)
    for descriptor, fingerprint, message in [
        (
            {"kind": "coordinates", "columns": [1], "scale": 1.0},
            system.fingerprint(),
            "trained on the descriptor .*but the run uses",
        ),
        (system.descriptor_spec(), "another", "other states or other dynamics"),
    ]:
        model = CommittorModel(descriptor, 1, (64, 64), system.temperature, fingerprint)
        with pytest.raises(ValueError, match=message):
            run_path_sampling(config, tmp_path / "run", model=model)
    assert not (tmp_path / "run").exists()
    fitting = CommittorModel(system.descriptor_spec(), 1, (64, 64), system.temperature, system.fingerprint())
    run_path_sampling(configure(trials=5), tmp_path / "run", model=fitting)


def test_a_damaged_record_is_refused_and_kept(tmp_path):
    run_path_sampling(configure(trials=10), tmp_path / "run")
    record = tmp_path / "run" / "shots.npz"
    half = record.read_bytes()[:-700]
    record.write_bytes(half)
    for action in (
        lambda: run_path_sampling(configure(trials=20), tmp_path / "run", resume=True),
        lambda: read_path_ensemble(tmp_path / "run"),
    ):
        with pytest.raises(ValueError, match="shots.npz is truncated or damaged .*copy a backup of it back"):
            action()
    assert record.read_bytes() == half


def test_missing_paths_are_missed(tmp_path):
    run_path_sampling(configure(trials=40), tmp_path / "run")
    for file in (tmp_path / "run" / "chain-0").glob("paths-*.npz"):
        file.unlink()
    with pytest.raises(ValueError, match=r"chain-0/paths-00000\d.npz is missing: copy a backup"):
        read_path_ensemble(tmp_path / "run")
    with pytest.raises(ValueError, match="holds no run: config.toml is missing"):
        read_path_ensemble(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"selector": "lorenzian"}, "did you mean 'lorentzian'"),
        ({"width": 0.0}, "width = 0.0 must be positive"),
        ({"trials": 0}, "trials = 0 must be at least 1"),
        ({"max_frames": 2}, "max_frames = 2 must be at least 3"),
        ({"weight_decay": -1.0}, "weight_decay = -1.0 must not be negative"),
        ({"selector": "aimless", "density_correction": True}, "density_correction needs a selector"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        configure(**options)


def test_the_configuration_comes_back_as_it_was(tmp_path):
    config = configure(hidden=(8,), selector="gaussian")
    from openmm_rare.config.run import parse_config

    again = parse_config(config.to_toml(), tmp_path)
    assert again.path_sampling == config.path_sampling and again.sampling == config.sampling
    with pytest.raises(ValueError, match="unknown key 'selektor' in section .path_sampling.; did you mean 'selector'"):
        parse_config('[system]\nname = "lj7"\n[path_sampling]\nselektor = "uniform"', tmp_path)


def test_the_command_says_what_it_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text('[system]\nname = "double_well_1d"\n[path_sampling]\nstorage = false\n')
    done = CliRunner().invoke(main, ["tps", "run.toml", "--trials", "30", "--seed", "1", "--out", "run"])
    assert done.exit_code == 0, done.output
    result = json.loads(Path("run/result.json").read_text())
    assert result["reliable"] is not bool(result["warnings"])
    assert all(f"Warning: {sentence}" in done.output for sentence in result["warnings"])
    for words in (
        "30 in 1 chain",
        "a true path after",
        "yield per trial",
        "1/2 at transition states",
        "mean path time",
        "report: run/report.html",
    ):
        assert words in done.output
    bad = CliRunner().invoke(main, ["tps", "run.toml", "--trials", "30", "--initial-path", "nothing.dcd", "--out", "other"])
    assert bad.exit_code == 2 and "there is no such file" in bad.output and "Traceback" not in bad.output


@pytest.mark.slow
def test_killed_it_goes_on_to_the_same_end(tmp_path):
    """The real command, with its processes and storages."""
    command = [sys.executable, "-c", "from openmm_rare.cli.main import main; main()", "tps", "double_well_1d", "--seed", "3"]
    command += ["--chains", "2", "--trials", "30", "--resume", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    killed = tmp_path / "killed"
    for more in (5, 10):
        process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        goal = (PathRecord.load(killed).cycles if (killed / "shots.npz").exists() else 0) + more
        while process.poll() is None and not ((killed / "shots.npz").exists() and PathRecord.load(killed).cycles >= goal):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*command, str(killed)], check=True, capture_output=True)
    assert_same_run(tmp_path / "whole", killed)
    count = "from openmm_rare.ops.simstore import open_simstore; import sys; s = open_simstore(sys.argv[1], 'r');"
    count += "print([step.mccycle for step in s.steps], len(s.trajectories), len(s.snapshots))"
    for chain in ("chain-0", "chain-1"):
        stored = [
            subprocess.run([sys.executable, "-c", count, str(run / chain / "steps.db")], check=True, capture_output=True).stdout
            for run in (tmp_path / "whole", killed)
        ]
        assert stored[0] == stored[1] and stored[0].startswith(b"[0, 1, 2, 3")
    time.sleep(1.0)
    assert os.listdir(killed) and not list(killed.glob(".*"))


def test_progress_shows_the_yield(tmp_path, capsys):
    with TerminalProgress(interval=0.01) as progress:
        run_path_sampling(configure(trials=10), tmp_path / "run", progress=progress)
    shown = capsys.readouterr().err
    assert "initial path: a straight line" in shown and "sampling paths" in shown and "yield" in shown


def test_a_system_of_ones_own_can_have_inertia(tmp_path):
    from openmm_rare.config.run import load_config

    folder = Path(__file__).parents[2] / "examples" / "own_system"
    text = (folder / "config.toml").read_text().replace('timestep = "5 fs"', 'timestep = "2 fs"\ninertial = true')
    for name in ("system.xml", "start.pdb"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "config.toml").write_text(text)
    config = load_config(tmp_path / "config.toml")
    system = build_system(config)
    assert system.inertial and not make_engine(PathProblem(system, PathSettings(), "Reference")).overdamped
    assert config.expanded(system).system.inertial is True
    (tmp_path / "config.toml").write_text(text.replace("inertial = true", "inertial = 1"))
    with pytest.raises(ValueError, match="system.inertial = 1 must be true or false"):
        load_config(tmp_path / "config.toml")

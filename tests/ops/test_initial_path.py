"""First paths of driven dynamics: they connect, leave the System alone, and are found by one call or one command."""

import itertools
from dataclasses import replace

import mdtraj
import numpy as np
import openmm
import pytest
from click.testing import CliRunner

from openmm_rare.cli.main import main
from openmm_rare.committor.model import CommittorModel
from openmm_rare.folders.path_folder import with_path_settings
from openmm_rare.io.tasks import Silent
from openmm_rare.learning.shot_fit import fit_model
from openmm_rare.learning.shots import Shots
from openmm_rare.settings.paths import PathSettings
from openmm_rare.states.states import IN_A, IN_B, CollectiveVariables, Coordinate, Dihedral, FunctionVariable, Range, States
from openmm_rare.systems import RareEventSystem, build
from openmm_rare.tps import sampler
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths import driven_path
from openmm_rare.tps.first_paths import initial_path as choice
from openmm_rare.tps.first_paths.driven_path import biased_path, guided_path, pulled_path
from openmm_rare.tps.first_paths.find_path import find_path
from openmm_rare.tps.first_paths.initial_path import initial_path
from openmm_rare.tps.trajectories.file import read_path, write_path
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration


def problem(name="double_well_1d", **options):
    return PathProblem(build(name), PathSettings(**options), "Reference")


def learned(system, direction=1.0, network=None):
    """A committor that has seen that B is on the right, or with direction -1 that it is on the left."""
    shots, places = Shots(), np.linspace(-0.4, 0.4, 60)
    for number, x in enumerate(places):
        in_b = round(20.0 / (1.0 + np.exp(-direction * x / 0.1)))
        shots.add(number, np.array([[x, 0.0, 0.0]]), (20 - in_b, in_b), 0.0)
    about = (system.descriptor_spec(), 1, (8,), system.temperature, system.fingerprint())
    return fit_model(CommittorModel(*about, network), shots, 1)


def assert_connects(frames, system):
    status = system.states.classify(frames.positions)
    assert status[0] == IN_A and status[-1] == IN_B and not status[1:-1].any()
    assert (frames.velocities is None) != system.inertial


@pytest.mark.parametrize("name", ["double_well_1d", "two_channel_2d", "jung_42d"])
def test_a_pull_connects_the_states_and_leaves_the_system_alone(name):
    mine = problem(name)
    before = openmm.XmlSerializer.serialize(mine.system.system)
    frames = pulled_path(mine, 1, Silent())
    assert_connects(frames, mine.system)
    assert openmm.XmlSerializer.serialize(mine.system.system) == before
    np.testing.assert_array_equal(frames.positions, pulled_path(mine, 1, Silent()).positions)
    assert (
        frames.positions.shape != (other := pulled_path(mine, 2, Silent()).positions).shape or (other != frames.positions).any()
    )


def test_a_learned_committor_leads_to_b_and_a_wrong_one_does_not(monkeypatch):
    mine = problem()
    for network in ({"kind": "mlp"}, {"kind": "residual"}):
        frames = biased_path(mine, 1, Silent(), learned(mine.system, network=network))
        assert_connects(frames, mine.system)
    monkeypatch.setattr(driven_path, "_STRENGTHS", (8.0,))
    with pytest.raises(
        ValueError, match=r"nothing up to a bias of -8 kT ln I gave a path to B within 4000 frames .*; train the model"
    ):
        guided_path(problem(steps_per_frame=1), 1, Silent(), learned(mine.system, -1.0))
    with pytest.raises(ValueError, match="the model was trained on the descriptor .*, but the system has"):
        biased_path(problem("jung_42d"), 1, Silent(), learned(mine.system))


def test_too_weak_a_pull_does_not_arrive(monkeypatch):
    monkeypatch.setattr(driven_path, "_STIFFNESS", (1e-6,))
    with pytest.raises(ValueError, match=r"nothing up to a pull of 1e-06 kT gave a path to B .*0 in B, .*; give a committor"):
        pulled_path(problem("jung_42d", steps_per_frame=1), 1, Silent())


def y_of_first(positions):
    return positions[:, 0, 1]


def with_states(system, variables, b):
    return replace(system, states=States(CollectiveVariables(variables), system.states.a, b))


def test_a_function_cannot_pull():
    system = build("jung_42d")
    variables = [*system.states.variables.variables, FunctionVariable("h", y_of_first)]
    mine = replace(problem(), system=with_states(system, variables, Range({"h": (0.4, 0.6), "x": (0.5, 1.0)})))
    with pytest.raises(
        ValueError, match="cannot pull into B of jung_42d, which is given by the function h, which has no forces"
    ):
        pulled_path(mine, 1, Silent())


def test_auto_takes_what_suits(monkeypatch):
    calls, cold = [], [True]

    def hot(problem, seed, progress, most=12):
        calls.append(f"hot {most}")
        if cold[0]:
            raise ValueError("too cold")
        return found

    found = initial_path(problem(), 1, Silent())
    monkeypatch.setattr(choice, "hot_path", hot)
    for maker, word in [("biased_path", "biased"), ("straight_line", "line"), ("read_path", "file")]:
        monkeypatch.setattr(choice, maker, lambda *arguments, word=word: calls.append(word) or found)
    jung = build("jung_42d")
    variables = [*jung.states.variables.variables, FunctionVariable("h", y_of_first)]
    odd = replace(problem(), system=with_states(jung, variables, Range({"h": (0.4, 0.6), "x": (0.5, 1.0)})))
    own = replace(problem(), system=replace(jung, initial_path="some.npz"))
    for mine, expected in [
        (problem("jung_42d"), ["line"]),
        (own, ["file"]),
        (problem("lj7"), ["hot 3", "biased"]),
    ]:
        calls.clear()
        initial_path(mine, 1, Silent())
        assert calls == expected
    cold[0] = False
    for mine, expected in [(problem("lj7"), ["hot 3"]), (odd, ["hot 12"])]:
        calls.clear()
        initial_path(mine, 1, Silent())
        assert calls == expected
    monkeypatch.setattr(choice, "LARGE", 5)
    for mine, expected in [(problem("lj7"), ["biased"]), (odd, ["hot 12"])]:  # where each heating would take minutes
        calls.clear()
        initial_path(mine, 1, Silent())
        assert calls == expected


def test_fluctuations_of_angles_go_around():
    variables = CollectiveVariables([Dihedral("t", (0, 1, 2, 3)), Coordinate("x", 0, 0)])

    class Some:
        states = type("S", (), {"variables": staticmethod(variables)})

    angles = np.pi + np.random.default_rng(1).normal(scale=0.2, size=400)
    positions = np.zeros((400, 4, 3))
    positions[:, 0, 0] = positions[:, 2, 2] = positions[:, 3, 2] = 1.0
    positions[:, 3, 0], positions[:, 3, 1] = np.cos(angles), np.sin(angles)
    Some.states.variables.variables = variables.variables
    found = driven_path._fluctuations(Some, positions)
    assert found == pytest.approx([angles.std(), 0.0], rel=0.02)


def test_dynamics_that_breaks_down_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driven_path, "_fluctuations", lambda system, positions: np.full(1, 1e-9))  # far too stiff
    with pytest.raises(ValueError, match="a pull of 4 kT broke down before it reached B .*NaN.*: give a committor model"):
        pulled_path(problem(), 1, Silent())
    assert list(tmp_path.glob("nan-after-*.npz"))


def test_one_call_finds_relaxes_and_writes(tmp_path):
    system = build("jung_42d")
    out = tmp_path / "deep" / "path.npz"
    found = find_path(system, "biased", relax=2, out=out, seed=3)
    assert_connects(found.frames, system)
    assert found.accepted == 2 <= found.trials and found.frame_time == pytest.approx(10 * system.timestep)
    assert np.abs(found.frames.velocities).max() > 0.0  # of the dynamics itself
    np.testing.assert_array_equal(read_path(str(out), problem("jung_42d")).positions, found.frames.positions)
    straight = find_path(system, "line")  # no relaxation, no file
    assert straight.accepted == 0 and not straight.frames.velocities.any()
    again = find_path(system, str(out), relax=1)
    assert_connects(again.frames, system) and again.accepted == 1
    assert not np.array_equal(again.frames.positions, found.frames.positions)


def test_a_model_guides_and_chooses_the_shots():
    system = build("double_well_1d")
    found = find_path(system, model=learned(system), relax=1)
    assert_connects(found.frames, system)


def test_tps_hands_its_model_on(tmp_path, monkeypatch):
    given = []

    def first_path(problem, n, seed, progress, executors, inputs, model):
        given.append(model)
        raise ValueError("enough")

    monkeypatch.setattr(sampler, "first_paths", first_path)
    config = with_path_settings(configuration("double_well_1d"), initial_path="biased")
    tested = build("double_well_1d").with_check_interval(10)  # at frames
    about = (tested.descriptor_spec(), 1, (64, 64), 300.0, tested.fingerprint())
    model = CommittorModel(*about, check_interval=10)
    for start in (model, None):  # an untrained model guides nobody
        with pytest.raises(ValueError, match="enough"):
            run_path_sampling(config, tmp_path / "run", model=start)
    assert given == [model, None]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relax": -1}, "relax = -1 must not be negative"),
        ({"machine": "Abacus"}, "Abacus"),
        ({"how": "bias"}, 'initial_path = \'bias\' must be "auto", "line", "hot", "biased", or a file'),
        ({"out": "there.npz"}, "there.npz exists: choose another name with --out"),
        ({"out": "path.xtc"}, "which has no topology, can be written as .npz only"),
    ],
)
def test_bad_wishes_are_refused_before_dynamics(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.npz").touch()
    monkeypatch.setattr(driven_path, "_run", None)
    with pytest.raises(ValueError, match=message):
        find_path(build("double_well_1d"), **({"how": "biased"} | options))


def test_a_path_that_no_shot_follows_is_refused(monkeypatch):
    monkeypatch.setattr("openmm_rare.tps.first_paths.find_path._TRIALS", 3)
    system = build("double_well_1d")
    with pytest.raises(ValueError, match=r"only 0 of 3 shots from the path became transition paths"):
        find_path(replace(system, temperature=1.0), relax=1, settings=PathSettings(max_frames=3))


def test_files_of_mdtraj(tmp_path):
    mine = problem("alanine_dipeptide")
    frames = read_path(str(mine.system.initial_path), mine)
    write_path(tmp_path / "path.xtc", frames, mine)
    back = read_path(str(tmp_path / "path.xtc"), mine)
    np.testing.assert_allclose(back.positions, frames.positions, atol=2e-3)  # rounded, with rigid bonds put right
    np.testing.assert_array_equal(back.boxes, frames.boxes)
    topology = mdtraj.Topology.from_openmm(mine.system.topology)
    assert mdtraj.load(str(tmp_path / "path.xtc"), top=topology).time[1] == pytest.approx(0.02)
    for name, wrong, message in [
        ("short.dcd", frames[:-1], "short.dcd would not hold the ends of the path in enough digits: choose .npz"),
        ("path.prmtop", frames, "mdtraj cannot write .prmtop"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_path(tmp_path / name, wrong, mine)
    assert [file.name for file in tmp_path.iterdir()] == ["path.xtc"]
    with pytest.raises(ValueError, match="a path cannot be written as .*nothing.*: use .npz, or what mdtraj knows"):
        find_path(mine.system, out=tmp_path / "path.nothing")


def invoke(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def test_the_command_finds_a_path_that_tps_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke("path", "jung_42d", "--from", "biased", "--relax", 1, "--seed", 2)
    assert done.exit_code == 0, done.output
    for words in (
        "0.2 ps apart",
        "first frame, in A  x = ",
        "1 accepted of",
        "tps jung_42d --initial-path runs/jung_42d_path.npz",
    ):
        assert words in done.output
    system, place = build("jung_42d"), "runs/jung_42d_path.npz"
    assert isinstance(system, RareEventSystem) and len(read_path(place, problem("jung_42d"))) > 3
    wrong = np.load(place)["positions"]
    wrong[2, 0, 0] = np.nan
    np.savez("nan.npz", positions=wrong)
    CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 14, (4,), 1.0, "other").save("other.npz")
    for words, message in [
        (["jung_42d"], "runs/jung_42d_path.npz exists"),
        (["jung_42d", "--out", "a.npz", "--from", "nothing.dcd"], "there is no such file"),
        (["jung_42d", "--out", "a.npz", "--from", "nan.npz"], "frame 2 holds NaN"),
        (["jung_42d", "--out", "a.npz", "--model", "other.npz"], "was trained for another system"),
        (["lj7", "--out", "a.npz", "--from", "line"], "needs a state B given by Cartesian coordinates"),
        (["lj8"], "is neither a system nor a file"),
    ]:
        bad = invoke("path", *words)
        assert bad.exit_code == 2 and message in bad.output and "Traceback" not in bad.output, bad.output
        assert len([line for line in bad.output.splitlines() if line.startswith("Error")]) == 1
    assert not list(itertools.chain(tmp_path.glob("a.npz"), tmp_path.rglob("*tmp*")))

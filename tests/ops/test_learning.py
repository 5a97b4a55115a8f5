"""Learning while sampling: the hook, its checkpoint, and what both storages of OpenPathSampling bring back."""

import os
import signal
import subprocess
import time
from base64 import b64encode
from pathlib import Path

import netCDF4
import numpy as np
import openpathsampling as paths
import pytest
from openpathsampling.experimental.simstore.proxy import GenericLazyLoader

from line import make_engine, make_model, make_path, make_states
from openmm_rare.committor.multistate import MultiStateModel
from openmm_rare.io.files import sealed_npz
from openmm_rare.io.growing_file import GrowingFile
from openmm_rare.learning.shots import Shots, yields
from openmm_rare.ops.hooks import TrainingHook, outcome
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from processes import fresh, in_fresh, open_storage

PROBES = np.linspace(-0.6, 0.6, 7)[:, None, None] * np.array([1.0, 0.0, 0.0])


def continued(folder, kind):
    """A simulation from its storage, with the hook, and its mover."""
    folder = Path(folder)
    storage = open_storage(folder / f"run.{kind}", "a")
    simulation = storage.pathsimulators[0]
    simulation.storage = storage  # SimStore leaves it empty
    simulation.restart_at_step(storage.steps[-1])
    simulation.output_stream = open(os.devnull, "w")
    (mover,) = simulation.move_scheme.movers["shooting"]
    hook = TrainingHook(mover.selector, mover.states, folder / "committor.npz")
    simulation.attach_hook(hook)
    return simulation, hook, mover


def make_simulation(folder, kind=None, seed=1):
    folder = Path(folder)
    noise = seed_path_sampling(seed)
    engine, (a, b) = make_engine(noise), make_states()
    selector = CommittorSelector(make_model(0.1), 1.0).named("selector")
    scheme = shooting_scheme(
        paths.TPSNetwork.from_states_all_to_all([a, b]), ShootingStrategy(selector, paths.NoModification(), engine)
    )
    path = make_path(engine, np.linspace(-0.8, 0.8, 30))
    storage = None if kind is None else open_storage(folder / f"run.{kind}", "w", path[0])
    simulation = paths.PathSampling(storage, scheme, scheme.initial_conditions_from_trajectories(path))
    simulation.output_stream = open(os.devnull, "w")
    hook = TrainingHook(selector, [a, b], folder / "committor.npz")
    simulation.attach_hook(hook)
    return simulation, hook


def test_the_hook_learns_the_direction_from_accepted_and_rejected_trials(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    before = hook.selector.model.logit(PROBES)
    simulation.run(60)
    after = hook.selector.model.logit(PROBES)
    reached = np.array(hook.shots.reached)
    assert len(hook.shots) == 60 and set(reached.sum(1)) == {2}
    assert np.ptp(before) < 0.2 and np.corrcoef(after, PROBES[:, 0, 0])[0, 1] > 0.9 and np.ptp(after) > 1.0
    assert 0 < (reached == 0).any(1).sum() < 60


def test_the_model_does_not_change_within_a_step(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    selector, seen = hook.selector, []
    original = selector.probability_ratio

    def watched(*arguments, **keywords):
        seen.append(selector.model.logit(PROBES))
        return original(*arguments, **keywords)

    selector.probability_ratio = watched
    pick = selector.pick
    selector.pick = lambda path: (seen.append(selector.model.logit(PROBES)), pick(path))[1]
    simulation.run(14)
    for at_pick, at_ratio in zip(seen[::2], seen[1::2], strict=True):
        np.testing.assert_array_equal(at_pick, at_ratio)
    assert np.abs(seen[0] - seen[-1]).max() > 0.0  # negative control: it does change between steps


def test_a_changed_model_is_asked_again():
    seed_path_sampling(1)
    selector = CommittorSelector(make_model(3.0), 0.5)
    path = make_path(make_engine(), np.linspace(-0.8, 0.8, 12))
    first = selector.weights(path)
    selector.model.set_tensors(make_model(9.0).tensors())
    np.testing.assert_array_equal(selector.weights(path), first)  # within a step the answer stays
    selector.model_changed()
    assert np.abs(selector.weights(path) - first).max() > 0.01


@pytest.mark.parametrize("kind", ["nc", "db"])
def test_selector_scheme_and_engine_reload_in_a_fresh_process_and_go_on(tmp_path, kind):
    begin = f"""
        simulation, hook = make_simulation(".", "{kind}")
        simulation.run(4)
        simulation.storage.close()
        np.save("logits.npy", hook.selector.model.logit(PROBES))
    """
    go_on = f"""
        simulation, hook, mover = continued(".", "{kind}")
        types = [type(each).__name__ for each in (mover, mover.engine, mover.selector)]
        assert types == ["ShootingMover", "RareEventEngine", "CommittorSelector"]
        assert [state.name for state in mover.states] == ["A", "B"]
        hook.before_simulation(simulation)
        np.testing.assert_allclose(mover.selector.model.logit(PROBES), np.load("logits.npy"), rtol=1e-6)
        simulation.run(2)
        assert hook.shots.cycle == [1, 2, 3, 4, 5, 6]
        simulation.storage.close()
        steps = open_storage("run.{kind}", "r").steps
        assert [step.mccycle for step in steps] == [0, 1, 2, 3, 4, 5, 6]
    """
    for code in (begin, go_on):
        in_fresh(code, tmp_path)


def test_a_selector_reloads_with_the_model_that_it_had(tmp_path):
    simulation, hook = make_simulation(tmp_path, "nc")
    simulation.run(3)
    hook.selector.named("trained")
    again = CommittorSelector.from_dict(hook.selector.to_dict())
    np.testing.assert_array_equal(again.model.logit(PROBES), hook.selector.model.logit(PROBES))
    assert (again.width, again.form) == (hook.selector.width, hook.selector.form)
    simulation.storage.close()


@pytest.mark.parametrize("kind", ["nc", "db"])
def test_a_storage_holds_the_model_once_however_many_trials_it_has(tmp_path, kind):
    """K10: what a trial adds does not grow with the model, and a continued run does not store the model again."""
    begin = f"""
        asked = []
        to_dict = CommittorSelector.to_dict
        CommittorSelector.to_dict = lambda self: (asked.append(self), to_dict(self))[1]
        simulation, hook = make_simulation(".", "{kind}")
        simulation.run(12)
        assert len(asked) <= 2, len(asked)  # found, and stored
        simulation.storage.close()
    """
    go_on = f"""
        simulation, hook, mover = continued(".", "{kind}")
        simulation.run(5)
        simulation.storage.close()
    """
    in_fresh(begin, tmp_path)
    assert models_in(tmp_path / f"run.{kind}") == 1
    in_fresh(go_on, tmp_path)
    assert models_in(tmp_path / f"run.{kind}") == 1


def models_in(path):
    """How often a file holds the beginning of a model as text."""
    begin = b64encode(make_model(0.1).to_bytes()[:90]).decode()
    if path.suffix == ".db":
        return path.read_bytes().count(begin.encode())
    with netCDF4.Dataset(path) as file:
        texts = [variable[:] for variable in file.variables.values() if variable.dtype is str]
    return sum(str(text).replace("\\/", "/").count(begin) for column in texts for text in np.ravel(column))


def test_shots_come_back_from_their_arrays():
    shots = Shots()
    for cycle in range(1, 6):
        shots.add(cycle, np.zeros((1, 3)), (1, 1), 0.5)
    assert yields(shots, 3) == (3.0, 1.5)
    again = Shots.from_arrays(shots.arrays())
    assert again.cycle == shots.cycle and again.expected == shots.expected


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    simulation.run(2)
    selector = CommittorSelector(make_model(1.0))
    selector.model.fingerprint = "another"
    other = TrainingHook(selector, hook.states, hook.checkpoint)
    with pytest.raises(ValueError, match="holds a model with another fingerprint"):
        other.before_simulation(simulation)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    simulation.run(1)
    hook.checkpoint.write_bytes(hook.checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match="committor.npz is truncated or damaged.*remove it"):
        hook.before_simulation(simulation)


def test_steps_that_are_no_shots_teach_nothing(tmp_path):
    simulation, hook = make_simulation(tmp_path, "nc")
    simulation.run(1)
    a, b = hook.states
    assert outcome(simulation.storage.steps[0], (a, b)) is None  # the initial conditions
    positions, reached = outcome(simulation.storage.steps[1], (a, b))
    assert positions.shape == (1, 3) and reached.sum() == 2
    simulation.storage.close()


def stored_details(name):
    """Of the steps of a storage, as plain values."""
    steps = open_storage(name, "r").steps
    found = [steps[index].change.canonical.details for index in range(1, len(steps))]
    return [vars(each.load() if isinstance(each, GenericLazyLoader) else each) for each in found]


@pytest.mark.parametrize("kind", ["nc", "db"])
def test_a_trial_says_what_it_saw_and_a_storage_keeps_no_frames_of_it(tmp_path, kind):
    begin = f"""
        simulation, hook = make_simulation(".", "{kind}")
        simulation.run(6)
        simulation.storage.close()
        reached = hook.shots.reached
        for details, counts in zip(stored_details("run.{kind}"), reached, strict=True):
            assert not any(name.startswith("_f") or isinstance(value, np.ndarray) for name, value in details.items())
            assert [list(details["reached"]).count(state) for state in (0, 1)] == counts.tolist()
            assert details["n_frames"] > 2 and 0 < details["shooting_index"] < details["n_frames"] - 1
        stored = [outcome(step, hook.states)[1] for step in open_storage("run.{kind}", "r").steps[1:]]
        np.testing.assert_array_equal(stored, reached)
    """
    in_fresh(begin, tmp_path)


def test_states_are_not_asked_again_after_a_trial(tmp_path, monkeypatch):
    simulation, hook = make_simulation(tmp_path)
    simulation.run(1)
    step = simulation.current_step
    asked, volume = [], type(hook.states[0])
    original = volume.__call__
    monkeypatch.setattr(volume, "__call__", lambda *arguments: (asked.append(1), original(*arguments))[1])
    seen = outcome(step, hook.states)[1]
    assert not asked and seen.sum() == 2
    del step.change.canonical.details.reached  # as earlier versions stored it
    np.testing.assert_array_equal(outcome(step, hook.states)[1], seen)
    assert asked  # negative control


def test_a_model_of_more_states_learns_where_shots_end(tmp_path):
    noise = seed_path_sampling(1)
    engine, (a, b) = make_engine(noise), make_states()
    model = MultiStateModel(make_model(1.0).spec, 1, ("A", "B", "C"), (8,), network={"kind": "residual"})
    selector = CommittorSelector(model)
    with pytest.raises(ValueError, match="the model is one of the states A, B, C, not of 2 states"):
        TrainingHook(selector, [a, b], tmp_path / "c.npz")
    with pytest.raises(ValueError, match="density needs the logit between two states"):
        selector.set_density([1.0, 2.0])
    nowhere = paths.CVDefinedVolume(paths.FunctionCV("x", lambda s: s.xyz[0, 0]), 50.0, 60.0).named("C")
    scheme = shooting_scheme(
        paths.TPSNetwork.from_states_all_to_all([a, b, nowhere]), ShootingStrategy(selector, paths.NoModification(), engine)
    )
    path = make_path(engine, np.linspace(-0.8, 0.8, 30))
    simulation = paths.PathSampling(None, scheme, scheme.initial_conditions_from_trajectories(path))
    simulation.output_stream = open(os.devnull, "w")
    hook = TrainingHook(selector, [a, b, nowhere], tmp_path / "c.npz")
    simulation.attach_hook(hook)
    simulation.run(40)
    p = np.exp(model.log_probabilities(PROBES))
    assert np.corrcoef(p[:, 1], PROBES[:, 0, 0])[0, 1] > 0.9 and (p[:, 2] < 0.1).all()
    again = CommittorSelector.from_dict(selector.to_dict())
    np.testing.assert_array_equal(again.model.log_probabilities(PROBES), model.log_probabilities(PROBES))


def kill_in_the_middle(folder, kind):
    """A run that is killed with the checkpoint of some trials behind it."""
    code = f'simulation, _ = make_simulation(".", "{kind}")\nsimulation.run(100000)'
    process = fresh(code, folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (folder / "committor.npz").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("attempt", [1, 2])
def test_killed_in_the_middle_our_storage_goes_on(tmp_path, attempt):
    kill_in_the_middle(tmp_path, "db")
    go_on = """
        simulation, hook, _ = continued(".", "db")
        done = simulation.step
        assert done >= 1
        simulation.run(3)
        assert set(hook.shots.cycle) == set(range(1, done + 4))
        assert [step.mccycle for step in simulation.storage.steps] == list(range(done + 4))
    """
    in_fresh(go_on, tmp_path)


def test_killed_in_the_middle_the_shots_serve_a_new_storage(tmp_path):
    """A netCDF file may be unreadable after that; what was learned is not."""
    kill_in_the_middle(tmp_path, "nc")
    (tmp_path / "run.nc").unlink()
    go_on = """
        before = len(GrowingFile("committor.npz", "").load().joined()["shots/cycle"])
        simulation, hook = make_simulation(".", "nc")
        simulation.run(3)
        assert before >= 1 and len(hook.shots) == before + 3
    """
    in_fresh(go_on, tmp_path)


def bytes_written():
    """By this process, to files."""
    (line,) = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("wchar:")]
    return int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux says how much a process writes")
def test_a_step_writes_as_much_however_many_there_were(tmp_path, monkeypatch):
    """The whole checkpoint, written after each step, took more with each."""
    sizes, original = [], TrainingHook.after_step

    def watched(*arguments, **options):
        before = bytes_written()
        original(*arguments, **options)
        sizes.append(bytes_written() - before)

    monkeypatch.setattr(TrainingHook, "after_step", watched)
    simulation, hook = make_simulation(tmp_path)
    simulation.run(60)
    early, late = np.mean(sizes[5:25]), np.mean(sizes[40:60])
    assert 0.8 < late / early < 1.2 and len(hook.shots) == 60
    file = GrowingFile(tmp_path / "committor.npz", "")
    assert len(file.load().joined()["shots/cycle"]) == 60 and not file.parts.exists()  # joined in the end
    simulation.run(5)
    assert len(np.load(file.path)["shots/cycle"]) == 60 and len(file.load().joined()["shots/cycle"]) == 65  # too few for that
    first, all_of_them = (sealed_npz(hook.shots.take(range(n)).arrays())[0].nbytes for n in (10, 60))
    assert all_of_them > 1.5 * first  # negative control

"""Learning while sampling: the hook, its checkpoint, and what both storages of OpenPathSampling bring back."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import openpathsampling as paths
import pytest
import torch

from line import make_engine, make_model, make_path, make_states
from openmm_rare.committor import CommittorModel
from openmm_rare.ops.hooks import TrainingHook, outcome
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from openmm_rare.shots import Shots, ShotTrainer, yields
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
    trainer = ShotTrainer(mover.selector.model, 0.01, 0.0)
    hook = TrainingHook(mover.selector, *mover.states, folder / "committor.npz", trainer)
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
    hook = TrainingHook(selector, a, b, folder / "committor.npz", ShotTrainer(selector.model, 0.01, 0.0))
    simulation.attach_hook(hook)
    return simulation, hook


def test_the_hook_learns_the_direction_from_accepted_and_rejected_trials(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    before = hook.selector.model.logits(PROBES)
    simulation.run(60)
    after = hook.selector.model.logits(PROBES)
    assert len(hook.shots) == 60 and set(np.add(hook.shots.n_a, hook.shots.n_b)) == {2}
    assert np.ptp(before) < 0.2 and np.corrcoef(after, PROBES[:, 0, 0])[0, 1] > 0.9 and np.ptp(after) > 1.0
    rejected = sum(a == 0 or b == 0 for a, b in zip(hook.shots.n_a, hook.shots.n_b, strict=True))
    assert 0 < rejected < 60


def test_the_model_does_not_change_within_a_step(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    selector, seen = hook.selector, []
    original = selector.probability_ratio

    def watched(*arguments, **keywords):
        seen.append(selector.model.logits(PROBES))
        return original(*arguments, **keywords)

    selector.probability_ratio = watched
    pick = selector.pick
    selector.pick = lambda path: (seen.append(selector.model.logits(PROBES)), pick(path))[1]
    simulation.run(5)
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
        np.save("logits.npy", hook.selector.model.logits(PROBES))
    """
    go_on = f"""
        simulation, hook, mover = continued(".", "{kind}")
        types = [type(each).__name__ for each in (mover, mover.engine, mover.selector)]
        assert types == ["ShootingMover", "RareEventEngine", "CommittorSelector"]
        assert [state.name for state in mover.states] == ["A", "B"]
        hook.before_simulation(simulation)
        np.testing.assert_allclose(mover.selector.model.logits(PROBES), np.load("logits.npy"), rtol=1e-6)
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
    np.testing.assert_array_equal(again.model.logits(PROBES), hook.selector.model.logits(PROBES))
    assert (again.width, again.form) == (hook.selector.width, hook.selector.form)
    simulation.storage.close()


def test_shots_of_steps_that_the_storage_lost_are_dropped():
    shots = Shots()
    for cycle in range(1, 6):
        shots.add(cycle, np.zeros((1, 3)), 1, 1, 0.5)
    assert shots.up_to(3).cycle == [1, 2, 3] and yields(shots, 3) == (3.0, 1.5)
    again = Shots.from_arrays(shots.arrays())
    assert again.cycle == shots.cycle and again.expected == shots.expected


def test_the_penalty_leaves_out_inputs_that_say_nothing():
    rng = np.random.default_rng(3)
    positions = rng.normal(size=(150, 4, 3))
    n_b = rng.binomial(2, 1.0 / (1.0 + np.exp(-2.0 * positions[:, 0, 0])))
    shots = Shots([0] * 150, list(positions), (2 - n_b).tolist(), n_b.tolist(), [0.5] * 150)

    def leftover(penalty):
        torch.manual_seed(1)
        model = CommittorModel({"kind": "coordinates", "columns": list(range(12)), "scale": 1.0}, 4, (16,))
        ShotTrainer(model, 1e-2, 0.1, penalty).fit(shots, 400)
        lengths = model.network[0].weight.detach().norm(dim=0)
        return float(lengths[1:].max() / lengths[0])

    assert leftover(1.0) < 0.1
    assert leftover(0.0) > 0.3  # negative control


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    simulation.run(2)
    selector = CommittorSelector(make_model(1.0))
    selector.model.fingerprint = "another"
    other = TrainingHook(selector, *hook.states, hook.checkpoint)
    with pytest.raises(ValueError, match="holds a model with another fingerprint"):
        other.before_simulation(simulation)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    simulation, hook = make_simulation(tmp_path)
    simulation.run(1)
    hook.checkpoint.write_bytes(hook.checkpoint.read_bytes()[:500])
    with pytest.raises(ValueError, match="committor.npz is no readable checkpoint.*remove it"):
        hook.before_simulation(simulation)


def test_steps_that_are_no_shots_teach_nothing(tmp_path):
    simulation, hook = make_simulation(tmp_path, "nc")
    simulation.run(1)
    a, b = hook.states
    assert outcome(simulation.storage.steps[0], a, b) is None  # the initial conditions
    positions, n_a, n_b = outcome(simulation.storage.steps[1], a, b)
    assert positions.shape == (1, 3) and n_a + n_b == 2
    simulation.storage.close()


def test_nan_in_a_shooting_point_is_refused():
    trainer, shots = ShotTrainer(make_model(1.0)), Shots()
    with pytest.raises(ValueError, match="no shots to learn from"):
        trainer.fit(shots, 1)
    shots.add(1, np.full((1, 3), np.nan), 1, 1, 0.5)
    with pytest.raises(ValueError, match="not finite"):
        trainer.fit(shots, 1)


def test_killed_in_the_middle_it_goes_on(tmp_path):
    process = fresh('simulation, _ = make_simulation(".", "nc")\nsimulation.run(100000)', tmp_path, stdout=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "committor.npz").exists():
        time.sleep(0.01)
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    go_on = """
        simulation, hook, _ = continued(".", "nc")
        done = simulation.step
        assert done >= 1
        simulation.run(3)
        assert hook.shots.cycle == list(range(1, done + 4))
    """
    in_fresh(go_on, tmp_path)

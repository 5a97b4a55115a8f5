"""Aimless shooting of fixed length beside direct simulation, and what a continued simulation knows of its pair."""

import os
import shutil
from functools import cache

import numpy as np
import openpathsampling as paths
import pytest

import line
from line import coordinate, make_engine, make_model, make_path, make_states
from openmm_rare.ops.aimless import AimlessShootingStrategy, FixedLengthAimlessMover, recall_pairs
from openmm_rare.ops.hooks import TrainingHook, outcome
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from openmm_rare.ops.simstore import open_simstore
from openmm_rare.ops.snapshots import frames_of
from openmm_rare.ops.volumes import StateVolume
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range
from processes import in_fresh, open_storage
from stats import assert_within, mean_and_stderr

LENGTH, OFFSET, EDGE = 12, 4, 0.3
"""Frames; frames; nm: wide states, so that many trials are accepted."""


class NeverLonger(FixedLengthAimlessMover):
    """Negative control: rejects paths that are between the states for longer."""

    def __call__(self, input_sample):
        (trial,), details = super().__call__(input_sample)
        old, new = (sum(abs(coordinate(frame)) < EDGE for frame in s.trajectory) for s in (input_sample, trial))
        trial.bias = float(new <= old)
        return [trial], details


class AlwaysFirst(FixedLengthAimlessMover):
    """Negative control: the shooting point always becomes the first frame of the new pair."""

    def _run(self, trajectory, shooting_index):
        self._zero_or_offset = lambda: 0
        made = super()._run(trajectory, shooting_index)
        del self._zero_or_offset
        return made


def wide_states():
    """Volumes A and B of fixed length."""
    x = CollectiveVariables([Coordinate("x", 0, 0)])
    a, b = (StateVolume(x, Range({"x": within})) for within in ((-np.inf, -EDGE), (EDGE, np.inf)))
    return a.named("A"), b.named("B")


def make_scheme(mover=None, length=LENGTH, seed=1):
    """Scheme of aimless shooting of fixed length, or with another mover in its place, and a first path."""
    noise = seed_path_sampling(seed)
    engine, states = make_engine(noise), wide_states()
    network = paths.FixedLengthTPSNetwork.from_states_all_to_all(list(states), length=length)
    strategy = AimlessShootingStrategy(paths.NoModification(), engine, OFFSET)
    if mover is not None:
        strategy._mover = lambda network, ensemble, states: mover(ensemble, strategy.modifier, engine, states, length, OFFSET)
    scheme = shooting_scheme(network, strategy)
    return scheme, make_path(engine, np.linspace(-0.5, 0.5, length))


def start_of(scheme, path):
    """Initial conditions."""
    return paths.SampleSet([paths.Sample(0, path, scheme.movers["shooting"][0].ensemble)])


def observables(x):
    """Mean of x^2, frames between the states, frames on the side of the start, middle x^2, of paths (..., LENGTH)."""
    side = x * np.sign(x[..., :1]) > 0.0
    return np.stack([(x**2).mean(-1), (np.abs(x) < EDGE).sum(-1), side.sum(-1), x[..., LENGTH // 2] ** 2], axis=-1)


@cache
def direct(n_paths=400, n_walkers=4000, n_frames=1500):
    """Paths of unbiased dynamics, shape (n_paths, LENGTH): any of those that begin in one state and end in the other."""
    rng = np.random.default_rng(3)
    x = np.tile([-1.0, 1.0], n_walkers // 2)
    spread, frames = np.sqrt(2.0 * line.TIMESTEP / line.FRICTION), []
    for _ in range(n_frames):
        for _ in range(line.STRIDE):
            drift = -4.0 * line.BARRIER * x * (x**2 - 1.0) * line.TIMESTEP / line.FRICTION
            x = x + drift + spread * rng.standard_normal(n_walkers)
        frames.append(x)
    windows = np.lib.stride_tricks.sliding_window_view(np.array(frames)[100:], LENGTH, axis=0).reshape(-1, LENGTH)
    first, last = windows[:, 0], windows[:, -1]
    found = np.flatnonzero((np.minimum(np.abs(first), np.abs(last)) > EDGE) & (first * last < 0.0))
    return windows[rng.choice(found, n_paths, replace=False)]


def changes(mover, n_steps, seed=4):
    """By how much some steps from each path of direct simulation change its observables, shape (n_paths, 3)."""
    scheme, _ = make_scheme(mover, seed=seed)
    (mover,), after = scheme.movers["shooting"], []
    for values in direct():
        current = paths.Sample(0, make_path(mover.engine, values), mover.ensemble)
        for _ in range(n_steps):
            (trial,), _ = mover(current)
            accepted, _ = mover.metropolis([trial])
            current = trial if accepted else current
        after.append([coordinate(frame) for frame in current.trajectory])
    return observables(np.array(after)) - observables(direct())


def assert_unchanged(values):
    mean, error = mean_and_stderr(values)
    assert_within(mean, np.zeros_like(mean), error)


def test_paths_of_fixed_length_stay_those_of_direct_simulation():
    assert_unchanged(changes(None, 6))


def test_a_broken_acceptance_is_seen():
    with pytest.raises(AssertionError):
        assert_unchanged(changes(NeverLonger, 6))


@pytest.mark.slow
def test_the_same_with_more_steps_and_time_slices_without_the_coin():
    assert_unchanged(changes(None, 16))
    with pytest.raises(AssertionError):
        assert_unchanged(changes(AlwaysFirst, 16))


@pytest.mark.parametrize("length", [7, 12, 13])
def test_the_probability_of_a_trial_is_that_of_its_reverse(length):
    """On given paths: each of the two configurations becomes each of the two frames in a quarter of the trials."""
    scheme, path = make_scheme(length=length)
    (mover,) = scheme.movers["shooting"]
    engine, first = mover.engine, mover.pairs(path)[0]
    assert 1 <= first and first + OFFSET <= length - 2 and abs((length - 1 - OFFSET) - 2 * first) <= 1
    counts = {}
    mover._frames = lambda start, n: frames_of([*make_path(engine, [0.1] * (n - 1)), *make_path(engine, [0.9])], False)
    for _ in range(400):
        (trial,), details = mover(paths.Sample(0, path, mover.ensemble))
        c, index = path.index(details["shooting_snapshot"]), details["shooting_index"]
        assert trial.bias == 1.0 and details["aimless_index"] == first and len(trial.trajectory) == length
        assert trial.trajectory[index] is details["modified_shooting_snapshot"]
        assert coordinate(trial.trajectory[index]) == coordinate(path[c])
        assert not mover.metropolis([trial])[0]  # from B to B
        counts[c, index] = counts.get((c, index), 0) + 1
    pair = (first, first + OFFSET)
    assert set(counts) == {(c, index) for c in pair for index in pair}
    for count in counts.values():
        assert_within(count, 100.0, np.sqrt(400 * 0.25 * 0.75))


def test_all_paths_of_the_ensemble_are_accepted_and_no_others():
    scheme, path = make_scheme()
    (mover,) = scheme.movers["shooting"]
    ends = [(-0.9, 0.9, True), (0.9, -0.9, True), (-0.9, -0.9, False), (-0.9, 0.2, False), (0.2, 0.9, False)]
    for begin, end, fine in ends:
        new = make_path(mover.engine, [begin, *[0.9] * (LENGTH - 2), end])
        assert mover.metropolis([paths.Sample(0, new, mover.ensemble, 1.0)])[0] == fine
    assert mover.weight(path) == 1.0


@pytest.mark.parametrize(
    ("before", "at", "after", "expected"),
    [
        ([-0.9, -0.2, -0.9, 0.1], 0.0, [0.2, 0.9, 0.2, -0.9], (1, 1)),  # the first state counts, not the last frame
        ([0.1, 0.1, 0.8, 0.1], 0.0, [0.2, 0.9, -0.9, 0.1], (0, 2)),
        ([0.1, 0.1, 0.1, 0.1], 0.0, [0.2, 0.2, 0.2, -0.9], (1, 0)),  # a shot that reaches no state counts nothing
        ([0.1, 0.1, 0.1, 0.1], 0.0, [0.1, 0.1, 0.1, 0.1], None),
        ([-0.9, -0.9, -0.9, -0.9], -0.8, [0.1, 0.9, 0.9, 0.9], None),  # from within a state
    ],
)
def test_the_outcome_of_a_shot_is_the_first_state_that_it_reaches(before, at, after, expected):
    scheme, _ = make_scheme(length=9)
    (mover,) = scheme.movers["shooting"]
    mover._zero_or_offset = lambda: OFFSET // 2  # the middle of nine frames
    shots = [frames_of(make_path(mover.engine, values), False) for values in (after, before[::-1])]
    mover._frames = lambda start, n: shots.pop(0)
    start = start_of(scheme, make_path(mover.engine, [-0.9, -0.9, -0.9, -0.9, at, 0.9, 0.9, 0.9, 0.9]))
    change = scheme.root_mover.move(start)
    found = outcome(paths.pathsimulators.MCStep(None, 1, active=start, change=change), mover.states)
    assert (None if found is None else tuple(found[1])) == expected


def test_shooting_by_a_selector_and_paths_without_a_pair_are_refused():
    engine, states = make_engine(), make_states()
    network = paths.FixedLengthTPSNetwork.from_states_all_to_all(list(states), length=6)
    by_selector = ShootingStrategy(paths.UniformSelector(), paths.NoModification(), engine)
    with pytest.raises(ValueError, match="samples the paths of a TPSNetwork, not those of a FixedLengthTPSNetwork"):
        shooting_scheme(network, by_selector)
    with pytest.raises(ValueError, match="length = 6 frames carry no pair with an offset of 4"):
        shooting_scheme(network, AimlessShootingStrategy(paths.NoModification(), engine, 4))
    with pytest.raises(ValueError, match="paths of a TPSNetwork or FixedLengthTPSNetwork, not those of a MISTISNetwork"):
        interfaces = paths.VolumeInterfaceSet(paths.FunctionCV("x", coordinate), -np.inf, [-0.6])
        network = paths.MISTISNetwork([(states[0], interfaces, states[1])])
        shooting_scheme(network, AimlessShootingStrategy(paths.NoModification(), engine))


def flexible_scheme():
    """Scheme of aimless shooting of flexible length, and a first path."""
    engine, states = make_engine(seed_path_sampling(2)), make_states()
    network = paths.TPSNetwork.from_states_all_to_all(list(states))
    scheme = shooting_scheme(network, AimlessShootingStrategy(paths.NoModification(), engine, OFFSET))
    return scheme, make_path(engine, np.linspace(-0.8, 0.8, 30))


def begun(name, scheme, path):
    """A new simulation with a storage, and its mover."""
    storage = open_storage(name, "w", path[0]) if name.endswith(".nc") else open_simstore(name, "w")
    simulation = paths.PathSampling(storage, scheme, scheme.initial_conditions_from_trajectories(path))
    simulation.output_stream = open(os.devnull, "w")
    (mover,) = scheme.movers["shooting"]
    return simulation, mover


def continued(name):
    """It again, from its storage."""
    storage = open_storage(name, "a") if name.endswith(".nc") else open_simstore(name, "a")
    simulation = storage.pathsimulators[0]
    simulation.storage = storage
    simulation.restart_at_step(storage.steps[-1])
    simulation.output_stream = open(os.devnull, "w")
    (mover,) = simulation.move_scheme.movers["shooting"]
    return simulation, mover


def begin_beside_the_middle(name):
    """Leave a storage whose last step is a rejected one, which does not tell where the pair is: not in the middle."""
    simulation, mover = begun(name, *flexible_scheme())
    while True:
        simulation.run(1)
        path = simulation.sample_set[0].trajectory
        pairs, first = mover.pairs(path), mover.first_of(path)
        middle = pairs[len(pairs) // 2]
        if not simulation.current_step.change.accepted and first - middle not in (-OFFSET, 0, OFFSET):
            break
    np.save("first.npy", [first, middle])
    simulation.storage.close()


def go_on(name, recall):
    """Whether the next trial starts from the pair of before, and from one in the middle; of a copy of the storage."""
    simulation, mover = continued(shutil.copy(name, f"{recall}-{name}"))
    path = simulation.sample_set[0].trajectory
    if recall == "function":
        recall_pairs(simulation)
    elif recall == "hook":
        selector = CommittorSelector(make_model(1.0))
        simulation.attach_hook(TrainingHook(selector, mover.states, f"{recall}.npz"))
    simulation.run(1)
    index = path.index(simulation.current_step.change.canonical.details.shooting_snapshot)
    return [index in (first, first + OFFSET) for first in np.load("first.npy")]


@pytest.mark.parametrize("name", ["run.nc", "run.db"])
def test_a_continued_simulation_knows_its_pair(tmp_path, name):
    in_fresh(f"from test_aimless import *\nbegin_beside_the_middle('{name}')", tmp_path)
    again = f"""
        from test_aimless import *
        assert go_on("{name}", "function") == go_on("{name}", "hook") == [True, False]
        assert go_on("{name}", "nothing") == [False, True]  # negative control
    """
    in_fresh(again, tmp_path)


def outcomes(simulation, mover):
    """Of all steps of a storage but the first, which is the start."""
    found = [outcome(simulation.storage.steps[i], mover.states) for i in range(1, len(simulation.storage.steps))]
    return [(0, 0) if each is None else tuple(each[1]) for each in found]


@pytest.mark.parametrize("name", ["run.nc", "run.db"])
def test_fixed_length_reloads_and_goes_on(tmp_path, name):
    begin = f"""
        from test_aimless import *
        simulation, mover = begun("{name}", *make_scheme())
        simulation.run(8)
        np.save("outcomes.npy", outcomes(simulation, mover))
        simulation.storage.close()
    """
    again = f"""
        from test_aimless import *
        simulation, mover = continued("{name}")
        assert type(mover) is FixedLengthAimlessMover and (mover.length, mover.offset) == (LENGTH, OFFSET)
        seen = outcomes(simulation, mover)
        np.testing.assert_array_equal(seen, np.load("outcomes.npy"))
        assert np.sum(seen) > 0
        simulation.run(4)
        assert len(simulation.storage.steps) == 13 and len(simulation.sample_set[0].trajectory) == LENGTH
    """
    for code in (begin, again):
        in_fresh(code, tmp_path)

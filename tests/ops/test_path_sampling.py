"""Path sampling samples transition paths by their probability: exactly on given paths, and beside direct simulation."""

from functools import cache

import numpy as np
import openpathsampling as paths
import pytest

import line
import plane
from line import coordinate, make_engine, make_model, make_path, make_states
from openmm_rare.ops.aimless import AimlessShootingStrategy
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from stats import assert_within, mean_and_stderr

OFFSET = 4


class Broken(CommittorSelector):
    """Accepts every transition path, as if the choice of shooting points did not matter."""

    def probability_ratio(self, *arguments, **keywords):
        return 1.0


def strategy(kind, engine, world=line):
    still = world.make_modifier(engine)
    if kind.startswith("aimless"):
        return AimlessShootingStrategy(still, engine, offset=OFFSET, corrected=kind == "aimless")
    if kind == "uniform":
        return ShootingStrategy(paths.UniformSelector(), still, engine)
    maker, form = Broken if kind == "broken" else CommittorSelector, "gaussian" if kind == "gaussian" else "lorentzian"
    density = [50, 5, 2, 1, 30] if kind == "density" else None
    return ShootingStrategy(maker(make_model(8.0), 0.5, form, density), still, engine)


def sample(world, kind, n_steps, seed, leave_out=50):
    """Length, mean of the observable, and weight of the path after each step, arrays of shape (n_steps - leave_out,)."""
    noise = seed_path_sampling(seed)
    engine, states = world.make_engine(noise), world.make_states()
    network = paths.TPSNetwork.from_states_all_to_all(list(states))
    scheme = shooting_scheme(network, strategy(kind, engine, world))
    current = scheme.initial_conditions_from_trajectories(world.make_path(engine, np.linspace(-0.8, 0.8, 30)))
    mover = scheme.movers["shooting"][0]
    rows = []
    for _ in range(n_steps):
        change = scheme.root_mover.move(current)
        current = current.apply_samples(change.results)
        path = current[0].trajectory
        mean = np.mean([world.observable(frame) for frame in path])
        rows.append((len(path), mean, mover.weight(path) if kind == "aimless, plain" else 1.0))
    return np.array(rows)[leave_out:].T


def block_average(values, weights, n_blocks=20):
    """Weighted mean of correlated values and its standard error from blocks."""
    pairs = zip(np.array_split(values, n_blocks), np.array_split(weights, n_blocks), strict=True)
    blocks = [np.average(v, weights=w) for v, w in pairs]
    return np.average(values, weights=weights), np.std(blocks, ddof=1) / np.sqrt(n_blocks)


@cache
def direct(world):
    """Length and mean of the observable of the transition paths of direct simulation."""
    return world.direct_paths()


def truth(world, kind):
    """Means over these paths, and their errors; aimless shooting sees only those that carry a pair."""
    length, mean = direct(world)
    seen = length >= (OFFSET + 3 if kind.startswith("aimless") else 0)
    return [mean_and_stderr(values[seen]) for values in (length, mean)]


def assert_like_direct_simulation(rows, truth):
    length, mean_on_path, weight = rows
    for values, (mean, error) in zip((length, mean_on_path), truth, strict=True):
        estimate, stderr = block_average(values, weight)
        assert_within(estimate, mean, np.hypot(stderr, error))


IN_EACH_WORLD = pytest.mark.parametrize("world", [line, plane], ids=["line", "plane"])
OF_EACH_KIND = pytest.mark.parametrize("kind", ["uniform", "lorentzian", "gaussian", "density", "aimless", "aimless, plain"])


@OF_EACH_KIND
@IN_EACH_WORLD
def test_transition_paths_are_those_of_direct_simulation(kind, world):
    assert_like_direct_simulation(sample(world, kind, 450, seed=4), truth(world, kind))


@IN_EACH_WORLD
def test_a_broken_acceptance_is_seen(world):
    with pytest.raises(AssertionError):
        assert_like_direct_simulation(sample(world, "broken", 450, seed=4), truth(world, "broken"))


@pytest.mark.slow
@OF_EACH_KIND
@IN_EACH_WORLD
def test_the_same_with_smaller_errors(kind, world):
    assert_like_direct_simulation(sample(world, kind, 20000, seed=5), truth(world, kind))


class Given:
    """A mover whose shots lead to a path that is given."""

    def __init__(self, mover, path, index):
        mover._run = lambda trajectory, shooting_index: (
            path,
            {"modified_shooting_snapshot": trajectory[shooting_index], "shooting_index": index},
        )


@pytest.mark.parametrize("form", ["lorentzian", "gaussian", "uniform"])
def test_acceptance_on_given_paths_is_that_of_detailed_balance(form):
    """p_sel(x|new)/p_sel(x|old), computed by hand from the logits of the frames between the ends."""
    seed_path_sampling(1)
    engine, states = make_engine(), make_states()
    selector = CommittorSelector(make_model(5.0), 0.7, form)
    network = paths.TPSNetwork.from_states_all_to_all(list(states))
    scheme = shooting_scheme(network, ShootingStrategy(selector, paths.NoModification(), engine))
    old, new = make_path(engine, np.linspace(-0.8, 0.8, 12)), make_path(engine, np.linspace(0.75, -0.9, 21))
    mover = scheme.movers["shooting"][0]
    Given(mover, new, 7)
    sample_set = scheme.initial_conditions_from_trajectories(old)
    (trial,), details = mover(sample_set[0])

    def normalization(path):
        q = 5.0 * np.array([coordinate(frame) for frame in path[1:-1]])
        return {"lorentzian": 0.49 / (q**2 + 0.49), "gaussian": np.exp(-(q**2) / 0.49), "uniform": np.ones_like(q)}[form].sum()

    assert trial.bias == pytest.approx(normalization(old) / normalization(new), rel=1e-5)
    assert details["shooting_snapshot"] in old[1:-1]


def test_the_corrected_acceptance_of_aimless_shooting_on_given_paths():
    seed_path_sampling(2)
    engine, states = make_engine(), make_states()
    network = paths.TPSNetwork.from_states_all_to_all(list(states))
    old = make_path(engine, np.linspace(-0.8, 0.8, 12))
    for length in (10, 30):
        new = make_path(engine, np.linspace(-0.8, 0.8, length))
        for corrected in (True, False):
            scheme = shooting_scheme(network, AimlessShootingStrategy(paths.NoModification(), engine, 2, corrected))
            mover = scheme.movers["shooting"][0]
            Given(mover, new, length // 2)
            (trial,), _ = mover(scheme.initial_conditions_from_trajectories(old)[0])
            assert trial.bias == pytest.approx(min(1.0, (12 - 4) / (length - 4)) if corrected else 1.0)
            assert mover.weight(new) == pytest.approx(1.0 if corrected else 1.0 / (length - 4))


def test_aimless_shooting_rejects_a_pair_that_lies_in_a_state():
    seed_path_sampling(3)
    engine, states = make_engine(), make_states()
    network = paths.TPSNetwork.from_states_all_to_all(list(states))
    scheme = shooting_scheme(network, AimlessShootingStrategy(paths.NoModification(), engine, 2))
    mover = scheme.movers["shooting"][0]
    Given(mover, make_path(engine, np.linspace(-0.8, 0.8, 9)), 7)  # frame 7 may only be the second of a pair
    sample_set = scheme.initial_conditions_from_trajectories(make_path(engine, np.linspace(-0.8, 0.8, 12)))
    seen = {(details["aimless_index"], trial.bias > 0) for (trial,), details in (mover(sample_set[0]) for _ in range(40))}
    assert seen == {(5, True), (7, False)}


@pytest.mark.parametrize("kind", ["uniform", "aimless"])
def test_a_shot_that_reaches_no_state_is_a_rejected_trial(kind):
    seed_path_sampling(4)
    engine, states = make_engine(n_frames_max=3), make_states()
    scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all(list(states)), strategy(kind, engine))
    start = scheme.initial_conditions_from_trajectories(make_path(engine, np.linspace(-0.8, 0.8, 30)))
    changes = [scheme.root_mover.move(start) for _ in range(8)]
    unfinished = [c for c in changes if getattr(c.canonical.details, "stopping_reason", "") == "max_length"]
    assert unfinished and not any(change.accepted for change in unfinished)
    assert start.apply_samples(unfinished[0].results)[0].trajectory is start[0].trajectory


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CommittorSelector(make_model(1.0), 0.0), "width = 0.0 must be positive"),
        (lambda: CommittorSelector(make_model(1.0), form="best"), "form = 'best' must be one of lorentzian, gaussian"),
        (lambda: CommittorSelector(make_model(1e9), 1e-200).weights(make_path(make_engine(), [-1, 0.5, 1])), "all zero"),
        (lambda: CommittorSelector(make_model(np.nan)).weights(make_path(make_engine(), [-1, 0.5, 1])), "not finite"),
        (lambda: CommittorSelector(make_model(1.0)).weights(make_path(make_engine(), [-1, 1])), "path of 2 frames"),
    ],
)
def test_what_cannot_choose_says_so(make, message):
    with pytest.raises(ValueError, match=message):
        make()

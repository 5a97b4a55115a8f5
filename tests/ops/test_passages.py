"""Frames that shots pass are shots too: exactly so without momenta, to first order with them, and worth learning from."""

from functools import cache

import numpy as np
import openpathsampling as paths
import pytest

import line
import plane
from openmm_rare.committor.model import CommittorModel
from openmm_rare.learning.gated_fit import FitOptions
from openmm_rare.learning.passages import Passages, weights_without_drift
from openmm_rare.learning.shot_fit import fit_model
from openmm_rare.learning.shots import Shots
from openmm_rare.ops.hooks import take_passages
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from stats import assert_within, mean_and_stderr

N_TRIALS, N_PASSAGES = 400, 6


@cache
def exact_committor():
    """Places x and the probability to reach B first, with frames every few steps: a linear system from the kernel of a step."""
    x = np.linspace(-2.2, 2.2, 881)
    drift = -4.0 * line.BARRIER * x * (x**2 - 1.0) * line.TIMESTEP / line.FRICTION
    kernel = np.exp(-((x[None] - (x + drift)[:, None]) ** 2) / (4.0 * line.TIMESTEP / line.FRICTION))
    frame = np.linalg.matrix_power(kernel / kernel.sum(1, keepdims=True), line.STRIDE)
    free, in_b = np.abs(x) <= line.EDGE, x > line.EDGE
    p = in_b.astype(float)
    p[free] = np.linalg.solve(np.eye(free.sum()) - frame[np.ix_(free, free)], frame[np.ix_(free, in_b)].sum(1))
    return x, p


def mover_and_start(world, seed):
    noise = seed_path_sampling(seed)
    engine, states = world.make_engine(noise), list(world.make_states())
    selector = CommittorSelector(line.make_model(8.0), 0.5)
    strategy = ShootingStrategy(selector, world.make_modifier(engine), engine)
    scheme = shooting_scheme(paths.TPSNetwork.from_states_all_to_all(states), strategy)
    (mover,) = scheme.movers["shooting"]
    mover.keep_frames()
    return mover, scheme.initial_conditions_from_trajectories(world.make_path(engine, np.linspace(-0.8, 0.8, 30)))


def first_coordinate(positions):
    """A descriptor: x of the first atom."""
    return positions[:, 0, :1]


@cache
def sampled():
    """Shots with passages, from near the top; and the last three frames before each state instead."""
    mover, current = mover_and_start(line, 5)
    shots, last = Shots(), []
    for cycle in range(N_TRIALS):
        change = mover.move(current)
        current = current.apply_samples(change.results)
        change = change.canonical
        ends = [(frames[-4:], int(frames.positions[-1, 0, 0] > 0.0)) for frames in change.details._frames]
        point = change.details.shooting_snapshot.statics.coordinates._value
        reached = np.bincount([state for _, state in ends], minlength=2)
        shots.add(cycle, point, reached, 0.5, take_passages(change, mover.states, first_coordinate, N_PASSAGES))
        last.append(Passages.of(ends, 1, first_coordinate))
    return shots, last


def surprise(passages):
    """Of each trial, the sum of x (outcome - committor): it averages to 0 over fair passages."""
    x, p = exact_committor()
    sums = []
    for each in passages:
        place = each.features.ravel()
        sums.append(np.sum(place * (each.state - np.interp(place, x, p))))
    return mean_and_stderr(sums)


def test_passed_frames_have_the_exact_committor():
    shots, last = sampled()
    assert sum(map(len, shots.passages)) > 2 * N_TRIALS and not any(each.rates.any() for each in shots.passages)
    mean, stderr = surprise(shots.passages)
    assert_within(mean, 0.0, stderr)
    mean, stderr = surprise(last)
    assert mean > 10.0 * stderr  # negative control: chosen by what came after them


def inertial_shots(x, every=4, n_frames=400, seed=2):
    """Frames, velocities and ends (0 or 1) of shots from places x with velocities from equilibrium: three arrays, flat.

    With `every` = 0, the ends of the shots only.
    """
    rng, place, kept = np.random.default_rng(seed), np.array(x), np.exp(-plane.FRICTION * plane.TIMESTEP)
    velocity, end, found = rng.standard_normal(len(place)), np.full(len(place), -1), []
    for frame in range(1, n_frames + 1):
        for _ in range(line.STRIDE):
            velocity -= 0.5 * plane.TIMESTEP * 4.0 * line.BARRIER * place * (place**2 - 1.0)
            place += 0.5 * plane.TIMESTEP * velocity
            velocity = kept * velocity + np.sqrt(1.0 - kept**2) * rng.standard_normal(len(place))
            place += 0.5 * plane.TIMESTEP * velocity
            velocity -= 0.5 * plane.TIMESTEP * 4.0 * line.BARRIER * place * (place**2 - 1.0)
        end = np.where((end < 0) & (np.abs(place) > line.EDGE), place > 0.0, end)
        if every and frame % every == 0:
            found.append((np.flatnonzero(end < 0), place[end < 0], velocity[end < 0]))
    if not every:
        return end
    rows, places, velocities = (np.concatenate(part) for part in zip(*found, strict=True))
    done = end[rows] >= 0
    return places[done], velocities[done], end[rows[done]]


def test_with_momenta_weights_take_the_drift_away():
    """Frames that were passed outward reach the nearer state too often; with weights, about as often as fresh shots do."""
    grid = np.linspace(-line.EDGE, line.EDGE, 29)
    ends = inertial_shots(np.repeat(grid, 2000), every=0).reshape(29, 2000)
    p = ends.clip(0).sum(1) / (ends >= 0).sum(1)
    p = 0.5 * (p + 1.0 - p[::-1])  # as symmetric as the potential
    place, velocity, end = inertial_shots(np.zeros(8000))
    logit = np.interp(place, grid, np.log(p / (1.0 - p)))
    slope = np.gradient(np.log(p / (1.0 - p)), grid)
    weights = weights_without_drift(logit, np.interp(place, grid, slope) * velocity)
    assert weights.min() > 0.0 and abs(weights.mean() - 1.0) < 1e-9
    excess = np.sign(place) * (end - np.interp(place, grid, p))
    (plain, stderr), weighted = mean_and_stderr(excess), np.mean(weights * excess)
    assert plain > 8.0 * stderr and plain > 0.02
    assert abs(weighted) < 0.35 * plain
    slices = np.array_split(np.argsort(logit), 5)
    assert max(abs(np.average(velocity[rows], weights=weights[rows])) for rows in slices) < 0.1
    assert max(abs(velocity[rows].mean()) for rows in slices) > 0.2


def test_weights_of_passages_that_all_move_one_way_are_bounded():
    np.testing.assert_array_equal(weights_without_drift(np.zeros(5), np.zeros(5)), 1.0)
    assert len(weights_without_drift(np.zeros(0), np.zeros(0))) == 0
    weights = weights_without_drift(np.zeros(50), np.linspace(1.0, 2.0, 50))
    assert np.isfinite(weights).all() and weights[0] > weights[-1] > 0.0


def test_a_committor_learns_from_them():
    """From few shots near the top, more of the committor far from it than without passages."""
    shots, _ = sampled()
    x, p = exact_committor()
    there = (p > 0.02) & (p < 0.98)
    places = np.zeros((there.sum(), 1, 3))
    places[:, 0, 0] = x[there]
    errors = {}
    for weight in (0.0, FitOptions().passage_weight):
        errors[weight] = []
        for part in range(10):
            model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (8,), network={"kind": "residual"})
            model = fit_model(model, shots.take(range(part, N_TRIALS, 10)), 1, FitOptions(passage_weight=weight))
            errors[weight].append(np.mean((np.exp(model.log_importance(places)) - p[there]) ** 2))
    without, learned = (np.mean(each) for each in errors.values())
    assert learned < 0.6 * without


@pytest.mark.parametrize("world", [line, plane])
def test_they_are_taken_once(world):
    mover, current = mover_and_start(world, 1)
    change = mover.move(current).canonical
    (a, b), frames = mover.states, change.details._frames

    def taken(states, number=20, frames=frames):
        change.details._frames = frames
        return take_passages(change, states, first_coordinate, number)

    assert taken([a, b], number=0) is None and taken([]) is None
    found, turned = taken([a, b]), taken([b, a])
    assert take_passages(change, [a, b], first_coordinate, 20) is None  # a trial holds on to no frames
    np.testing.assert_array_equal(found.state, 1 - turned.state)
    assert len(found) == len(found.features) > 0 and found.rates.any() == (world is plane)
    if world is plane:
        velocities = np.concatenate([each.velocities[:-1, 0, 0] for each in frames])
        np.testing.assert_allclose(found.rates[:, 0], velocities, atol=1e-3)
    mover._keeps_frames = False
    assert not hasattr(mover.move(current).canonical.details, "_frames")


def test_they_stay_with_their_trials():
    shots, _ = sampled()
    some = shots.take([3, 1, 7])
    for again in (Shots.from_arrays(some.arrays()), some):
        for mine, row in zip(again.passages, (3, 1, 7), strict=True):
            np.testing.assert_array_equal(mine.state, shots.passages[row].state)
            np.testing.assert_array_equal(mine.features[: len(mine)], shots.passages[row].features[: len(mine)])
    assert len(Shots.from_arrays(Shots().arrays()).passages) == 0
    old = {name: value for name, value in some.arrays().items() if "passed" not in name}
    assert [len(each) for each in Shots.from_arrays(old).passages] == [0, 0, 0]

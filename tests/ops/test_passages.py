"""Frames that shots pass are shots too, where the dynamics has no momenta: exactly so on a line, and worth learning from."""

from functools import cache

import numpy as np
import openpathsampling as paths

import line
import plane
from openmm_rare.committor import CommittorModel
from openmm_rare.fitting import FitOptions, fit_model
from openmm_rare.ops.seeding import seed_path_sampling
from openmm_rare.ops.selector import CommittorSelector
from openmm_rare.ops.shooting import ShootingStrategy, shooting_scheme
from openmm_rare.shots import Passages, Shots
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
    return mover, scheme.initial_conditions_from_trajectories(world.make_path(engine, np.linspace(-0.8, 0.8, 30)))


@cache
def sampled():
    """Shots with passages, from near the top; and the last three frames before each state instead."""
    mover, current = mover_and_start(line, 5)
    shots, last = Shots(), []
    for cycle in range(N_TRIALS):
        change = mover.move(current)
        current = current.apply_samples(change.results)
        change = change.canonical
        after, before = mover._latest[1]
        to, fro = (int(frames[-1, 0, 0] > 0.0) for frames in (after, before))
        point = change.details.shooting_snapshot.statics.coordinates._value
        passages = mover.passages(change, mover.states, N_PASSAGES)
        shots.add(cycle, point, np.bincount([fro, to], minlength=2), 0.5, passages)
        last.append(Passages.of([(after[-4:], to), (before[-4:], fro)], 1))
    return shots, last


def surprise(passages):
    """Of each trial, the sum of x (outcome - committor): it averages to 0 over fair passages."""
    x, p = exact_committor()
    sums = []
    for each in passages:
        place = each.positions[:, 0, 0]
        sums.append(np.sum(place * (each.state - np.interp(place, x, p))))
    return mean_and_stderr(sums)


def test_passed_frames_have_the_exact_committor():
    shots, last = sampled()
    assert sum(map(len, shots.passed_to)) > 2 * N_TRIALS
    fair = [Passages(*pair) for pair in zip(shots.passed, shots.passed_to, strict=True)]
    assert_within(surprise(fair)[0], 0.0, surprise(fair)[1])
    mean, stderr = surprise(last)
    assert mean > 10.0 * stderr  # negative control: chosen by what came after them


def test_a_committor_learns_from_them():
    """From shots near the top, the committor far from it."""
    shots, _ = sampled()
    x, p = exact_committor()
    there = (p > 0.02) & (p < 0.98)
    places = np.zeros((there.sum(), 1, 3))
    places[:, 0, 0] = x[there]
    errors = {0.0: [], 0.5: []}
    for weight, found in errors.items():
        for part in range(4):
            model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 0.3}, 1, (8,), network={"kind": "residual"})
            model = fit_model(model, shots.take(range(part, N_TRIALS, 4)), 1, FitOptions(passage_weight=weight))
            found.append(np.sqrt(np.mean((np.exp(model.log_importance(places)) - p[there]) ** 2)))
    without, learned = (np.mean(errors[weight]) for weight in (0.0, 0.5))
    assert learned < 0.06 and learned < 0.7 * without


def test_there_are_none_with_momenta_and_of_other_trials():
    for world in (plane, line):
        mover, current = mover_and_start(world, 1)
        first, second = (mover.move(current).canonical for _ in range(2))
        a, b = mover.states
        assert mover.passages(first, [a, b], 20) is None and mover.passages(second, [a, b], 0) is None
        found, turned = (mover.passages(second, states, 20) for states in ([a, b], [b, a]))
        if world is plane:
            assert found is None
        else:
            np.testing.assert_array_equal(found.state, 1 - turned.state)
            assert len(found.state) == len(found.positions) > 0


def test_they_stay_with_their_trials():
    shots, _ = sampled()
    some = shots.take([3, 1, 7])
    for again in (Shots.from_arrays(some.arrays()), some):
        positions, counts, trial = again.outcomes(0.25)
        n_passed = [len(shots.passed[row]) for row in (3, 1, 7)]
        assert trial.tolist() == [0, 1, 2] + np.repeat([0, 1, 2], n_passed).tolist()
        np.testing.assert_array_equal(positions[3 + n_passed[0] :][: n_passed[1]], shots.passed[1])
        np.testing.assert_array_equal(counts[3:].sum(1), 0.25)
        np.testing.assert_array_equal(counts[3:].argmax(1), np.concatenate([shots.passed_to[row] for row in (3, 1, 7)]))
    nothing = Shots.from_arrays(Shots().arrays())
    assert len(nothing) == len(nothing.passed) == 0
    old = {name: value for name, value in some.arrays().items() if "passed" not in name}
    assert [len(each) for each in Shots.from_arrays(old).passed] == [0, 0, 0]

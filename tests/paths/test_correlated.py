"""Errors of correlated series: against the exact variance of Markov chains, and how often the 95 % interval holds."""

import numpy as np
import pytest
from scipy.special import expit

from openmm_rare.committor.model import CommittorModel
from openmm_rare.folders.path_folder import PathRecord
from openmm_rare.folders.path_summary import mean_outcome, summarize_paths
from openmm_rare.paths.ensemble import PathEnsemble, mean_over_paths
from openmm_rare.paths.statistics import path_statistics
from openmm_rare.settings.paths import PathSettings
from openmm_rare.statistics import correlated_mean
from stats import assert_within, mean_and_stderr

REPEATS = 300
SITES = np.linspace(-5.0, 5.0, 41)
"""Logits that a shooting point walks over, each as likely as the others in the end."""


def two_states(rng, n, stay, repeats=REPEATS):
    """Series of 0 and 1, 1 with probability 1/2, that keep their value with a probability; shape (repeats, n)."""
    turns = rng.random((repeats, n)) > stay
    return (np.cumsum(turns, axis=1) + rng.integers(2, size=(repeats, 1))) % 2


def exact_error(n, stay):
    """Standard error of the mean of such a series: its correlation is (2 stay - 1)^k after k steps."""
    k = np.arange(1, n)
    return np.sqrt(0.25 / n * (1.0 + 2.0 * ((1.0 - k / n) * (2.0 * stay - 1.0) ** k).sum()))


def walks(rng, n, moves, repeats=REPEATS):
    """Logits of walkers that take so many steps from trial to trial; shape (repeats, n)."""
    place, rows = rng.integers(len(SITES), size=repeats), []
    for _ in range(n):
        for _ in range(moves):
            place = np.clip(place + rng.choice([-1, 1], size=repeats), 0, len(SITES) - 1)
        rows.append(SITES[place])
    return np.array(rows).T


def chance(logit):
    """Probability of a transition path."""
    return 2.0 * expit(logit) * expit(-logit)


def assert_covers(means, errors, truth):
    """The 95 % interval holds the truth as often as it says."""
    inside = np.abs(np.asarray(means) - truth) < 1.96 * np.asarray(errors)
    assert_within(inside.mean(), 0.95, np.sqrt(0.05 * 0.95 / len(inside)))


@pytest.mark.parametrize("stay", [0.5, 0.9, 0.98])
def test_the_error_of_a_two_state_chain_is_the_exact_one(stay):
    series = two_states(np.random.default_rng(1), 5000, stay)
    means, errors = np.array([correlated_mean([each]) for each in series]).T
    assert_within(*mean_and_stderr(means)[:1], 0.5, exact_error(5000, stay) / np.sqrt(REPEATS))
    variance, spread = mean_and_stderr(errors**2)
    assert_within(variance, exact_error(5000, stay) ** 2, np.hypot(spread, 0.02 * variance))
    assert_covers(means, errors, 0.5)
    if stay > 0.5:
        with pytest.raises(AssertionError):  # negative control: errors that know nothing of correlation
            assert_covers(means, series.std(1) / np.sqrt(series.shape[1]), 0.5)


def test_several_chains_are_independent():
    series = two_states(np.random.default_rng(2), 1500, 0.95, repeats=4 * REPEATS)
    means, errors = np.array([correlated_mean(list(four)) for four in series.reshape(REPEATS, 4, -1)]).T
    assert_covers(means, errors, 0.5)


@pytest.mark.parametrize("moves", [100, 10, 1])
def test_yields_of_wandering_shooting_points(moves):
    """From points drawn anew in each trial to those that cross the barrier a few times in all, as in aimless shooting."""
    rng = np.random.default_rng(3)
    logits = walks(rng, 600, moves)
    outcomes = (rng.random(logits.shape) < chance(logits)).astype(float)
    predicted = chance(0.8 * logits)  # by a model with an error
    there = chance(0.8 * SITES)
    found = [mean_outcome([y], [p], (there.mean(), there.var())) for y, p in zip(outcomes, predicted, strict=True)]
    means, errors = np.array(found).T
    np.testing.assert_allclose(means, outcomes.mean(1))
    assert_covers(means, errors, chance(SITES).mean())
    if moves == 1:
        with pytest.raises(AssertionError):  # negative control
            assert_covers(means, outcomes.std(1) / np.sqrt(600), chance(SITES).mean())
        blind = [mean_outcome([y], [np.full(600, 0.3)])[1] for y in outcomes]
        with pytest.raises(AssertionError):  # single outcomes do not show correlations that last as long as the series
            assert_covers(means, blind, chance(SITES).mean())


def path_times(rng, n_chains, n_paths, memory, repeats=REPEATS):
    """Times of the paths that chains accept, log-normal with a memory from path to path; shape (repeats, n_chains, n_paths)."""
    x = rng.normal(size=(repeats, n_chains))
    rows = [x]
    for _ in range(n_paths - 1):
        x = memory * x + np.sqrt(1.0 - memory**2) * rng.normal(size=x.shape)
        rows.append(x)
    return np.exp(0.4 * np.stack(rows, axis=2))


@pytest.mark.parametrize("n_chains", [1, 2, 4])
def test_the_error_of_a_mean_over_weighted_paths(n_chains):
    """Steps for which each path stays are as random as in a chain that accepts 45 of 100 trials."""
    rng = np.random.default_rng(4)
    times = path_times(rng, n_chains, 2000 // n_chains, 0.8).reshape(REPEATS, -1)
    weights = rng.geometric(0.45, size=times.shape).astype(float)
    chains = np.repeat(np.arange(n_chains), 2000 // n_chains)
    means, errors = np.array([mean_over_paths(v, w, chains) for v, w in zip(times, weights, strict=True)]).T
    np.testing.assert_allclose(means, np.average(times, weights=weights, axis=1))
    assert_covers(means, errors, np.exp(0.08))
    naive = np.sqrt((weights**2 * (times - means[:, None]) ** 2).sum(1)) / weights.sum(1)
    with pytest.raises(AssertionError):  # negative control
        assert_covers(means, naive, np.exp(0.08))


def test_chains_that_stay_apart_have_an_error_that_says_so():
    rng = np.random.default_rng(5)
    times = np.concatenate([rng.normal(1.0, 0.1, 200), rng.normal(2.0, 0.1, 200)])  # two channels, a chain in each
    error = mean_over_paths(times, np.ones(400), np.repeat([0, 1], 200))[1]
    assert error > 0.25
    mixed = rng.permutation(times)
    assert mean_over_paths(mixed, np.ones(400), np.repeat([0, 1], 200))[1] < 0.06  # negative control


def test_a_mean_path_time_has_one_error_wherever_it_is_told():
    record, ensemble = fabricated_run()
    paths = [ensemble.paths[0][: 15 + each % 7] for each in range(40)]
    several = PathEnsemble(paths, 1.0 + np.arange(40) % 3, np.arange(40) // 20, 0.5)
    told = summarize_paths(record, several, model_of(5.0), PathSettings())
    found = path_statistics(several, [np.linspace(-3.0, 3.0, len(path)) for path in paths])
    assert told["mean_path_time_ps"] == found.mean_time == found.running_time[-1]
    assert told["mean_path_time_ps_stderr"] == found.mean_time_stderr == found.running_stderr[-1] > 0.0


def test_series_that_say_nothing():
    assert np.isnan(correlated_mean([])).all() and np.isnan(correlated_mean([np.zeros(0)])).all()
    assert correlated_mean([np.ones(9)]) == (1.0, 0.0)
    mean, error = correlated_mean([np.ones(9)], (0.5, 0.1))  # it never moved: the truth may be as far as it is
    assert mean == 1.0 and error == pytest.approx(0.5)
    assert np.isnan(mean_outcome([np.ones(4)], [np.ones(4)])[1])


def fabricated_run(n=200):
    """A chain of aimless shooting that stayed at transition states: alternate trials become paths."""
    record = PathRecord(states=[{"relaxed": np.array(True)}])
    for cycle in range(1, n + 1):
        ends = (1, 1) if cycle % 2 else (2, 0)
        row = {"chain": 0, "cycle": cycle, "n_a": ends[0], "n_b": ends[1], "expected": 0.5, "accepted": cycle % 2 == 1}
        for name, value in {**row, "relaxed": True, "n_frames": 20}.items():
            record.trials[name].append(value)
        record.shots.add(cycle, np.zeros((1, 3)), ends, 0.5)
    path = np.zeros((21, 1, 3))
    path[:, 0, 0] = np.linspace(-1.0, 1.0, 21)
    return record, PathEnsemble([path] * 5, np.ones(5), np.zeros(5), 1.0)


def model_of(slope):
    """Its logit is close to `slope` x."""
    model = CommittorModel({"kind": "coordinates", "columns": [0], "scale": 1.0}, 1, (2,))
    tensors = {name: np.zeros_like(value) for name, value in model.tensors().items()}
    tensors["feature_scale"] += 1.0
    tensors["network.0.weight"][:, 0], tensors["network.2.weight"][0] = (slope, -slope), (1.0, -1.0)
    model.set_tensors(tensors)
    return model


@pytest.mark.parametrize("slope", [0.0, 5.0])
def test_a_chain_that_stayed_where_half_of_all_trials_succeed_has_not_seen_the_rest(slope):
    """Also with a model that has not learned yet that paths have ends."""
    record, ensemble = fabricated_run()
    result = summarize_paths(record, ensemble, model_of(slope), PathSettings(selector="aimless"))
    assert result["yield"] == pytest.approx(0.5) and 0.1 < result["yield_stderr"] < 0.4
    assert 0.05 < result["acceptance_stderr"] < result["yield_stderr"] + 0.1
    moving = summarize_paths(
        record, ensemble, model_of(slope), PathSettings()
    )  # a selector draws points anew, all over the path
    assert moving["yield_stderr"] < 0.05

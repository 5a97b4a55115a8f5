"""Weight windows: unbiased for every importance function, bounded population, no silent NaN."""

import numpy as np
import pytest

from openmm_rare.rates.branching import WeightWindow
from stats import assert_within, mean_and_stderr


def total_weights(window, log_weights, log_importance, level, n_repeats=4000, max_population=10**6):
    rng = np.random.default_rng(12)
    return np.array(
        [np.exp(window.branch(log_weights, log_importance, level, max_population, rng)[1]).sum() for _ in range(n_repeats)]
    )


def population(seed=3, n=50):
    rng = np.random.default_rng(seed)
    return rng.normal(-2.0, 1.5, n), rng.normal(-4.0, 2.0, n)


@pytest.mark.parametrize("power", [0.5, 0.85, 1.0])
def test_expected_total_weight_is_unchanged_for_any_importance_and_power(power):
    log_w, log_i = population()
    level = -2.0 - 4.0 * power  # ln(w I^p) of a typical walker
    sums = total_weights(WeightWindow(power=power), log_w, log_i, level)
    mean, error = mean_and_stderr(sums)
    assert_within(mean, np.exp(log_w).sum(), error)
    with pytest.raises(AssertionError):  # negative control: dropping walkers instead of roulette
        assert_within(mean, np.exp(log_w[log_w + power * log_i > level - 0.7]).sum(), error)


def test_power_of_importance_sets_the_population_that_is_kept():
    log_i = np.full(100, -4.0)
    for power, expected in ((0.5, 100 * np.exp(-2.0)), (1.0, 100 * np.exp(-4.0))):
        rng = np.random.default_rng(1)
        sizes = [len(WeightWindow(power=power).branch(np.zeros(100), log_i, 0.0, 1000, rng)[0]) for _ in range(500)]
        mean, error = mean_and_stderr(sizes)
        assert_within(mean, expected, error)


def test_inside_the_window_nothing_happens():
    log_w = np.log([0.6, 1.0, 1.9])
    parents, new = WeightWindow().branch(log_w, np.zeros(3), 0.0, 100, np.random.default_rng(0))
    assert parents.tolist() == [0, 1, 2]
    assert new.tolist() == log_w.tolist()


def test_heavy_walkers_split_into_equal_shares():
    parents, new = WeightWindow().branch(np.log([8.0]), np.zeros(1), 0.0, 100, np.random.default_rng(0))
    assert len(parents) == 8
    assert np.allclose(np.exp(new), 1.0)


def test_population_bound_is_kept_and_stays_unbiased():
    log_w, log_i = np.zeros(200), np.linspace(-1.0, 3.0, 200)
    window, rng = WeightWindow(), np.random.default_rng(5)
    sizes, sums = [], []
    for _ in range(3000):
        parents, new = window.branch(log_w, log_i, -3.0, 100, rng)
        sizes.append(len(parents))
        sums.append(np.exp(new).sum())
    assert max(sizes) < 150
    mean, error = mean_and_stderr(sums)
    assert_within(mean, 200.0, error)
    with pytest.raises(AssertionError):  # negative control: truncation to the bound loses weight
        assert_within(mean, 100.0, error)


def test_empty_population_and_bad_input():
    parents, weights = WeightWindow().branch(np.zeros(0), np.zeros(0), 0.0, 10, np.random.default_rng(0))
    assert len(parents) == len(weights) == 0
    with pytest.raises(ValueError, match="walker 1 has a NaN"):
        WeightWindow().branch(np.array([0.0, np.nan]), np.zeros(2), 0.0, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="0 < lower"):
        WeightWindow(lower=1.5)
    for power in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"power = {power} .* above 0 and at most 1"):
            WeightWindow(power=power)

"""Rank-normalised split R-hat: what samples alike, and what does not."""

import numpy as np
import pytest

from openmm_rare.convergence import split_r_hat


@pytest.fixture
def draws():
    return np.random.default_rng(1).normal(size=(4, 2000))


def test_chains_of_one_distribution_agree(draws):
    assert abs(split_r_hat(draws) - 1.0) < 0.005
    assert split_r_hat(np.exp(3 * draws)) == pytest.approx(split_r_hat(draws), abs=0.004)  # ranks alone count in bulk
    assert abs(split_r_hat([draws[0], draws[1, :700]]) - 1.0) < 0.01


@pytest.mark.parametrize(
    "change",
    [lambda x: x + np.array([[0], [0], [0], [1]]), lambda x: x * np.array([[1], [1], [1], [3]]), lambda x: np.sort(x, axis=1)],
    ids=["another mean", "another width", "a drift"],
)
def test_what_differs_is_seen(draws, change):
    assert split_r_hat(change(draws)) > 1.05


def test_the_formula_for_normal_values_is_that_of_variances(draws):
    """For large normal samples, normal scores are standardised values: R-hat follows from the variances."""
    shifted = draws + np.array([[0.0], [0.2], [-0.2], [0.1]])
    halves = shifted.reshape(8, 1000)
    direct = np.sqrt(1 - 1 / 1000 + halves.mean(1).var(ddof=1) / halves.var(1, ddof=1).mean())
    assert split_r_hat(shifted) == pytest.approx(direct, abs=1e-3)


def test_weights_stand_for_repeated_values(draws):
    chains = [draws[0, :500], draws[1, :500] + 0.5]
    counts = [np.random.default_rng(2).integers(0, 4, 500) for _ in chains]
    repeated = [np.repeat(v, w) for v, w in zip(chains, counts, strict=True)]
    assert split_r_hat(chains, counts) == pytest.approx(split_r_hat(repeated), abs=0.02)
    assert split_r_hat(chains, counts) > 1.03


def test_ends():
    assert np.isnan(split_r_hat([np.zeros(3)])) and np.isnan(split_r_hat([]))
    assert split_r_hat([np.zeros(8), np.zeros(8)]) == 1.0
    assert split_r_hat([np.zeros(8), np.ones(8)]) == np.inf

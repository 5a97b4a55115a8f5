"""Error bars: known tails, known effective sample sizes, coverage of the clustered error."""

from dataclasses import replace

import numpy as np
import pytest

from openmm_rare.statistics import ClusteredRate, effective_sample_size, pareto_k, ratio_of_sums
from stats import assert_within, mean_and_stderr


@pytest.mark.parametrize("shape", [0.3, 0.9])
def test_pareto_k_of_a_known_tail(shape):
    rng = np.random.default_rng(1)
    estimates = [pareto_k((1.0 - rng.random(4000)) ** -shape) for _ in range(60)]
    mean, error = mean_and_stderr(estimates)
    # the fit at finite n is biased by a few hundredths towards 1/2 (its prior), well below the distance between the cases
    assert abs(mean - shape) < 0.08
    assert error < 0.03


def test_pareto_k_of_light_constant_and_short_data():
    rng = np.random.default_rng(2)
    assert pareto_k(rng.random(4000)) < 0.0
    assert pareto_k(np.ones(1000)) == -np.inf
    assert np.isnan(pareto_k(np.arange(10.0)))


def test_pareto_k_of_counts_whose_grid_holds_an_exponential_tail():
    """A largest excess of three times the first quartile puts a point of the grid where the shape is zero, a division 0/0."""
    counts = np.repeat([0.0, 1.0, 2.0, 3.0], [80, 10, 6, 4])
    nearby = counts * np.where(counts == 3.0, 1.0001, 1.0)
    assert pareto_k(counts) == pytest.approx(pareto_k(nearby), abs=1e-3)


def test_effective_sample_size():
    assert effective_sample_size(np.ones(50)) == pytest.approx(50.0)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == pytest.approx(1.0)
    assert effective_sample_size(np.zeros(4)) == 0.0


def test_ratio_of_sums_error():
    rng = np.random.default_rng(4)
    ratios, errors = [], []
    for _ in range(800):
        denominator = rng.gamma(4.0, 1.0, 100)
        ratio, error = ratio_of_sums(3.0 * denominator + rng.normal(0.0, 2.0, 100), denominator)
        ratios.append(ratio)
        errors.append(error)
    assert_within(np.mean(ratios), 3.0, np.std(ratios) / np.sqrt(800))
    assert np.mean(errors) == pytest.approx(np.std(ratios), rel=0.1)


def fake_rate(rng, n_clusters=200, n_roots=400, cluster_noise=1.0):
    """A rate whose exits come in clusters that differ in their true committor; the true rate is known."""
    exits = rng.poisson(5.0, n_clusters)
    quality = rng.lognormal(-0.5 * cluster_noise**2, cluster_noise, n_clusters)  # mean 1, common to a cluster
    walker = np.repeat(np.arange(n_clusters), exits)
    importance = rng.lognormal(0.0, 0.7, len(walker))
    root = rng.choice(len(walker), n_roots, p=importance / importance.sum())
    value = quality[walker[root]] * rng.exponential(1.0, n_roots)
    surrogate = np.bincount(walker, weights=importance, minlength=n_clusters)
    return ClusteredRate(surrogate, exits.astype(float), np.full(n_clusters, 10.0), walker[root], value[:, None])


def test_clustered_errors_cover_the_truth():
    truth = 5.0 * np.exp(0.5 * 0.7**2) / 10.0
    rng = np.random.default_rng(7)
    inside = naive = 0
    for _ in range(300):
        rate = fake_rate(rng)
        relative = np.hypot(*rate.errors())
        inside += abs(rate.value / truth - 1.0) < 1.96 * relative
        roots_only = rate.root_value[:, 0].std() / rate.root_value[:, 0].mean() / np.sqrt(len(rate.root_value))
        naive += abs(rate.value / truth - 1.0) < 1.96 * roots_only
    assert 0.90 <= inside / 300 <= 0.99
    assert naive / 300 < 0.90  # negative control: an error over roots alone is too small


def rate_with_an_interface(rng, n_clusters=200, n_tried=600, n_roots=400):
    """Clusters differ in what comes of their exits to an interface, and in what comes of that from there on."""
    exits = rng.poisson(5.0, n_clusters)
    first, second = rng.lognormal(-0.125, 0.5, (2, n_clusters))
    walker = np.repeat(np.arange(n_clusters), exits)
    tried = rng.choice(walker, n_tried)
    came = rng.random(n_tried) < 0.3
    weight = 2.0 * first[tried[came]] * rng.exponential(1.0, came.sum())
    cluster = tried[came][rng.choice(len(weight), n_roots, p=weight / weight.sum())]
    value = second[cluster] * rng.exponential(1.0, n_roots)
    brought = np.bincount(tried[came], weight, minlength=n_clusters)
    passage = np.stack([brought, np.bincount(tried, minlength=n_clusters)], axis=1)
    sums = exits.astype(float), exits.astype(float), np.full(n_clusters, 10.0)
    return ClusteredRate(*sums, cluster, value[:, None], passage[None])


def test_errors_with_an_interface_cover_the_truth():
    rng, inside, without = np.random.default_rng(12), 0, 0
    for _ in range(300):
        rate = rate_with_an_interface(rng)
        off = abs(rate.value / (0.5 * 0.3 * 2.0) - 1.0)
        inside += off < 1.96 * np.hypot(*rate.errors())
        without += off < 1.96 * np.hypot(*replace(rate, passages=None).errors())
    assert 0.90 <= inside / 300 <= 0.99
    assert without / 300 < 0.90  # negative control: what the interface adds is left out


def test_bootstrap_with_an_interface_agrees_with_the_linearized_error():
    rate = rate_with_an_interface(np.random.default_rng(13))
    replicas = rate.bootstrap(np.random.default_rng(9), 1000)
    k = replicas[:, 0] * replicas[:, 2]
    assert k.mean() == pytest.approx(rate.value, rel=0.03)
    assert k.std() / k.mean() == pytest.approx(np.hypot(*rate.errors()), rel=0.25)
    assert rate.part(np.ones(200, dtype=bool)).value == pytest.approx(rate.value)


def test_bootstrap_agrees_with_the_linearized_error():
    rate = fake_rate(np.random.default_rng(8))
    replicas = rate.bootstrap(np.random.default_rng(9), 1000)
    assert replicas.shape == (1000, 3)
    k = replicas[:, 0] * replicas[:, 2]
    assert k.mean() == pytest.approx(rate.value, rel=0.03)
    assert k.std() / k.mean() == pytest.approx(np.hypot(*rate.errors()), rel=0.25)


def test_no_arrival_has_an_infinite_error():
    rate = ClusteredRate(np.ones(30), np.ones(30), np.ones(30), np.arange(30), np.zeros((30, 1)))
    assert rate.errors()[1] == np.inf


def test_pool_limit_is_the_error_that_more_roots_cannot_reduce():
    few, many = fake_rate(np.random.default_rng(10), n_roots=800), fake_rate(np.random.default_rng(10), n_roots=100_000)
    errors, limits = [], []
    for rate in (few, many):
        errors.append(rate.relative_error(rate.bootstrap(np.random.default_rng(11))))
        limits.append(rate.pool_limit(errors[-1], 1.0 / effective_sample_size(rate.root_value[:, 0])))
    assert limits[0] == pytest.approx(errors[1], rel=0.2)
    assert limits[1] == pytest.approx(errors[1], rel=0.05)
    assert errors[0] > 1.15 * errors[1]  # negative control: the error itself was no estimate of it
    assert few.pool_limit(0.01, 1.0 / 20.0) == pytest.approx(few.errors()[0])  # never below the error of S

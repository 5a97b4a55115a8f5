"""What a run lacks, roots or exits: the cheapest way to an error, and from how few exits an answer descends."""

from types import SimpleNamespace

import numpy as np
import pytest

from openmm_rare import ImportanceSamplingRate, Silent
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.rates.enough.balance import Balance
from openmm_rare.rates.enough.lineages import few_lineages, lineages, rests_on_few
from openmm_rare.systems import build


@pytest.mark.parametrize(("pool", "roots"), [(0.0025, 0.0023), (0.0001, 0.01), (0.04, 0.001)])
def test_the_cheapest_way_to_an_error_is_found(pool, roots):
    target, now = 0.05, Balance(pool, roots, pool_steps=5e5, roots_steps=3.4e6)
    longer = now.longer_pool(target)
    more = now.more_roots(target, longer)
    assert pool / longer + roots / more == pytest.approx(target**2)
    cost = longer * now.pool_steps + more * now.roots_steps
    tried = longer * np.linspace(0.5, 2.0, 301)
    other = [t * now.pool_steps + now.more_roots(target, t) * now.roots_steps for t in tried]
    assert cost <= min(other) * (1 + 1e-12)
    assert cost < other[0] * 0.99 and cost < other[-1] * 0.99  # the negative control: half and twice as long cost more


def test_the_pool_is_worth_more_up_to_the_cheapest_share():
    target, now = 0.05, Balance(0.0025, 0.0023, 5e5, 3.4e6)
    longer = now.longer_pool(target)
    more = now.more_roots(target, longer)
    for factor, worth in ((0.98, True), (1.02, False)):
        then = Balance(0.0025 / longer / factor, 0.0023 / more, 5e5 * longer * factor, 3.4e6 * more)
        assert then.pool_is_worth_more is worth


def test_no_roots_make_up_for_too_small_a_pool():
    assert Balance(0.01, 0.001, 1.0, 1.0).more_roots(0.05, 1.0) == float("inf")
    assert Balance(0.01, 0.001, 1.0, 1.0).more_roots(0.05, float("inf")) == pytest.approx(0.4)


def pool_of(n_walkers):
    """As much of a pool as lineages look at: two exits of each walker."""
    walker = np.repeat(np.arange(n_walkers), 2)
    return SimpleNamespace(walker=walker, time_ps=np.ones(n_walkers), surrogate=lambda density: np.ones(n_walkers))


@pytest.mark.parametrize(("n_walkers", "carry", "few"), [(100, 100, False), (100, 10, True), (20, 20, False), (20, 5, True)])
def test_an_answer_rests_on_the_flux_walkers_that_it_descends_from(n_walkers, carry, few):
    pool, density = pool_of(n_walkers), RootDensity(0.0, 0.1)
    root = np.repeat(np.arange(2 * carry), 50)  # many roots, however few walkers
    production = SimpleNamespace(root=root, contribution=np.ones(len(root)))
    assert lineages(production, pool) == pytest.approx(carry)
    assert rests_on_few(production, pool, density) is few
    sentence = few_lineages(production, pool, density)
    assert (sentence is not None) is few and (not few or f"from {carry} effective flux walkers" in sentence)


def test_a_first_small_batch_is_not_the_end():
    """Its 28 roots were called good enough once, with an interval from 1e-18 to 1e8."""
    found = ImportanceSamplingRate(build("double_well_1d"), target_error=0.1, seed=1, progress=Silent()).run()
    low, high = found.rate_ci95
    assert found.reliable and found.n_roots > 100 and 1.05 < high / low < 1.6
    assert np.log(high / low) == pytest.approx(2 * 1.96 * found.rate_stderr / found.rate_per_ps, rel=0.1)

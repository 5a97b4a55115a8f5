"""What a run lacks, roots or exits: the cheapest way to an error, against a search over all ways."""

import numpy as np
import pytest

from openmm_rare.rates.pricing.balance import Balance


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

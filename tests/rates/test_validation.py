"""Long statistical validation (``-m slow``): rates and channels against exact answers at 3 % error."""

import numpy as np
import pytest

from openmm_rare.rates.importance import ImportanceSamplingRate
from openmm_rare.systems import double_well_1d, rugged_14d, two_channel_2d
from stats import assert_within

pytestmark = pytest.mark.slow


def test_double_well_1d():
    estimate = ImportanceSamplingRate(double_well_1d.build(temperature=300.0), target_error=0.03, seed=1).run()
    assert_within(estimate.rate_per_ps, double_well_1d.rate(300.0), estimate.rate_stderr, nsigma=3)
    assert_within(estimate.mean_weight, 1.0, estimate.mean_weight_stderr, nsigma=3)


@pytest.mark.parametrize("module", [two_channel_2d, rugged_14d])
def test_channels_in_two_and_in_fourteen_dimensions(module):
    exact = module.exact(600.0)
    estimate = ImportanceSamplingRate(module.build(temperature=600.0), target_error=0.03, seed=1, no_reweighting=True).run()
    assert_within(estimate.rate_per_ps, exact.rate_per_ps, np.hypot(estimate.rate_stderr, 0.005 * exact.rate_per_ps), nsigma=3)
    for name, fraction in exact.channel_fractions.items():
        found = estimate.channels[name]
        assert_within(found["fraction"], fraction, found["fraction_stderr"], nsigma=3)
    with pytest.raises(AssertionError):  # negative control: the importance function taken for the committor
        assert_within(estimate.no_reweighting["rate_per_ps"], exact.rate_per_ps, estimate.rate_stderr, nsigma=3)

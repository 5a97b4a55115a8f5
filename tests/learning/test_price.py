"""What training costs and saves: the law that is fitted to looks, and the decisions that follow from it."""

import numpy as np
import pytest

from openmm_rare.learning.price import Look, Worth, in_steps


def looks(exponent, at=(1e5, 2e5, 4e5, 8e5), ess=1e6, cost=1e5):
    """Of a training whose roots become cheaper by a power law."""
    return [Look(spent, cost * (spent / at[0]) ** -exponent, ess) for spent in at]


@pytest.mark.parametrize("exponent", [0.1, 0.4, 0.9])
def test_a_power_law_is_found_where_looks_are_certain_and_expected_where_they_are_not(exponent):
    sure, unsure = Worth(looks(exponent), 400.0), Worth(looks(exponent, ess=1.0), 400.0)
    assert sure.exponent == pytest.approx(exponent, abs=0.01)
    assert sure.production == pytest.approx(400.0 * 1e5 * 8.0**-exponent, rel=0.02)
    assert abs(unsure.exponent - 0.4) < 0.5 * abs(exponent - 0.4) + 0.01
    assert unsure.production > 1.5 * sure.production  # what is not known is counted as dear


def test_saving_is_the_fall_of_the_cost_of_production():
    worth = Worth(looks(0.5), 400.0)
    assert worth.saving(8e5, 8e5) == pytest.approx(worth.production * (1.0 - 2.0**-0.5), rel=0.02)
    assert worth.saving(16e5, 8e5) < worth.saving(8e5, 8e5)


def test_tighter_targets_are_worth_more_training():
    times = [Worth(looks(0.4, ess=20.0), 1.0 / error**2).how_often(1e5, 100) for error in (0.5, 0.1, 0.05, 0.02)]
    assert times[0] == 0 and times == sorted(times) and times[-1] > times[1] > 0
    assert Worth(looks(0.4, ess=20.0), 1.0 / 0.02**2).how_often(1e5, 3) == 3


def test_while_nobody_comes_to_b_training_always_pays():
    nothing = Look(1e5, np.inf, 0.0)
    assert Worth([nothing], 100.0).how_often(1e9, 5) == 5
    assert Worth([nothing, Look(2e5, 1e3, 50.0)], 100.0).how_often(1e9, 5) == 0  # negative control


def test_gradient_steps_cost_less_where_steps_of_walkers_cost_more():
    assert in_steps(100, 1e8, 7) > 2.0 * in_steps(100, 1e8, 40)
    assert in_steps(100, 1e8, 7) == pytest.approx(100 * in_steps(1, 1e8, 7))

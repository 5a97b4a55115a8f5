"""How long training goes on: decided by looks, kept in their records, and told in the result."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np

from openmm_rare.io.tasks import Memory, TaskLog
from openmm_rare.rates.pricing.looks import Pricing
from openmm_rare.settings.rates import RateSettings

ROUND = {"walker_steps": 100_000, "price": 100_000.0}
SETTINGS = RateSettings()


@dataclass
class Seen(Pricing):
    """Sees these contributions of roots, in 30 000 steps."""

    contribution: np.ndarray = field(default_factory=lambda: np.r_[np.ones(20), np.zeros(230)])

    def _follow(self, *what):
        return self.contribution, 30_000


def pricing(target_error, recorder=None, **seen):
    found = Seen(target_error, None, TaskLog(recorder or Memory(), 1), **seen)
    found.begin()
    return found


def train(priced, planned=12, sweep=10_000.0):
    """Rounds until no more are wanted, as a stage takes them."""
    until = priced.at_first(planned, alone=False)
    while priced.rounds[-1] < until:
        priced.count(ROUND)
        if priced.rounds[-1] == until:
            until += priced.more(SimpleNamespace(positions=np.zeros((7, 3))), None, None, SETTINGS, planned, sweep, 4)
    return priced.rounds[-1]


def test_a_looser_target_trains_less():
    rounds = [train(pricing(error)) for error in (0.3, 0.1, 0.02, 0.01)]
    assert rounds == sorted(rounds) and rounds[0] == 2 and rounds[-1] == 12 and rounds[2] > rounds[0]


def test_the_final_fit_is_made_where_it_pays():
    cheap, dear = pricing(0.05), pricing(0.05)
    train(cheap), train(dear, sweep=1e9)
    assert cheap.sweeps == 4 and dear.sweeps == 0


def test_decisions_are_those_of_the_record_whatever_the_target_is_now():
    recorder = Memory()
    first = pricing(0.3, recorder)
    train(first)
    again = pricing(0.01, recorder, contribution=np.zeros(250))
    assert train(again) == train(pricing(0.3)) == first.rounds[-1]
    assert again.summary() == first.summary()
    assert train(pricing(0.01)) > first.rounds[-1]  # negative control: with this target it would have gone on


def test_training_goes_on_while_no_root_comes_to_b():
    priced = pricing(0.3, contribution=np.zeros(250))
    assert train(priced) == 12 and not priced.convinced
    assert priced.summary()["stopped"] == "that is all that was allowed"


def test_a_run_goes_on_with_the_defaults_that_it_began_with():
    begun = RateSettings(hidden=(64, 64, 64), ladder_ratio=0.7, training_walkers=1000, last_updates=400)
    assert SETTINGS.continuing(begun, "importance") == begun
    assert SETTINGS.continuing(RateSettings(hidden=(7,)), "importance") == SETTINGS  # no default of then
    given = RateSettings(hidden=(8, 8))
    assert given.continuing(begun, "importance").hidden == (8, 8)


def test_the_result_says_how_long_and_why():
    priced = pricing(0.3)
    assert priced.summary() is None
    train(priced)
    found = priced.summary()
    assert found["rounds"] == [2] and found["predicted_saving_steps"] <= found["price_of_round_steps"]
    assert "save about" in found["stopped"] and f"{found['price_of_round_steps']:.2g} steps" in found["stopped"]

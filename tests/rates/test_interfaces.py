"""Walkers gathered at interfaces and drawn anew: nothing changes but the variance."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.rates import pilot
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.interfaces.gathering import Gathered, Starts, gather
from openmm_rare.rates.interfaces.interface import Passage, allotted
from openmm_rare.rates.keeping.past import frames_of
from openmm_rare.rates.pilot import ladder
from openmm_rare.rates.production import Production
from openmm_rare.rates.roots import Steering
from openmm_rare.statistics import effective_sample_size
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr

T, START = 900.0, -0.3
LEVELS = (-7.0, -5.0, -3.0)


class Tilted:
    """A crude importance function: rises towards B, with the wrong slope."""

    def log_importance(self, positions, velocities=None):
        return 12.0 * positions[:, 0, 0] - 5.0

    def log_importance_gradient(self, positions):
        gradient = np.zeros_like(positions)
        gradient[:, 0, 0] = 12.0
        return self.log_importance(positions), gradient


def exits(n, log_weights=0.0):
    positions = np.zeros((n, 1, 3))
    positions[:, 0, 0] = START
    return Starts.at(Frames(positions), np.zeros(n, dtype=np.int64), np.full(n, log_weights))


def climb(seed, n=400, strength=0.7, levels=LEVELS, longest=2000):
    """Means over the walkers of each stage, and their standard errors: of what they bring on, and of all that they weigh."""
    system, rng = double_well_1d.build(temperature=T), np.random.default_rng(seed)
    propagator = Propagator(system, Bias(Tilted(), strength), 400, Machine("Reference", "python"), np.random.SeedSequence(seed))
    starts, branching, brought, weights = exits(n), Branching(0.0, WeightWindow(), stride=5), [], []
    for level in levels:
        found = gather(propagator, Tilted(), starts, level, branching, longest, rng)
        passage = found.passage(RootDensity(level, 0.1))
        brought.append(mean_and_stderr(passage.value))
        weights.append(mean_and_stderr(passage.weight - passage.start_weight))
        starts = found.draw(RootDensity(level, 0.1), n, rng)
    found = gather(propagator, Tilted(), starts, np.inf, branching, 10**6, rng)
    came = np.bincount(found.walkers.roots, found.weights, minlength=n)
    brought.append(mean_and_stderr(came))
    weights.append(mean_and_stderr(came + found.returned - np.exp(starts.walkers.log_weights)))
    return brought, weights


@pytest.mark.parametrize("longest", [2000, 10])
def test_the_product_over_interfaces_is_the_exact_committor(longest):
    brought, weights = climb(seed=4, longest=longest)
    exact = double_well_1d.committor(np.array([START]), T)[0]
    means, errors = np.array(brought).T
    product, error = means.prod(), means.prod() * np.sqrt(((errors / means) ** 2).sum())
    assert_within(product, exact, error)
    for mean, its_error in weights:  # E[w] = 1 in every stage
        assert_within(mean, 0.0, its_error)
    with pytest.raises(AssertionError):  # negative control: what one interface passes on is left out
        assert_within(means[1:].prod(), exact, error)


def test_the_mean_over_repeats_is_exact_and_their_spread_is_no_larger_than_it_says():
    exact, found = double_well_1d.committor(np.array([START]), T)[0], []
    for seed in range(30):
        brought, _ = climb(seed=100 + seed, n=60)
        found.append(np.prod([mean for mean, _ in brought]))
    mean, error = mean_and_stderr(np.array(found))
    assert_within(mean, exact, error)
    with pytest.raises(AssertionError):  # negative control
        assert_within(mean, 2.0 * exact, error)


def test_walkers_know_where_they_come_from():
    system, rng = double_well_1d.build(temperature=T), np.random.default_rng(1)
    propagator = Propagator(system, Bias(Tilted(), 1.0), 400, Machine("Reference", "python"), np.random.SeedSequence(1))
    starts = replace(exits(100), exit=np.arange(100) + 7).with_pasts()
    found = gather(propagator, Tilted(), starts, -6.0, Branching(0.0, stride=5), 2000, rng)
    assert len(found.walkers) > 10 and (found.log_importance >= -6.0).all()
    again = found.draw(RootDensity(-6.0, 0.1), 50, rng)
    assert (again.walkers.roots == np.arange(50)).all() and set(again.exit) <= set(range(7, 107))
    for past, position in zip(again.pasts, again.walkers.frames.positions, strict=True):
        frames = frames_of(past)
        assert frames[0, 0, 0] == pytest.approx(START) and frames[-1] == pytest.approx(position, abs=1e-6)
    assert (again.walkers.clocks > 0).all()


def test_nothing_is_drawn_where_nobody_came():
    none = exits(5)
    nobody = none.walkers.take(np.zeros(0, dtype=np.int64))
    found = Gathered(none, nobody, np.zeros(0), np.zeros(0, dtype=bool), np.ones(5), 10, None)
    assert len(found.draw(RootDensity(-3.0, 0.1), 20, np.random.default_rng(1)).exit) == 0
    passage = found.passage(RootDensity(-3.0, 0.1))
    assert (passage.value == 0.0).all() and (passage.weight == 1.0).all() and passage.relative_variance() == np.inf


def test_numbers_of_walkers_cost_least():
    variances, steps = np.array([3.0, 0.3, 0.5]), np.array([20.0, 100.0, 500.0])
    numbers = np.array(allotted(variances, steps, 50_000))
    assert numbers.sum() == pytest.approx(100_000, abs=3)

    def cost(numbers):
        return (variances / numbers).sum() * (steps * numbers).sum()

    assert cost(numbers) == pytest.approx(np.sqrt(variances * steps).sum() ** 2, rel=1e-3)
    assert cost(np.full(3, 1000)) > 1.2 * cost(numbers)  # negative control


def test_interfaces_lie_between_the_exits_and_b():
    levels = ladder(-17.0)
    assert (np.diff([-17.0, *levels, 0.0]) > 0.0).all() and np.diff([-17.0, *levels[:-1]]).max() <= 2.5 + 1e-9
    assert ladder(-0.05) == ()


def test_effective_roots_count_every_stage():
    rng, production = np.random.default_rng(3), Production(1)
    value = (rng.random(400) < 0.25) * 1.0
    passage = Passage(np.zeros(400, dtype=np.int64), np.ones(400), value, np.ones(400))
    production.passages, production.root = [passage], np.zeros(50, dtype=np.int64)
    production.contribution = rng.exponential(1.0, 50)
    last = 50.0 / effective_sample_size(production.contribution) - 1.0
    first = 1.0 / value.mean() - 1.0
    assert production.ess() == pytest.approx(1.0 / (first / 400 + last / 50))


def test_a_hopeless_strength_costs_the_pilot_no_more_than_the_best_one():
    settings = SimpleNamespace(pilot_roots=80, uniform_fraction=0.1)
    sampler = SimpleNamespace(
        settings=settings,
        importance=Tilted(),
        density=RootDensity(-8.6, 0.1),
        exits=lambda n, rng: exits(n),
        branching=lambda level, window: Branching(level, window, stride=5),
        propagator=lambda strength, seed: Propagator(
            double_well_1d.build(temperature=T), Bias(Tilted(), strength), 400, Machine("Reference", "python"), seed
        ),
    )

    def steps(most):
        return pilot._climb(sampler, LEVELS, Steering(0.7, WeightWindow()), 2000, most, np.random.SeedSequence(3))

    whole, short = steps(np.inf), steps(1.0)
    assert whole["complete"] and len(whole["variances"]) == len(LEVELS) + 1
    assert not short["complete"] and len(short["variances"]) == 1 and short["walker_steps"] < 0.5 * whole["walker_steps"]

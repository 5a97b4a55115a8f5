"""Walkers with momenta whose noise is shifted: what arrives in B, with its weights, is what the exact committor says."""

import numpy as np
import openmm
import pytest
from momenta import trapped_dimer, water

from openmm_rare.bias.bias import Bias
from openmm_rare.dynamics.frames import Frames
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.weighted_paths import run_roots
from openmm_rare.states.states import NEITHER
from openmm_rare.systems import langevin_well
from openmm_rare.walkers.absorbing import absorbing_slots
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr

START, N = -0.4, 600


class Slope:
    """ln I grows by so many units per nm along x."""

    def __init__(self, slope):
        self.slope, self.seen = slope, []

    def log_importance(self, positions, velocities=None):
        return self.slope * positions[:, 0, 0]

    def log_importance_gradient(self, positions):
        gradient = np.zeros(positions.shape)
        gradient[:, 0, 0] = self.slope
        self.seen.append(len(positions))
        return self.log_importance(positions), gradient


def starts(problem, n=N):
    """Copies of a place between the states, with velocities of equilibrium along x."""
    positions = np.zeros((n, *problem.positions.shape))
    positions[:, 0, 0] = START
    velocities = np.zeros_like(positions)
    velocities[:, 0, 0] = np.random.default_rng(7).normal(size=n)
    return Frames(positions, velocities)


@pytest.mark.parametrize("window", [WeightWindow(), WeightWindow(1e-99, 1e99)], ids=["branching", "weights alone"])
def test_weighted_arrivals_are_those_of_the_exact_committor(window):
    problem, importance = langevin_well.build(5.0, 20.0), Slope(4.0)
    roots, solution = starts(problem), langevin_well.exact(5.0, 20.0)
    bias = Bias(importance, 1.0, interval=2)
    propagator = Propagator(problem, bias, N, Machine(), np.random.SeedSequence(1))
    branching = Branching(importance.slope * START, window, 10, 4000)
    batch = run_roots(propagator, importance, roots, branching, np.random.default_rng(1))
    exact = solution.at(roots.positions[:, 0, 0], roots.velocities[:, 0, 0])
    mean, error = mean_and_stderr(batch.contribution - exact)
    assert error < 0.25 * exact.mean() and batch.arrivals.sum() > 3.0 * exact.sum()
    assert_within(mean, 0.0, error)
    whole, its_error = mean_and_stderr(batch.contribution + batch.returned)
    assert_within(whole, 1.0, its_error)
    with pytest.raises(AssertionError):  # negative control: arrivals counted without their weights
        assert_within(batch.arrivals.sum() / N, exact.mean(), error)


def test_without_strength_slots_are_unbiased_and_weigh_nothing():
    problem = langevin_well.build(5.0, 20.0)

    def moved(bias):
        slots = absorbing_slots(problem, 50, Machine(), 3, bias)
        return slots.advance(starts(problem, 50), np.zeros(50, dtype=np.int64), 200)

    one, other, pushed = (moved(bias) for bias in (None, Bias(Slope(9.0), 0.0), Bias(Slope(9.0), 1.0)))
    np.testing.assert_array_equal(one.frames.positions, other.frames.positions)
    assert (one.log_weights == 0.0).all() and (other.log_weights == 0.0).all()
    assert (pushed.log_weights != 0.0).any()


def test_weights_are_those_of_the_arrival_and_begin_anew():
    problem, importance = langevin_well.build(5.0, 20.0), Slope(6.0)
    slots = absorbing_slots(problem, 40, Machine(), 3, Bias(importance, 1.0))
    far = slots.advance(starts(problem, 30), np.zeros(30, dtype=np.int64), 2000)
    assert (far.status != NEITHER).all() and importance.seen[0] == 30 and importance.seen[-1] < 10  # idle ones are not asked
    assert (np.abs(far.log_weights) < 0.5 * np.sqrt(far.steps) * 4 + 0.125 * far.steps).all()
    soon = slots.advance(starts(problem, 30), np.zeros(30, dtype=np.int64), 1)
    assert np.abs(soon.log_weights).max() < 0.5 * 5 and (soon.log_weights != 0.0).all()


def test_constraints_in_slots_keep_the_mean_weight():
    problem, n = trapped_dimer(), 1500
    slots = PhaseSlots(problem, n, Machine(), np.random.default_rng(1), bias=Bias(Slope(6.0), 1.0))
    slots.restart(np.arange(n), np.repeat(problem.positions[None], n, axis=0))
    slots.step(40)
    log_weights = slots.log_weights()
    mean, error = mean_and_stderr(np.exp(log_weights))
    assert log_weights.std() > 0.2
    assert_within(mean, 1.0, error)
    with pytest.raises(AssertionError):  # negative control
        assert_within(*(value := mean_and_stderr(np.exp(-log_weights)))[:1], 1.0, value[1])


def test_one_large_system_is_biased_as_it_is():
    problem = water(2)
    before = openmm.XmlSerializer.serialize(problem.system)
    slots = PhaseSlots(problem, 1, Machine(), np.random.default_rng(1), bias=Bias(Slope(50.0), 1.0))
    slots.restart(np.zeros(1, dtype=np.int64), problem.positions[None])
    slots.step(20)
    assert slots.log_weights()[0] != 0.0 and len(slots.frames().positions[0]) == 24
    assert openmm.XmlSerializer.serialize(problem.system) == before
    slots.load(np.zeros(1, dtype=np.int64), slots.frames())
    assert slots.log_weights()[0] == 0.0

"""Training segments: where they begin and end, what they weigh, and the physical drift at their starts."""

from dataclasses import replace

import numpy as np
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.dynamics.frames import Frames
from openmm_rare.rates.segments import noise_of_one_step, sample_segments
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr

T = 600.0
STRIDE, LENGTH = 10, 50


class Tilted:
    """ln I grows along x: a steady push towards B."""

    slope = 15.0

    def log_importance(self, positions, velocities=None):
        return self.slope * positions[:, 0, 0]

    def log_importance_gradient(self, positions):
        gradient = np.zeros(positions.shape)
        gradient[:, 0, 0] = self.slope
        return self.log_importance(positions), gradient


def batch(strength, n=500, seed=3):
    system = double_well_1d.build(temperature=T)
    starts = np.zeros((n, 1, 3))
    starts[:, 0, 0] = np.random.default_rng(seed).uniform(-1.2, 1.2, n) * abs(system.positions[0, 0])
    propagator = Propagator(system, Bias(Tilted(), strength), 200, Machine("Reference", "python"), np.random.SeedSequence(seed))
    return system, starts, sample_segments(propagator, Frames(starts), STRIDE, LENGTH, seed)


def test_every_frame_begins_a_segment_and_all_end_where_their_walker_ends():
    system, starts, result = batch(1.0)
    segments, between = result.segments, system.states.classify(starts) == 0
    assert len(result.status) == between.sum()  # starts inside A or B are left out
    assert 0 < (result.status == IN_A).sum() and 0 < (result.status == IN_B).sum()
    assert np.array_equal(system.states.classify(segments.end.positions.astype(np.float64)), segments.status)
    assert (system.states.classify(segments.start.positions.astype(np.float64)) == 0).all()
    survivors = (result.status == 0).sum()
    assert survivors * LENGTH // STRIDE <= len(segments) < len(result.status) * LENGTH // STRIDE
    assert (segments.status == 0).sum() == survivors * LENGTH // STRIDE
    assert len(np.unique(segments.end.positions[:, 0, 0])) == len(result.status)
    assert survivors * LENGTH + len(segments) < result.walker_steps < len(result.status) * LENGTH + len(segments)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_mean_weight_of_segments_is_one(strength):
    _, _, result = batch(strength, n=3000)
    log_weight = result.segments.log_weight.astype(np.float64)
    if strength == 0.0:
        assert (log_weight == 0.0).all()
        return
    _, walker = np.unique(result.segments.end.positions[:, 0, 0], return_inverse=True)
    by_walker = np.bincount(walker, np.exp(log_weight)) / np.bincount(walker)
    assert_within(by_walker.mean(), 1.0, mean_and_stderr(by_walker)[1])
    # negative control: without exact weights the push would show
    by_walker = np.bincount(walker, log_weight) / np.bincount(walker)
    assert by_walker.mean() < -5.0 * mean_and_stderr(by_walker)[1]


def test_drift_and_noise_are_those_of_one_step():
    system, _, result = batch(0.0)
    x = result.segments.start.positions[:, 0, 0].astype(np.float64)
    h = 1e-5
    force = -(double_well_1d.energy(x + h, 25.0) - double_well_1d.energy(x - h, 25.0)) / (2 * h)
    step = system.timestep / (system.friction * system.system.getParticleMass(0)._value)
    np.testing.assert_allclose(result.segments.drift[:, 0, 0], step * force, rtol=1e-4, atol=1e-8)
    assert (result.segments.drift[:, 0, 1:] == 0.0).all()
    np.testing.assert_allclose(noise_of_one_step(system), [[np.sqrt(2 * system.kt * step), 0.0, 0.0]])


def test_fixed_atoms_neither_drift_nor_diffuse():
    system = double_well_1d.build(temperature=T)
    system.system.addParticle(0.0)
    np.testing.assert_array_equal(noise_of_one_step(system)[1], 0.0)
    assert noise_of_one_step(system)[0, 0] > 0.0


def test_starts_in_the_states_are_refused():
    system = double_well_1d.build(temperature=T)
    propagator = Propagator(system, None, 20, Machine("Reference", "python"), np.random.SeedSequence(1))
    with pytest.raises(RuntimeError, match="nothing between them"):
        sample_segments(propagator, Frames(system.positions[None]), STRIDE, LENGTH, 1)


class Noted(Propagator):
    """Keeps the length of every block, and the ages at which walkers arrived in A or B."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.blocks, self.ages = [], []

    def advance(self, walkers, n_steps):
        block = super().advance(walkers, n_steps)
        self.blocks.append(n_steps)
        self.ages.extend(block.walkers.clocks[block.status > 0])
        return block


def noted(check_interval, stride, length, n=300):
    system = replace(double_well_1d.build(temperature=T), check_interval=check_interval)
    starts = np.zeros((n, 1, 3))
    starts[:, 0, 0] = np.linspace(-0.39, 0.39, n)
    propagator = Noted(system, None, 200, Machine("Reference", "python"), np.random.SeedSequence(3))
    return system, propagator, sample_segments(propagator, Frames(starts), stride, length, 3)


def test_states_are_tested_at_every_check_interval_only():
    system, propagator, result = noted(4, 10, 48)
    assert set(propagator.blocks) == {8}  # the stride, as a multiple of 4
    ages = np.array(propagator.ages)
    assert len(ages) > 20 and (ages % 4 == 0).all() and (ages % 8 == 4).any()
    assert np.array_equal(system.states.classify(result.segments.end.positions.astype(np.float64)), result.segments.status)
    survivors = (result.status == 0).sum()
    assert (result.segments.status == 0).sum() == survivors * 6
    assert result.walker_steps == survivors * 48 + ages.sum() + len(result.segments)
    _, every_step, _ = noted(1, 8, 48)
    assert (np.array(every_step.ages) % 4 != 0).any()  # negative control


def test_a_length_between_two_multiples_of_the_stride_is_made_the_next_one():
    _, propagator, result = noted(1, 20, 50)
    survivors = (result.status == 0).sum()
    assert survivors > 20 and max(propagator.ages) <= 60
    assert (result.segments.status == 0).sum() == survivors * 3
    assert result.walker_steps == survivors * 60 + sum(propagator.ages) + len(result.segments)

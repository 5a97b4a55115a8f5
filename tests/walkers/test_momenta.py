"""Slots with velocities: the right ensemble, dynamics that can be turned round, seeds, and weighted paths through them."""

import numpy as np
import pytest
from momenta import KT, trapped_dimer, water, well

from openmm_rare.dynamics.copies.replication import MOST_ATOMS, fits_in_slots
from openmm_rare.dynamics.frames import Frames
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.weighted_paths import run_roots
from openmm_rare.states.states import NEITHER
from openmm_rare.structure.constraints import KeptDistances
from openmm_rare.walkers.absorbing import absorbing_slots
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.one_context import one_context
from openmm_rare.walkers.phase_slots import PhaseSlots
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr


def thermal(problem, n, steps, seed=1):
    """Frames of copies that have moved so many steps from the start, with fresh velocities there."""
    slots = PhaseSlots(problem, n, Machine(), np.random.default_rng(seed))
    slots.restart(np.arange(n), np.repeat(problem.positions[None], n, axis=0))
    slots.step(steps)
    return slots.frames()


def test_a_well_is_visited_as_boltzmann_says():
    frames, grid = thermal(well(2.0), 2000, 600), np.linspace(-2.5, 2.5, 2001)
    x, v = frames.positions[:, 0, 0], frames.velocities[:, 0, 0]

    def mean_energy(height):
        energy = (grid**2 - 1.0) ** 2
        return np.average(energy, weights=np.exp(-height * energy))

    mean, error = mean_and_stderr(np.stack([(x**2 - 1.0) ** 2, v**2, x * v], axis=1))
    assert_within(mean, [mean_energy(2.0), 1.0, 0.0], error)
    with pytest.raises(AssertionError):  # negative control: a barrier of 4 kT
        assert_within(mean[0], mean_energy(4.0), error[0])


def test_three_decimals_of_a_pdb_file_are_enough_to_start_from():
    problem = water()
    slots = PhaseSlots(problem, 1, Machine(), np.random.default_rng(1))
    kept = KeptDistances(problem.system, "water", problem.timestep)
    rounded = np.round(problem.positions[None] + 4.9e-4 * np.sign(np.sin(np.arange(len(problem.positions))))[None, :, None], 3)
    assert kept.first_broken(rounded) is not None  # negative control
    slots.restart(np.array([0]), rounded)
    assert kept.first_broken(slots.frames().positions) is None
    exact = problem.positions[None]
    slots.restart(np.array([0]), exact)
    assert np.array_equal(slots.frames().positions, exact)  # what is right stays as it is, to the last bit


def test_a_rigid_dimer_has_the_energies_of_its_degrees_of_freedom():
    frames = thermal(trapped_dimer(), 1500, 400)
    kinetic = 0.5 * 20.0 * (frames.velocities**2).sum((1, 2)) / KT
    potential = 250.0 * (frames.positions[:, 0] ** 2).sum(1) / KT
    mean, error = mean_and_stderr(np.stack([kinetic, potential], axis=1))
    assert_within(mean, [2.5, 1.5], error)
    with pytest.raises(AssertionError):  # negative control: without the constraint
        assert_within(mean[0], 3.0, error[0])


@pytest.mark.parametrize("problem", [well(), water(2)], ids=["well", "water"])
def test_without_friction_a_stretch_can_be_turned_round(problem):
    slots = PhaseSlots(problem, 1, Machine(), np.random.default_rng(3))
    slots.integrator.setGlobalVariableByName("friction", 0.0)
    slots.restart(np.arange(1), problem.positions[None])
    first = slots.frames()
    slots.step(50)
    there = slots.frames()
    slots.load(np.arange(1), Frames(there.positions, -there.velocities))
    slots.step(50)
    back = slots.frames()
    assert np.abs(there.positions - first.positions).max() > 0.01
    np.testing.assert_allclose(back.positions, first.positions, atol=1e-4)
    slots.load(np.arange(1), there)  # negative control: not turned round
    slots.step(50)
    assert np.abs(slots.frames().positions - first.positions).max() > 0.01


def test_a_seed_says_all_that_follows_and_frames_stay_as_they_were():
    problem = water(2)
    slots, ends = one_context(problem, Machine()), []
    for seed in (5, 6, 5):
        slots.reseed(seed)
        slots.restart(np.arange(1), problem.positions[None])
        slots.step(20)
        ends.append(slots.frames())
    assert one_context(problem, Machine()) is slots
    assert np.array_equal(ends[0].velocities, ends[2].velocities) and np.array_equal(ends[0].positions, ends[2].positions)
    assert not np.array_equal(ends[0].positions, ends[1].positions)


def test_what_rounding_took_from_constraints_is_put_back():
    problem = water(2)
    slots = PhaseSlots(problem, 1, Machine(), np.random.default_rng(3))
    slots.restart(np.arange(1), problem.positions[None])
    slots.step(50)
    exact = slots.frames()
    coarse = Frames(exact.positions.round(5), exact.velocities.round(3))
    pairs = np.array([[i, i + 1] for i in range(0, 24, 3)])

    def off(frames):
        apart = frames.positions[0][pairs]
        return np.abs(np.linalg.norm(apart[:, 1] - apart[:, 0], axis=1) - 0.09572).max()

    slots.load(np.arange(1), coarse)
    assert off(slots.frames()) < 1.1e-7 < 1e-6 < off(coarse)


def test_what_fits_in_slots():
    assert fits_in_slots(well()) and fits_in_slots(trapped_dimer()) and fits_in_slots(well(inertial=False))
    assert not fits_in_slots(water(2))  # a box
    many = well(inertial=False)
    for _ in range(MOST_ATOMS):
        many.system.addParticle(1.0)
    assert fits_in_slots(many)
    object.__setattr__(many, "inertial", True)
    assert not fits_in_slots(many)


def test_walkers_stop_where_they_arrive_with_the_velocities_of_that_frame():
    problem, n = well(check_interval=3), 200
    slots = absorbing_slots(problem, n, Machine(), 4)
    starts = Frames(np.zeros((n, 1, 3)), np.zeros((n, 1, 3)))
    starts.velocities[:, 0, 0] = np.random.default_rng(1).normal(size=n)
    moved = slots.advance(starts, np.zeros(n, dtype=np.int64), 400)
    arrived = moved.status != NEITHER
    assert arrived.mean() > 0.9 and (moved.steps[arrived] % 3 == 0).all() and (moved.steps <= 400).all()
    assert np.array_equal(problem.states.classify(moved.frames.positions), moved.status)
    x, v = moved.frames.positions[arrived, 0, 0], moved.frames.velocities[arrived, 0, 0]
    assert (x * v > 0.0).mean() > 0.8  # arriving, they move outward
    assert (np.abs(x) < 0.8 + 0.03 * np.abs(v) * 1.5 + 0.05).all()  # where they arrived, and not farther on


class Linear:
    """ln I of a particle on the x axis, in kT."""

    def log_importance(self, positions, velocities=None):
        return 2.0 * positions[:, 0, 0]

    def log_importance_gradient(self, positions):
        return self.log_importance(positions), np.zeros(positions.shape)


class WithMomentum(Linear):
    """It looks ahead."""

    def log_importance(self, positions, velocities=None):
        return 2.0 * positions[:, 0, 0] + 0.2 * velocities[:, 0, 0]


@pytest.mark.parametrize("importance", [Linear(), WithMomentum()], ids=["positions", "momenta too"])
def test_weighted_paths_give_the_committor_of_plain_ones(importance):
    problem, n = well(), 600
    roots = Frames(np.zeros((n, 1, 3)), np.zeros((n, 1, 3)))
    roots.positions[:, 0, 0], roots.velocities[:, 0, 0] = -0.3, np.random.default_rng(7).normal(size=n)
    level = float(importance.log_importance(roots.positions, roots.velocities).mean())

    def run(window, seed):
        propagator = Propagator(problem, None, 600, Machine(), np.random.SeedSequence(seed))
        branching = Branching(level, window, 5, 4000)
        return run_roots(propagator, importance, roots, branching, np.random.default_rng(seed))

    branched, plain = run(WeightWindow(), 1), run(WeightWindow(1e-99, 1e99), 2)
    (p, error), (q, other) = (mean_and_stderr(each.contribution) for each in (branched, plain))
    assert len(branched.log_weights) > 1.5 * len(plain.log_weights)
    assert_within(p, q, np.hypot(error, other))
    with pytest.raises(AssertionError):  # negative control: arrivals counted without their weights
        assert_within(len(branched.log_weights) / n, q, np.hypot(error, other))

"""Walkers in one Context: exact weights, arrival tested on every frame, clones and kills that touch nobody else."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.bias.importance import FastImportance
from openmm_rare.bias.python_force import PythonBias
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.flux import FluxState, _Counter, run_flux
from openmm_rare.parallel import teams
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import IN_A, IN_B, CollectiveVariables, Coordinate, Range
from openmm_rare.systems import double_well_1d, two_channel_2d
from openmm_rare.walkers.absorbing import absorbing_slots
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.native_slots import WatchedSlots
from openmm_rare.walkers.population import Walkers
from openmm_rare.walkers.propagator import Propagator
from openmm_rare.walkers.slots import SlotContext
from stats import assert_within, mean_and_stderr

HOT = 900.0


class Linear:
    """ln I = slope * x: a crude importance function with a known gradient."""

    def __init__(self, slope):
        self.slope = slope

    def log_importance(self, positions, velocities=None):
        return self.slope * positions[:, 0, 0]

    def log_importance_gradient(self, positions):
        gradient = np.zeros_like(positions)
        gradient[:, 0, 0] = self.slope
        return self.log_importance(positions), gradient


def walkers_at(x, n):
    positions = np.zeros((n, 1, 3))
    positions[:, 0, 0] = x
    return Walkers.start(Frames(positions), np.arange(n))


def outcome(bias, n=4000, platform="Reference", seed=2, x=-0.1, n_steps=60, backend="python"):
    system = double_well_1d.build(temperature=HOT)
    propagator = Propagator(system, bias, n, Machine(platform, backend), np.random.SeedSequence(seed))
    return propagator.advance(walkers_at(x, n), n_steps)


def test_bias_force_is_minus_the_gradient_of_its_energy():
    system = double_well_1d.build(temperature=HOT)
    slots = SlotContext(system, 3, Machine("Reference", "custom_integrator"), 1, Bias(Linear(7.0)))
    positions = np.zeros((3, 1, 3))
    positions[:, 0, 0] = [-0.2, 0.0, 0.3]
    slots.set_positions(positions)

    def energy_and_force():
        state = slots.context.getState(energy=True, forces=True, groups={1})
        return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.copy()

    middle, force = energy_and_force()
    assert middle == pytest.approx(-2.0 * system.kt * 7.0 * 0.1)
    for walker in range(3):
        energies = []
        for sign in (1.0, -1.0):
            shifted = positions.copy()
            shifted[walker, 0, 0] += sign * 1e-4
            slots.set_positions(shifted)
            energies.append(energy_and_force()[0])
        assert force[walker, 0] == pytest.approx(-(energies[0] - energies[1]) / 2e-4, rel=1e-6)


def test_walkers_left_out_feel_no_bias():
    slots = SlotContext(double_well_1d.build(temperature=HOT), 3, Machine("Reference", "python"), 1)
    state = slots.context.getState(positions=True)
    selections = [[0, 1, 2], [0, 2], [2], [1, 2], [0, 1, 2]]
    everyone = iter(selections)
    bias = PythonBias(Linear(6.0), 1.0, 3, lambda positions: np.array(next(everyone)), interval=3)
    for step, expected in enumerate(([0, 1, 2], [0, 2], [2], [1, 2], [1, 2])):  # evaluated anew at the fourth step
        energy, forces = bias(state)
        assert forces[:, 0].tolist() == [12.0 * (walker in expected) for walker in range(3)], step
        assert energy == pytest.approx(-2.0 * 6.0 * state.getPositions(asNumpy=True)._value[expected, 0].sum())


def test_weights_have_mean_one_and_undo_the_bias(platform, backend):
    biased = outcome(Bias(Linear(6.0)), platform=platform, backend=backend)
    plain = outcome(None, platform=platform, seed=3, backend=backend)
    weights = np.exp(biased.walkers.log_weights)
    mean, error = mean_and_stderr(weights)
    assert_within(mean, 1.0, error)
    p_plain, e_plain = mean_and_stderr(plain.status == IN_B)
    p_weighted, e_weighted = mean_and_stderr(weights * (biased.status == IN_B))
    assert_within(p_weighted, p_plain, np.hypot(e_plain, e_weighted))
    p_raw, e_raw = mean_and_stderr(biased.status == IN_B)
    with pytest.raises(AssertionError):  # negative control: the bias without its weights
        assert_within(p_raw, p_plain, np.hypot(e_plain, e_raw))


def test_an_old_gradient_is_still_exact():
    class Curved(Linear):
        def log_importance_gradient(self, positions):
            gradient = np.zeros_like(positions)
            gradient[:, 0, 0] = 6.0 + 40.0 * positions[:, 0, 0]
            return self.log_importance(positions), gradient

    system, blocks = double_well_1d.build(temperature=HOT), []
    for interval in (1, 7):
        propagator = Propagator(
            system, Bias(Curved(6.0), interval=interval), 4000, Machine("Reference", "python"), np.random.SeedSequence(5)
        )
        blocks.append(propagator.advance(walkers_at(-0.1, 4000), 60))
    assert not np.array_equal(blocks[0].walkers.log_weights, blocks[1].walkers.log_weights)
    plain, e_plain = mean_and_stderr(outcome(None, seed=3).status == IN_B)
    for block in blocks:
        weights = np.exp(block.walkers.log_weights)
        mean, error = mean_and_stderr(weights)
        assert_within(mean, 1.0, error)
        p, e = mean_and_stderr(weights * (block.status == IN_B))
        assert_within(p, plain, np.hypot(e, e_plain))
    raw, e_raw = mean_and_stderr(blocks[1].status == IN_B)
    with pytest.raises(AssertionError):  # negative control
        assert_within(raw, plain, np.hypot(e_raw, e_plain))


def test_arrival_is_tested_on_every_frame():
    # one long block and the same steps one by one must agree in distribution; a coarse test must not
    fine, system = outcome(None, n=4000, x=0.30), double_well_1d.build(temperature=HOT)
    walkers, arrived, steps = walkers_at(0.30, 4000), 0, 0
    propagator = Propagator(system, None, 4000, Machine("Reference", "python"), np.random.SeedSequence(8))
    for _ in range(60):
        block = propagator.advance(walkers, 1)
        arrived, steps = arrived + int((block.status == IN_B).sum()), steps + block.walker_steps
        walkers = block.walkers.take(np.flatnonzero(block.status == 0))
    p, error = mean_and_stderr(fine.status == IN_B)
    assert_within(p, arrived / 4000, np.sqrt(2.0) * error)
    assert fine.walker_steps == pytest.approx(steps, rel=0.03)
    lazy = SlotContext(system, 4000, Machine("Reference", "python"), 4)
    lazy.set_positions(walkers_at(0.30, 4000).frames.positions)
    lazy.step(60)
    p_lazy = (system.states.classify(lazy.positions()) == IN_B).mean()
    with pytest.raises(AssertionError):  # negative control: looking at the last frame only
        assert_within(p_lazy, p, np.sqrt(2.0) * error)


def test_arrived_walkers_keep_position_weight_and_clock():
    block = outcome(Bias(Linear(6.0)), n=500, x=0.3)
    system = double_well_1d.build(temperature=HOT)
    assert np.array_equal(system.states.classify(block.walkers.frames.positions), block.status)
    arrived = block.status > 0
    assert arrived.any() and not arrived.all()
    assert (block.walkers.clocks[~arrived] == 60).all()
    assert (block.walkers.clocks[arrived] <= 60).all() and block.walkers.clocks[arrived].min() < 60
    assert block.walker_steps == block.walkers.clocks.sum()
    # an arrived walker's weight is that of its path up to arrival: later steps of its slot must not enter
    early = block.walkers.clocks < 10
    late = block.walkers.clocks == 60
    assert early.any()
    assert block.walkers.log_weights[early].std() < block.walkers.log_weights[late].std()


def test_same_seed_same_paths_on_reference():
    first, second, other = (outcome(Bias(Linear(3.0)), n=64, seed=seed) for seed in (2, 2, 9))
    assert np.array_equal(first.walkers.frames.positions, second.walkers.frames.positions)
    assert np.array_equal(first.walkers.log_weights, second.walkers.log_weights)
    assert not np.array_equal(first.walkers.frames.positions, other.walkers.frames.positions)


def test_clone_and_kill_touch_nobody_else():
    walkers = walkers_at(np.linspace(-0.3, 0.3, 5), 5)
    walkers.log_weights[:] = np.arange(5.0)
    chosen = walkers.take(np.array([0, 2, 2, 4]))
    assert chosen.roots.tolist() == [0, 2, 2, 4]
    chosen.frames.positions[1] += 1.0
    chosen.log_weights[2] = -9.0
    assert np.array_equal(walkers.frames.positions[:, 0, 0], np.linspace(-0.3, 0.3, 5))
    assert walkers.log_weights.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    joined = walkers.join(chosen)
    assert len(joined) == 9 and joined.roots.tolist() == [0, 1, 2, 3, 4, 0, 2, 2, 4]


def test_populations_larger_than_the_slots_are_split():
    system = double_well_1d.build(temperature=HOT)
    propagator = Propagator(system, Bias(Linear(3.0)), 40, Machine("Reference", "python"), np.random.SeedSequence(1))
    block = propagator.advance(walkers_at(0.0, 101), 20)
    assert len(block.walkers) == 101 and np.isfinite(block.walkers.log_weights).all()
    assert len(np.unique(block.walkers.frames.positions[:, 0, 0])) == 101  # no two walkers share their noise


@pytest.mark.parametrize("backend", ["python", "native"], indirect=True)
def test_flux_and_transitions_of_the_discrete_chain(backend):
    system = double_well_1d.build(temperature=300.0, barrier=5.0)
    rng = np.random.default_rng(6)
    state = run_flux(system, FluxState.start(system, 500), 300, Machine("Reference", backend), 5, rng).state
    chunk = run_flux(system, state, 15000, Machine("Reference", backend), 6, rng)
    time_ps = chunk.frames_last_a.sum() * system.timestep
    rate, error = chunk.transitions.sum() / time_ps, np.sqrt(chunk.transitions.sum()) / time_ps
    exact = double_well_1d.rate(300.0, barrier=5.0)
    assert_within(rate, exact, error)
    with pytest.raises(AssertionError):  # negative control: a barrier higher by 2 kT
        assert_within(rate, double_well_1d.rate(300.0, barrier=10.0), error)
    assert (system.states.classify(chunk.exits.positions) != IN_A).all()
    assert len(chunk.exits) >= chunk.transitions.sum()


def chunk_columns(chunk):
    """All that a chunk of a flux run counted, and where its walkers are, by name."""
    return {
        **chunk.record(),
        **chunk.exits.arrays("exits"),
        **{name: vars(chunk)[name] for name in ("exit_walker", "transition_label")},
    }


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_the_native_flux_counts_as_the_observer_does(backend):
    system = two_channel_2d.build(temperature=4000.0)
    rng = np.random.default_rng(7)
    state = run_flux(system, FluxState.start(system, 200), 3000, Machine("Reference", "python"), 8, rng).state
    regions = system.states.classify(state.frames.positions)
    assert set(regions) == {0, IN_A, IN_B} and 0.2 < state.last_a.mean() < 0.8
    native = run_flux(system, state, 1500, Machine("Reference", backend), 9, np.random.default_rng(1))
    seed = int(np.random.SeedSequence(9).generate_state(1)[0] >> 1)
    slots = WatchedSlots(system, state.frames.positions, regions, Machine("Reference", "native"), seed)
    counter = _Counter(system, state)
    for _ in range(1500):  # the same noise, a step at a time
        slots.step(1)
        counter.count(slots.positions())
    observed = counter.chunk(Frames(slots.positions()), 1500)
    assert native.transitions.sum() > 10 and len(set(native.transition_label)) > 1 and len(native.exits) > 100
    for name, value in chunk_columns(observed).items():
        found = chunk_columns(native)[name]
        if name in ("exits", "exit_walker", "transition_label"):  # by team and in time, and in time: the same ones
            value, found = np.sort(value, axis=0), np.sort(found, axis=0)
        assert np.array_equal(value, found), name


def test_channel_labels_are_inherited(platform):
    system = two_channel_2d.build(temperature=3000.0)
    propagator = Propagator(system, None, 50, Machine(platform, "python"), np.random.SeedSequence(1))
    positions = np.repeat(system.positions[None], 50, axis=0)
    walkers = Walkers.start(Frames(positions + 0.25 * (two_channel_far(system) - system.positions)), np.arange(50))
    block = propagator.advance(walkers, 30)
    assert block.walkers.labels.shape == (50,)
    assert set(block.walkers.labels) <= set(range(len(system.states.channels.names)))


def two_channel_far(system):
    """A point on B's side."""
    return -system.positions


def test_nan_names_the_time_step():
    system = double_well_1d.build(temperature=HOT, timestep=50.0)
    with pytest.raises(FloatingPointError, match="smaller time step"):
        run_flux(system, FluxState.start(system, 10), 200, Machine("Reference", "python"), 1, np.random.default_rng(0))


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_the_number_of_threads_changes_nothing(backend, monkeypatch):
    system = double_well_1d.build(temperature=HOT)
    model = CommittorModel(system.descriptor_spec(), 1, (8,), HOT)
    bias = Bias(FastImportance(model, system.num_dimensions))
    ends = []
    for n_threads in (1, 3):
        with ThreadPoolExecutor(n_threads) as threads:
            monkeypatch.setattr(teams, "_threads", lambda threads=threads: threads)
            propagator = Propagator(system, bias, 800, Machine("Reference", backend), np.random.SeedSequence(4))
            block = propagator.advance(walkers_at(-0.1, 1500), 20)
            ends.append(propagator.advance(block.walkers.take(np.flatnonzero(block.status == 0)[:900]), 20).walkers)
    assert (ends[0].frames.positions == ends[1].frames.positions).all() and (ends[0].log_weights == ends[1].log_weights).all()
    assert len(np.unique(ends[0].frames.positions[:, 0, 0])) == len(ends[0])  # no two teams have drawn the same noise


class OutsideOnly(Linear):
    """ln I = ln(x + 0.45), which is no number deep in A."""

    def log_importance_gradient(self, positions):
        gradient = np.zeros_like(positions)
        with np.errstate(invalid="ignore"):
            value = np.log(positions[:, 0, 0] + 0.45)
        gradient[:, 0, 0] = np.where(np.isnan(value), np.nan, 1.0 / (positions[:, 0, 0] + 0.45))
        return value, gradient


def test_a_bias_is_not_asked_about_idle_and_arrived_walkers(backend):
    system = double_well_1d.build(temperature=HOT)
    propagator = Propagator(system, Bias(OutsideOnly(1.0)), 200, Machine("Reference", backend), np.random.SeedSequence(1))
    block = propagator.advance(walkers_at(-0.1, 150), 200)  # in 200 slots, of which 50 wait in A
    assert np.isfinite(block.walkers.log_weights).all() and (block.status == IN_A).any()


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_a_force_that_is_no_number_is_no_arrival(platform, backend):
    system = openmm.System()
    system.addParticle(10.0)
    force = openmm.CustomExternalForce("0.001*sqrt(2-x)")
    force.addParticle(0, [])
    system.addForce(force)
    variables = CollectiveVariables([Coordinate("x", 0, 0)])
    a, b = Range({"x": (-1e9, 0.5)}), Range({"x": (3.0, 1e9)})
    target = RareEventSystem.from_openmm(system, np.zeros((1, 3)), a, b, variables, 300.0, 1.0, 1e-6, num_dimensions=1)
    slots = absorbing_slots(target, 3, Machine(platform, backend), 1, None)
    positions = np.array([1.0, 2.5, 1.5])[:, None, None] * [[1.0, 0.0, 0.0]]
    with pytest.raises(
        (FloatingPointError, openmm.OpenMMException), match="became NaN|walker 1 are not finite|coordinate is NaN"
    ):
        slots.advance(Frames(positions), np.zeros(3, dtype=np.int64), 20)


def test_a_team_that_fails_stops_the_others():
    going, steps = threading.Event(), []

    def work(fails):
        if fails:
            going.wait(10.0)
            raise FloatingPointError("NaN")
        while len(steps) < 1000:
            going.set()
            steps.append(time.sleep(0.01))
            teams.check_stop()

    with pytest.raises(FloatingPointError):
        teams.together(work, [False, True] if len(os.sched_getaffinity(0)) > 1 else [True, True])
    assert len(steps) < 1000
    assert teams.together(lambda x: x, [1, 2, 3]) == [1, 2, 3]

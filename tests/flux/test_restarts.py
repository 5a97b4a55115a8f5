"""Walkers that begin again in A once they are in B: rates, exits with velocities, and tasks that give the same everywhere."""

import errno
import hashlib
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import openmm
import pytest
from momenta import water, well, well_in_numpy

from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import DynamicsError
from openmm_rare.flux import restarts
from openmm_rare.flux.flux import FluxState, run_flux
from openmm_rare.io import files
from openmm_rare.parallel.executors import Here
from openmm_rare.states.states import IN_A
from openmm_rare.statistics import ratio_of_sums
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.one_context import one_context
from openmm_rare.walkers.phase_slots import PhaseSlots
from stats import assert_within


def run(problem, state, *n_steps, seed=1, executor=None, machine=None):
    """Chunks of stretches of so many steps, one after another."""
    chunks = []
    for number, steps in enumerate(n_steps):
        chunks.append(run_flux(problem, state, steps, machine or Machine(), seed + number, None, executor))
        state = chunks[-1].state
    return chunks


def rate(chunks, problem):
    """Transitions per time, by walkers as clusters."""
    return ratio_of_sums(sum(c.transitions for c in chunks), sum(c.frames_last_a for c in chunks) * problem.timestep)


def test_restarts_give_the_rate_of_dynamics_that_goes_on():
    problem = well(check_interval=2)
    _, *counted = run(problem, FluxState.start(problem, 2000), 300, 700, 700)
    count, time = well_in_numpy(check_interval=2, n_steps=12_000)
    k, error = rate(counted, problem)
    assert_within(k, count / time, np.hypot(error, np.sqrt(count) / time))
    assert all(chunk.state.last_a.all() for chunk in counted) and counted[0].walker_steps == 2000 * 700
    with pytest.raises(AssertionError):  # negative control: time in B counted as well
        assert_within(0.5 * k, count / time, np.hypot(0.5 * error, np.sqrt(count) / time))


def test_a_stretch_in_two_halves_counts_as_much():
    problem = well(2.0, check_interval=5)
    (first,) = run(problem, FluxState.start(problem, 800), 300)
    whole, halves = run(problem, first.state, 600, seed=5), run(problem, first.state, 300, 300, seed=8)

    def flux(chunks):
        counts = sum(np.bincount(chunk.exit_walker, minlength=800) for chunk in chunks)
        return ratio_of_sums(counts, sum(chunk.frames_last_a for chunk in chunks))

    for quantity in (flux, lambda chunks: rate(chunks, problem)):
        (one, error), (other, its_error) = quantity(whole), quantity(halves)
        assert_within(one, other, np.hypot(error, its_error))
        with pytest.raises(AssertionError):  # negative control: one half of the time
            assert_within(one, 2.0 * other, np.hypot(error, 2.0 * its_error))


def test_velocities_of_an_exit_are_those_of_its_frame(monkeypatch):
    problem, seen = well(2.0, check_interval=4), []

    class Seen(PhaseSlots):
        """Without friction; keeps its frames."""

        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.integrator.setGlobalVariableByName("friction", 0.0)

        def frames(self):
            seen.append(super().frames())
            return seen[-1]

    monkeypatch.setattr(restarts, "PhaseSlots", Seen)
    (chunk,) = run(problem, FluxState.start(problem, 100), 400)
    exits = chunk.exits.astype(np.float32)
    assert len(exits) > 100 and (problem.states.classify(exits.positions) != IN_A).all()
    x = np.stack([frames.positions[:, 0, 0] for frames in seen])
    walker, places = chunk.exit_walker, chunk.exits.positions[:, 0, 0]
    number = np.abs(x[:, walker] - places).argmin(axis=0)
    assert np.array_equal(x[number, walker], places)
    on = (number < len(x) - 2) & (problem.states.classify(exits.positions) == 0)
    later = x[number[on] + 1, walker[on]]

    def continued(frames):
        slots = PhaseSlots(problem, len(frames), Machine(), np.random.default_rng(1))
        slots.integrator.setGlobalVariableByName("friction", 0.0)
        slots.load(np.arange(len(frames)), frames)
        slots.step(4)
        return slots.frames().positions[:, 0, 0]

    far = problem.states.classify(later[:, None, None] * np.array([1.0, 0.0, 0.0])) != 2  # nobody began again
    np.testing.assert_allclose(continued(exits[on])[far], later[far], atol=1e-5)
    others = Frames(exits.positions[on], np.roll(exits.velocities[on], 1, axis=0))
    assert np.abs(continued(others)[far] - later[far]).max() > 0.01  # negative control


def test_who_begins_again_is_of_the_group_of_another():
    problem = well(1.0)
    state = FluxState.at(Frames(np.repeat(problem.starts, 40, axis=0)), np.arange(40))
    (chunk,) = run(problem, state, 2000)
    again = chunk.transitions > 0
    assert again.any() and not again.all()
    assert (chunk.state.group[again] != np.arange(40)[again]).all()
    assert np.array_equal(chunk.state.group[~again], np.arange(40)[~again])
    assert np.array_equal(chunk.state.cluster, np.arange(40)) and (chunk.frames_last_a == 2000).all()


def digest(chunk):
    """SHA-256 of all arrays."""
    exits = chunk.exits.arrays("exits")
    arrays = {**chunk.record(), **exits, "exit_walker": chunk.exit_walker, "label": chunk.transition_label}
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


class Backward(Here):
    """Last task first, and each from its pickle."""

    def map(self, function, tasks, keys=None):
        for number in reversed(range(len(tasks))):
            again, task = pickle.loads(pickle.dumps((function, tasks[number])))
            yield number, again(*task)


def three_stretches(platform, backward):
    """Digests of three stretches of walkers of which only one fits into a Context."""
    problem = water(2, openmm.NonbondedForce.PME)
    executor, machine = Backward() if backward else None, Machine(platform)
    return [
        digest(chunk) for chunk in run(problem, FluxState.start(problem, 4), 60, 100, 100, executor=executor, machine=machine)
    ]


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_walkers_as_tasks_give_the_same_in_another_order_and_process(platform):
    here = three_stretches(platform, False)
    assert len(set(here)) == 3 and three_stretches(platform, True) == here
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(three_stretches, platform, True).result() == here


def test_forces_of_one_thread_are_the_same_each_time():
    """PME on the platform CPU has threads of its own, and adds up in any order unless told otherwise."""
    context = one_context(water(2, openmm.NonbondedForce.PME), Machine("CPU")).context
    assert context.getPlatform().getPropertyValue(context, "DeterministicForces") == "true"


def test_walkers_that_carry_noise_over_do_not(monkeypatch):
    """Negative control of the test above: without a seed for every task."""
    here = three_stretches("Reference", False)
    monkeypatch.setattr(PhaseSlots, "reseed", lambda self, seed: None)
    assert three_stretches("Reference", True) != here


@pytest.mark.parametrize("options", [{}, {"inertial": False, "friction": 500.0}], ids=["momenta", "overdamped"])
def test_walkers_in_a_box_move_one_at_a_time(options):
    problem = water(3, timestep=0.001, **options)
    first, second = run(problem, FluxState.start(problem, 4), 250, 250)
    exits = Frames.join([first.exits, second.exits])
    assert len(exits) > 3 and (exits.velocities is None) == bool(options)
    assert (problem.states.classify(exits.positions) != IN_A).all() and (np.diff(second.exit_walker) >= 0).all()
    assert second.walker_steps == 1000 and (second.frames_last_a == 250).all()


def test_a_lone_walker_begins_again_at_the_given_structure():
    problem = water(3)
    (chunk,) = run(problem, FluxState.start(problem, 1), 1500)
    assert chunk.transitions[0] > 1 and chunk.state.group[0] == 0
    assert len(chunk.transition_label) == chunk.transitions.sum() and chunk.state.last_a.all()


def test_dynamics_that_breaks_down_names_a_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    problem = water(2, timestep=0.02)
    with pytest.raises(DynamicsError, match=r"broken-shot-\d+\.npz"):
        run(problem, FluxState.start(problem, 2), 500)
    (file,) = tmp_path.glob("broken-shot-*.npz")
    assert np.load(file)["positions"].shape == (1, 24, 3)


def test_a_disk_that_takes_no_file_does_not_hide_why_dynamics_broke(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def refuse(*arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files, "write_npz", refuse)
    problem = water(2, timestep=0.02)
    with pytest.raises(DynamicsError, match="could not be written .Read-only file system.: use a smaller time step"):
        run(problem, FluxState.start(problem, 2), 500)
    pytest.importorskip("openpathsampling")
    from openmm_rare.ops.frame_watch import FrameWatch

    with pytest.raises(DynamicsError, match="became NaN; the frame .*could not be written .Read-only file system"):
        FrameWatch._refuse("positions became NaN", Frames(problem.positions[None]))

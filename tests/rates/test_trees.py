"""Trees, one Context at a time, beside walkers in slots: weights, crossings of levels, and what they depend on."""

from dataclasses import replace

import numpy as np
import pytest
from momenta import water, well

from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.directions import VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.dynamics.frames import Frames
from openmm_rare.parallel.executors import Here
from openmm_rare.parallel.local import Processes
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.crossings import Crossings, Heights
from openmm_rare.rates.trees import follower, tree
from openmm_rare.rates.trees.follower import TreeFollower
from openmm_rare.rates.trees.tree import TreeRules
from openmm_rare.rates.weighted_paths import run_roots
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr

LEVELS = np.linspace(-1.6, -0.1, 16)
PLAIN = WeightWindow(1e-300, 1e300)


def steered(problem, nats=5.0, tau=0.0):
    direction = VariableDirection.of(problem.states, "x", problem.starts)
    return CalibratedImportance(direction, LevelTable([-1.6, 0.0], [-nats, 0.0], False), tau, problem.timestep)


def exits(n, seed=0):
    """Roots just outside A, on their way to B."""
    rng, x, v = np.random.default_rng(seed), np.zeros((n, 1, 3)), np.zeros((n, 1, 3))
    x[:, 0, 0], v[:, 0, 0] = -0.79, np.sqrt(-2.0 * np.log(rng.random(n)))
    return Frames(x, v)


def rules(problem, level=-5.0, nats=5.0, max_age=100_000, window=None, tau=0.0):
    branching = Branching(level, window or WeightWindow(), problem.check_interval)
    return TreeRules(problem, Machine(), steered(problem, nats, tau), branching, max_age)


def as_trees(problem, n, seed=1, start=None, **options):
    follower = TreeFollower(rules(problem, **options), Here())
    return follower.follow(exits(n) if start is None else start, np.zeros(n), np.random.SeedSequence(seed))


def in_slots(problem, n, seed=1, level=-5.0, window=None, tau=0.0):
    noise = np.random.SeedSequence(seed)
    propagator = Propagator(problem, None, 500, Machine(), noise)
    branching = Branching(level, window or WeightWindow(), problem.check_interval)
    rng = np.random.default_rng(noise)
    return run_roots(propagator, steered(problem, tau=tau), exits(n), branching, rng, log_weights=np.zeros(n))


def test_trees_and_slots_agree_with_each_other_and_with_plain_dynamics():
    problem = well(3.0, check_interval=5)
    plain = in_slots(problem, 4000, window=PLAIN)
    truth, its_error = mean_and_stderr(plain.contribution)
    expected, errors = mean_and_stderr(plain.crossings.on(LEVELS, 4000))
    assert plain.contribution.sum() > 100
    for n, batch in ((1000, in_slots(problem, 1000, seed=2)), (150, as_trees(problem, 150))):
        value, error = mean_and_stderr(batch.contribution)
        assert_within(value, truth, np.hypot(error, its_error))
        weight, its = mean_and_stderr(batch.contribution + batch.returned)
        assert_within(weight, 1.0, its)
        curve, its = mean_and_stderr(batch.crossings.on(LEVELS, n))
        assert_within(curve[2:], expected[2:], np.hypot(its, errors)[2:])
        count = batch.arrivals.sum() / n
        with pytest.raises(AssertionError):  # negative control: copies that keep the whole weight
            assert_within(count, truth, np.hypot(np.sqrt(count / n), its_error))


def test_trees_end_where_the_importance_is_far_too_steep(monkeypatch):
    """Ten nats too many: thousands of times as many branches, unless their number is bounded, which leaves the rate alone."""
    problem = well(3.0, check_interval=5)
    plain = in_slots(problem, 4000, window=PLAIN)
    truth, its_error = mean_and_stderr(plain.contribution)
    monkeypatch.setattr(tree, "_PER_SQUARE", 0.0)
    for beyond, most in ((0.2, 300), (2.0, 2000)):
        monkeypatch.setattr(tree, "_BRANCHES", 10)
        monkeypatch.setattr(tree, "_BEYOND", beyond)
        steep = as_trees(problem, 60, level=-15.0, nats=15.0)
        value, error = mean_and_stderr(steep.contribution)
        assert_within(value, truth, np.hypot(error, its_error))
        assert steep.walker_steps < 60 * most * problem.check_interval, steep.walker_steps


@pytest.mark.parametrize("follow", [as_trees, in_slots])
def test_crossing_weights_begin_with_all_roots_and_end_with_what_came_to_b(follow):
    batch = follow(well(3.0, check_interval=5), 40, tau=0.1)
    crossed = batch.crossings.on(np.array([-9.0, 99.0]), 40)
    np.testing.assert_array_equal(crossed[:, 0], 1.0)
    np.testing.assert_allclose(crossed[:, 1], batch.contribution, atol=1e-12)
    assert batch.contribution.sum() > 0.0


def test_crossings_count_every_walker_once_at_each_level():
    heights = Heights()
    tops = heights.rise(np.array([0, 1]), np.full(2, -np.inf), np.array([1.0, 2.0]), np.log([1.0, 3.0]))
    tops = heights.rise(np.array([0, 1]), tops, np.array([2.5, 1.0]), np.log([0.5, 3.0]))
    np.testing.assert_array_equal(tops, [2.5, 2.0])
    heights.arrive(np.array([0]), tops[:1], np.log([0.25]))
    found = heights.crossings()
    np.testing.assert_allclose(found.on(np.array([0.5, 1.5, 2.0, 2.5, 9.0]), 2), [[1, 0.5, 0.5, 0.5, 0.25], [3, 3, 3, 0, 0]])
    assert found.highest() == 2.5 and Crossings.none().highest() == -np.inf


def numbers(batch):
    """Everything that a batch holds, as bytes."""
    columns = batch.contribution, batch.returned, batch.log_weights, batch.crossings.weight, batch.crossings.upto
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)


def test_a_tree_depends_on_the_seed_and_its_root_alone(monkeypatch):
    problem, start = well(3.0, check_interval=5), exits(6)
    together = as_trees(problem, 6, start=start)
    monkeypatch.setattr(follower, "_UNIT", 1)
    assert numbers(as_trees(problem, 6, start=start)) == numbers(together)
    monkeypatch.setattr(follower, "_UNIT", 4)
    given = np.random.SeedSequence(1)
    alone = TreeFollower(rules(problem), Here()).follow(start[4:], np.zeros(2), given, first_root=4)
    np.testing.assert_array_equal(alone.contribution[4:], together.contribution[4:])
    assert alone.walker_steps > 0 and numbers(as_trees(problem, 6, seed=2, start=start)) != numbers(together)


@pytest.mark.parametrize("made", [lambda: well(3.0, check_interval=5), lambda: water()])
def test_workers_give_the_same_numbers(made, monkeypatch):
    problem = made()
    monkeypatch.setattr(follower, "_UNIT", 1)
    if problem.name == "well":
        one, n = rules(problem), 4
        start = exits(n)
    else:
        n, direction = 3, VariableDirection.of(problem.states, "r", problem.starts)
        importance = CalibratedImportance(direction, LevelTable([-0.1, 0.0], [-1.0, 0.0], False), 0.01, problem.timestep)
        one = TreeRules(problem, Machine("CPU"), importance, Branching(-1.0, stride=problem.check_interval), 40)
        moved = np.repeat(problem.positions[None], n, axis=0).astype(np.float32)
        moved[:, :3, 2] -= 0.02  # the first molecule, out of A
        start = Frames(moved, np.zeros_like(moved))
        assert not problem.states.classify(moved).any()
    found = TreeFollower(one, Here()).follow(start, np.zeros(n), np.random.SeedSequence(3))
    with Processes(2, one.machine.platform) as two:
        again = TreeFollower(one, two).follow(start, np.zeros(n), np.random.SeedSequence(3))
    assert numbers(again) == numbers(found) and found.walker_steps > 0
    np.testing.assert_array_equal(again.pending.frames.positions, found.pending.frames.positions)


def test_what_grows_too_old_is_returned_and_can_be_followed_on():
    problem = well(3.0, check_interval=5)
    follower = TreeFollower(rules(problem, max_age=40), Here())
    seeds = np.random.SeedSequence(1).spawn(30)
    batch = follower.follow(exits(25), np.zeros(25), seeds[0])
    total, steps, crossings = batch.contribution + batch.returned, batch.walker_steps, [batch.crossings]
    assert len(batch.pending) > 0 and batch.pending.clocks.min() >= 40
    nothing = exits(25)[:0]
    for seed in seeds[1:]:
        batch = follower.follow(
            nothing, np.zeros(0), seed, pending=batch.pending, pending_tops=batch.pending_tops, first_root=25
        )
        total, steps = total + batch.contribution + batch.returned, steps + batch.walker_steps
        crossings.append(batch.crossings)
    assert len(batch.pending) == 0
    (weight, error) = mean_and_stderr(total)
    assert_within(weight, 1.0, error)
    np.testing.assert_array_equal(crossings[0].join(*crossings[1:]).on(np.array([-9.0]), 25)[:, 0], 1.0)  # none twice


def test_branches_that_wait_are_bounded(monkeypatch):
    problem = well(3.0, check_interval=5)
    free = as_trees(problem, 20, level=-8.0, max_age=60)
    monkeypatch.setattr(tree, "_WAITING", 2)
    bounded = as_trees(problem, 20, level=-8.0, max_age=60)
    assert bounded.walker_steps < 0.8 * free.walker_steps
    for batch in (free, bounded):
        pending = np.bincount(batch.pending.roots, np.exp(batch.pending.log_weights), minlength=20)
        weight, error = mean_and_stderr(batch.contribution + batch.returned + pending)
        assert_within(weight, 1.0, error)


def test_roots_that_lie_in_b_have_arrived():
    start = exits(2)
    start.positions[1, 0, 0] = 0.9
    batch = as_trees(well(3.0), 2, start=start, max_age=10)
    assert batch.contribution[1] == 1.0 and batch.crossings.on(np.array([50.0]), 2)[1, 0] == 1.0


def test_a_tree_that_breaks_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem, start = replace(well(3.0), name="broken"), exits(2)
    start.velocities[1] = np.nan
    with pytest.raises(FloatingPointError, match="NaN in broken.*npz"):
        as_trees(problem, 2, start=start)
    assert list(tmp_path.glob("broken-shot-*.npz"))

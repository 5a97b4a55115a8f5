"""Rates along a given direction: against the exact one, resumed, without arrivals, and when they are not to be believed."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from momenta import water, well

from openmm_rare import RateSettings
from openmm_rare.bias.directions import VariableDirection
from openmm_rare.cli.main import main
from openmm_rare.errors import DynamicsError, RunError
from openmm_rare.flux import blocks
from openmm_rare.flux.blocks import BlockFlux
from openmm_rare.io.tasks import Memory, Silent, TaskLog
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.splitting import calibration, rate
from openmm_rare.rates.splitting.doubts import Curve, doubts, seen_otherwise
from openmm_rare.rates.splitting.look_ahead import Outcomes, fitted_look_ahead
from openmm_rare.rates.splitting.planning import missing, plan, roots_needed
from openmm_rare.rates.splitting.rate import SplittingRate
from openmm_rare.report.results import read_result
from openmm_rare.systems.klein_kramers import solve
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots
from openmm_rare.workflow import live
from openmm_rare.workflow.load import load_run
from stats import assert_within

SMALL = RateSettings(flux_walkers=100, pilot_roots=150, production_roots=500)


class Logit:
    """A committor of positions alone that is exact, or flat, or knows nothing far from the barrier, as networks may."""

    logistic = True

    def __init__(self, kind, height=5.0, friction=5.0):
        energy, force = (lambda x: height * (x**2 - 1) ** 2), (lambda x: -4 * height * x * (x**2 - 1))
        self.name, solution = kind, solve(energy, force, (-0.8, 0.8), 1.0, 1.0, friction)
        self.rate, q = solution.rate_per_ps, np.clip(solution.mean_committor(), 1e-9, 1 - 1e-9)
        logit = np.log(q) - np.log1p(-q)
        shapes = {
            "exact": logit,
            "flat": 0.5 * logit,
            "saturated": np.maximum(logit, -3.0) + 0.1 * np.minimum(logit + 3.0, 0.0),
        }
        self.x, self.logit = solution.x, shapes[kind]

    def __call__(self, positions):
        return np.interp(positions[:, 0, 0], self.x, self.logit)


def along(problem, direction=None, settings=SMALL, recorder=None, **options):
    direction = direction or VariableDirection.of(problem.states, problem.states.variables.names[0], problem.starts)
    return SplittingRate(problem, direction, settings, progress=Silent(), recorder=recorder, **options)


@pytest.mark.parametrize("kind", ["exact", "flat", "saturated"])
def test_the_rate_of_a_double_well_with_momenta_is_exact(kind):
    direction = Logit(kind)
    found = along(well(5.0), direction, target_error=0.15).run()
    discrete = 0.03 * direction.rate  # what the time step and tests of the states at every step change
    assert_within(found.rate_per_ps, direction.rate, np.hypot(found.rate_stderr, discrete), 4)
    assert found.complete and found.relative_error <= 0.15 and found.method == "splitting" and found.strength == 0.0
    assert 0.5 < found.crossing["probability"][0] <= 1.3 and found.crossing["gain"] > 0.5
    with pytest.raises(AssertionError):  # negative control: transitions both ways
        assert_within(2.0 * found.rate_per_ps, direction.rate, np.hypot(found.rate_stderr, discrete), 4)


class Killed(Exception):
    """The process is gone."""


class Mortal(Memory):
    """Keeps what it gets, and dies."""

    def __init__(self, age):
        super().__init__()
        self.age = age

    def append(self, kind, data):
        super().append(kind, data)
        self.age -= 1
        if self.age == 0:
            raise Killed


def test_a_run_that_was_killed_ends_as_if_it_had_not_been():
    problem, settings = well(4.0), replace(SMALL, flux_walkers=50, pilot_roots=100)
    whole = along(problem, settings=settings, target_error=0.3).run()
    for age in (2, 9):
        memory = Mortal(age)
        with pytest.raises(Killed):
            along(problem, settings=settings, target_error=0.3, recorder=memory).run()
        again = along(problem, settings=settings, target_error=0.3, recorder=memory).run()
        assert (again.rate_per_ps, again.rate_stderr, again.walker_steps) == (
            whole.rate_per_ps,
            whole.rate_stderr,
            whole.walker_steps,
        )
        assert again.crossing == whole.crossing
    with pytest.raises(Killed):  # negative control: another seed is another run
        along(problem, settings=settings, seed=2, target_error=0.3, recorder=(other := Mortal(1))).run()
    mine, its = memory.load("equilibration")[0], other.load("equilibration")[0]
    assert not np.array_equal(mine["positions"], its["positions"])


def test_where_nothing_arrives_there_is_a_bound_and_no_rate(monkeypatch):
    monkeypatch.setattr(calibration, "_MOST_ROUNDS", 1)
    few = {"flux_walkers": 20, "pilot_roots": 20, "production_roots": 20, "calibration_rounds": 1}
    small = replace(SMALL, equilibration_ps=0.05, max_walker_steps=100_000, **few)
    found = along(well(18.0, check_interval=5), settings=small, target_error=0.9).run()
    assert found.rate_below_per_ps == found.rate_ci95[1] > 1e3 * Logit("exact", 18.0).rate
    assert found.rate_ci95[0] == 0.0 < found.rate_stderr and not found.reliable and not found.complete
    assert "the rate is below" in found.warnings[0] and "no descendant reached B" in " ".join(found.notes)


def test_steps_that_are_used_up_end_the_flux_run_too(monkeypatch):
    """However small the error is that was asked for; and before there is anything to begin with they end the run."""
    problem, memory = well(4.0), Memory()
    few = {"flux_walkers": 50, "pilot_roots": 50, "production_roots": 50, "calibration_rounds": 1}
    small = replace(SMALL, equilibration_ps=0.5, block_ps=0.5, max_walker_steps=40_000, **few)
    found = along(problem, settings=small, target_error=0.01, recorder=memory).run()
    assert not found.complete and found.walker_steps < 200_000 and "not 1 %" in found.notes[-1]
    longer = along(problem, settings=replace(small, max_walker_steps=120_000), target_error=0.01, recorder=memory).run()
    assert longer.walker_steps > found.walker_steps and longer.n_exits > found.n_exits
    assert_within(longer.rate_per_ps, Logit("exact", 4.0).rate, longer.rate_stderr, 5)
    again = along(problem, settings=small, target_error=0.01, recorder=memory).run()  # with fewer: what there is stays
    assert again.n_exits == longer.n_exits
    monkeypatch.setattr(rate, "_FEWEST_EXITS", 10**6)
    with pytest.raises(RunError, match="the limit of 4e\\+04 walker-steps was passed with .* exits from A, too few to begin"):
        along(problem, settings=small).run()


def test_steps_that_are_used_up_end_the_pilot_with_its_first_rounds():
    """Continued with more, the run goes on from the scale that production has begun with."""
    problem, direction, memory = well(5.0), Logit("exact"), Memory()
    some, rounds = replace(SMALL, max_walker_steps=300_000), []
    for settings in (some, SMALL):
        found = along(problem, direction, settings, memory, target_error=0.2).run()
        rounds.append(len(memory.load("calibration")))
    assert rounds == [2, 2] and found.complete
    assert_within(found.rate_per_ps, direction.rate, np.hypot(found.rate_stderr, 0.03 * direction.rate), 4)
    along(problem, direction, SMALL, whole := Memory(), target_error=0.2).run()
    assert len(whole.load("calibration")) > 2  # the negative control: with all the steps that it wants


def test_water_is_followed_tree_by_tree():
    problem = water()
    few = RateSettings(
        few_walkers=2, block_ps=0.2, equilibration_ps=0.1, calibration_roots=8, calibration_rounds=1, tree_roots=10
    )
    found = along(problem, settings=replace(few, max_walker_steps=40_000), target_error=0.9, machine="CPU").run()
    assert found.n_roots >= 10 and found.n_exits >= 100
    assert found.rate_per_ps > 0.0 and found.crossing["blocks"] >= 4
    low, high = found.crossing["seen"]["ci95"]
    assert 0.0 <= low <= found.crossing["seen"]["rate_per_ps"] < high


class Steps(Silent):
    """What was said of the share of equilibration, and of what follows without a stage of its own."""

    def __init__(self):
        self.name, self.totals, self.done = "", [], 0.0

    def stage(self, name, total=None):
        self.name = name
        self.totals += [total] if name == "equilibration in A" else []

    def update(self, n=1.0, **postfix):
        self.done += n if self.name == "equilibration in A" else 0.0


def test_a_walker_that_dies_in_the_flux_run_loses_a_block(monkeypatch, tmp_path):
    """A run that goes on begins with the block that was not recorded, and ends as if nothing had been."""
    monkeypatch.chdir(tmp_path)
    problem, settings = water(), RateSettings(block_ps=0.04, equilibration_ps=0.16)
    step, steps = PhaseSlots.step, []

    def flux(memory, progress=None, seed=1):
        task = TaskLog(memory, seed)
        found = BlockFlux(problem, settings, 2, Machine(), Here(), task, progress or Silent())
        found.equilibrate(spent=lambda: False)
        found.extend(25)
        return found

    whole, memory, shown = Memory(), Memory(), Steps()
    before, n = flux(whole), len(whole.load("equilibration"))
    assert n >= 4 and len(whole.load("flux")) == 25

    def broken(self, n_steps):
        steps.append(n_steps)
        if len(steps) == 4 * n + 15:  # the second walker in the fourth block of the flux
            self.context.setVelocities(np.full((self.context.getSystem().getNumParticles(), 3), np.nan))
        step(self, n_steps)

    monkeypatch.setattr(PhaseSlots, "step", broken)
    with pytest.raises(DynamicsError, match=r"NaN in water.*positions in /.*broken-shot-\d+.npz.*smaller time step"):
        flux(memory)
    (saved,) = tmp_path.glob("broken-shot-*.npz")
    assert np.isfinite(np.load(saved)["positions"]).all()
    assert (len(memory.load("equilibration")), len(memory.load("flux"))) == (n, 3)
    monkeypatch.undo()
    again = flux(memory, shown)
    assert len(memory.load("flux")) == 25 and (again.pool.exits.positions == before.pool.exits.positions).all()
    assert (again.state.frames.positions == before.state.frames.positions).all() and len(before.pool.exits) > 2
    assert (again.counts[0] == before.counts[0]).all() and again.counts[0].shape == (25, 2)
    assert shown.totals[-1] == n and shown.done == n + 25 and None not in shown.totals
    old, parts = Memory(), whole.load("flux")  # as earlier versions recorded it: all blocks of a stretch at once
    old._records["equilibration"] = whole.load("equilibration")
    names = ("exits", "exits_velocities", "exit_walker", "frames")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in names}
    joined |= {"transitions": np.zeros((25, 2)), "exit_block": np.repeat(np.arange(25), [len(part["exits"]) for part in parts])}
    old.append("flux", {**parts[-1], **joined})
    earlier = flux(old)
    assert (earlier.counts[0] == before.counts[0]).all() and earlier.pool.walker.tolist() == before.pool.walker.tolist()
    assert not np.array_equal(flux(Memory(), seed=2).state.frames.positions, before.state.frames.positions)


def test_steps_that_are_used_up_end_equilibration_too(monkeypatch):
    monkeypatch.setattr(blocks, "_DRIFT", -1.0)  # never steady
    settings, memory = RateSettings(block_ps=0.04, equilibration_ps=0.16, max_walker_steps=1000), Memory()
    found = BlockFlux(water(), settings, 2, Machine(), Here(), TaskLog(memory, 1), Silent())
    with pytest.raises(RunError, match="the limit of 1e\\+03 walker-steps .* still changed, from .* per ps: allow more"):
        found.equilibrate(spent=lambda: True)
    assert len(memory.load("equilibration")) == 4  # two stretches, which it takes to see a change


class Exits(Silent):
    """How many exits were shown after each block of the flux run."""

    def __init__(self):
        self.shown = []

    def update(self, n=1.0, exits=None, **postfix):
        self.shown += [] if exits is None or not n else [exits]


def test_exits_are_shown_while_they_come():
    """After every block, of a run that was recorded as well, and not only at the end of a stretch."""
    problem, settings, memory = water(), RateSettings(block_ps=0.04, equilibration_ps=0.16), Memory()

    def flux():
        shown = Exits()
        found = BlockFlux(problem, settings, 2, Machine(), Here(), TaskLog(memory, 1), shown)
        found.equilibrate(spent=lambda: False)
        found.extend_until(10.0, 8, lambda: False)
        return found.pool, shown.shown

    pool, shown = flux()
    assert shown == sorted(shown) and len(shown) == len(memory.load("flux"))
    assert shown[-1] == len(pool.exits) >= 8 > shown[0] and len(set(shown)) > 3
    assert flux()[1] == shown


def curve(plain, counted, trees=None, error=0.1):
    """A crossing curve, the same by trees, unless told, as by plain excursions, of which there were so many at first."""
    plain = np.asarray(plain, dtype=float)
    trees = plain if trees is None else np.asarray(trees, dtype=float)
    n = counted * plain
    return Curve(np.arange(len(plain)), trees, error * trees, plain, plain / np.sqrt(np.maximum(n, 1)), n)


def test_trees_that_miss_what_plain_dynamics_sees_are_told():
    falls = np.array([1.0, 0.3, 0.1, 0.03, 0.01])
    assert curve(falls, 500).apart() is None
    assert curve(falls, 500, falls * [1, 1.1, 0.9, 1.2, 0.7]).apart() is None
    assert curve(falls, 500, falls * [1, 1, 1, 0.3, 0.01]).apart() in (3, 4)  # the failure of a direction blind to the solvent
    assert curve(falls, 500, falls * [1, 1, 2, 2, 2], 0.05).apart() in (2, 3)  # and the other way
    assert seen_otherwise(10.0, 0.2, 12) == [] == seen_otherwise(1e-3, 0.2, 0)
    assert "came to B 5 times" in (told := seen_otherwise(0.1, 0.2, 5)[0]) and "trees miss ways" in told
    assert "came to B 3 times" in (told := seen_otherwise(30.0, 0.2, 3)[0]) and "too much" in told
    assert seen_otherwise(30.0, 0.45, 3) == [] == seen_otherwise(400.0, 0.15, 500)  # error bars that allow for it
    assert seen_otherwise(400.0, 0.01, 500)


def test_few_roots_and_few_blocks_and_bad_directions_are_told():
    rng, n = np.random.default_rng(0), 4000
    pool = SimpleNamespace(
        walker=np.arange(2000) % 100, time_ps=np.ones(100), drift=lambda: 0.0, surrogate=lambda density: np.ones(100)
    )
    direction = SimpleNamespace(counted=(SimpleNamespace(name="x"), np.zeros(2)))
    pilot, flat = SimpleNamespace(importance=direction, p_ab=0.01), curve([1.0, 0.1], 500)

    def told(contribution, inertial=True):
        production = SimpleNamespace(root=np.arange(n) % 2000, contribution=contribution, n_roots=n)
        return " ".join(doubts(pilot, production, pool, None, flat, inertial))

    assert told(0.02 * (rng.random(n) < 0.5)) == ""
    few = told(np.where(np.arange(n) < 5, 8.0, 0.0))
    assert "5 effective roots" in few and "5 effective blocks" in few and "x is bad" in few
    assert "effective blocks" not in told(np.where(np.arange(n) < 5, 8.0, 0.0), inertial=False)
    assert "Pareto k" in told(rng.pareto(0.8, n))


def test_the_look_ahead_is_how_long_momenta_are_remembered():
    rng, tau, n = np.random.default_rng(0), 0.1, 2000
    level, speed = -5.0 + 0.1 * rng.normal(size=n), 10.0 * rng.normal(size=n)
    came = rng.random(n) < np.exp(np.minimum(level + tau * speed, -2.0) + 2.0)
    pilot = Outcomes(level, speed, np.ones(n), np.column_stack([np.ones(n), came]), np.array([-5.0, -2.0]))
    found, gain = fitted_look_ahead([pilot], 0.01)
    assert gain > 10.0 and 0.07 < found < 0.14
    shuffled = Outcomes(level, rng.permutation(speed), pilot.weight, pilot.crossed, pilot.levels)  # negative control
    assert fitted_look_ahead([shuffled], 0.01)[0] == 0.0
    none = Outcomes(level, speed, np.ones(n), np.zeros((n, 2)), pilot.levels)
    assert fitted_look_ahead([none], 0.01) == (0.0, 0.0)


def test_plans_are_told_in_roots_and_hours():
    assert roots_needed(np.exp(-7.0), 0.1) == 1050
    told = plan(np.exp(-7.0), True, 0.1, 600.0, 200.0, 6e-3)
    assert "1050 roots or more, 6e+05 steps (about 1 h 3 min at the speed of the pilot), if" in told
    assert "counting does, 1.1e+05 exits or 2e+07 steps (about 36 h 33 min" in told  # 1/P events of exits for each of a hundred
    assert "no descendant reached B" in plan(1e-4, False, 0.1, 600.0, 200.0, 0.0)
    assert "descendants of 1 root only reached B; P is below 0.0001" in plan(1e-4, False, 0.1, 600.0, 200.0, 0.0, 1)
    assert "of 2 roots only" in plan(1e-4, False, 0.1, 600.0, 1.0, 0.0, 2)
    assert "root" not in plan(0.1, True, 0.1, 1.0, 1.0, 0.0, 5)[:40]
    assert "300 more roots, 3e+05 steps" in missing(0.2, 0.1, 100, 1e5, 0.0)
    assert "Nothing has arrived" in missing(float("inf"), 0.1, 100, 1e5, 0.0)


CONFIG = """
[system]
name = "well"
builder = "wells:build"
[sampling]
flux_walkers = 100
block_ps = 5.0
pilot_roots = 100
production_roots = 200
"""

MODULE = """
import numpy as np, openmm
from openmm_rare import RareEventSystem
from openmm_rare.states.states import Coordinate, Range

def build():
    system, force = openmm.System(), openmm.CustomExternalForce("9.977355*(x^2-1)^2")
    system.addParticle(2.4943387)
    force.addParticle(0, [])
    system.addForce(force)
    regions = Range({"x": (-9.0, -0.8)}), Range({"x": (0.8, 9.0)})
    return RareEventSystem.from_openmm(
        system, [[-1.0, 0.0, 0.0]], *regions, Coordinate("x", 0, 0), 300.0, 5.0, 0.01, num_dimensions=1, inertial=True,
        descriptor={"kind": "coordinates", "columns": [0], "scale": 1.0},
    )
"""


def run(*arguments):
    return CliRunner().invoke(main, ["rate", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def config(tmp_path):
    (tmp_path / "wells.py").write_text(MODULE)
    (tmp_path / "well.toml").write_text(CONFIG)
    return tmp_path / "well.toml"


def test_the_command_asks_for_a_direction_and_takes_a_variable(config):
    out = config.parent / "run"
    done = run(config, "--out", out)
    assert done.exit_code == 2 and not out.exists()
    (config.parent / "paths").mkdir()
    (config.parent / "paths" / "model.npz").write_bytes(b"")
    folder = run(config, "--out", out, "--model", config.parent / "paths").stderr
    assert f"is a folder: give {config.parent / 'paths' / 'model.npz'}" in folder and "give a file" not in folder
    assert "is a folder: give a file" in run(config, "--out", out, "--model", config.parent).stderr
    assert "first run openmm-rare tps" in done.stderr and "--importance (x)" in done.stderr
    done = run(config, "--out", out, "--importance", "x", "--target-error", 0.9, "--max-steps", 600_000)
    assert re.search(r"k as the flux run counted it +[0-9.e-]+ 1/ps from \d+ arrivals", done.output)
    assert "fewer steps than brute force" in done.output and "roots or more" in done.stderr
    assert "custom_integrator backend on Reference" in done.stderr and "Reference, custom_integrator" in done.output
    result = read_result(out)
    assert result["method"] == "splitting" and result["complete"] and (out / "figures" / "crossing.png").is_file()
    done = run(config, "--out", out, "--importance", "x", "--target-error", 0.4, "--max-steps", 600_000, "--resume")
    longer = read_result(out)
    assert longer["n_roots"] >= result["n_roots"] and done.exit_code == (0 if longer["complete"] else 3)
    again = run(config, "--out", out, "--resume")  # as it was begun: along x, to that error
    assert again.exit_code == done.exit_code and read_result(out)["n_roots"] == longer["n_roots"]
    assert "differs" in run(config, "--out", out, "--resume", "--method", "brute_force").stderr
    arrays = load_run(out)  # the flux run as arrays, a row for each block
    assert arrays.exit_weights.sum() / arrays.time_ps.sum() == pytest.approx(longer["flux_per_ps"])
    assert len(arrays.exits) == longer["n_exits"] and arrays.exit_walkers.max() < arrays.time_ps.shape[1] == 100
    assert np.allclose(arrays.time_ps, 5.0) and len(arrays.roots) == longer["n_roots"]


NOTHING = """
[system]
name = "langevin_well"
parameters = { barrier = 18.0 }
[sampling]
importance = "x"
target_error = 0.9
flux_walkers = 20
pilot_roots = 20
production_roots = 20
calibration_rounds = 1
equilibration_ps = 0.05
max_walker_steps = 100000
"""


@pytest.mark.parametrize("broken", [False, True])
def test_pages_of_a_run_in_which_nothing_arrives_do_not_end_it(tmp_path, monkeypatch, caplog, broken):
    """The page was drawn without a curve to draw; and whatever else goes wrong with one, the run goes on."""
    monkeypatch.setattr(calibration, "_MOST_ROUNDS", 1)
    monkeypatch.setattr(live, "_LEAST", 0.0)
    monkeypatch.setattr(live, "_SHARE", 1.0)
    drawn = []

    def draw(*given):
        drawn.append(write(*given))
        if broken:
            raise IndexError("a curve of nothing")

    write = live.write_page_of
    monkeypatch.setattr(live, "write_page_of", draw)
    (tmp_path / "high.toml").write_text(NOTHING)
    done = run(tmp_path / "high.toml", "--out", tmp_path / "o")
    assert done.exit_code == 3 and "the rate is below" in done.output and drawn
    assert ("could not be drawn" in caplog.text) is broken
    assert "rate is below" in (tmp_path / "o" / "report.html").read_text(encoding="utf8")


def test_rounds_of_production_measure_the_scale_again(monkeypatch):
    monkeypatch.setattr(calibration, "fitted_look_ahead", lambda outcomes, timestep: (0.0, 0.0))
    problem = well(4.0)
    run, seen = along(problem, target_error=0.1), []

    def watch(sampler, level, production, steering, n_new):
        seen.append((production.n_roots, sampler.importance.table, level))
        return SplittingRate._round(run, sampler, level, production, steering, n_new)

    run._round = watch
    run.run()
    (_, first, level), (n, second, other) = seen[:2]
    assert n == SMALL.production_roots // 10 == 50  # the first batch is small
    np.testing.assert_array_equal(first.levels, second.levels)  # on which crossings are counted
    assert level != other and not np.array_equal(first.log_importance, second.log_importance)
    again = first.measured_again(np.array([[1.0] * len(first.levels), [1.0] + [0.0] * (len(first.levels) - 1)]))
    np.testing.assert_allclose(again.log_importance, [-np.log(2.0)] + [0.0] * (len(first.levels) - 1), atol=1e-12)

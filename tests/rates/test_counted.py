"""Brute force with momenta, of walkers that move one at a time, and of few transitions."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from momenta import water, well, well_in_numpy
from scipy.stats import poisson

from openmm_rare import BruteForceRate, RateSettings, Silent
from openmm_rare.cli.main import main
from openmm_rare.errors import DynamicsError
from openmm_rare.flux.memory import remembered
from openmm_rare.io.tasks import Memory
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.counted import Counted, poisson_interval
from openmm_rare.report.results import read_result
from openmm_rare.walkers.phase_slots import PhaseSlots
from stats import assert_within

SMALL = RateSettings(flux_walkers=400, flux_steps=300)
FEW = RateSettings(few_walkers=4, block_ps=0.2, equilibration_ps=0.1, max_walker_steps=1000)


def counted(problem, settings, **options):
    return BruteForceRate(problem, settings, progress=Silent(), **options).run()


def test_a_double_well_with_momenta_has_the_rate_that_is_counted_without_restarts():
    estimate = counted(well(check_interval=2), SMALL, target_error=0.12)
    count, time = well_in_numpy(check_interval=2, n_steps=12_000)
    error = np.hypot(estimate.rate_stderr, np.sqrt(count) / time)
    assert_within(estimate.rate_per_ps, count / time, error)
    assert estimate.reliable and estimate.complete and estimate.mixing["agree"] and estimate.ess > 60
    with pytest.raises(AssertionError):  # negative control: both states counted as the one that was visited last
        assert_within(0.5 * estimate.rate_per_ps, count / time, np.hypot(0.5 * estimate.rate_stderr, np.sqrt(count) / time))


def test_poisson_intervals_are_those_of_garwood():
    np.testing.assert_allclose(poisson_interval(0), (0.0, 2.9957), atol=1e-4)
    np.testing.assert_allclose(poisson_interval(1), (0.02532, 5.5716), atol=1e-4)
    np.testing.assert_allclose(poisson_interval(10), (4.7954, 18.3904), atol=1e-4)


@pytest.mark.parametrize("mean", [1.0, 3.5, 7.0, 15.0])
def test_poisson_intervals_cover(mean):
    n = np.arange(1, 80)
    low, high = np.array([poisson_interval(int(each)) for each in n]).T
    chance = poisson.pmf(n, mean)
    assert chance[(low <= mean) & (mean <= high)].sum() + poisson.pmf(0, mean) * (mean <= 2.9957) >= 0.945
    half = 1.96 * np.sqrt(n)  # negative control: a normal interval
    assert chance[np.abs(n - mean) <= half].sum() < 0.945


def test_steps_that_are_used_up_give_an_interval_and_a_run_goes_on_from_there():
    problem, memory = well(6.0, check_interval=5), Memory()
    short = replace(SMALL, flux_walkers=100, max_walker_steps=300_000)
    few = counted(problem, short, target_error=0.12, recorder=memory)
    n, steps = few.ess, sum(r["frames_last_a"].sum() for r in memory.load("brute_force")[1:])
    time_ps = steps * problem.timestep
    assert 0 < n < 20 and few.rate_per_ps == pytest.approx(n / time_ps)
    assert few.rate_ci95 == pytest.approx([events / time_ps for events in poisson_interval(int(n))])
    assert not few.reliable and not few.complete and few.rate_below_per_ps is None
    assert f"Only {n:.0f} transitions were seen" in few.warnings[0] and "raise max_walker_steps" in few.warnings[0]
    longer = replace(short, max_walker_steps=600_000)
    again, whole = (counted(problem, longer, target_error=0.12, recorder=kept) for kept in (memory, Memory()))
    assert again.rate_per_ps == whole.rate_per_ps and again.ess > n


def test_where_nothing_arrives_there_is_a_bound():
    estimate = counted(well(12.0, check_interval=5), replace(SMALL, flux_walkers=50, max_walker_steps=100_000))
    time_ps = estimate.rate_below_per_ps and 2.9957 / estimate.rate_below_per_ps
    assert estimate.rate_per_ps == 0.0 and estimate.rate_ci95 == (0.0, estimate.rate_below_per_ps)
    assert (
        500.0 < time_ps < 1300.0
        and not estimate.reliable
        and not estimate.complete
        and estimate.channels == {"all": {"fraction": 0.0, "fraction_stderr": 0.0}}
    )
    assert estimate.warnings[0].startswith("Nothing came to B in") and estimate.flux_per_ps > 0.0


def test_an_error_that_is_not_reached_is_told_with_the_estimate():
    estimate = counted(well(2.0, check_interval=5), replace(SMALL, max_walker_steps=900_000), target_error=0.01)
    assert estimate.ess >= 20 and not estimate.complete and "The steps were used up at an error of" in estimate.warnings[-1]


class Backward(Here):
    """Last task first."""

    def map(self, function, tasks, keys=None):
        return reversed(list(super().map(function, tasks, keys)))


def test_walkers_in_a_box_are_counted_by_blocks_wherever_they_move():
    problem, memory = water(), Memory()
    here = counted(problem, FEW, recorder=memory)
    there = counted(problem, FEW, executor=Backward())
    assert here.rate_per_ps == there.rate_per_ps and here.flux_per_ps == there.flux_per_ps > 0.0
    assert here.mixing is None and here.walker_steps == 4 * (50 + 100 * len(memory.load("brute_force")))
    assert counted(problem, FEW, seed=2).flux_per_ps != here.flux_per_ps  # negative control
    told = Counted(problem)
    for record in memory.load("brute_force"):
        told.add(record)
    n_blocks = 4 * len(memory.load("brute_force"))
    assert told.by_unit().shape == (3, n_blocks) and told.by_walker().shape == (3, 4)
    assert told.by_unit()[1].sum() == 100 * n_blocks  # nothing is left out


@pytest.mark.parametrize("problem", [well(check_interval=5), water()], ids=["in slots", "one at a time"])
def test_dynamics_that_breaks_down_loses_nothing_that_was_recorded(problem, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = replace(FEW, block_ps=0.1, flux_walkers=20, flux_steps=25, max_walker_steps=500)
    memory, whole, steps, step = Memory(), counted(problem, settings), [], PhaseSlots.step

    def broken(self, n_steps):
        steps.append(n_steps)
        if len(steps) == 49:
            self.context.setVelocities(np.full((self.context.getSystem().getNumParticles(), 3), np.nan))
        step(self, n_steps)

    monkeypatch.setattr(PhaseSlots, "step", broken)
    with pytest.raises(DynamicsError, match=r"NaN.*positions in /.*broken-shot-\d+.npz"):
        counted(problem, settings, recorder=memory)
    assert len(memory.load("brute_force")) >= 1 and len(list(tmp_path.glob("broken-shot-*.npz"))) == 1
    monkeypatch.undo()
    again = replace(counted(problem, settings, recorder=memory), wall_seconds=whole.wall_seconds)
    assert repr(again) == repr(whole) and whole.n_exits > 0  # NaN is not equal to itself


def test_blocks_that_remember_are_seen():
    rng = np.random.default_rng(1)
    counts = rng.poisson(5.0, (40, 8))
    assert remembered(counts) is None and remembered(counts[:2]) is None and remembered(np.zeros((40, 8))) is None
    slow = np.repeat(rng.poisson(5.0, (8, 8)), 5, axis=0)
    assert "raise block_ps" in remembered(rng.poisson(slow))
    assert "raise block_ps" in remembered(rng.poisson([2, 2, 2, 2, 9, 9, 9, 9], (40, 8)))  # walkers apart


def test_commands_end_with_3_where_steps_were_used_up(tmp_path):
    config = tmp_path / "well.toml"
    text = '[system]\nname = "double_well_1d"\ntemperature = "{} K"\n[sampling]\nflux_walkers = 50\nflux_steps = 50\n'
    text += "training_flux_walkers = 50\nmax_walker_steps = {}\ntarget_error = 0.2\n"
    ends = {}
    for name, temperature, steps in (("none", 150, 30_000), ("enough", 900, 10**9)):
        config.write_text(text.format(temperature, steps))
        arguments = ["rate", str(config), "--brute-force", "--out", str(tmp_path / name)]
        ends[name] = CliRunner().invoke(main, arguments)
    assert ends["none"].exit_code == 3 and ends["enough"].exit_code == 0, ends
    assert "below" in ends["none"].output and "Nothing came to B" in ends["none"].output
    assert read_result(tmp_path / "none")["rate_below_per_ps"] > 0.0
    assert "k &lt; " in (tmp_path / "none" / "report.html").read_text()
    assert "k = " in (tmp_path / "enough" / "report.html").read_text()


def test_alanine_dipeptide_in_water_is_counted(tmp_path):
    config = tmp_path / "alanine.toml"
    config.write_text(
        '[system]\nname = "alanine_dipeptide"\n[sampling]\nfew_walkers = 2\nblock_ps = 0.04\nequilibration_ps = 0.02\n'
        "max_walker_steps = 100\n"
    )
    arguments = ["rate", str(config), "--brute-force", "--platform", "CPU", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3 and "alanine_dipeptide at 300 K, by brute force" in result.output
    assert read_result(tmp_path / "run")["walker_steps"] == 2 * (10 + 3 * 20)


class Shares(Silent):
    """How much of each stage was to be done, and was."""

    def __init__(self):
        self.totals, self.done = {}, {}

    def stage(self, name, total=None):
        self.now = name
        self.totals[name] = total

    def update(self, n=1.0, **postfix):
        self.done[self.now] = self.done.get(self.now, 0.0) + n


def test_equilibration_of_single_walkers_shows_its_share_and_is_recorded_block_by_block():
    problem, memory, shown = water(), Memory(), Shares()
    settings = replace(FEW, block_ps=0.04)  # 20 steps of 50
    estimate = BruteForceRate(problem, settings, progress=shown, recorder=memory).run()
    assert shown.totals["equilibration in A"] == shown.done["equilibration in A"] == 50
    assert [record["walker_steps"] for record in memory.load("equilibration")] == [80, 80, 40]
    assert estimate.backend == "custom_integrator"  # whatever the machine has for small Systems without momenta
    again = Shares()
    assert BruteForceRate(problem, settings, progress=again, recorder=memory).run().rate_per_ps == estimate.rate_per_ps
    assert again.done["equilibration in A"] == 50
    at_once, old = dict(memory.load("equilibration")[-1]), Memory()  # as earlier versions recorded it
    old.append("equilibration", {**at_once, "walker_steps": 200})
    assert BruteForceRate(problem, settings, progress=Silent(), recorder=old).run().rate_per_ps == estimate.rate_per_ps


def test_fewer_steps_than_equilibration_takes_are_refused_before_anything_runs():
    problem = water()
    settings = RateSettings(few_walkers=2, equilibration_ps=1.0, max_walker_steps=10)
    with pytest.raises(ValueError, match="10 steps at most are fewer than the .* walkers take to equilibrate in A for 1 ps"):
        BruteForceRate(problem, settings, machine="CPU").run()


def test_a_configuration_with_a_direction_serves_for_counting_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = '[system]\nname = "langevin_well"\nparameters = { barrier = 2.0 }\n[sampling]\nimportance = "x"\nflux_walkers = 50\n'
    (tmp_path / "my.toml").write_text(text)
    done = CliRunner().invoke(main, ["rate", "my.toml", "--brute-force", "--target-error", "0.5", "--out", "counted"])
    assert done.exit_code == 0 and read_result(tmp_path / "counted")["method"] == "brute_force", done.output

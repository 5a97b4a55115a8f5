"""A continued run must have the settings that its way to a rate uses, and no others: which they are, and that it goes on."""

import sys
from dataclasses import replace

import pytest
from momenta import well

from openmm_rare.bias.directions import VariableDirection
from openmm_rare.config.run import parse_config
from openmm_rare.errors import InputError
from openmm_rare.io.tasks import Silent
from openmm_rare.rates.brute_force import BruteForceRate
from openmm_rare.rates.importance import ImportanceSamplingRate
from openmm_rare.rates.splitting.rate import SplittingRate
from openmm_rare.settings.barrier import BarrierSettings
from openmm_rare.settings.rates import RateSettings
from openmm_rare.systems import double_well_1d
from openmm_rare.workflow import rate

T = 1500.0
GIVEN = {"backend", "save_paths"}  # asked for before the run, or refused
READERS_OF_ALL = {"__post_init__", "slowed", "continuing", "used_by"}


class Traced(RateSettings):
    """Settings that remember which of them were asked for, copies included."""

    asked = set()

    def __getattribute__(self, name):
        caller = sys._getframe(1)
        if caller.f_globals["__name__"] != "dataclasses" and caller.f_code.co_name not in READERS_OF_ALL:
            Traced.asked.add(name)
        return super().__getattribute__(name)


def asked(run):
    """Names of the settings that a run of the class asks for."""
    Traced.asked.clear()
    run.run()
    return Traced.asked & set(RateSettings.__dataclass_fields__)


def test_brute_force_asks_for_what_it_says():
    problem, settings = double_well_1d.build(temperature=T), Traced(flux_walkers=200)
    found = asked(BruteForceRate(problem, settings, target_error=0.3, progress=Silent()))
    assert settings.used_by("brute_force") - found == {"few_walkers", "equilibration_ps", *GIVEN}
    assert found <= settings.used_by("brute_force")
    assert not found <= settings.used_by("barrier")  # the control


def test_a_learned_rate_asks_for_what_it_says():
    rounds = {"first_stage_rounds": 2, "stage_rounds": 1, "last_stage_rounds": 2, "updates": 10, "last_updates": 10}
    fewer = {"n_slots": 200, "training_walkers": 200, "production_roots": 200, "pilot_roots": 80, "min_ess": 10.0}
    problem, settings = double_well_1d.build(temperature=T), Traced(**rounds, **fewer)
    found = asked(ImportanceSamplingRate(problem, settings, target_error=0.6, progress=Silent()))
    assert found <= settings.used_by("importance")
    assert {"strengths", "window_powers", "training_roots", "learning_rate"} <= found


def test_splitting_asks_for_what_it_says():
    problem, settings = well(), Traced(flux_walkers=100, pilot_roots=100, production_roots=200)
    direction = VariableDirection.of(problem.states, "x", problem.starts)
    found = asked(SplittingRate(problem, direction, settings, target_error=0.7, progress=Silent()))
    assert found <= settings.used_by("splitting")
    assert {"pilot_roots", "production_roots", "waiting_steps", "calibration_rounds"} <= found  # the control


def test_the_barrier_asks_for_what_it_says():
    barrier_rate = pytest.importorskip("openmm_rare.rates.barrier.barrier_rate")
    problem, settings = double_well_1d.build(temperature=T), Traced()
    barrier = BarrierSettings(windows=7, copies=4, walkers=10, points_per_task=3)
    found = asked(barrier_rate.BarrierRate(problem, settings, barrier=barrier, target_error=0.5, progress=Silent()))
    assert found <= settings.used_by("barrier")


OVERDAMPED = '[system]\nname = "double_well_1d"\n'
INERTIAL = '[system]\nname = "langevin_well"\n'
DIRECTION = '[sampling]\nimportance = "x"\n'
BRUTE_FORCE = '[sampling]\nmethod = "brute_force"\n'
BARRIER = '[sampling]\nmethod = "barrier"\n'
DESCRIPTOR = '[system.descriptor]\nkind = "coordinates"\ncolumns = [0]\nscale = 0.7\n'
TRAINING = "strengths = [1.0]\nwindow_powers = [0.5]\ntraining_roots = 7\nhidden = [3]\n"
WAYS = {
    "importance": (
        *(OVERDAMPED, "[sampling]\n", "", "tree_roots = 7\nblock_ps = 7.0\n[barrier]\nwindows = 8"),
        ["strengths = [1.0]", "training_roots = 7", "pilot_roots = 7", "save_paths = 3"],
    ),
    "splitting": (INERTIAL, DIRECTION, DESCRIPTOR, TRAINING, ["tree_roots = 7", "n_slots = 7", "pilot_roots = 7"]),
    "brute force": (
        *(OVERDAMPED, BRUTE_FORCE, DESCRIPTOR, f'{TRAINING}importance = "x"\ntree_roots = 7\n[barrier]\nwindows = 8'),
        ["flux_walkers = 7", "heating_factor = 1.5", "seed = 7"],
    ),
    "barrier": (
        *(OVERDAMPED, BARRIER, DESCRIPTOR, f"{TRAINING}flux_walkers = 7\ntree_roots = 7"),
        ["[barrier]\nwindows = 8", '[barrier]\nalong = "x"', "reverse = true"],
    ),
}


class Stopped(Exception):
    """Ends a run after its first record."""


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begins, or continues, a run that is stopped as soon as its settings were accepted."""

    def stop(out, run, *more):
        run.append("flux", {"walker_steps": 0})
        run.finalize()
        raise Stopped

    monkeypatch.setattr(rate, "computed", stop)

    def begun(text):
        with pytest.raises(Stopped):
            rate.run_rate(parse_config(text, tmp_path), tmp_path / "run", resume=True, progress=Silent())

    return begun


@pytest.mark.parametrize("way", WAYS)
def test_only_settings_that_are_used_must_be_the_same(way, begin):
    system, sampling, descriptor, unused, used = WAYS[way]
    begin(system + sampling)
    for _ in range(2):
        begin(system + descriptor + sampling + unused)
        begin(system + sampling)
    for text in used:
        with pytest.raises(InputError, match="differs from the run in"):
            begin(f"{system}{sampling}{text}\n")


def test_a_rate_records_its_settings_beside_those_of_path_sampling(tmp_path):
    sections = "[sampling]\ntarget_error = 0.5\nflux_walkers = 200\n[path_sampling]\ntrials = 9\n"
    text = f'{OVERDAMPED}temperature = "1500 K"\n{sections}'
    config = parse_config(text, tmp_path).with_options(method="brute_force")
    estimate = rate.run_rate(config, tmp_path / "run", progress=Silent())
    again = rate.run_rate(config, tmp_path / "run", resume=True, progress=Silent())
    assert again.rate_per_ps == estimate.rate_per_ps
    with pytest.raises(InputError, match="flux_walkers = 100 differs from the run in .*, which has 200"):
        settings = replace(config.sampling.settings, flux_walkers=100)
        rate.run_rate(config.with_options(settings=settings), tmp_path / "run", resume=True, progress=Silent())


def test_defaults_of_earlier_versions_are_kept():
    begun = RateSettings(strengths=(1.0, 0.7, 0.0), window_powers=(0.85, 1.0), hidden=(64, 64, 64))
    assert RateSettings().continuing(begun, "importance") == begun
    assert RateSettings(strengths=(1.0,)).continuing(begun, "importance").strengths == (1.0,)  # what is given is not replaced
    assert RateSettings(strengths=(1.0,)).continuing(begun, "brute_force") == begun

"""The first thing anybody tries works, or says within seconds what to do: slow motion, long-lived states, silence."""

import importlib
import io
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest

import openmm_rare
from openmm_rare import BruteForceRate, ImportanceSamplingRate, Range, RareEventSystem, RateSettings, Silent, TerminalProgress
from openmm_rare.committor.model import CommittorModel
from openmm_rare.errors import RunError
from openmm_rare.io.progress import shows_progress
from openmm_rare.io.tasks import Memory, TaskLog
from openmm_rare.rates import pilot
from openmm_rare.rates.annealing import anneal
from openmm_rare.rates.crossing import find_long_lived, suit_settings
from openmm_rare.rates.heating import easy_temperature
from openmm_rare.rates.pilot import choose_steering
from openmm_rare.states.states import CollectiveVariables, Coordinate, Dihedral, States
from openmm_rare.systems import BUILDERS, build
from openmm_rare.walkers.machine import Machine
from stats import assert_within

CHEAP = RateSettings(
    hidden=(24, 24),
    n_slots=300,
    flux_walkers=200,
    flux_steps=300,
    training_exits=500,
    training_roots=100,
    training_walkers=400,
    first_stage_rounds=5,
    stage_rounds=3,
    last_stage_rounds=4,
    updates=40,
    batch=256,
    residual_batch=128,
    last_updates=60,
    ladder_ratio=0.6,
    pilot_roots=150,
    production_roots=500,
    strengths=(1.0, 0.7),
)
MUELLER_BROWN = "+".join(
    f"({0.2 * height:g})*exp(({a:g})*(x-({x:g}))^2+({b:g})*(x-({x:g}))*(y-({y:g}))+({c:g})*(y-({y:g}))^2)"
    for height, a, b, c, x, y in (
        (-200, -1, 0, -10, 1, 0),
        (-100, -1, 0, -10, 0, 0.5),
        (-170, -6.5, 11, -6.5, -0.5, 1.5),
        (15, 0.7, 0.6, 0.7, -1, 1),
    )
)
MUELLER_BROWN_RATE = 1.898e-5  # 1/ps, at 300 K, by finite volumes (examples/validation/hard_systems.py)


def particle(energy, start, a, b, timestep=0.01, temperature=300.0):
    """One particle of 40 Da in the plane."""
    force, system = openmm.CustomExternalForce(energy), openmm.System()
    force.addParticle(0, [])
    system.addParticle(40.0)
    system.addForce(force)
    variables = [Coordinate("x", 0, 0), Coordinate("y", 0, 1)]
    dynamics = {"temperature": temperature, "friction": 10.0, "timestep": timestep, "num_dimensions": 2, "name": "particle"}
    return RareEventSystem.from_openmm(system, [[*start, 0.0]], Range(a), Range(b), variables, **dynamics)


def mueller_brown(timestep):
    a, b = {"x": (-0.708, -0.408), "y": (1.292, 1.592)}, {"x": (0.473, 0.773), "y": (-0.122, 0.178)}
    return particle(MUELLER_BROWN, (-0.558, 1.442), a, b, timestep)


def three_wells(middle):
    """Wells of 30 and 36 kJ/mol and one of such a depth between them."""
    energy = f"20*(x/1.3)^8-30*exp(-(x+0.8)^2/0.08)-{middle}*exp(-x^2/0.08)-36*exp(-(x-0.8)^2/0.08)+30*y^2"
    return particle(energy, (-0.8, 0.0), {"x": (-9, -0.65)}, {"x": (0.65, 9)}, temperature=400.0)


class Told(Silent):
    """Progress that remembers."""

    def __init__(self):
        self.stages, self.news = [], []

    def stage(self, name, total=None):
        self.stages.append((name, total))

    def update(self, n=1.0, **postfix):
        self.news.append((self.stages[-1][0], n, postfix))


def prepared(system, settings=CHEAP, seed=1):
    """RateSettings that suit the system, what was told on the way, and the tasks' records."""
    told, memory = Told(), Memory()
    told.stage("first")
    task, settings = TaskLog(memory, seed), replace(settings, backend="auto")
    start, longer = easy_temperature(system, settings, Machine(), task, told)
    return start, suit_settings(system, start, longer, Machine(), task, told), told, memory


def test_mueller_brown_in_five_lines():
    told = Told()
    estimate = ImportanceSamplingRate(mueller_brown(0.05), target_error=0.25, seed=1, settings=CHEAP, progress=told).run()
    assert_within(np.log(estimate.rate_per_ps), np.log(MUELLER_BROWN_RATE), estimate.relative_error, nsigma=4)
    with pytest.raises(AssertionError):  # negative control
        assert_within(np.log(estimate.rate_per_ps), np.log(5 * MUELLER_BROWN_RATE), estimate.relative_error, nsigma=4)
    total = dict(told.stages)["training"]
    rounds = [(n, news) for stage, n, news in told.news if stage == "training"]
    assert sum(n for n, _ in rounds) == total  # what is left of training is known from its beginning
    assert "K (stage 1 of" in rounds[0][1]["at"] and rounds[0][1]["round"] == "1 of 5"


def test_settings_suit_the_time_step_and_the_time_step_is_advised():
    scales = {}
    for timestep in (0.05, 0.01, 0.001):
        _, settings, told, _ = prepared(mueller_brown(timestep))
        scales[timestep] = settings.training_path_length / CHEAP.training_path_length
        said = [news["paths_take"] for _, _, news in told.news if "paths_take" in news]
        assert len(said) == 1 and ("a time step up to 0.2 ps is stable here" in said[0]) == (timestep < 0.02)
        ratio = CHEAP.segment_length / CHEAP.training_stride  # both are rounded
        assert settings.segment_length / settings.training_stride == pytest.approx(ratio, rel=0.02)
    assert scales[0.05] == 1.0  # what is quick enough stays as it is
    assert 1.5 < scales[0.01] < 10 and 10 < scales[0.001] < 100


def test_a_time_step_far_too_short_is_an_error_that_says_which_would_do():
    start, settings, _, _ = prepared(mueller_brown(0.05))
    with pytest.raises(RunError, match=r"far more than 50000 steps of 2e-05 ps .* a time step up to 0\.2 ps is stable"):
        suit_settings(mueller_brown(0.00002), start, settings, Machine(), TaskLog(Memory(), 1), Silent())


@pytest.mark.parametrize("name", sorted({"double_well_1d", "two_channel_2d", "lj7"} & set(BUILDERS)))
def test_built_in_systems_keep_their_lengths(name):
    _, settings, told, memory = prepared(build(name))
    assert settings.slowed(1.0) == replace(CHEAP, backend="auto").slowed(1.0)
    assert not any("long_lived_state" in news for *_, news in told.news)
    assert len(memory.load("training_probe")) == 1


def test_a_scale_stretches_what_is_counted_in_steps():
    settings = RateSettings().slowed(4.0)
    assert (settings.segment_length, settings.training_path_length, settings.residual_steps) == (800, 12000, 80.0)
    assert (settings.stride, settings.bias_interval, settings.production_roots) == (40, 8, 2000)
    assert RateSettings().slowed(0.001).bias_interval == 1


def test_a_long_lived_state_is_named_before_training():
    with pytest.raises(RunError, match=r"long-lived state near x = -?0\.0\d+, y = .*Put it into A or B, or compute two steps"):
        ImportanceSamplingRate(three_wells(38), target_error=0.2, settings=CHEAP, progress=Silent()).run()


def test_a_state_that_is_left_soon_is_followed():
    _, settings, told, _ = prepared(three_wells(20))
    assert settings.training_path_length < 10 * CHEAP.training_path_length
    told = [news for *_, news in told.news if "paths_take" in news]
    assert len(told) == 1


def trained(arrivals, **options):
    """RateSettings after training in which so many walkers of each round are said to have reached B."""
    system, told, task, counts = build("double_well_1d"), Told(), TaskLog(Memory(), 1), iter(arrivals)
    settings = replace(CHEAP, backend="auto", annealing=(900.0,), first_stage_rounds=2, stage_rounds=2, last_stage_rounds=2)
    settings = replace(settings, updates=5, training_walkers=50, training_exits=100, last_updates=0, **options)

    def count(kind, compute):
        record = task(kind, compute)
        return record | {"arrivals": next(counts)} if kind == "training" else record

    model = CommittorModel(system.descriptor_spec(), 1, (8,), system.temperature, system.fingerprint())
    return settings, anneal(system, model, settings, Machine(), count, True, told), told


def test_lengths_grow_while_no_walker_reaches_b():
    given, settings, told = trained([5, 5, 5, 0, 0, 0, 5, 5, 5])
    assert settings == given.slowed(4.0)
    rounds = [(n, news["round"]) for _, n, news in told.news if "round" in news]
    assert rounds[3] == (1.0, "2 of 2") and rounds[4][0] == 0.0 and rounds[4][1].startswith("3 of 2, at most 6: few reach B")
    given, settings, _ = trained([5] * 4)  # negative control
    assert settings == given
    given, settings, _ = trained([5, 5, 5, 0, 0, 0, 5, 5, 5], time_scale=1.5)  # a given scale is obeyed
    assert settings == given.slowed(1.5)


def test_training_that_brings_nobody_to_b_says_how_far_they_got():
    with pytest.raises(RunError, match=r"each followed for \d+ steps; the farthest one seen was at x = -?\d.*ln I = -"):
        trained([5, 5] + 6 * [0])


@pytest.mark.parametrize(("found_after", "longest"), [(0, 50), (2, 350), (4, 1000), (6, None)])
def test_the_pilot_follows_walkers_longer_before_it_gives_up(found_after, longest, monkeypatch):
    settings, calls = replace(CHEAP, pilot_max_steps=50, waiting_steps=1000), []

    def follow(propagator, importance, starts, level, branching, longest, rng):
        calls.append(longest)
        n, in_b = len(starts.exit), len(calls) > found_after
        walkers = SimpleNamespace(roots=np.arange(n))
        return SimpleNamespace(walkers=walkers, arrived=np.full(n, in_b), weights=np.ones(n), walker_steps=100)

    monkeypatch.setattr(pilot, "gather", follow)
    anything = {"propagator": lambda *given: None, "branching": lambda *given: None, "importance": None}
    exits = {"exits": lambda n, rng: SimpleNamespace(exit=np.arange(n))}
    sampler = SimpleNamespace(settings=settings, problem=SimpleNamespace(name="s"), **anything, **exits)
    if longest is None:
        with pytest.raises(RunError, match="no walker of the pilot reached B of s in 1000 steps"):
            choose_steering(sampler, TaskLog(Memory(), 1), Silent())
    else:
        choose_steering(sampler, TaskLog(Memory(), 1), Silent())
        assert calls[-1] == longest


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("triple_shallow", "side_intermediate", "hidden_trench", "mueller_brown", "mueller_brown_short_steps", "triple_deep"),
        *("two_basins_a", "two_basins_6d", "wrong_well", "ring"),
    ],
)
def test_hard_systems_at_default_settings_are_right_or_say_what_to_do(name, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples" / "validation")
    hard_systems = importlib.import_module("hard_systems")
    outcome = hard_systems.first_try(name, seed=2, target_error=0.15)
    assert ("long-lived state near x =" in outcome) if name == "triple_deep" else (": right;" in outcome), outcome


def record(rng, end, moved, steps):
    """50 walkers from places of spread 1, some of which end at `end`, and were a while before at a distance `moved`."""
    positions = np.zeros((50, 4, 3))
    positions[:, 0, 0] = rng.normal(0.0, 1.0, 50)
    last = np.zeros((len(end), 4, 3))
    last[:, 0, 0] = end
    before = last.copy()
    before[:, 0, 0] = moved
    return {"start": positions, "late": before, "end": last, "steps": np.concatenate([steps, np.full(len(end), 50_000)])}


def test_walkers_that_forget_where_they_were_are_in_a_state_and_slow_ones_are_not():
    states = States(CollectiveVariables([Coordinate("x", 0, 0)]), Range({"x": (-9, -5)}), Range({"x": (5, 9)}))
    rng = np.random.default_rng(1)
    end, again, gone = 2.0 + 0.1 * rng.normal(size=30), 2.0 + 0.1 * rng.normal(size=30), rng.integers(1, 50_000, 20)
    state = find_long_lived(states, record(rng, end, again, gone))
    assert state.walkers == 30 and state.place.startswith("x = ") and abs(float(state.place[4:]) - 2.0) < 0.1
    assert find_long_lived(states, record(rng, end, end + 0.01, gone)) is None  # still where they were
    assert find_long_lived(states, record(rng, rng.uniform(-50, 50, 30), again, gone)) is None  # nowhere in particular
    assert find_long_lived(states, record(rng, end[:5], again[:5], rng.integers(1, 50_000, 45))) is None  # few


def test_a_state_across_the_boundary_of_an_angle_is_one_state():
    torsion = Dihedral("phi", (0, 1, 2, 3))
    states = States(CollectiveVariables([torsion]), Range({"phi": (-0.5, 0.5)}), Range({"phi": (1.0, 1.5)}))
    rng = np.random.default_rng(2)

    def turned(phi):
        frames = np.zeros((len(phi), 4, 3))
        frames[:, 0, 0] = frames[:, 3, 2] = 0.1
        frames[:, 0] = [0.1, 0.0, 0.0]
        frames[:, 2] = [0.0, 0.0, 0.1]
        frames[:, 3] = np.stack([0.1 * np.cos(phi), 0.1 * np.sin(phi), np.full(len(phi), 0.1)], axis=1)
        return frames

    near_pi = np.pi + 0.05 * rng.normal(size=(2, 40))
    data = {"start": turned(rng.uniform(-3, 3, 50)), "late": turned(near_pi[0]), "end": turned(near_pi[1])}
    state = find_long_lived(states, data | {"steps": np.concatenate([rng.integers(1, 50_000, 10), np.full(40, 50_000)])})
    assert state.walkers == 40 and abs(abs(float(state.place.removeprefix("phi = "))) - np.pi) < 0.1


def small():
    system = build("double_well_1d", barrier=5.0)
    return BruteForceRate, system, replace(CHEAP, flux_walkers=100, flux_steps=50)


def test_python_shows_progress_unless_told_to_be_silent(capfd):
    rate, system, settings = small()
    before = threading.active_count()
    rate(system, settings, target_error=0.2).run()
    shown = capfd.readouterr()
    assert "brute force ..." in shown.err and "took" in shown.err and shown.out == ""
    rate(system, settings, target_error=0.2, progress=Silent()).run()
    assert capfd.readouterr() == ("", "")
    assert threading.active_count() == before


def test_progress_ends_with_an_error(capfd, monkeypatch):
    rate, system, settings = small()
    before = threading.active_count()
    monkeypatch.setattr("openmm_rare.rates.brute_force.run_flux", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rate(system, settings, target_error=0.01).run()
    assert threading.active_count() == before
    assert "took" not in capfd.readouterr().err.split("brute force ...")[-1]


def test_functions_show_progress_too(capfd):
    @shows_progress
    def work(n, progress=None):
        progress.stage("work")
        return n

    assert work(3) == 3 and "work ..." in capfd.readouterr().err
    assert work(3, Silent()) == work(3, progress=Silent()) == 3 and capfd.readouterr().err == ""
    stream = io.StringIO()
    with TerminalProgress(stream) as progress:
        work(3, progress)
    assert "work ..." in stream.getvalue() and capfd.readouterr().err == ""
    assert {"Silent", "TerminalProgress"} <= set(openmm_rare.__all__)

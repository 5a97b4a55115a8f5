"""Do flux walkers agree on A, and what happens where they do not: comparison, weights, warnings, starts all over A."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch

from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import InputError
from openmm_rare.flux import run as flux_run
from openmm_rare.flux.agreement import compare, quantities, two_parts
from openmm_rare.flux.annealed_start import NoEquilibriumError, WeightedStart
from openmm_rare.flux.dispersal import Dispersal, dispersed
from openmm_rare.flux.flux import FluxState
from openmm_rare.flux.hot_exits import unvisited_exits
from openmm_rare.flux.parts import doubts_about_a, mixing_of, note_on_parts
from openmm_rare.flux.pool import Pool
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.flux.run import FluxRun
from openmm_rare.io.tasks import Memory, Silent, TaskLog
from openmm_rare.problem import RareEventSystem
from openmm_rare.rates.brute_force import BruteForceRate
from openmm_rare.rates.heating import easy_temperature
from openmm_rare.rates.importance import ImportanceSamplingRate
from openmm_rare.rates.production import Production
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states.states import Coordinate, Dihedral, Range, States
from openmm_rare.statistics import ClusteredRate, ratio_of_sums
from openmm_rare.walkers.machine import Machine
from stats import assert_within

NAMES = ("the given structure", "walkers that were hot", "walkers that were hot and in B")
CHEAP = RateSettings(flux_walkers=200, flux_steps=200, training_flux_walkers=60, equilibration_tries=6)
PLANE = States([Coordinate("x", 0, 0), Coordinate("y", 0, 1)], Range({"x": (-9, -0.4)}), Range({"x": (0.4, 9)}))


def two_basins(**options):
    """A of two parts, 9.6 kT apart, from one of which B is nine times easier to reach."""
    force, system = (
        openmm.CustomExternalForce("25*(4*x^2-1)^2+32*(4*y^2-1)^2-10*exp(-x^2/0.045)/(1+exp(-y/0.1))"),
        openmm.System(),
    )
    force.addParticle(0, [])
    system.addParticle(40.0)
    system.addForce(force)
    variables = list(PLANE.variables.variables)
    options = {"temperature": 400, "friction": 10, "timestep": 0.005, "num_dimensions": 2, "name": "two"} | options
    return RareEventSystem.from_openmm(system, [[-0.5, -0.5, 0.0]], PLANE.a, PLANE.b, variables, **options)


def found(values):
    """Quantities of one variable y, of values of shape (n_times, n_walkers)."""
    snapshots = np.stack([np.zeros_like(values), values], axis=-1)
    return quantities(PLANE, [], snapshots, {"flux": np.ones((2, values.shape[1]))})


@pytest.fixture
def noise():
    return np.random.default_rng(1).normal(size=(4, 300))


GROUP = np.repeat([0, 1, 2], [150, 100, 50])


def test_walkers_of_one_distribution_agree(noise):
    agreement = compare(found(noise), GROUP, NAMES, np.ones(300))
    assert agreement.agree and agreement.worst[1] < 1.1
    assert agreement.groups == {NAMES[0]: 150, NAMES[1]: 100, NAMES[2]: 50}
    assert two_parts(agreement, found(noise), PLANE) is None


@pytest.mark.parametrize(
    ("change", "between_starts"),
    [
        (lambda x: x + 1.5 * (GROUP > 0), True),  # whole groups differ
        (lambda x: x + 20.0 * (np.arange(300) >= 297), False),  # three walkers of one group sit elsewhere
        (lambda x: x + np.linspace(-2, 2, 4)[:, None], True),  # everybody drifts
    ],
    ids=["groups", "a few", "drift"],
)
def test_walkers_that_remember_their_start_are_seen(noise, change, between_starts):
    agreement = compare(found(change(noise)), GROUP, NAMES, np.ones(300))
    assert agreement.apart[0] == "y" and agreement.worst[0] == "y" and agreement.worst[1] > 1.1
    assert (agreement.r_hat["y"] > 1.1) == between_starts
    assert set(agreement.to_dict(["flux", "y"])["r_hat_between_starts"]) == {"flux", "y"}


def test_an_angle_across_its_boundary_is_one_place(noise):
    states = States([Dihedral("phi", (0, 1, 2, 3))], Range({"phi": (2.0, -2.0)}), Range({"phi": (-1.0, 1.0)}))
    near = np.mod(np.pi + 0.1 * noise + np.pi, 2 * np.pi) - np.pi
    agreement = compare(quantities(states, [], near[..., None], {}), GROUP, NAMES, np.ones(300))
    assert agreement.agree
    moved = np.mod(near + 0.6 * (np.arange(300) % 2) + np.pi, 2 * np.pi) - np.pi  # negative control
    what = quantities(states, [], moved[..., None], {})
    parts = two_parts(compare(what, GROUP, NAMES, np.ones(300)), what, states)
    assert sorted(np.round(float(value.split()[0]), -1) % 360 for value in parts.values) == [180.0, 210.0]


def test_parts_are_named_with_their_values(noise):
    upper = np.arange(300) % 3 == 0
    what = found(0.05 * noise + np.where(upper, 0.5, -0.5))
    parts = two_parts(compare(what, GROUP, NAMES, np.ones(300)), what, PLANE)
    assert parts.name == "y" and np.array_equal(parts.here, upper)
    assert [value.endswith(" nm") and float(value[:-3]) for value in parts.values] == [
        pytest.approx(-0.5, abs=0.01),
        pytest.approx(0.5, abs=0.01),
    ]


def record(walker, weight, counts):
    """As of a stretch of four walkers with these exits."""
    n = len(walker)
    exits = np.zeros((n, 1, 3), dtype=np.float32)
    exits[:, 0, 0] = np.arange(n)
    return {"exits": exits, "exit_cluster": walker, "exit_weight": weight[walker], "weighted_frames": weight[None] * counts}


def test_a_pool_of_weighted_walkers_is_one_of_repeated_ones():
    model = SimpleNamespace(log_importance=lambda exits, velocities: -np.arange(len(exits)) / 3.0)
    weight, walker, counts = np.array([1.0, 2.0, 3.0, 1.0]), np.array([0, 1, 1, 2, 3, 3]), np.array([10, 20, 30, 40])
    pool = Pool.empty(Frames(np.zeros((4, 1, 3))), 4)
    pool.extend(record(walker, weight, counts), model, 0.5)
    who = np.repeat(np.arange(4), weight.astype(int))
    exits = [np.flatnonzero(walker == each) for each in who]
    importance = np.concatenate([-each / 3.0 for each in exits])
    density, repeated = RootDensity.of_pool(pool.log_importance, 0.1, pool.weight), RootDensity.of_pool(importance, 0.1)
    assert density.log_mean_importance == pytest.approx(repeated.log_mean_importance)
    total = sum(repeated(-each / 3.0).sum() for each in exits)
    assert ratio_of_sums(pool.surrogate(density), pool.time_ps)[0] == pytest.approx(total / (0.5 * counts[who].sum()))
    drawn = density.draw(pool.log_importance, 40_000, np.random.default_rng(1), pool.weight)
    share = pool.weight * density(pool.log_importance)
    expected = share / share.sum()
    found_share = np.bincount(drawn, minlength=6) / 40_000
    assert_within(found_share, expected, np.sqrt(expected / 40_000))
    with pytest.raises(AssertionError):  # negative control: weights forgotten in the draw
        forgotten = density.draw(pool.log_importance, 40_000, np.random.default_rng(1))
        assert_within(np.bincount(forgotten, minlength=6) / 40_000, expected, np.sqrt(expected / 40_000))
    pool.widen(6)
    assert len(pool.time_ps) == len(pool.exit_counts()) == 6 and pool.drift() == 0.0


def test_the_rate_of_some_clusters():
    rate = ClusteredRate(
        np.array([1.0, 2, 3]), np.ones(3), np.array([1.0, 1, 2]), np.array([0, 1, 2, 2]), np.array([[1.0], [2], [3], [5]])
    )
    assert rate.part(np.array([False, True, True])).value == pytest.approx(5 / 3 * 10 / 3)
    assert rate.part(np.ones(3, dtype=bool)).value == pytest.approx(rate.value)


def test_hot_walkers_find_the_other_part_of_a():
    system = two_basins()
    spread = dispersed(system, CHEAP, Machine(), TaskLog(Memory(), 1), Silent())
    assert (system.states.classify(spread.starts.positions) == 1).all() and set(spread.group) == {0, 1, 2}
    upper = spread.starts.positions[:, 0, 1] > 0
    assert 0.05 < upper[1:].mean() < 0.7 and not upper[0]
    state = spread.flux_state(100)
    assert (state.group == 0).sum() == 50 and (state.frames.positions[:, 0, 1] > 0).any()
    alone = replace(spread, starts=spread.starts[:1], group=spread.group[:1])
    assert (alone.flux_state(10).frames.positions == system.positions).all()


def prepared(monkeypatch, answer, seed=1, upper=0.5):
    """A flux run in two basins, equilibrated, with an untrained model and this answer of annealed importance sampling."""
    system, task = two_basins(), TaskLog(Memory(), seed)
    monkeypatch.setattr(flux_run, "annealed_start", answer)
    torch.manual_seed(1)
    model = CommittorModel(system.descriptor_spec(), 1, (8,), 400.0, system.fingerprint())
    n = 40
    starts = np.concatenate([system.starts, np.tile([[[-0.5, 0.5, 0.0]]], (n, 1, 1)) * [1, 1, 1]])
    starts[1 + int(n * upper) :, 0, 1] = -0.5
    none = np.zeros(0)
    spread = Dispersal(
        Frames(starts), np.repeat([0, 1], [1, n]), NAMES, np.array([1500.0]), Frames(np.zeros((0, 1, 3))), none, none
    )
    run = FluxRun(system, model, CHEAP, Machine(), task, Silent(), spread)
    run.equilibrate()
    return run


def no_equilibrium(*_):
    raise NoEquilibriumError("Nothing mixes")


def rate_of(run, upper, lower):
    """The rate with these probabilities to reach B after an exit in either part."""
    run.extend(0.06)
    pool, density = run.pool, RootDensity.of_pool(run.pool.log_importance, 0.1, run.pool.weight)
    root = density.draw(pool.log_importance, 2000, np.random.default_rng(3), pool.weight)
    production = Production(1)
    production.root = root
    q = np.where(pool.exits.positions[root, 0, 1] > 0, upper, lower) * np.random.default_rng(4).exponential(1.0, 2000)
    production.contribution = q / density(pool.log_importance[root])
    production.channel_contribution = production.contribution[:, None]
    return production.clustered(pool, density)


def test_walkers_that_stay_apart_are_reported_with_what_tells_them_apart(monkeypatch):
    run = prepared(monkeypatch, no_equilibrium)
    assert not run.agreement.agree and run.weighted is None and run.failure == "Nothing mixes"
    (sentence,) = doubts_about_a(run, rate_of(run, 3e-3, 3e-4), 0.1)
    assert re.search(r"near y = -0\.4\d+ nm and near 0\.4\d+ nm stay apart .*\(nothing mixes\)", sentence)
    assert "smaller" in sentence and "state of its own" in sentence
    assert doubts_about_a(run, rate_of(run, 1e-3, 1e-3), 0.1) == []  # negative control: parts that are alike
    said = mixing_of(run)
    assert said["r_hat_between_walkers"]["y"] > 2.0 and not said["agree"] and "weighted" not in said
    json.dumps(said)


def test_weights_of_the_parts_give_the_rate_of_the_whole(monkeypatch):
    rng, asked = np.random.default_rng(5), []

    def annealed(system, starts, group, ladder, n_walkers, *_):
        """0.2 of the walkers in the upper part, which has 0.6 of the weight."""
        asked.append((ladder, n_walkers))
        positions = np.zeros((n_walkers, 1, 3))
        up = rng.random(n_walkers) < 0.2
        positions[:, 0, 0], positions[:, 0, 1] = -0.5, np.where(up, 0.5, -0.5)
        weights = np.where(up, 3.0, 0.5)
        return WeightedStart(Frames(positions), np.log(weights), np.arange(n_walkers), 300.0, 1500.0, {"y": 1.0}, 0.5, 0.0, 0)

    run = prepared(monkeypatch, annealed)
    assert asked == [([1500.0, 400.0], 400)] and len(run.state.weight) == 400
    rate = rate_of(run, 3e-3, 3e-4)
    flux = ratio_of_sums(run.pool.exit_counts(), run.pool.time_ps)[0]  # alike out of both parts
    error = rate.relative_error(rate.bootstrap(np.random.default_rng(1))) * rate.value
    assert_within(rate.value, flux * (0.6 * 3e-3 + 0.4 * 3e-4), error, nsigma=4)
    with pytest.raises(AssertionError):  # negative control: walkers counted alike
        assert_within(rate.value, flux * (0.2 * 3e-3 + 0.8 * 3e-4), error, nsigma=4)
    assert doubts_about_a(run, rate, 0.1) == [] and mixing_of(run)["weighted"]["ess"] == 300.0
    assert re.search(
        r"near y = -0.\d+ nm and near 0.\d+ nm: its walkers are weighted, annealed from 1500 K", note_on_parts(run)
    )
    run.weighted = replace(run.weighted, ess=20.0)
    assert "worth 20 independent ones" in doubts_about_a(run, rate, 0.1)[0]
    run.model.log_importance = lambda exits, velocities=None: np.where(exits[:, 0, 1] > 0, -3.0, -6.0)
    run.pool = Pool.empty(run.state.frames, 400)
    run.extend(0.035)  # more time does not help: more walkers do
    assert len(run.state.weight) > 400 and len(run.pool.time_ps) == len(run.state.weight) and run.growing and not run.stuck
    assert np.unique(run.state.cluster).size == len(run.state.weight)


def test_brute_force_that_hangs_on_where_walkers_began_says_so():
    slow = BruteForceRate(two_basins(temperature=600.0), target_error=0.2, seed=1, settings=CHEAP, progress=Silent()).run()
    (warning,) = slow.warnings
    assert not slow.reliable and re.search(r"Walkers in A near y = -0\.\d+ nm and near 0\.\d+ nm stay apart", warning)
    assert not slow.mixing["agree"] and slow.mixing["r_hat_between_walkers"]["y"] > 1.15
    mixed = BruteForceRate(two_basins(temperature=3000.0), target_error=0.2, seed=1, settings=CHEAP, progress=Silent()).run()
    assert mixed.reliable and mixed.mixing["agree"]  # negative control: here A is one basin


def test_walkers_of_one_part_agree(monkeypatch):
    run = prepared(monkeypatch, no_equilibrium, upper=0.0)
    assert run.agreement.agree and run.failure is None and (run.state.weight == 1.0).all()
    assert doubts_about_a(run, None, 0.1) == [] and note_on_parts(run) is None


def test_exits_that_the_flux_run_never_visits_are_said_where_they_matter(monkeypatch):
    run = prepared(monkeypatch, no_equilibrium, upper=0.0)
    run.extend(0.2)
    exits = np.zeros((200, 1, 3))
    exits[:, 0, 0], exits[:, 0, 1] = -0.39, np.where(np.arange(200) % 2, 0.5, -0.5)
    exits[:, 0, 1] += np.random.default_rng(1).normal(0, 0.03, 200)
    warm, energy = np.full(200, 540.0), np.random.default_rng(2).normal(12.0, 1.0, 200)
    hot = replace(run.dispersal, exits=Frames(exits), exit_temperature=warm, exit_energy=energy)
    sentence = unvisited_exits(run.problem, run.model, hot, run.pool)
    assert "at 540 K" in sentence and "y = 0." in sentence and "more_starts" in sentence
    high = replace(hot, exit_energy=energy + 40.0 * (exits[:, 0, 1] > 0))  # negative control: they weigh nothing when cold
    assert unvisited_exits(run.problem, run.model, high, run.pool) is None


def test_more_starts_lie_in_a():
    system = two_basins(more_starts=[[[-5.0, 5.0, 0.0]] * openmm.unit.angstrom, [[-0.5, 0.4, 0.0]]])
    np.testing.assert_allclose(system.starts[:, 0, 1], [-0.5, 0.5, 0.4])
    assert (FluxState.start(system, 4).frames.positions[:, 0, 1] == [-0.5, 0.5, 0.4, -0.5]).all()
    assert len(system.with_temperature(500).more_starts) == 2 and len(two_basins().starts) == 1
    with pytest.raises(InputError, match=r"more_starts\[1\] must lie in A, but are in B: x = 0.5 nm"):
        two_basins(more_starts=[[[-0.5, 0.5, 0.0]], [[0.5, 0.5, 0.0]]])
    with pytest.raises(InputError, match=r"more_starts\[0\] must be finite numbers"):
        two_basins(more_starts=[[[-0.5, 0.5, 0.0]] * 2])


def test_runs_of_versions_with_one_start_are_not_continued():
    memory = Memory()
    memory.append("equilibration", {"walker_steps": 0})
    with pytest.raises(InputError, match="begun by an earlier version.*cannot be continued"):
        ImportanceSamplingRate(two_basins(), recorder=memory, settings=CHEAP, progress=Silent()).run()


def test_brute_force_of_versions_with_one_start_is_not_continued():
    recorder = Memory()
    recorder.append("brute_force", {"walker_steps": 1})
    with pytest.raises(InputError, match="begun by an earlier version"):
        BruteForceRate(two_basins(), target_error=0.2, recorder=recorder, progress=Silent()).run()


def test_a_start_without_a_way_out_is_heated_until_there_is_one():
    energy = "20*(x/1.9)^8-38*exp(-(x+1.5)^2/0.04)-40*exp(-(x+0.95)^2/0.04)-36*exp(-(x+0.4)^2/0.04)-44*exp(-(x-0.6)^2/0.08)"
    force, system = openmm.CustomExternalForce(energy), openmm.System()
    force.addParticle(0, [])
    system.addParticle(40.0)
    system.addForce(force)
    states, variables = (Range({"x": (-9, -0.3)}), Range({"x": (0.4, 9)})), [Coordinate("x", 0, 0)]
    wells = RareEventSystem.from_openmm(system, [[-1.5, 0, 0]], *states, variables, 400, 10, 0.005, num_dimensions=1)
    settings = replace(CHEAP, training_flux_limit=200_000, heating_roots=100)
    start, _ = easy_temperature(wells, settings, Machine(), TaskLog(Memory(), 1), Silent())
    assert not start.left_a and start.temperature > 400 and len(start.exits)
    last = replace(wells, positions=np.array([[-0.4, 0.0, 0.0]]))  # negative control: the well beside the way to B
    assert easy_temperature(last, settings, Machine(), TaskLog(Memory(), 1), Silent())[0].left_a

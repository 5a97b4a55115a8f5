"""The whole calculation on systems with exact answers, cheaply: from nothing to a rate with its error bar."""

from dataclasses import replace

import numpy as np
import pytest

from openmm_rare.bias.bias import Bias
from openmm_rare.committor.model import CommittorModel
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.root_density import RootDensity
from openmm_rare.io.tasks import Memory
from openmm_rare.rates.annealing import temperature_ladder
from openmm_rare.rates.branching import Branching, WeightWindow
from openmm_rare.rates.brute_force import BruteForceRate
from openmm_rare.rates.estimate import RateEstimate
from openmm_rare.rates.importance import ImportanceSamplingRate
from openmm_rare.rates.weighted_paths import Patience, run_roots
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states.states import Range, States
from openmm_rare.statistics import ClusteredRate
from openmm_rare.systems import double_well_1d
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator
from stats import assert_within, mean_and_stderr

T = 600.0
CHEAP = RateSettings(
    hidden=(24, 24),
    n_slots=200,
    flux_walkers=200,
    flux_steps=200,
    training_flux_walkers=100,
    training_flux_steps=200,
    training_exits=300,
    training_roots=80,
    training_walkers=150,
    training_path_length=400,
    segment_length=100,
    training_stride=20,
    heating_roots=200,
    first_stage_rounds=5,
    stage_rounds=2,
    last_stage_rounds=3,
    updates=50,
    sweeps=2,
    last_updates=40,
    ladder_ratio=0.6,
    pilot_roots=80,
    production_roots=250,
    strengths=(1.0, 0.6),
)


class Interrupted(Exception):
    """Stands for kill -9 in a test."""


class Fragile(Memory):
    """A recorder whose process dies after some records."""

    def __init__(self, records, lives):
        super().__init__()
        self._records = {kind: list(entries) for kind, entries in records.items()}
        self.lives = lives

    def append(self, kind, data):
        if self.lives == 0:
            raise Interrupted
        self.lives -= 1
        super().append(kind, data)


@pytest.fixture(scope="module")
def finished():
    recorder = Memory()
    run = ImportanceSamplingRate(
        double_well_1d.build(temperature=T), CHEAP, target_error=0.1, seed=5, recorder=recorder, no_reweighting=True
    )
    return run, run.run(), recorder


def comparable(estimate):
    """Everything but the clock."""
    return {name: value for name, value in estimate.to_dict().items() if name != "wall_seconds"}


def test_rate_of_the_double_well(finished):
    _, estimate, _ = finished
    exact = double_well_1d.rate(T)
    assert_within(estimate.rate_per_ps, exact, estimate.rate_stderr, nsigma=4)
    assert estimate.relative_error <= 0.1
    assert estimate.rate_ci95[0] < estimate.rate_per_ps < estimate.rate_ci95[1]
    with pytest.raises(AssertionError):  # negative control: the rate at a temperature 60 K higher
        assert_within(estimate.rate_per_ps, double_well_1d.rate(T + 60.0), estimate.rate_stderr, nsigma=4)


def test_estimate_is_consistent(finished):
    run, estimate, _ = finished
    assert estimate.flux_per_ps * estimate.p_ab == pytest.approx(estimate.rate_per_ps)
    parts = (estimate.training_walker_steps, estimate.flux_walker_steps)
    assert estimate.walker_steps == sum(parts) + estimate.pilot_walker_steps + estimate.production_walker_steps
    assert min(parts) > 0 and estimate.production_walker_steps > 0
    assert_within(estimate.mean_weight, 1.0, estimate.mean_weight_stderr)
    assert estimate.channels == {"all": {"fraction": 1.0, "fraction_stderr": 0.0}}
    assert RateEstimate.from_dict(estimate.to_dict()) == estimate
    assert estimate.no_reweighting["rate_per_ps"] > 0.0
    assert run.model.temperature == T


def test_given_temperatures_need_no_search():
    system = double_well_1d.build(temperature=1100.0)
    settings = replace(CHEAP, annealing=(1500.0,), first_stage_rounds=8, stage_rounds=4)
    recorder = Memory()
    estimate = ImportanceSamplingRate(system, target_error=0.2, seed=2, settings=settings, recorder=recorder).run()
    assert_within(estimate.rate_per_ps, double_well_1d.rate(1100.0), estimate.rate_stderr)
    assert not recorder.load("training_heating") and not recorder.load("training_first_fit")


def test_learned_committor_is_close_to_the_exact_one(finished):
    run, _, _ = finished
    x = np.linspace(-0.35, 0.35, 15)
    positions = np.zeros((15, 1, 3))
    positions[:, 0, 0] = x
    error = run.model.log_importance(positions) - np.log(double_well_1d.committor(x, T))
    assert np.abs(error).mean() < 0.7  # ln I falls by about 10 over this range


def test_a_run_continued_to_a_smaller_error_keeps_the_density_of_its_roots(finished):
    _, before, memory = finished
    records = {kind: list(memory.load(kind)) for kind in memory._records}
    recorder = Fragile(records, lives=10**6)
    run = ImportanceSamplingRate(
        double_well_1d.build(temperature=T), target_error=0.06, seed=5, settings=CHEAP, recorder=recorder
    )
    estimate = run.run()
    assert estimate.relative_error <= 0.06
    assert estimate.training == before.training and estimate.training_walker_steps == before.training_walker_steps
    (density,) = recorder.load("density")
    density = RootDensity(float(density["log_mean_importance"]), CHEAP.uniform_fraction)
    exits = np.concatenate([np.asarray(record["exits"]) for record in recorder.load("flux")])
    log_importance = run.model.log_importance(exits)
    assert estimate.n_exits == len(exits) > before.n_exits
    rounds = [record for record in recorder.load("production") if "interface0_exit" in record]  # the others have no new walkers
    assert len(rounds) > 1
    for record in rounds:
        product = np.asarray(record["interface0_start_weight"]) * density(log_importance[record["interface0_exit"]])
        np.testing.assert_allclose(product, 1.0, rtol=1e-5)
    larger = RootDensity.of_pool(log_importance, CHEAP.uniform_fraction)  # negative control: the pool did change
    assert larger.log_mean_importance != density.log_mean_importance


@pytest.mark.parametrize("lives", [5, 10, 13, 16])
def test_resumed_run_is_bit_for_bit_the_uninterrupted_one(finished, lives):
    _, estimate, complete = finished
    first = Fragile({}, lives)
    settings = {"target_error": 0.1, "seed": 5, "settings": CHEAP, "no_reweighting": True}
    with pytest.raises(Interrupted):
        ImportanceSamplingRate(double_well_1d.build(temperature=T), recorder=first, **settings).run()
    second = Fragile(first._records, -1)
    resumed = ImportanceSamplingRate(double_well_1d.build(temperature=T), recorder=second, **settings).run()
    assert comparable(resumed) == comparable(estimate)
    assert {kind: len(v) for kind, v in second._records.items()} == {k: len(v) for k, v in complete._records.items()}


def as_if_slow(recorder, seconds):
    """A recorder with the same records, each of whose tasks took so many seconds."""
    return {kind: [{**record, "wall_seconds": seconds} for record in records] for kind, records in recorder._records.items()}


def test_wall_time_counts_every_session(finished):
    run, estimate, recorder = finished
    recorded = sum(record["wall_seconds"] for records in recorder._records.values() for record in records)
    assert 0.5 * estimate.wall_seconds < recorded <= estimate.wall_seconds
    records = as_if_slow(recorder, 1000.0)
    before = 1000.0 * (sum(map(len, records.values())) - 1)
    records["production"].pop()  # the last task is left to a second session
    settings = {"settings": CHEAP, "recorder": Fragile(records, lives=1)}
    continued = ImportanceSamplingRate(run.problem, target_error=0.1, seed=5, **settings).run()
    assert before < continued.wall_seconds < before + 1000.0
    again = ImportanceSamplingRate(run.problem, target_error=0.1, seed=5, **settings).run()
    assert before < again.wall_seconds < before + 1000.0


def test_wall_time_of_brute_force_counts_every_session():
    system, recorder = double_well_1d.build(temperature=300.0, barrier=5.0), Memory()
    BruteForceRate(system, target_error=0.2, seed=3, settings=CHEAP, recorder=recorder).run()
    slow = Fragile(as_if_slow(recorder, 1000.0), lives=0)
    before = 1000.0 * sum(len(slow.load(kind)) for kind in ("dispersal", "brute_force"))
    assert (
        before
        < BruteForceRate(system, target_error=0.2, seed=3, settings=CHEAP, recorder=slow).run().wall_seconds
        < before + 1000.0
    )


def test_another_seed_gives_another_answer(finished):
    run, estimate, _ = finished
    other = ImportanceSamplingRate(run.problem, target_error=0.1, seed=6, settings=CHEAP, model=run.model).run()
    assert other.rate_per_ps != estimate.rate_per_ps
    assert_within(other.rate_per_ps, estimate.rate_per_ps, np.hypot(other.rate_stderr, estimate.rate_stderr))
    assert other.training_walker_steps < estimate.training_walker_steps


class Flat:
    """A useless importance function."""

    def log_importance(self, positions, velocities=None):
        return np.full(len(positions), -3.0)


class Tilted(Flat):
    """A crude one: rises towards B, with the wrong slope."""

    def log_importance(self, positions, velocities=None):
        return 12.0 * positions[:, 0, 0] - 5.0

    def log_importance_gradient(self, positions):
        gradient = np.zeros_like(positions)
        gradient[:, 0, 0] = 12.0
        return self.log_importance(positions), gradient


def exit_committor(importance, strength, seed, n_roots=1500, power=1.0):
    system = double_well_1d.build(temperature=900.0)
    roots = np.zeros((n_roots, 1, 3))
    roots[:, 0, 0] = -0.3
    propagator = Propagator(
        system, Bias(importance, strength), 400, Machine("Reference", "python"), np.random.SeedSequence(seed)
    )
    level = power * float(importance.log_importance(roots[:1])[0])
    rng, branching = np.random.default_rng(seed), Branching(level, WeightWindow(power=power), stride=10)
    return run_roots(propagator, importance, Frames(roots), branching, rng)


@pytest.mark.parametrize(
    ("importance", "strength", "power"),
    [(Flat(), 0.0, 1.0), (Tilted(), 0.0, 1.0), (Tilted(), 1.0, 1.0), (Tilted(), 0.5, 1.0), (Tilted(), 1.0, 0.5)],
)
def test_every_importance_function_gives_the_exact_committor(importance, strength, power):
    batch = exit_committor(importance, strength, seed=3, power=power)
    exact = double_well_1d.committor(np.array([-0.3]), 900.0)[0]
    mean, error = mean_and_stderr(batch.contribution)
    assert_within(mean, exact, error)
    total, total_error = mean_and_stderr(batch.contribution + batch.returned)
    if strength or importance.__class__ is Tilted:
        assert_within(total, 1.0, total_error)
        unweighted = batch.arrivals.sum() / len(batch.contribution)
        with pytest.raises(AssertionError):  # negative control: arrivals counted without their weights
            assert_within(unweighted, exact, error)
    else:
        assert np.allclose(batch.contribution + batch.returned, 1.0)


def test_pending_walkers_are_carried_over_without_loss():
    system = double_well_1d.build(temperature=900.0)
    roots = np.zeros((1000, 1, 3))
    roots[:, 0, 0] = -0.1
    propagator = Propagator(system, None, 500, Machine("Reference", "python"), np.random.SeedSequence(1))
    rng = np.random.default_rng(1)
    first = run_roots(propagator, Flat(), Frames(roots[:500]), Branching(-3.0), rng, patience=Patience(walkers=300))
    assert 0 < len(first.pending) < 300
    second = run_roots(propagator, Flat(), Frames(roots[500:]), Branching(-3.0), rng, pending=first.pending, first_root=500)
    assert len(second.pending) == 0
    contribution = np.concatenate([first.contribution, np.zeros(500)]) + second.contribution
    returned = np.concatenate([first.returned, np.zeros(500)]) + second.returned
    assert np.array_equal(contribution + returned, np.ones(1000))  # unbiased, unbranched: every root ends once
    assert (first.contribution + first.returned).sum() < 500  # negative control: the pending ones forgotten
    mean, error = mean_and_stderr(contribution)
    assert_within(mean, double_well_1d.committor(np.array([-0.1]), 900.0)[0], error)


def test_every_backend_gives_the_rate(finished, backend):
    run, _, _ = finished
    settings = replace(CHEAP, stage_rounds=0, last_stage_rounds=0, backend=backend)
    estimate = ImportanceSamplingRate(run.problem, target_error=0.1, seed=8, settings=settings, model=run.model).run()
    assert estimate.backend == backend
    exact = double_well_1d.rate(T)
    assert_within(estimate.rate_per_ps, exact, estimate.rate_stderr, nsigma=4)
    assert_within(estimate.mean_weight, 1.0, estimate.mean_weight_stderr, nsigma=4)
    with pytest.raises(AssertionError):  # negative control
        assert_within(estimate.rate_per_ps, 1.8 * exact, estimate.rate_stderr, nsigma=4)


def test_patience_leaves_no_more_than_it_says():
    system = double_well_1d.build(temperature=900.0)
    roots = np.zeros((500, 1, 3))
    roots[:, 0, 0] = -0.1

    def follow(patience):
        propagator = Propagator(system, None, 500, Machine("Reference", "python"), np.random.SeedSequence(1))
        return run_roots(propagator, Flat(), Frames(roots), Branching(-3.0), np.random.default_rng(1), patience=patience)

    light, short, whole = (follow(patience) for patience in (Patience(weight=5.5), Patience(steps=40), Patience()))
    assert 0 < len(light.pending) <= 5 < 5.5 < len(short.pending)  # neither bias nor branching: every weight is 1
    assert (short.pending.clocks == 40).all()  # nobody waited for a slot
    assert len(whole.pending) == 0 and whole.walker_steps > light.walker_steps > short.walker_steps
    for batch in (light, short, whole):
        assert (batch.contribution + batch.returned).sum() + batch.pending.total_weight() == 500.0


@pytest.mark.parametrize(("waiting_steps", "left"), [(20, True), (10_000, False)])
def test_walkers_that_do_not_arrive_are_waited_for_and_then_reported(finished, waiting_steps, left):
    run, _, _ = finished
    settings = replace(CHEAP, stage_rounds=0, last_stage_rounds=0, waiting_steps=waiting_steps, stride=10)
    estimate = ImportanceSamplingRate(run.problem, target_error=0.15, seed=7, settings=settings, model=run.model).run()
    assert (estimate.pending_fraction > 0.015) == left
    assert any("still between the states after 20 steps" in warning for warning in estimate.warnings) == left
    assert estimate.reliable != left
    assert_within(estimate.mean_weight, 1.0, estimate.mean_weight_stderr, nsigma=4)  # those left over are counted


def test_root_density_makes_the_draw_uniform_again():
    rng = np.random.default_rng(2)
    log_importance = rng.normal(-8.0, 3.0, 500)
    density = RootDensity.of_pool(log_importance, 0.1)
    assert density(log_importance).mean() == pytest.approx(1.0)
    index = density.draw(log_importance, 200_000, rng)
    something = np.sin(np.arange(500.0))
    mean, error = mean_and_stderr(something[index] / density(log_importance[index]))
    assert_within(mean, something.mean(), error)
    with pytest.raises(AssertionError):  # negative control: the draw taken as it is
        assert_within(something[index].mean(), something.mean(), error)


def test_brute_force_agrees_with_the_exact_rate():
    system = double_well_1d.build(temperature=300.0, barrier=5.0)
    estimate = BruteForceRate(system, target_error=0.08, seed=3, settings=CHEAP).run()
    exact = double_well_1d.rate(300.0, barrier=5.0)
    assert_within(estimate.rate_per_ps, exact, estimate.rate_stderr, nsigma=4)
    assert estimate.method == "brute_force" and estimate.ess >= 100
    with pytest.raises(AssertionError):
        assert_within(estimate.rate_per_ps, 1.6 * exact, estimate.rate_stderr, nsigma=4)


def test_brute_force_does_not_count_the_first_fifth():
    system, recorder = double_well_1d.build(temperature=300.0, barrier=5.0), Memory()
    estimate = BruteForceRate(system, target_error=0.1, seed=4, settings=replace(CHEAP, flux_steps=40), recorder=recorder).run()
    records = recorder.load("brute_force")
    assert len(records) >= 10
    counted = records[int(np.ceil(len(records) / 5)) :]
    transitions, steps = (sum(record[name].sum() for record in counted) for name in ("transitions", "frames_last_a"))
    assert estimate.ess == transitions < sum(record["transitions"].sum() for record in records)
    assert estimate.rate_per_ps == pytest.approx(transitions / (steps * system.timestep))


def test_ladder():
    assert temperature_ladder(300.0, 300.0, 0.7) == [300.0]
    ladder = temperature_ladder(1200.0, 300.0, 0.7)
    assert ladder[0] == 1200.0 and ladder[-1] == pytest.approx(300.0)
    assert all(0.69 < b / a < 1.0 for a, b in zip(ladder, ladder[1:], strict=False))


def test_bad_input():
    system = double_well_1d.build(temperature=T)
    with pytest.raises(ValueError, match="between 0 and 1"):
        ImportanceSamplingRate(system, target_error=5)
    with pytest.raises(ValueError, match="not available here"):
        ImportanceSamplingRate(system, machine="Abacus")
    with pytest.raises(ValueError, match="settings = 0.1 must be RateSettings; target_error and the others are given by name"):
        BruteForceRate(system, 0.1)
    with pytest.raises(ValueError, match="choose one of native, python"):
        ImportanceSamplingRate(system, settings=RateSettings(backend="abacus"))
    with pytest.raises(ValueError, match="another system, other states or other dynamics"):
        ImportanceSamplingRate(system, model=CommittorModel(system.descriptor_spec(), 1, fingerprint="0" * 64))


def test_b_that_is_never_reached_is_an_error_not_a_number():
    system = double_well_1d.build(temperature=T)
    far = States(system.states.variables, system.states.a, Range({"x": (5.0, 6.0)}))
    system = replace(system, states=far)
    settings = RateSettings(**{**vars(CHEAP), "heating_tries": 2})
    with pytest.raises(RuntimeError, match="never reached"):
        ImportanceSamplingRate(system, target_error=0.1, settings=settings).run()


def cost(record):
    """Steps for unit relative variance with as many walkers in each stage as pays there, from a record of the pilot."""
    known = np.sqrt(np.asarray(record["variances"]) * np.asarray(record["steps"])).sum() ** 2
    return known if record["complete"] else np.inf


def test_pilot_tries_strengths_then_powers_and_takes_the_best(finished):
    _, estimate, recorder = finished
    records, (first, *other_powers) = recorder.load("pilot"), CHEAP.window_powers
    assert len(records) == len(CHEAP.strengths) + len(CHEAP.window_powers) - 1
    costs = {(record["strength"], record["power"]): cost(record) for record in records}
    by_strength = {pair: each for pair, each in costs.items() if pair[1] == first}
    assert list(by_strength) == [(strength, first) for strength in CHEAP.strengths]
    best_strength = min(by_strength, key=by_strength.get)[0]
    assert [pair for pair in costs if pair[1] != first] == [(best_strength, power) for power in other_powers]
    assert (estimate.strength, estimate.window_power) == min(costs, key=costs.get)
    assert len(set(costs.values())) > 1  # otherwise the choice would say nothing


def test_run_stops_at_the_error_that_it_reports(finished, monkeypatch):
    run, estimate, recorder = finished
    errors, others, original = [], [], ClusteredRate.relative_error

    def watched(self, replicas):
        errors.append(original(self, replicas))
        others.append(original(self, self.bootstrap(np.random.default_rng(99))))
        return errors[-1]

    monkeypatch.setattr(ClusteredRate, "relative_error", watched)
    again = ImportanceSamplingRate(
        run.problem, target_error=0.1, seed=5, settings=CHEAP, recorder=recorder, no_reweighting=True
    ).run()
    assert comparable(again) == comparable(estimate)  # replayed from the records
    assert len(errors) > len(recorder.load("production"))  # after every round, and for the report
    assert errors[-1] == errors[-2] == pytest.approx(estimate.relative_error, rel=1e-12)
    assert estimate.relative_error <= run.target_error
    assert others[-1] != errors[-1]  # negative control: other random numbers give another error

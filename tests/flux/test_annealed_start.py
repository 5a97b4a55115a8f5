"""Weighted walkers in an A of slow parts: annealed importance sampling against quadrature, and what it refuses."""

import numpy as np
import openmm
import pytest
from scipy.special import expit

from openmm_rare.dynamics.frames import Frames
from openmm_rare.errors import InputError
from openmm_rare.flux import annealed_start as module
from openmm_rare.flux.annealed_start import NoEquilibriumError, annealed_start
from openmm_rare.flux.cooling import cool
from openmm_rare.flux.mixing import Observables, memory
from openmm_rare.flux.reweighting import family_sample_size, log_total, next_inverse_temperature, resampled
from openmm_rare.io.tasks import Memory, Silent, TaskLog
from openmm_rare.problem import RareEventSystem
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states.states import IN_B, Coordinate, Dihedral, Range
from openmm_rare.systems import double_well_1d
from openmm_rare.units import KB
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.thermal import ThermalWalkers
from stats import assert_within

HOT, COLD = 1500.0, 400.0
_TWO_PARTS = "25*(4*x^2-1)^2+{barrier}*(4*y^2-1)^2+4*y-10*exp(-x^2/0.045)/(1+exp(-y/0.1))"


def particle(energy, a, b, start, num_dimensions=2, timestep=0.005):
    force, system = openmm.CustomExternalForce(energy), openmm.System()
    force.addParticle(0, [])
    system.addParticle(40.0)
    system.addForce(force)
    variables = [Coordinate(axis, 0, column) for column, axis in enumerate("xyz"[:num_dimensions])]
    options = {"temperature": COLD, "friction": 10.0, "timestep": timestep, "num_dimensions": num_dimensions}
    return RareEventSystem.from_openmm(system, [start], Range(a), Range(b), variables, **options)


def two_parts(barrier=24.0, downhill=0.0):
    """A has a part at y = -0.5, where walkers start, and one at y = 0.5, from where they come to B more easily."""
    left, right = {"x": (-np.inf, -0.4)}, {"x": (0.4, np.inf)}
    return particle(f"{_TWO_PARTS.format(barrier=barrier)}-{downhill}*x", left, right, (-0.5, -0.5, 0.0))


def populations(temperature, downhill=0.0):
    """Of x < 0, and of y > 0 in that."""
    x, y = np.meshgrid(np.linspace(-1.0, 1.0, 1001), np.linspace(-1.0, 1.0, 1001), indexing="ij")
    u = 25 * (4 * x**2 - 1) ** 2 + 24 * (4 * y**2 - 1) ** 2 + 4 * y - 10 * np.exp(-(x**2) / 0.045) * expit(y / 0.1)
    weight = np.exp(-(u - downhill * x) / (KB * temperature))
    left = (weight * (x < 0)).sum()
    return left / weight.sum(), (weight * (x < 0) * (y > 0)).sum() / left


def mean_of(values, weights, family):
    """A weighted mean and its standard error over families."""
    mean = np.average(values, weights=weights)
    total, deviation = np.bincount(family, weights), np.bincount(family, weights * (values - mean))
    return mean, np.sqrt((deviation**2).sum()) / total.sum()


def annealed(target, ladder, n=1000, seed=1, recorder=None, starts=None, group=None, **options):
    starts = target.positions[None] if starts is None else starts
    group = np.zeros(len(starts), dtype=int) if group is None else group
    task = TaskLog(recorder or Memory(), seed)
    return annealed_start(target, Frames(starts), group, ladder, n, RateSettings(**options), Machine(), task, Silent())


def test_a_step_of_temperature_costs_the_part_of_the_sample_that_it_may():
    rng = np.random.default_rng(1)
    energies, log_weights = 5.0 * rng.exponential(size=500) + 1e5, rng.normal(size=500)
    after = next_inverse_temperature(energies, log_weights, 0.1, 0.4, 1e-3)
    factors = np.exp(-(after - 0.1) * (energies - energies.mean()))
    weights = np.exp(log_weights)
    left = (weights @ factors) ** 2 / (weights @ factors**2) / weights.sum()
    assert left == pytest.approx(1.0 - 1e-3, abs=1e-6) and 0.1 < after < 0.4
    assert next_inverse_temperature(energies, log_weights, 0.1, 0.1001, 1e-3) == 0.1001
    assert next_inverse_temperature(np.ones(3), np.zeros(3), 0.1, 9.0, 1e-3) == 9.0  # nothing to lose


def test_walkers_are_copied_as_often_as_their_weights_say():
    rng = np.random.default_rng(2)
    log_weights = rng.normal(size=200)
    share = 200 * np.exp(log_weights) / np.exp(log_weights).sum()
    copies = np.bincount(resampled(log_weights - 800.0, rng, 200), minlength=200)
    assert copies.sum() == 200 and (np.abs(copies - share) < 1.0).all()
    assert family_sample_size(np.zeros(6), np.array([0, 0, 0, 3, 3, 3])) == pytest.approx(2.0)  # six walkers, two of them
    assert family_sample_size(np.array([-800.0, -800.0]), np.arange(2)) == pytest.approx(2.0)


def test_memory_sees_slow_motion_rare_events_and_new_places():
    rng = np.random.default_rng(3)
    before = rng.normal(size=(2000, 5))
    after = rng.normal(size=(2000, 5))
    after[:, 1] = 0.5 * before[:, 1] + np.sqrt(0.75) * after[:, 1]
    before[:8, 2], after[:8, 2] = 50.0, 50.0  # a few are far away, and stay there
    after[:1, 3] += 40.0  # one has found something new
    before[:, 4] = after[:, 4] = 0.7
    kept = memory(before, after)
    assert kept[0] < 0.1 and kept[1] == pytest.approx(0.5, abs=0.1) and kept[2] > 0.8
    assert kept[3] == 1.0 and kept[4] == 0.0


def test_observables_are_the_variables_and_what_the_network_sees():
    system = openmm.System()
    for _ in range(4):
        system.addParticle(12.0)
    turn, positions = Dihedral("phi", (0, 1, 2, 3)), [[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.1, 0.02]]
    a, b = Range({"phi": (-1.0, 1.0)}), Range({"phi": (2.0, 3.0)})
    target = RareEventSystem.from_openmm(system, positions, a, b, [turn], 300.0, 10.0, 0.001)
    observables = Observables(target)
    values = observables(target.positions[None])
    phi = turn(target.positions[None])[0]
    assert observables.names[:2] == ("sin phi", "cos phi") and values.shape == (1, 2 + 6)
    assert values[0, :2] == pytest.approx([np.sin(phi), np.cos(phi)])


def test_temperature_changes_while_walkers_move(platform, backend):
    harmonic = particle("500*x^2+800*y^2", {"x": (-1.0, 1.0)}, {"x": (2.0, 3.0)}, (0.0, 0.0, 0.0))
    walkers = ThermalWalkers(harmonic, 1000, Machine(platform, backend), np.random.SeedSequence(4))
    frames = Frames(np.repeat(harmonic.positions[None], 600, axis=0))
    for temperature in (900.0, 300.0):
        frames = walkers.move(frames, temperature, 600)
        energies, positions = walkers.energies(frames), frames.positions
        x, y = positions[:, 0, 0], positions[:, 0, 1]
        assert energies == pytest.approx(500 * x**2 + 800 * y**2)
        exact = KB * temperature * (0.5 / (1 - 0.00625) + 0.5 / (1 - 0.01))  # steps widen the distribution
        assert_within(energies.mean(), exact, energies.std() / np.sqrt(600))
    with pytest.raises(AssertionError):  # negative control: what it is at the temperature before
        assert_within(energies.mean(), 3.0 * exact, energies.std() / np.sqrt(600))


def test_hidden_part_of_a_has_its_population_though_all_walkers_start_in_the_other_one():
    target, truth = two_parts(), populations(COLD)[1]
    runs = [annealed(target, [HOT, COLD], seed=seed) for seed in (1, 2, 3)]
    weights, upper = (
        np.concatenate([run.weights for run in runs]),
        np.concatenate([run.frames.positions[:, 0, 1] > 0 for run in runs]),
    )
    family = np.concatenate([run.family + 1000 * number for number, run in enumerate(runs)])
    for run in runs:
        assert run.temperature == HOT and set(run.r_hat) >= {"x", "y"} and max(run.r_hat.values()) < 1.05
        assert run.ess > 0.5 * len(run.family) and run.walker_steps > 0
        assert run.weights.mean() == pytest.approx(1.0)
    assert_within(*(mean := mean_of(upper, weights, family))[:1], truth, mean[1], nsigma=4)
    with pytest.raises(AssertionError):  # negative control: hot walkers without their weights
        assert_within(mean_of(upper, np.ones(len(upper)), family)[0], truth, mean[1], nsigma=4)
    still = ThermalWalkers(target, 1000, Machine(), np.random.SeedSequence(1))
    assert not (still.move(Frames(np.repeat(target.positions[None], 300, axis=0)), COLD, 3000).positions[:, 0, 1] > 0).any()


def test_walkers_in_a_do_not_die_out_where_b_is_stabler():
    left, truth = populations(COLD, downhill=8.0)
    found = annealed(two_parts(downhill=8.0), [HOT, COLD], seed=4)
    mean, error = mean_of(found.frames.positions[:, 0, 1] > 0, found.weights, found.family)
    assert left < 0.1 and len(found.family) > 0.4 * 1000 and found.ess > 2 * left * 1000
    assert_within(mean, truth, error, nsigma=4)
    # the weight of those in A is that of as many independent walkers, out of all
    assert_within(found.fraction_a, left, left / np.sqrt(found.ess) + left / np.sqrt(1000), nsigma=4)


def test_walkers_that_are_killed_in_b_are_biased():
    target, rng = two_parts(), np.random.default_rng(5)
    walkers = ThermalWalkers(target, 1000, Machine(), np.random.SeedSequence(5))
    frames = Frames(np.repeat(target.positions[None], 1000, axis=0))
    for _ in range(120):
        frames = walkers.move(frames, HOT, 50)
        in_b = target.states.classify(frames.positions) == IN_B
        frames[in_b] = frames[rng.choice(np.flatnonzero(~in_b), in_b.sum())]
    cold = cool(target, frames, HOT, 40, RateSettings(), Machine(), TaskLog(Memory(), 5), Silent())
    kept = cold.frames.positions[:, 0, 0] < 0.0
    mean, error = mean_of(cold.frames.positions[kept, 0, 1] > 0, np.exp(cold.log_weights[kept]), cold.family[kept])
    with pytest.raises(AssertionError):
        assert_within(mean, populations(COLD)[1], error, nsigma=4)


def test_walkers_of_a_well_without_parts_are_those_that_last_visited_a():
    target, kt = double_well_1d.build(COLD), KB * COLD
    found = annealed(target, [984.0, COLD], seed=6)
    x = np.linspace(-1.0, 0.4, 2801)
    density = np.exp(-double_well_1d.energy(x, 25.0) / kt) * (1.0 - double_well_1d.committor(x, COLD))
    density /= density.sum()
    assert found.ess > 0.85 * len(found.family)
    place, weights = found.frames.positions[:, 0, 0], found.weights
    for function in (lambda x: x, lambda x: (x + 0.5) ** 2, lambda x: (x > -0.4).astype(float)):
        mean, error = mean_of(function(place), weights, found.family)
        assert_within(mean, density @ function(x), error, nsigma=4)
    outside = x > -0.4
    with pytest.raises(AssertionError):  # negative control: everything in the half of A
        everything = np.where(x < 0.0, np.exp(-double_well_1d.energy(x, 25.0) / kt), 0.0) * (x < -0.4)
        assert_within(mean, everything @ outside / everything.sum(), error, nsigma=4)
    assert_within(found.fraction_a, 0.5, np.sqrt(0.25 / 1000), nsigma=4)
    line = np.linspace(-1.3, 1.3, 5201)
    z = [np.exp(-double_well_1d.energy(line, 25.0) / (KB * t)).sum() for t in (COLD, found.temperature)]
    assert found.log_ratio == pytest.approx(np.log(z[0] / z[1]), abs=0.05)


def test_errors_of_walkers_annealed_too_fast_are_honest():
    """A well in which nothing can follow the temperature: weights spread, walkers are copied, and families know."""
    spring, hot, n = 30.0, 1600.0, 300
    target = particle(f"{spring / 2}*(x^2+y^2+z^2)", {"x": (-9.0, 9.0)}, {"x": (10.0, 11.0)}, (0.0, 0.0, 0.0), 3)
    scores, claimed = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        positions = rng.normal(scale=np.sqrt(KB * hot / spring), size=(n, 1, 3))
        cold = cool(target, Frames(positions), hot, 1, RateSettings(), Machine(), TaskLog(Memory(), seed), Silent())
        energy = 0.5 * spring * (cold.frames.positions**2).sum((1, 2))
        weights, everyone = np.exp(cold.log_weights - cold.log_weights.max()), np.arange(n)
        total = np.bincount(cold.family, weights, minlength=n)
        ratio = log_total(cold.log_weights) - np.log(n) - 1.5 * np.log(COLD / hot)
        mean, error = mean_of(energy, weights, cold.family)
        scores.append([(mean - 1.5 * KB * COLD) / error, ratio / (total.std() / total.mean() / np.sqrt(n))])
        claimed.append([error, mean_of(energy, weights, everyone)[1]])
        assert family_sample_size(cold.log_weights, cold.family) < 0.5 * n  # indeed too fast
    scores, claimed = np.array(scores), np.array(claimed)
    spread = np.sqrt((scores**2).mean(0))
    assert_within(scores.mean(0), 0.0, 1.0 / np.sqrt(len(scores)), nsigma=4)
    assert_within(spread, 1.0, 1.0 / np.sqrt(2 * len(scores)), nsigma=3)
    with pytest.raises(AssertionError):  # negative control: copies taken as independent walkers
        naive = np.sqrt(((scores[:, 0] * claimed[:, 0] / claimed[:, 1]) ** 2).mean())
        assert_within(naive, 1.0, 1.0 / np.sqrt(2 * len(scores)), nsigma=3)


class Stopped(Exception):
    pass


class Dying(Memory):
    """A recorder whose process is killed before it keeps one more record."""

    def __init__(self, lives):
        super().__init__()
        self.lives = lives

    def append(self, kind, data):
        if self.lives == 0:
            raise Stopped
        self.lives -= 1
        super().append(kind, data)


def test_a_resumed_start_is_bit_for_bit_the_uninterrupted_one():
    target, ladder = double_well_1d.build(COLD), [1300.0, COLD]
    whole = annealed(target, ladder, n=100)
    recorder = Dying(1)
    for more in (3, 1000):  # killed while mixing and while cooling
        with pytest.raises(Stopped):
            annealed(target, ladder, n=100, recorder=recorder)
        recorder.lives = more
    resumed = annealed(target, ladder, n=100, recorder=recorder)
    assert {"annealed_mixing", "annealed_cooling", "annealed_sorting"} == set(recorder._records)
    assert np.array_equal(resumed.frames.positions, whole.frames.positions)
    for name, value in vars(whole).items():
        assert name == "frames" or np.array_equal(getattr(resumed, name), value), name
    other = annealed(target, ladder, n=100, seed=2)
    assert not np.array_equal(other.log_weights, whole.log_weights)  # negative control


def test_starts_that_never_mix_are_refused_with_what_separates_them():
    target = two_parts(barrier=3000.0)
    starts = np.array([[[-0.5, -0.5, 0.0]], [[-0.5, 0.5, 0.0]]])
    with pytest.raises(NoEquilibriumError, match=r"do not mix at up to \d+ K: .* y"):
        annealed(target, [HOT, COLD], n=200, starts=starts, group=np.arange(2))


def test_weights_that_are_worth_too_little_are_refused(monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 0.99)
    monkeypatch.setattr(module, "_SLOWER", 0)
    with pytest.raises(NoEquilibriumError, match="the populations of the parts of A are not known"):
        annealed(double_well_1d.build(COLD), [984.0, COLD], n=200)


def test_ladders_and_numbers_that_cannot_be_right_are_refused():
    target = double_well_1d.build(COLD)
    for ladder in ([], [984.0], [COLD, 984.0], [984.0, 401.0]):
        with pytest.raises(InputError, match="must fall to the temperature of the system, 400 K"):
            annealed(target, ladder)
    with pytest.raises(InputError, match="n_walkers = 99"):
        annealed(target, [984.0, COLD], n=99)


def test_groups_and_starts_have_equally_many_walkers():
    rows = module._rows(np.array([4, 4, 4, 7]), 600)
    assert np.bincount(rows).tolist() == [100, 100, 100, 300]

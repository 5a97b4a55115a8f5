"""How far paths from A come, from shots and by splitting: against the exact curve, and beside each other."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pymbar")

from momenta import well
from test_splitting import CONFIG, MODULE, run
from test_trees import LEVELS, PLAIN, exits, rules

from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.directions import CommittorDirection, ScaledDirection, VariableDirection
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.committor.load import load_committor
from openmm_rare.committor.model import CommittorModel
from openmm_rare.io.tasks import Memory, Silent
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.barrier.barrier_rate import BarrierRate
from openmm_rare.rates.barrier.shots import Shots
from openmm_rare.rates.branching import Branching
from openmm_rare.rates.estimate import RateCurve
from openmm_rare.rates.trees.follower import TreeFollower
from openmm_rare.rates.weighted_paths import run_roots
from openmm_rare.report.results import estimate_of, read_result
from openmm_rare.settings.barrier import BarrierSettings
from openmm_rare.states.states import IN_A, IN_B
from openmm_rare.systems import langevin_well
from openmm_rare.systems.klein_kramers import solve
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.propagator import Propagator
from openmm_rare.workflow.compare import compared
from stats import assert_within, mean_and_stderr

CHEAP = BarrierSettings(windows=9, copies=8, walkers=25, points_per_task=3)
HEIGHT, FRICTION = 5.0, 5.0


def exact(level):
    """Rate at which paths that left A come so far: that of a state B which begins there."""
    parts = (lambda x: langevin_well.energy(x, HEIGHT)), (lambda x: langevin_well.force(x, HEIGHT))
    edges = (-langevin_well.EDGE, langevin_well.EDGE + level)
    return solve(*parts, edges, 1.0, langevin_well.MASS, FRICTION).rate_per_ps


@pytest.fixture(scope="module")
def finished():
    problem, memory = langevin_well.build(HEIGHT, FRICTION), Memory()
    options = {"target_error": 0.1, "progress": Silent()}
    estimate = BarrierRate(problem, barrier=CHEAP, seed=1, recorder=memory, **options).run()
    old = Memory()  # as earlier versions recorded it, and one that counts every path once
    for kind, records in memory._records.items():
        for record in records:
            old.append(kind, {name: value for name, value in record.items() if name != "top"})
    earlier = BarrierRate(problem, barrier=CHEAP, seed=1, recorder=old, **options).run()
    return estimate, earlier


def test_shots_give_the_exact_curve_down_to_the_lower_edge_of_b(finished):
    estimate, earlier = finished
    curve = RateCurve.from_dict(estimate.curve)
    assert curve.key == "variable x" and 0.2 < -curve.levels[0] - langevin_well.EDGE < 0.5
    assert curve.rate_per_ps[0] > 3.0 * estimate.rate_per_ps and (np.diff(curve.rate_per_ps) <= 0.0).all()
    assert curve.rate_per_ps[-1] == pytest.approx(estimate.rate_per_ps) and curve.rate_per_ps[-1] > 0.0
    for row in (0, 4, 8, 14, 25):
        truth = exact(curve.levels[row])
        assert_within(curve.rate_per_ps[row], truth, np.hypot(curve.stderr[row], 0.02 * truth), 4)
    shape, truth = curve.rate_per_ps[0] / estimate.rate_per_ps, exact(curve.levels[0]) / langevin_well.exact().rate_per_ps
    of_shots = np.sqrt((curve.stderr[0] / curve.rate_per_ps[0]) ** 2 - estimate.pool_relative_error**2)
    error = shape * np.hypot(of_shots, estimate.roots_relative_error)  # without what windows leave open
    assert_within(shape, truth, error, 3)
    with pytest.raises(AssertionError):  # negative control: paths that return count in one direction
        assert_within(0.5 * (shape + 1.0), truth, error, 3)
    assert earlier.curve is None and earlier.rate_per_ps == estimate.rate_per_ps  # whose shots did not say how far they came


def test_the_ends_in_a_are_what_a_shot_counts():
    shots = Shots([])
    record = {
        "at": np.zeros(4),
        "walker": np.zeros(4, dtype=int),
        "first": np.array([IN_A, IN_A, IN_B, IN_B]),
        "last": np.array([IN_A, IN_B, IN_A, IN_B]),
        "total": np.full(4, 2.0),
        "top": np.array([-1.0, -0.2, -0.1, -0.3]),
        "length": np.ones(4),
    }
    shots._rows.append(record)
    np.testing.assert_allclose(shots.reaching(-1.5), [1.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(shots.reaching(-0.5), [0.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(shots.reaching(-0.05), shots.values)


@pytest.mark.parametrize("follow", ["trees", "slots"])
def test_levels_are_those_of_positions_whatever_the_look_ahead(follow):
    """Descendants that are steered by momenta come to places as often as plain ones do."""
    problem = well(3.0, check_interval=5)
    direction = VariableDirection.of(problem.states, "x", problem.starts)
    scaled = ScaledDirection(direction, LevelTable([-1.6, 0.0], [-5.0, 0.0], False))
    looking = CalibratedImportance(scaled, LevelTable([-5.0, 0.0], [-5.0, 0.0], False), 0.1, problem.timestep)

    def crossed(importance, seed, window=None):
        n, noise = (200 if window is None else 4000), np.random.SeedSequence(seed)
        of_all = rules(problem, **({} if window is None else {"window": window}))
        if follow == "trees" and window is None:
            batch = TreeFollower(replace(of_all, importance=importance), Here()).follow(exits(n), np.zeros(n), noise)
        else:
            branching = Branching(-5.0, *([] if window is None else [window]), stride=problem.check_interval)
            propagator = Propagator(problem, None, 500, Machine(), noise)
            rng = np.random.default_rng(noise)
            batch = run_roots(propagator, importance, exits(n), branching, rng, log_weights=np.zeros(n))
        return mean_and_stderr(batch.crossings.on(LEVELS, n))

    plain, its = crossed(replace(looking, direction=direction, tau=0.0, table=scaled.table), 1, PLAIN)
    counted, error = crossed(looking.counting(LEVELS), 2)
    for row in (5, 9, 13):
        assert_within(counted[row], plain[row], np.hypot(its[row], error[row]), 4)
    other, error = crossed(looking, 2)  # negative control: levels in nats are something else
    with pytest.raises(AssertionError):
        assert_within(other[5], plain[5], np.hypot(its[5], error[5]), 4)
    assert looking.counted[0] is scaled and looking.counting(LEVELS).counted[0] is direction


def curve(scale=1.0, key="variable x", levels=None, bend=0.0):
    levels = np.linspace(-1.0, -0.1, 10) if levels is None else levels
    rate = scale * 1e-3 * (1.0 + 5.0 * np.exp(-8.0 * (levels + 1.0)) + bend * (levels < -0.55))
    return RateCurve("x", key, levels, rate, 0.1 * rate)


def test_curves_part_where_they_do():
    own = curve()
    assert own.apart(curve(1.2)) is None and own.apart(curve(levels=np.linspace(-1.3, -0.5, 7))) is None
    level, ratio, sigmas = curve(bend=3.0).apart(own)
    assert level == pytest.approx(-0.6) and 3.0 < ratio < 4.0 and sigmas > 3.0
    assert curve(levels=np.linspace(-3.0, -2.0, 5)).apart(own) is None  # nothing in common
    vague = RateCurve("x", "variable x", own.levels, 9.0 * own.rate_per_ps, 6.0 * own.rate_per_ps)
    assert vague.apart(own) is None
    again = RateCurve.from_dict(own.to_dict())
    assert again.key == own.key and (again.rate_per_ps == own.rate_per_ps).all()


def test_runs_with_curves_stand_beside_each_other(finished):
    estimate, earlier = finished
    own = {"rate_per_ps": estimate.rate_per_ps, "rate_stderr": estimate.rate_stderr, "method": "splitting"}
    other = {"label": "splitting in y", **own, "curve": estimate.curve}
    same = compared(estimate, [other])
    assert same.reliable == estimate.reliable and same.curve["beside"][0]["label"] == "splitting in y"
    far = {**estimate.curve, "rate_per_ps": [2.5 * each for each in estimate.curve["rate_per_ps"]]}
    parted = compared(estimate, [{**other, "curve": far}])
    told = parted.warnings[-1]
    assert not parted.reliable and "0.4 times as often to where x is" in told and "(level -" in told
    for mine, its, reason in (
        (estimate, {**estimate.curve, "key": "variable y", "direction": "y"}, "it is along y, not x"),
        (estimate, {**estimate.curve, "key": "model 1"}, "the logits are of different models"),
        (estimate, None, "it has no curve"),
        (earlier, estimate.curve, "this run has no curve"),
    ):
        told = compared(mine, [{**other, "curve": its}])
        assert told.curve == mine.curve and told.reliable == mine.reliable
        assert "cannot be compared with splitting in y" in told.notes[-1] and reason in told.notes[-1]
    assert compared(estimate, [{**other, "method": "brute_force", "curve": None}]) == estimate


def test_directions_are_told_by_their_model(tmp_path):
    spec = {"kind": "coordinates", "columns": [0], "scale": 1.0}
    model = CommittorModel(spec, 1, (8,), 300.0)
    model.save(tmp_path / "model.npz")
    again, other = CommittorDirection(load_committor(tmp_path / "model.npz")), CommittorModel(spec, 1, (8,), 300.0)
    tensors = {name: tensor + (tensor.dtype.kind == "f") for name, tensor in other.tensors().items()}
    other.set_tensors(tensors)
    assert again.key == CommittorDirection(model).key != CommittorDirection(other).key


def test_commands_draw_both_curves_either_way_round(tmp_path):
    (tmp_path / "wells_beside.py").write_text(MODULE)
    small = "[barrier]\nwindows = 7\ncopies = 4\nwalkers = 10\npoints_per_task = 2\nwindow_frames = 150\n"
    (tmp_path / "well.toml").write_text(CONFIG.replace("wells:build", "wells_beside:build") + small)
    one, two = tmp_path / "one", tmp_path / "two"
    common = (tmp_path / "well.toml", "--target-error", 0.8)
    done = run(*common, "--importance", "x", "--out", one)
    assert not (one / "figures" / "curve.png").exists() and read_result(one)["curve"]["key"] == "variable x", done.output
    done = run(*common, "--method", "barrier", "--along", "x", "--compare", one, "--out", two)
    found = read_result(two)
    assert (two / "figures" / "curve.png").is_file() and "cannot be compared" not in done.output
    assert [each["label"] for each in found["curve"]["beside"]] == [f"splitting in {one}"]
    assert estimate_of(found).curve == found["curve"]
    run(*common, "--importance", "x", "--compare", two, "--out", one, "--resume")
    assert (one / "figures" / "curve.png").is_file() and read_result(one)["curve"]["beside"][0]["key"] == "variable x"
    assert "How many paths come how far" in (one / "report.html").read_text(encoding="utf8")

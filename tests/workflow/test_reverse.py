"""Both ways: k_AB, k_BA and the free energy between them, against exact rates, resumed, and when there is no way back."""

import json
import math
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from momenta import water, well
from scipy.integrate import quad

from openmm_rare import RateSettings, Silent
from openmm_rare.bias.directions import CommittorDirection, VariableDirection
from openmm_rare.cli.main import main
from openmm_rare.committor.model import CommittorModel
from openmm_rare.config.run import RunConfig, SystemConfig
from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.restarts import restarted
from openmm_rare.io.tasks import Memory
from openmm_rare.parallel.executors import Here
from openmm_rare.rates.both_ways.exchange import ends_in_b, exchanged
from openmm_rare.rates.both_ways.free_energy import Ratio, both_ways
from openmm_rare.rates.both_ways.populations import counted_populations
from openmm_rare.rates.estimate import RateEstimate
from openmm_rare.rates.splitting.rate import SplittingRate
from openmm_rare.report.results import read_result
from openmm_rare.states.states import IN_A
from openmm_rare.systems import langevin_well
from openmm_rare.systems.klein_kramers import solve
from openmm_rare.walkers.machine import Machine
from openmm_rare.workflow import reverse
from openmm_rare.workflow.engines import engine_of
from stats import assert_within

MINE = """
import openmm

def make(height=4.0):
    system, force = openmm.System(), openmm.CustomExternalForce(f"{height}*(x^2-1)^2+x")
    system.addParticle(1.0)
    force.addParticle(0, [])
    system.addForce(force)
    return system, None, [[-1.0, 0.0, 0.0]]
"""
KT = 1.0
CONFIG = """
[system]
builder = "{module}:make"
temperature = "120.27236 K"
friction = "5 1/ps"
timestep = "10 fs"
num_dimensions = 1
{system}
[variables.x]
type = "coordinate"
atom = 0
axis = 0
[states.a]
range = {{ x = ["-9 nm", "-0.8 nm"] }}
[states.b]
range = {{ x = ["0.8 nm", "9 nm"] }}
[sampling]
flux_walkers = 100
block_ps = 5.0
pilot_roots = 150
production_roots = 500
{sampling}
"""
MOMENTA = "inertial = true\ncheck_interval = 2"
ALONG_X = 'importance = "x"\ntarget_error = 0.2'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a configuration of a well whose right side is the higher one."""
    monkeypatch.chdir(tmp_path)
    module = f"of_{tmp_path.name}"  # of each test another one
    (tmp_path / f"{module}.py").write_text(MINE)

    def written(system=MOMENTA, sampling=ALONG_X):
        (tmp_path / "my.toml").write_text(CONFIG.format(module=module, system=system, sampling=sampling))
        return tmp_path

    return written


def rate(*arguments):
    return CliRunner().invoke(main, ["rate", "my.toml", *arguments])


def exact(slope=1.0, height=4.0):
    """k from left to right with momenta."""
    energy, force = lambda x: height * (x**2 - 1) ** 2 + slope * x, lambda x: -4 * height * x * (x**2 - 1) - slope
    return solve(energy, force, (-0.8, 0.8), KT, 1.0, 5.0).rate_per_ps


def require_exact(result, there, back, discrete=0.03):
    """Both rates, their ratio and the free energy are these, within errors and what the time step changes."""
    found = result["reverse"]
    assert_within(result["rate_per_ps"], there, math.hypot(result["rate_stderr"], discrete * there), 4)
    assert_within(found["rate_per_ps"], back, math.hypot(found["rate_stderr"], discrete * back), 4)
    assert found["k_ratio"] == pytest.approx(result["rate_per_ps"] / found["rate_per_ps"])
    free_energy = -KT * math.log(there / back)
    assert found["delta_g_kj_mol"] == pytest.approx(-KT * math.log(found["k_ratio"]), rel=1e-3)
    assert_within(found["delta_g_kj_mol"], free_energy, found["delta_g_stderr"], 4)
    with pytest.raises(AssertionError):  # negative control: the way back taken for the way there
        assert_within(found["delta_g_kj_mol"], -free_energy, found["delta_g_stderr"], 4)


def test_splitting_both_ways_is_exact_and_a_killed_way_back_goes_on(write, monkeypatch):
    folder = write() / "o"
    done = rate("--reverse", "--save-paths", "2", "--out", "o")
    assert done.exit_code == 0, done.output
    assert all(text in done.output for text in ("rate constant from B to A", "K = k_AB / k_BA", "free energy of B, less A"))
    result, back = read_result(folder), read_result(folder / "reverse")
    require_exact(result, exact(), exact(-1.0))
    assert back["backward"] and not result["backward"] and back["rate_per_ps"] == result["reverse"]["rate_per_ps"]
    assert "From state B to state A" in (folder / "reverse" / "report.html").read_text(encoding="utf8")
    assert "free energy of B, less A" in (folder / "report.html").read_text(encoding="utf8")
    assert (folder / "reverse" / "paths" / "path-002.dcd").is_file()  # of paths from B to A
    rows = (folder / "reverse" / "paths" / "frames.csv").read_text().splitlines()
    x = [float(row.split(",")[3]) for row in rows if row.startswith("path-001")]
    assert x[0] < 0.8 and x[-1] <= -0.8
    # the run without the way back is the same one
    assert rate("--out", "plain").exit_code == 0
    plain = read_result(folder.parent / "plain")
    assert plain["rate_per_ps"] == result["rate_per_ps"] and plain["reverse"] is None
    # killed on the way back, and continued by the same command
    real, lives = reverse.engine_of, [2]

    def mortal(config, problem, machine, run, *others):
        append = run.append

        def dying(kind, data):
            append(kind, data)
            lives[0] -= 1
            if not lives[0]:
                raise KeyboardInterrupt

        run.append = dying
        return real(config, problem, machine, run, *others)

    monkeypatch.setattr(reverse, "engine_of", mortal)
    command = ("--reverse", "--out", "again")
    assert rate(*command).exit_code != 0
    again = folder.parent / "again"
    assert not (again / "reverse" / "result.json").exists() and read_result(again)["reverse"] is None
    monkeypatch.undo()
    monkeypatch.chdir(folder.parent)
    assert rate(*command, "--resume").exit_code == 0
    keys = ("rate_per_ps", "rate_stderr", "k_ratio", "delta_g_kj_mol")
    assert [read_result(again)["reverse"][key] for key in keys] == [result["reverse"][key] for key in keys]
    refused = rate("--out", "again", "--resume")
    assert refused.exit_code == 2 and "reverse = False differs from the run in again, which has True" in refused.output
    refused = CliRunner().invoke(main, ["rate", "again/reverse/config.toml", "--out", "other"])
    assert refused.exit_code == 2 and "run openmm-rare rate for that one, with --reverse" in refused.output


def test_brute_force_both_ways_agrees_with_populations_that_it_counts(write):
    """Overdamped walkers that go on through B, where they are less often: what they spend there says K as well."""
    folder = write("[system.parameters]\nheight = 2.0", 'method = "brute_force"\ntarget_error = 0.06') / "o"
    done = rate("--reverse", "--out", "o")
    assert done.exit_code == 0, done.output
    result = read_result(folder)
    found = result["reverse"]
    energy = lambda x: 2.0 * (x**2 - 1) ** 2 + x  # noqa: E731
    resistance = partial(quad, lambda x: math.exp(energy(x)))
    total = resistance(-0.8, 0.8)[0]

    def from_a(x):
        return 1.0 if x < -0.8 else 0.0 if x > 0.8 else 1.0 - resistance(-0.8, x)[0] / total

    p_a = quad(lambda x: math.exp(-energy(x)) * from_a(x), -3.0, 3.0, limit=200, points=(-0.8, 0.8))[0]
    p_b = quad(lambda x: math.exp(-energy(x)) * (1.0 - from_a(x)), -3.0, 3.0, limit=200, points=(-0.8, 0.8))[0]
    there, back = (1.0 / 5.0 / total / p for p in (p_a, p_b))  # D = kT/(m gamma)
    require_exact(result, there, back, discrete=0.08)
    counted = found["populations"]
    assert_within(math.log(counted["ratio"]), math.log(p_b / p_a), counted["ratio_stderr"] / counted["ratio"], 4)
    assert found["rate_per_ps"] * p_b == pytest.approx(result["rate_per_ps"] * p_a, rel=0.3)  # detailed balance


def test_where_nothing_arrives_there_is_no_way_back(write):
    folder = write(MOMENTA + "\n[system.parameters]\nheight = 14.0", 'method = "brute_force"') / "o"
    done = rate("--reverse", "--max-steps", "50000", "--out", "o")
    assert done.exit_code == 3, done.output
    assert "The way back was not started: nothing came to B" in done.output
    assert not (folder / "reverse").exists()
    result = read_result(folder)
    assert result["reverse"] is None and "way back was not started" in " ".join(result["notes"])


def test_the_barrier_is_asked_in_the_same_way(write):
    pytest.importorskip("pymbar")
    folder = write("", 'method = "barrier"\ntarget_error = 0.3\n[barrier]\nwindows = 8\ncopies = 4\nwalkers = 8') / "o"
    done = rate("--reverse", "--out", "o")
    assert done.exit_code == 0, done.output
    result = read_result(folder)
    found, barrier = result["reverse"], result["barrier"]
    assert done.output.count("free energy of B, less A") == 1 and not (folder / "reverse").exists()
    assert found["rate_per_ps"] == pytest.approx(barrier["rate_back_per_ps"]) and found["folder"] is None
    assert found["k_ratio"] == pytest.approx(barrier["p_b_over_p_a"])
    assert found["delta_g_kj_mol"] == pytest.approx(barrier["delta_g_kj_mol"]) and found["delta_g_kj_mol"] > 0.5


def estimate(k, error, **fields):
    """An estimate of which only the rate matters."""
    given = {name: None for name in RateEstimate.__dataclass_fields__} | {"warnings": (), "notes": (), "reliable": True}
    return RateEstimate(**given | {"rate_per_ps": k, "rate_stderr": error, "complete": True, "rate_ci95": (k, k)} | fields)


def test_populations_that_rates_contradict_are_told():
    there, back = estimate(2.0, 0.1), estimate(1.0, 0.05)
    found = both_ways(there, back, 2.5, "reverse", Ratio(2.2, 0.05))
    assert found.reliable and not found.warnings and found.reverse["k_ratio"] == 2.0
    assert found.reverse["delta_g_kj_mol"] == pytest.approx(-2.5 * math.log(2.0))
    assert found.reverse["delta_g_stderr"] == pytest.approx(2.5 * math.hypot(0.05, 0.05))
    assert found.reverse["populations"]["ratio"] == 2.2
    apart = both_ways(there, back, 2.5, "reverse", Ratio(3.2, 0.05))
    assert not apart.reliable and "combined standard errors apart" in apart.warnings[0]
    bound = both_ways(there, estimate(0.0, 1.0, rate_below_per_ps=0.1, complete=False, reliable=False), 2.5, "reverse")
    assert "k_ratio" not in bound.reverse and not bound.complete and not bound.reliable
    json.dumps(found.to_dict())


def stretches(last_a, in_a, steps=1000):
    """Records of a run of brute force, of walkers by stretch."""
    return [
        {"last_a": np.array(ends), "frames_last_a": np.array(times), "walker_steps": steps * len(ends)}
        for ends, times in zip(last_a, in_a, strict=True)
    ]


def test_populations_count_once_where_walkers_began_is_forgotten():
    ends = [[True, True, True, False]] * 4
    records = stretches(ends, [[1000, 1000, 1000, 900], [700, 800, 900, 800], [700, 900, 700, 900], [800, 800, 800, 800]])
    found = counted_populations(records, timestep=0.01, relaxation_ps=2.0)  # the first ten ps do not count
    with_a = 3200 + 3200 + 3200
    assert found.value == pytest.approx((12_000 - with_a) / with_a) and 0.0 < found.relative_error < 0.2
    assert found.inverse.value == pytest.approx(1.0 / found.value)
    assert counted_populations(records, 0.01, 100.0) is None
    recycled = [*records[:2], *stretches([[True, False, False, False]], [[500] * 4]), *records[3:]]
    assert counted_populations(recycled, 0.01, 2.0) is None


class Model:
    """A committor of positions along x."""

    n_states = 2

    def logit(self, positions):
        return 3.0 * positions[:, 0, 0]

    def digest(self):
        return "of a test"


def test_a_direction_and_a_problem_are_turned_round(write):
    there, back = CommittorDirection(Model()), CommittorDirection(Model(), back=True)
    positions = np.random.default_rng(0).normal(size=(5, 1, 3))
    np.testing.assert_allclose(back(positions), -there(positions))
    level, gradient = back.gradient(positions)
    np.testing.assert_allclose(level, -there.gradient(positions)[0])
    np.testing.assert_allclose(gradient[:, 0, 0], -3.0)
    problem, ends = well(), np.array([[[1.0, 0, 0]], [[0.0, 0, 0]], [[0.9, 0, 0]]])
    starts = ends_in_b(problem, None, ends)
    assert len(starts) == 2
    turned = exchanged(problem, starts)
    np.testing.assert_array_equal(turned.states.classify(ends), [1, 0, 1])
    assert turned.fingerprint() != problem.fingerprint() and len(turned.starts) == 2
    assert exchanged(turned, problem.starts).fingerprint() == problem.fingerprint()
    assert problem.states.classify(ends)[0] == 2  # it is as it was
    with pytest.raises(ValueError, match="A"):
        exchanged(problem, ends[1:2])


def test_water_goes_both_ways_tree_by_tree():
    """Arrivals in a periodic box with rigid molecules, in single precision, are where the way back starts."""
    problem = water()
    few = {"few_walkers": 2, "block_ps": 0.2, "equilibration_ps": 0.1, "calibration_roots": 8, "calibration_rounds": 1}
    settings = RateSettings(tree_roots=10, max_walker_steps=40_000, reverse=True, **few)
    options = {"target_error": 0.9, "machine": "CPU", "progress": Silent()}

    def along_r(problem, settings):
        return SplittingRate(problem, VariableDirection.of(problem.states, "r", problem.starts), settings, **options)

    there = along_r(problem, settings)
    there.run()
    n = len(there.arrivals)
    assert 1 < n <= 8 and (problem.states.classify(there.arrivals) == 2).all()
    assert len(np.unique(there.arrivals[:, 0, 0])) == n  # of different roots
    turned = exchanged(problem, there.arrivals)
    status = turned.states.classify(turned.starts)
    moved = restarted(turned, Frames(turned.starts), status == IN_A, 20, Machine("CPU"), 1, Here())
    assert n == len(moved.frames) and (status == IN_A).all() and np.isfinite(moved.frames.positions).all()
    assert along_r(turned, settings).direction(turned.starts).max() < 0.0  # a direction to the other state


def test_a_model_steers_the_way_back_by_minus_its_logit():
    """It is of the problem as it was, which the run from A to B has seen; of any other problem it is refused."""
    problem = langevin_well.build()
    spec, about = problem.descriptor_spec(), (1, (8,), problem.temperature, problem.fingerprint())
    model = CommittorModel(spec, *about, check_interval=problem.check_interval)
    config, turned = RunConfig("/", SystemConfig(name="langevin_well")), exchanged(problem, -problem.starts)
    places = np.random.default_rng(0).normal(size=(4, 1, 3))

    def direction(config, problem):
        return engine_of(config, problem, Machine(), Memory(), Silent(), model, None).direction

    there, back = direction(config, problem), direction(config.with_options(backward=True), turned)
    np.testing.assert_allclose(back(places), -there(places))
    with pytest.raises(ValueError, match="another system"):
        direction(config, turned)  # negative control

"""The rate from the barrier: windows and shots on systems with exact answers, and what they refuse to believe."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch

pytest.importorskip("pymbar")

from openmm_rare.bias.variable_force import energy_along, is_cut_off
from openmm_rare.committor.model import CommittorModel
from openmm_rare.config.run import load_config, parse_config
from openmm_rare.dynamics.frames import Frames
from openmm_rare.io.run_file import RunFile
from openmm_rare.io.tasks import Memory, Silent
from openmm_rare.parallel.local import Processes
from openmm_rare.problem import RareEventSystem
from openmm_rare.rates.barrier.barrier_rate import BarrierRate
from openmm_rare.rates.barrier.bench import Bench
from openmm_rare.rates.barrier.coordinate import PARAMETERS, VariableCoordinate
from openmm_rare.rates.barrier.free_energy import FreeEnergy, Sample
from openmm_rare.rates.barrier.points import shoot
from openmm_rare.rates.barrier.reversible import require_reversible_forces
from openmm_rare.rates.barrier.route import find_route
from openmm_rare.rates.barrier.top import Top, find_top
from openmm_rare.rates.barrier.windows import Window
from openmm_rare.settings.barrier import BarrierSettings
from openmm_rare.settings.rates import RateSettings
from openmm_rare.states.states import (
    Angle,
    Coordinate,
    Coordination,
    CoordinationMoment,
    Dihedral,
    Disc,
    Distance,
    FunctionVariable,
    LinearCombination,
    Range,
    States,
)
from openmm_rare.systems import double_well_1d, two_channel_2d
from openmm_rare.units import KB
from openmm_rare.walkers.machine import Machine
from openmm_rare.workflow.compare import compared
from openmm_rare.workflow.rate import run_rate
from stats import assert_within, mean_and_stderr

T = 600.0
CHEAP = BarrierSettings(windows=9, copies=8, walkers=25, points_per_task=3)


def in_a_plane(energy, inertial=False, edge=0.8, **options):
    """One particle in the plane; A and B at either end of x."""
    force = openmm.CustomExternalForce(energy)
    force.addParticle(0, [])
    system = openmm.System()
    system.addParticle(40.0)
    system.addForce(force)
    a, b = Range({"x": (-9.0, -edge)}), Range({"x": (edge, 9.0)})
    dynamics = {"temperature": 300.0, "friction": 2.0, "timestep": 0.01, "num_dimensions": 2, "check_interval": 5}
    variables = [Coordinate("x", 0, 0), Coordinate("y", 0, 1)]
    options = dynamics | {"inertial": inertial} | options
    return RareEventSystem.from_openmm(system, [[-1.1, -1.0, 0.0]], a, b, variables, **options)


def comparable(estimate):
    """Everything but the clock."""
    return {name: value for name, value in estimate.to_dict().items() if name != "wall_seconds"}


@pytest.fixture(scope="module")
def finished():
    recorder = Memory()
    run = BarrierRate(double_well_1d.build(temperature=T), barrier=CHEAP, target_error=0.2, seed=5, recorder=recorder)
    return run, run.run(), recorder


def test_rate_of_the_double_well(finished):
    _, estimate, _ = finished
    exact = double_well_1d.chain_rate(T)
    assert estimate.relative_error <= 0.2 and estimate.method == "barrier"
    assert_within(estimate.rate_per_ps, exact, estimate.rate_stderr, nsigma=4)
    with pytest.raises(AssertionError):  # negative control
        assert_within(3.0 * estimate.rate_per_ps, exact, estimate.rate_stderr, nsigma=4)
    found = estimate.barrier
    assert found["least_overlap"] > 0.03 and abs(found["place"]) < 0.05
    parts = (estimate.pool_relative_error, estimate.roots_relative_error)
    assert estimate.relative_error == pytest.approx(np.hypot(*parts))
    total = estimate.flux_walker_steps + estimate.production_walker_steps
    assert estimate.walker_steps == total and 0.05 < found["transition_paths"] / found["points"] <= 0.5


def test_populations_are_those_of_the_potential(finished):
    """Z_b/p_A by quadrature; b of half the width is another population."""
    _, estimate, _ = finished
    found, kt, x = estimate.barrier, KB * T, np.linspace(-1.5, 1.5, 20001)
    density = np.exp(-double_well_1d.energy(x, 25.0) / kt)
    between = np.abs(x) < double_well_1d.EDGE

    def ratio(width):
        return (density * between * np.exp(-0.5 * ((x - found["place"]) / width) ** 2)).sum() / (0.5 * density.sum())

    value = found["z_b_over_p_a"]
    assert_within(np.log(value), np.log(ratio(found["width"])), found["z_b_over_p_a_relative_error"], nsigma=4)
    with pytest.raises(AssertionError):
        assert_within(np.log(value), np.log(ratio(0.4 * found["width"])), found["z_b_over_p_a_relative_error"], nsigma=4)


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


SHORT = replace(CHEAP, windows=7, copies=4, walkers=10, points_per_task=2, window_frames=150)


@pytest.fixture(scope="module")
def short():
    return short_run(Memory())


def short_run(recorder, executor=None):
    options = {"barrier": SHORT, "target_error": 0.5, "seed": 3, "progress": Silent(), "executor": executor}
    return BarrierRate(double_well_1d.build(temperature=900.0), recorder=recorder, **options).run()


@pytest.mark.parametrize("lives", [2, 11, 21])
def test_a_killed_run_goes_on_to_the_same_numbers(short, lives):
    broken = Fragile({}, lives)
    with pytest.raises(Interrupted):
        short_run(broken)
    again = short_run(Fragile(broken._records, 10**6))
    assert comparable(again) == comparable(short)


def test_workers_do_not_change_the_numbers(short, tmp_path):
    with Processes(2, "Reference") as processes:
        run = RunFile.create(tmp_path / "run.nc", {"seed": 3})
        assert comparable(short_run(run, processes)) == comparable(short)
    again = short_run(RunFile.open(tmp_path / "run.nc"))  # all of it replayed
    assert comparable(again) == comparable(short)


def test_momenta_and_both_directions():
    """Two wells of different depth with inertia: k_AB p_A = k_BA p_B, with populations by quadrature."""
    energy = "12*(x^2-1)^2+2*x+20*y^2"
    problem = in_a_plane(energy.replace("y^2", "(y+1)^2"), inertial=True, timestep=0.02)
    estimate = BarrierRate(problem, barrier=replace(CHEAP, reverse=True), target_error=0.2, seed=2).run()
    x, found = np.linspace(-2.0, 2.0, 4001), estimate.barrier
    density = np.exp(-(12.0 * (x**2 - 1.0) ** 2 + 2.0 * x) / problem.kt)
    ratio = density[x > 0.04].sum() / density[x < 0.04].sum()
    error = found["delta_g_stderr"] / problem.kt
    assert_within(np.log(found["p_b_over_p_a"]), np.log(ratio), error, nsigma=4)
    assert estimate.rate_per_ps / found["rate_back_per_ps"] == pytest.approx(found["p_b_over_p_a"])
    with pytest.raises(AssertionError):  # negative control
        assert_within(np.log(found["p_b_over_p_a"]), -np.log(ratio), error, nsigma=4)


HIDDEN = "60*(y^2-1)^2+16*(x-1.2*y)^2"
"""A barrier of 15 kT along y, of which x, which A and B are about, is the shadow: y follows where x is far out only."""


def test_windows_along_a_shadow_disagree():
    """Walkers that come from A stay at y = -1, those that come from B at y = 1: the free energy along x is neither."""
    options = {"target_error": 0.3, "settings": RateSettings(max_walker_steps=150_000), "progress": Silent()}
    estimate = BarrierRate(in_a_plane(HIDDEN, edge=1.0), barrier=replace(CHEAP, copies=4), seed=1, **options).run()
    assert not estimate.reliable and "disagree about the population of the barrier" in estimate.warnings[0]
    assert "x = " in estimate.warnings[0] and abs(estimate.barrier["sets_differ_kt"]) > 1.0
    assert estimate.relative_error > 0.5 * abs(estimate.barrier["sets_differ_kt"]) - 1e-9
    seen = BarrierRate(in_a_plane("10*(x^2-1)^2+40*(y+1)^2"), barrier=CHEAP, seed=1, **options).run()
    assert not any("disagree" in sentence for sentence in seen.warnings)  # negative control: y is fast


def samples(places, stiffness, rng, n=400):
    windows = [Window(place, place, place, stiffness) for place in places]
    parts = []
    for number, place in enumerate(places):
        s = place + rng.normal(size=(4, n)) / np.sqrt(stiffness)
        parts += [Sample.of_walkers(s, np.zeros(s.shape, dtype=np.int8), number, side) for side in (0, 1)]
    return FreeEnergy(parts[0].join(*parts[1:]), windows, 1.0, None)


def test_free_energies_and_their_errors():
    """Windows on a flat line all have the same free energy."""
    places, found = np.linspace(0.0, 3.0, 7), []
    for seed in range(20):
        free = samples(places, 9.0, np.random.default_rng(seed))
        value, error = free.estimate(lambda rows, weights, f: f[-1:])
        found.append((value[0], error[0]))
    value, error = np.array(found).T
    assert_within(*mean_and_stderr(value)[:1], 0.0, mean_and_stderr(value)[1])
    assert 0.6 < value.std() / error.mean() < 1.6
    overlap = free.overlap()
    assert np.allclose(overlap.sum(axis=1), 1.0) and np.diag(overlap, 1).min() > 0.1
    apart = samples(places, 2000.0, np.random.default_rng(1)).overlap()  # negative control
    assert np.diag(apart, 1).max() < 1e-6


def test_windows_that_let_walkers_go_are_doubled_or_refused(monkeypatch):
    """Four windows do not see a barrier that is narrower than each of them."""
    problem = in_a_plane("25*exp(-(x/0.5)^2)+4*(x^2-1)^2+100*(y+1)^2", check_interval=2)
    options = {"barrier": replace(CHEAP, windows=4, copies=3), "target_error": 0.9, "seed": 1, "progress": Silent()}
    found = BarrierRate(problem, **options).run().barrier
    assert found["least_overlap"] > 0.03 and len(found["windows"]) > 6
    monkeypatch.setattr("openmm_rare.rates.barrier.barrier_rate._MOST_WINDOWS", 4)
    monkeypatch.setattr("openmm_rare.rates.barrier.ladder._HALVINGS", 0)
    with pytest.raises(RuntimeError, match="nothing connects windows at x = .* with those at"):
        BarrierRate(problem, **options).run()


def test_points_weigh_as_they_should():
    """E[1_TP / sum b] Z_b does not depend on b."""
    problem, kt = double_well_1d.build(temperature=T), KB * T
    bench = Bench(problem, Machine("Reference").one_thread, VariableCoordinate(problem.states.variables.variables[0]))
    x = np.linspace(-double_well_1d.EDGE, double_well_1d.EDGE, 4001)
    start, found = Frames(np.zeros((60, 1, 3))), []
    for place, width in ((0.0, 0.08), (0.06, 0.05)):
        top = Window.gaussian(place, width, kt)
        record = shoot(bench, top, start, 8, 60, 100_000, np.random.SeedSequence(1))
        value = np.where(record["first"] != record["last"], 1.0 / record["total"], 0.0)
        z_b = (np.exp(-double_well_1d.energy(x, 25.0) / kt) * np.exp(-0.5 * ((x - place) / width) ** 2)).sum()
        mean, error = mean_and_stderr([value[record["walker"] == walker].mean() for walker in range(60)])
        found.append((z_b * mean, z_b * error, (record["first"] != record["last"]).mean()))
    (one, error, share), (other, more, another) = found
    assert_within(one, other, np.hypot(error, more), nsigma=4)
    with pytest.raises(AssertionError):  # negative control: transition paths without their weights
        assert_within(share, 1.5 * another, 0.02)


@pytest.mark.parametrize("period", [None, 2.0])
def test_windows_have_the_energy_that_they_say(period):
    """In OpenMM and in NumPy, copies too, and open ends."""
    dihedral = Dihedral("phi", (0, 1, 2, 3))
    variable = Distance("r", (0, 1)) if period is None else dihedral
    coordinate = VariableCoordinate(variable, -3.0)
    rng = np.random.default_rng(4)
    positions = rng.normal(size=(3, 4, 3))
    system = openmm.System()
    for _ in range(12):
        system.addParticle(1.0)
    system.addForce(coordinate.hold(4, 3))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions.reshape(-1, 3))
    for window in (Window.spring(0.4, 0.1, 2.0), Window.spring(0.4, 0.1, 2.0).opened(-1, -3.0), Window(1.0, 1.0, 2.0, 30.0)):
        for name, value in zip(PARAMETERS, (window.stiffness, window.low, window.high), strict=True):
            context.setParameter(name, value)
        energy = context.getState(energy=True).getPotentialEnergy()._value
        assert energy == pytest.approx(window.energy(coordinate(positions), coordinate.period).sum(), rel=1e-5, abs=1e-9)


TRICLINIC = np.array([[2.3, 0.0, 0.0], [0.7, 2.2, 0.0], [-0.6, 0.8, 2.1]])


@pytest.mark.parametrize(
    "variable",
    [
        Distance("s", (0, 1)),
        Angle("s", (0, 1, 2)),
        Dihedral("s", (0, 1, 2, 3)),
        Coordination("s", (0, 1), tuple(range(2, 60)), 0.5, 4),
        CoordinationMoment("s", 2, 0.25),
    ],
    ids=lambda variable: variable.type_name,
)
def test_forces_along_a_variable_know_its_value_in_a_box(variable):
    """Also of pairs that are farther from each other than half of the box."""
    held, rng = variable.in_box(TRICLINIC), np.random.default_rng(5)
    positions = rng.uniform(0.0, 4.0, (60, 3))
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*TRICLINIC)
    for _ in range(60):
        system.addParticle(1.0)
    system.addForce(energy_along(held, "s", 60))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    energy = context.getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(held(positions[None])[0], rel=1e-3 if "moment" in variable.type_name else 1e-9)


def test_a_variable_that_its_box_has_no_room_for_holds_nothing():
    moment = CoordinationMoment("m", 1, 0.25)
    assert not is_cut_off(moment) and not is_cut_off(moment.in_box(TRICLINIC))
    assert is_cut_off(CoordinationMoment("m", 1, 0.3).in_box(TRICLINIC))
    wide = CoordinationMoment("m", 1, 0.3, box=TRICLINIC)
    problem = SimpleNamespace(states=States(wide, Range({"m": (0.0, 0.1)}), Range({"m": (0.2, 0.3)})))
    with pytest.raises(ValueError, match="pairs count in it that its box has no room for"):
        find_route(problem, "m", None)


def test_windows_along_a_logit_leave_room_for_the_barrier():
    """However far the logit goes within the states, its windows are near one another between them; forces are right."""
    problem = in_a_plane("x^2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        about = problem.descriptor_spec(), 1, (8,), problem.temperature, problem.fingerprint()
        model = CommittorModel(*about, check_interval=problem.check_interval)
    route = find_route(problem, "logit", model)
    places = np.array([[[-0.3, 0.4, 0.0]], [[0.9, -0.2, 0.0]]])
    s = route.coordinate(places)
    np.testing.assert_allclose(route.coordinate.level(s), model.logit(places), rtol=1e-5)
    assert route.coordinate.level(7.0) > 500.0
    force = route.coordinate.hold(1, 1)
    system = openmm.System()
    system.addParticle(40.0)
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    for name, value in zip(PARAMETERS, (50.0, s[0] + 0.3, s[0] + 0.3), strict=True):
        context.setParameter(name, value)
    energies = []
    for shift in (-1e-2, 0.0, 1e-2):
        context.setPositions(places[0] + [[shift, 0.0, 0.0]])
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies[1] == pytest.approx(0.5 * 50.0 * 0.3**2, rel=1e-3)
    context.setPositions(places[0])
    along = context.getState(forces=True).getForces(asNumpy=True)._value[0, 0]
    assert along == pytest.approx((energies[0] - energies[2]) / 2e-2, rel=0.02, abs=1e-3)


def test_variables_that_cannot_be_copied_hold_one():
    sum_of_x = LinearCombination("u", np.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert isinstance(energy_along(sum_of_x, "s^2", 2), openmm.CustomCVForce)
    with pytest.raises(ValueError, match="holds one copy"):
        energy_along(sum_of_x, "s^2", 2, 3)


def test_the_top_of_a_parabola_is_where_it_is():
    s = np.linspace(-1.0, 1.0, 20001)
    status = np.where(s < -0.9, 1, np.where(s > 0.8, 2, 0))
    top = find_top(s, status, 0.5 * ((s - 0.1) / 0.2) ** 2, 1)
    assert top.place == pytest.approx(0.1, abs=0.02) and top.width == pytest.approx(0.2, rel=0.1)
    down = find_top(-s, status, 0.5 * ((s - 0.1) / 0.2) ** 2, -1)
    assert down.place == pytest.approx(-0.1, abs=0.02)
    rng = np.random.default_rng(1)
    at = rng.normal(0.1, 0.2, 4000)
    truth = Top(0.18, 0.12, 1)
    reached = rng.binomial(2, truth.committor(at, np.zeros(4000, dtype=int)))
    learned = top.learned(at, reached)
    assert learned.place == pytest.approx(0.18, abs=0.02) and learned.width == pytest.approx(0.12, rel=0.1)


def shadow(positions):
    return positions[:, 0, 0]


def refused(variables, a, b, along="", match=""):
    states = States(variables, a, b)
    problem = replace(two_channel_2d.build(), states=states)
    with pytest.raises(ValueError, match=match):
        find_route(problem, along, None)


def test_coordinates_that_lead_nowhere_are_refused():
    x, y = Coordinate("x", 0, 0), Coordinate("y", 0, 1)
    a, b = Disc({"x": -0.9169, "y": -0.0026}, 0.2), Disc({"x": 0.9128, "y": -0.0029}, 0.2)
    refused([x, y], a, b, "y", "A and B have values of it in common")
    refused([x, y], a, b, "logit", "need a model")
    refused([x, y, Coordinate("logit", 0, 1)], a, b, "logit", "rename the variable")
    refused([x, y], a, b, "z", "no collective variable named 'z'")
    refused([x, y, FunctionVariable("f", shadow)], a, b, "f", "a function has no forces")
    left, right = Range({"x": (-9.0, -0.5), "y": (-9.0, 0.2)}), Range({"x": (0.5, 9.0), "y": (0.5, 9.0)})
    refused([x, y], left, right, "", "x, y would all do")
    refused([x, y], Range({"x": (-9.0, -0.5)}), Range({"y": (1.5, 9.0)}), "", "no variable of the states will do")
    assert find_route(two_channel_2d.build(), "", None).coordinate.name == "x"


def test_forces_without_an_energy_are_refused():
    swirl = openmm.PythonForce(lambda state: (0.0, _swirl(state)))
    problem = in_a_plane("10*(x^2-1)^2+8*(y+1)^2")
    require_reversible_forces(problem, Machine("Reference"))
    system = openmm.System()
    system.addParticle(40.0)
    system.addForce(swirl)
    object.__setattr__(problem, "system", system)
    with pytest.raises(ValueError, match="not reversible"):
        require_reversible_forces(problem, Machine("Reference"))


def _swirl(state):
    x = state.getPositions(asNumpy=True)._value
    return np.stack([-x[:, 1], x[:, 0], np.zeros(len(x))], axis=1)


def test_a_folder_with_its_report_stands_beside_another(tmp_path):
    text = '[system]\nname = "double_well_1d"\ntemperature = "900 K"\n[sampling]\nmethod = "barrier"\ntarget_error = 0.5\n'
    text += "[barrier]\n" + "".join(f"{name} = {value!r}\n" for name, value in SHORT.to_dict().items() if type(value) is int)
    (tmp_path / "config.toml").write_text(text)
    config = load_config(tmp_path / "config.toml")
    assert config.barrier == SHORT and parse_config(config.to_toml(), tmp_path).barrier == SHORT
    estimate = run_rate(config, tmp_path / "one", progress=Silent())
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf8")
    assert all(words in page for words in ("windows from B", "Free energy from A and from B", "transition paths"))
    again = run_rate(config, tmp_path / "one", resume=True, progress=Silent(), compare=[tmp_path / "one"])
    assert again.rate_per_ps == estimate.rate_per_ps and again.reliable == estimate.reliable
    with pytest.raises(ValueError, match="is of 900 K, this run of 800 K"):
        run_rate(config.with_options(temperature_k=800.0), tmp_path / "two", progress=Silent(), compare=[tmp_path / "one"])
    far = {"label": "brute force in x", "rate_per_ps": 3.0 * estimate.rate_per_ps, "rate_stderr": 0.1 * estimate.rate_per_ps}
    parted = compared(estimate, [far])
    assert not parted.reliable and "times that by brute force in x" in parted.warnings[-1]
    assert compared(estimate, [far | {"rate_per_ps": estimate.rate_per_ps}]) == estimate  # negative control

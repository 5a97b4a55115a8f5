"""K5: a time step beyond stability is refused by every command; molecules that fly apart end the run."""

import dataclasses
import re

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")

from click.testing import CliRunner
from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

import chain4
from openmm_rare import BruteForceRate, Coordinate, Range, RareEventSystem
from openmm_rare.cli.main import main
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.dynamics.overdamped import OverdampedLangevinIntegrator
from openmm_rare.dynamics.stability import largest_curvature, step_limit
from openmm_rare.io.tasks import Silent
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.snapshots import trajectory_of
from openmm_rare.paths.direct_committor import direct_committor
from openmm_rare.settings.paths import PathSettings
from openmm_rare.systems import build
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.driven_path import hot_path
from openmm_rare.tps.trajectories.connection import frames_at_rest
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots

OFTEN = PathSettings(steps_per_frame=2)


def engine_of(problem, settings=OFTEN):
    engine = make_engine(PathProblem(problem, settings, "Reference"))
    engine.integrator.setRandomNumberSeed(5)
    start = trajectory_of(frames_at_rest(problem, problem.positions[None]), engine)[0]
    return engine, engine.randomize_velocities(start)


@pytest.mark.parametrize(("share", "grows"), [(0.95, False), (1.05, True)])
def test_the_limit_is_where_dynamics_with_momenta_begins_to_grow(share, grows):
    system = openmm.System()
    system.addParticle(20.0)
    force = openmm.CustomExternalForce("4000*(x^2+y^2+z^2)")
    force.addParticle(0, [])
    system.addForce(force)
    states, where = (Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})), [Coordinate("x", 0, 0)]
    problem = RareEventSystem.from_openmm(system, np.zeros((1, 3)), *states, where, 300, 0.1, 0.1, inertial=True)
    limit = step_limit(largest_curvature(problem), None)
    assert limit == pytest.approx(2.0 / np.sqrt(8000.0 / 20.0))
    problem = dataclasses.replace(problem, timestep=share * limit)
    if grows:
        with pytest.raises(ValueError, match="fastest vibration at the initial structure grows with every step; use 0.03 ps"):
            require_runnable(problem, "paths")
    else:
        require_runnable(problem, "paths")
    dynamics = PhaseSlots(problem, 1, Machine(), np.random.default_rng(1))
    dynamics.restart(np.arange(1), problem.positions[None])
    dynamics.integrator.step(1000)
    assert (np.abs(dynamics.context.getState(positions=True).getPositions(asNumpy=True)._value).max() > 1e3) == grows


def test_overdamped_steps_are_refused_with_the_knobs():
    problem = chain4.problem(inertial=False, friction=5, timestep=1e-3)
    with pytest.raises(ValueError) as refusal:
        require_runnable(problem, "paths")
    limit = step_limit(largest_curvature(problem), 5.0)
    assert f"from {limit:.2g} ps on" in str(refusal.value) and f"use {limit / 10:.1g} ps or less" in str(refusal.value)
    for knob in ("friction of 5/ps", "mass of hydrogen", "constraints", "inertial = true", "openmm-rare tps"):
        assert knob in str(refusal.value)
    with pytest.raises(ValueError, match="mass of hydrogen"):
        require_runnable(problem, "rate")
    require_runnable(dataclasses.replace(problem, timestep=0.9 * limit), "paths")
    require_runnable(dataclasses.replace(problem, timestep=0.9 * limit, friction=500.0), "paths")


COMMANDS = {"tps": "out", "path": "first.npz"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_refuse_a_step_beyond_stability(command, tmp_path, monkeypatch):
    """Case 33: 20 fs, where 2/omega is 15 fs."""
    monkeypatch.chdir(tmp_path)
    chain4.write(tmp_path, timestep='"20 fs"')
    done = CliRunner().invoke(main, [command, "config.toml", "--out", COMMANDS[command]])
    assert done.exit_code == 2 and "a time step of 0.02 ps is too large for chain: from 0.015 ps on" in done.output
    assert len(done.output.splitlines()) == 1 and not (tmp_path / COMMANDS[command]).exists()


def test_fresh_shots_and_scripts_refuse_it_too():
    problem = chain4.problem(timestep=0.02)
    between = problem.positions.copy()
    between[3] += [0.0, 0.0, 0.14]
    with pytest.raises(ValueError, match="time step of 0.02 ps is too large"):
        direct_committor(problem, between[None], 2, seed=1)
    for integrator in (BAOABLangevinIntegrator(300, 5, 0.02), OverdampedLangevinIntegrator(300, 5, 1e-3)):
        engine = RareEventEngine(Topology(4), chain4.system(), integrator, platform="Reference")
        with pytest.raises(ValueError, match="is too large for the System: from"):
            engine.generate(frame_of(engine), running=[lambda path, trusted=None: len(path) < 5])
    engine = RareEventEngine(Topology(4), chain4.system(), BAOABLangevinIntegrator(300, 5, 0.001), platform="Reference")
    assert len(engine.generate(frame_of(engine), running=[lambda path, trusted=None: len(path) < 5])) == 5


def frame_of(engine, positions=None):
    still = np.zeros((4, 3)) * unit.nanometer / unit.picosecond
    positions = chain4.positions() if positions is None else positions
    return Snapshot.construct(positions * unit.nanometer, np.eye(3) * unit.nanometer, still, engine=engine)


def test_a_strained_structure_does_not_stop_paths():
    """A soft repulsion between the ends, which touch at the start: the curvature there is that of no frame on the way."""
    system = chain4.system()
    wall = openmm.CustomBondForce("(0.1/r)^12")
    wall.addBond(0, 3)
    system.addForce(wall)
    problem = chain4.problem(system, timestep=0.004)
    problem.positions[3] = problem.positions[0] + [0.0, 0.06, 0.0]
    assert step_limit(largest_curvature(problem), None) < problem.timestep
    (note,) = require_runnable(problem, "paths")
    assert note.startswith("The initial structure is strained: 1 of 3 bonds")


def test_constrained_and_massless_directions_do_not_count():
    free, rigid = chain4.problem(), chain4.problem(chain4.system(constrain=True))
    assert largest_curvature(rigid) < 0.3 * largest_curvature(free)
    system = chain4.system()
    for particle in range(4):
        system.setParticleMass(particle, 0.0)
    assert largest_curvature(chain4.problem(system)) == 0.0


def test_the_curvature_of_many_atoms_is_nearly_that_of_few():
    """Beyond some number of atoms it is found in single precision, on the CPU platform."""
    many, n = openmm.System(), 60
    bonds = openmm.HarmonicBondForce()
    for copy in range(n):
        for _ in range(4):
            many.addParticle(14.0)
        for i in range(3):
            bonds.addBond(4 * copy + i, 4 * copy + i + 1, 0.153, 100000.0)
    many.addForce(bonds)
    positions = np.concatenate([chain4.positions() + [0.0, 0.0, 0.5 * copy] for copy in range(n)])
    states = Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})
    where = [Coordinate("x", 0, 0)]
    problem = RareEventSystem.from_openmm(many, positions, *states, where, 300, 5, 0.001, inertial=True)
    few = chain4.system()
    few.removeForce(2)
    few.removeForce(1)
    assert largest_curvature(problem) == pytest.approx(largest_curvature(chain4.problem(few)), rel=0.01)


def explosive(inertial=True):
    """Stable at the start, but not where the chain is bent: a spring that stiffens with the distance of the ends."""
    system = chain4.system(barrier=0.1)
    spring = openmm.CustomBondForce("2e6*step(0.38-r)*(0.38-r)^2")
    spring.addBond(0, 3)
    system.addForce(spring)
    return chain4.problem(system, inertial=inertial, timestep=0.012)


def test_shots_that_explode_end_the_run_with_the_frame_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = explosive()
    require_runnable(problem, "paths")  # at the start all is well
    engine, start = engine_of(problem)
    with pytest.raises(FloatingPointError, match=r"fly apart: the energy has risen by .* kT.*broken-after-.*npz|NaN"):
        for _ in range(20):
            engine.block(100, start, [])
    (left,) = tmp_path.glob("*-after-*.npz")
    with np.load(left) as archive:
        bonds = np.linalg.norm(np.diff(archive["positions"], axis=0), axis=1)
    assert (np.abs(bonds / 0.153 - 1.0) < 1.0).all()  # the last good frame, not one on its way to infinity


@pytest.mark.parametrize("inertial", [True, False])
def test_nothing_that_explodes_is_taken_for_a_path(inertial, tmp_path, monkeypatch):
    """Case 33 at run time, where nobody has looked before: shots, single frames, and fresh shots."""
    monkeypatch.chdir(tmp_path)
    problem = chain4.problem(inertial=inertial, timestep=0.02 if inertial else 0.002)
    engine, start = engine_of(problem)
    arrived = lambda block: np.where(np.abs(block.positions).max(axis=(1, 2)) > 2.0, 1, -1)  # noqa: E731
    with pytest.raises(FloatingPointError, match="fly apart"):
        engine.shoot(start, arrived)
    with pytest.raises(FloatingPointError, match="fly apart"):
        engine.generate(start, running=[lambda path, trusted=None: len(path) < 500])
    dynamics = PhaseSlots(problem, 2, Machine(), np.random.default_rng(1))
    dynamics.restart(np.arange(2), np.repeat(problem.positions[None], 2, axis=0))
    with pytest.raises(FloatingPointError, match="fly apart.*steps after the positions in .*broken-shot.*smaller time step"):
        for _ in range(500):
            dynamics.step(2)
            dynamics.positions()
    assert len(list(tmp_path.glob("broken-*.npz"))) == 3


def test_driven_dynamics_that_explodes_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = PathProblem(chain4.problem(timestep=0.02), OFTEN, "Reference")
    with pytest.raises(ValueError, match="dynamics at 375 K broke down before it reached B.*fly apart.*try"):
        hot_path(problem, 1, Silent())


def frames_of(problem, start=None, n_frames=1500):
    engine, usual = engine_of(problem, PathSettings(steps_per_frame=5))
    start = usual if start is None else trajectory_of(frames_at_rest(problem, start[None]), engine)[0]
    engine.current_snapshot = start
    return engine.block(n_frames, start, [])


@pytest.mark.parametrize("temperature", [300.0, 3000.0])
@pytest.mark.parametrize("inertial", [True, False])
def test_hot_dynamics_is_no_explosion(temperature, inertial):
    problem = chain4.problem(inertial=inertial, temperature=temperature, timestep=0.001 if inertial else 1e-4)
    assert len(frames_of(problem)) == 1500


@pytest.mark.parametrize("inertial", [True, False])
def test_a_path_drawn_by_hand_may_relax(inertial):
    """Bonds of thousands of kT at the start, which become heat: less energy than before, and no fault."""
    problem = chain4.problem(inertial=inertial, friction=50, timestep=0.0005 if inertial else 1e-4)
    torn = problem.positions.copy()
    torn[3, 0] += 0.4
    engine, _ = engine_of(problem)
    watch = engine.watch.explosions
    assert watch.suspects(torn[None], None if not inertial else np.zeros((1, 4, 3)), torn[None]).all()
    frames = frames_of(problem, torn)
    assert np.abs(np.linalg.norm(np.diff(frames.positions[-1], axis=0), axis=1) / 0.153 - 1.0).max() < 0.2


def test_what_dissociates_may_go_far():
    """A bond that can break, and a slope without end: no energy comes out of nothing."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(14.0)
    bond = openmm.CustomBondForce("-500*r")
    bond.addBond(0, 1)
    system.addForce(bond)
    states = Range({"x": (-99.0, 0.3)}), Range({"x": (0.5, 99.0)})
    start, where = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]], [Coordinate("x", 0, 0)]
    problem = RareEventSystem.from_openmm(system, start, *states, where, 300, 0.1, 0.002, inertial=True)
    engine, start = engine_of(problem)
    frames = engine.block(1000, start, [])
    assert np.linalg.norm(frames.positions[-1, 1] - frames.positions[-1, 0]) > 5.0
    assert 0.5 * 14.0 * (frames.velocities[-1, 0] ** 2).sum() > 100.0 * problem.kt  # it was looked at


@pytest.mark.parametrize(("timestep", "said"), [(0.001, False), (0.0048, True)])
def test_overdamped_steps_near_the_limit_are_said(timestep, said):
    notes = require_runnable(chain4.problem(inertial=False, friction=50, timestep=timestep), "paths")
    assert [bool(re.search(r"88 % of the stability limit.* 19\d % too wide", note)) for note in notes] == [True] * said


def test_scripts_whose_integrator_tells_no_temperature_notice_explosions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    integrator = openmm.CustomIntegrator(0.02)
    integrator.addComputePerDof("v", "v+0.5*dt*f/m")
    integrator.addComputePerDof("x", "x+dt*v")
    integrator.addComputePerDof("v", "v+0.5*dt*f/m")
    engine = RareEventEngine(Topology(4), chain4.system(), integrator, {}, {"n_steps_per_frame": 10}, "Reference")
    engine.current_snapshot = engine.randomize_velocities(frame_of(engine), 1.0 / 2.494)
    with pytest.raises(FloatingPointError, match="molecules fly apart"):
        for _ in range(20):
            engine.generate_next_frame()


@pytest.mark.parametrize("share", [0.05, 0.27])
def test_a_rate_with_steps_near_the_limit_is_not_called_reliable(share):
    problem = build("double_well_1d")
    limit = step_limit(largest_curvature(problem), problem.friction)
    rate = BruteForceRate(dataclasses.replace(problem, timestep=share * limit), target_error=0.3).run()
    doubts = [sentence for sentence in rate.warnings if "of the stability limit" in sentence]
    assert len(doubts) == (share > 0.2) and not any("stability limit" in note for note in rate.notes)
    assert rate.reliable is (share < 0.2)

"""K3: dynamics with momenta in fewer than three dimensions: the other coordinates never change."""

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")

from openpathsampling.engines.topology import Topology

from openmm_rare import Coordinate, Range, RareEventSystem
from openmm_rare.config.run import load_config
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator, moving_axes
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.snapshots import trajectory_of
from openmm_rare.settings.paths import PathSettings
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.trajectories.connection import frames_at_rest
from openmm_rare.tps.trajectories.file import read_path
from openmm_rare.units import KB
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots
from openmm_rare.workflow.path_sampling import run_path_sampling
from stats import assert_within, mean_and_stderr

TEMPERATURE, FRICTION, TIMESTEP, MASS = 300.0, 3.0, 0.05, 20.0
STIFFNESS = 900.0
"""kJ/mol/nm^2: omega dt = 0.34, at which BAOAB's velocities are visibly too slow, and its positions still exact."""
KT = KB * TEMPERATURE
Z = 0.3


def oscillators(n, num_dimensions):
    """Independent particles on springs, and a force along z that nothing may follow in fewer dimensions."""
    system = openmm.System()
    force = openmm.CustomExternalForce(f"{STIFFNESS / 2}*(x^2+y^2+(z-1)^2)")
    for i in range(n):
        system.addParticle(MASS)
        force.addParticle(i, [])
    system.addForce(force)
    start = np.zeros((n, 3))
    start[:, num_dimensions:] = Z
    states = Range({"x": (-9.0, 0.5)}), Range({"x": (0.6, 9.0)})
    options = {"inertial": True, "num_dimensions": num_dimensions}
    where = [Coordinate("x", 0, 0)]
    return RareEventSystem.from_openmm(system, start, *states, where, TEMPERATURE, FRICTION, TIMESTEP, **options)


def engine_of(problem, steps_per_frame=10):
    engine = make_engine(PathProblem(problem, PathSettings(steps_per_frame=steps_per_frame), "Reference"))
    engine.integrator.setRandomNumberSeed(3)
    return engine, trajectory_of(frames_at_rest(problem, problem.positions[None]), engine)[0]


@pytest.mark.parametrize("num_dimensions", [1, 2, 3])
def test_the_ensemble_is_that_of_the_axes_that_move(num_dimensions):
    n = 300
    engine, start = engine_of(oscillators(n, num_dimensions), 40)
    engine.current_snapshot = start
    frames = engine.block(60, start, [])[10:]
    moving = frames.positions[:, :, : min(num_dimensions, 2)]
    assert_within(*with_truth((moving**2).mean(axis=(0, 2)), KT / STIFFNESS))
    speeds = (frames.velocities[:, :, :num_dimensions] ** 2).mean(axis=(0, 2))
    slower = 1.0 - STIFFNESS / MASS * TIMESTEP**2 / 4.0  # of the splitting, in each direction
    assert_within(*with_truth(speeds, slower * KT / MASS))
    with pytest.raises(AssertionError):  # negative control: a third of the momenta too many or too few
        assert_within(*with_truth(speeds, (1.0 + 1.0 / 3.0) * slower * KT / MASS))
    held = frames.positions[:, :, num_dimensions:]
    assert (held == Z).all() and (frames.velocities[:, :, num_dimensions:] == 0.0).all()


def with_truth(samples, truth):
    mean, error = mean_and_stderr(samples)
    return mean, truth, error


@pytest.mark.parametrize("platform", ["Reference", "CPU"])
def test_it_retraces_its_path_in_a_plane(platform):
    problem = oscillators(5, 2)
    integrator = BAOABLangevinIntegrator(TEMPERATURE, 0.0, 0.01, 2)
    context = openmm.Context(problem.system, integrator, openmm.Platform.getPlatformByName(platform))
    context.setPositions(problem.positions)
    context.setVelocitiesToTemperature(TEMPERATURE, 11)  # along z too, which is gone after a step
    integrator.step(100)
    there = context.getState(positions=True, velocities=True)
    context.setVelocities(-there.getVelocities(asNumpy=True))
    integrator.step(100)
    back = context.getState(positions=True).getPositions(asNumpy=True)._value
    np.testing.assert_allclose(back, problem.positions, atol=1e-9 if platform == "Reference" else 2e-4)


@pytest.mark.parametrize("num_dimensions", [1, 2, 3])
def test_velocities_are_drawn_along_the_axes_that_move(num_dimensions):
    problem = oscillators(200, num_dimensions)
    engine, start = engine_of(problem)
    assert moving_axes(engine.integrator).tolist() == (np.arange(3) < num_dimensions).tolist()
    stored = RareEventEngine.from_dict(engine.to_dict())
    dynamics = PhaseSlots(problem, 1, Machine(), np.random.default_rng(2))
    dynamics.restart(np.arange(1), problem.positions[None])
    state = dynamics.context.getState(velocities=True)
    drawn = [each.randomize_velocities(start).velocities._value for each in (engine, stored)]
    for velocities in (*drawn, state.getVelocities(asNumpy=True)._value):
        assert (velocities[:, num_dimensions:] == 0.0).all()
        assert_within(*with_truth(0.5 * MASS * (velocities**2).sum(axis=1), 0.5 * num_dimensions * KT))
    some = engine.randomize_velocities(start, subset=[0, 1]).velocities._value
    assert some[:2, :num_dimensions].all() and not some[2:].any() and not some[:, num_dimensions:].any()


def test_fresh_shots_stay_in_the_plane():
    problem = oscillators(3, 2)
    dynamics = PhaseSlots(problem, 4, Machine(), np.random.default_rng(2))
    dynamics.restart(np.arange(4), np.repeat(problem.positions[None], 4, axis=0))
    dynamics.step(50)
    positions = dynamics.positions()
    assert (positions[:, :, 2] == Z).all() and np.abs(positions[:, :, :2]).max() > 1e-3


def test_paths_of_lj7_with_momenta_stay_in_the_plane(tmp_path):
    """Case 09."""
    config = tmp_path / "config.toml"
    config.write_text(
        '[system]\nname = "lj7"\ntemperature = "600 K"\ninertial = true\ntimestep = "2 fs"\nfriction = "5 1/ps"\n\n'
        "[path_sampling]\ntrials = 2\ntrials_per_round = 2\nsteps_per_frame = 20\nstorage = false\n"
    )
    assert require_runnable(oscillators(2, 2), "paths") == []
    run_path_sampling(load_config(config), tmp_path / "out")
    seen = 0
    for file in tmp_path.glob("out/chain-0/paths-*.npz"):
        with np.load(file) as archive:
            for name in archive.files:
                if archive[name].ndim == 3:
                    seen += 1
                    assert (archive[name][:, :, 2] == 0.0).all()
    with np.load(tmp_path / "out/shots.npz") as archive:
        points = [archive[name] for name in archive.files if archive[name].shape[1:] == (7, 3)]
    assert points and all((each[:, :, 2] == 0.0).all() for each in points)


def test_the_number_of_dimensions_is_checked():
    with pytest.raises(ValueError, match="num_dimensions = 4; allowed: 1, 2 or 3"):
        BAOABLangevinIntegrator(300, 1, 0.001, 4)
    axes = moving_axes(
        openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(BAOABLangevinIntegrator(300, 1, 0.001, 1)))
    )
    assert axes.tolist() == [True, False, False]
    assert RareEventEngine(
        Topology(2), oscillators(2, 2).system, BAOABLangevinIntegrator(300, 1, 0.001, 2), platform="Reference"
    )


def crossing(problem, n_frames=9):
    """Frames from A to B along x."""
    frames = np.repeat(problem.positions[None], n_frames, axis=0)
    frames[:, 0, 0] += np.linspace(0.45, 0.65, n_frames)
    return frames


def test_a_path_that_leaves_the_plane_is_refused(tmp_path):
    """A shot would keep the plane of the frame that it began from."""
    problem = oscillators(2, 2)
    paths, file = PathProblem(problem, PathSettings(), "Reference"), tmp_path / "path.npz"
    frames = crossing(problem)
    np.savez(file, positions=frames)
    np.testing.assert_allclose(read_path(str(file), paths).positions, frames[2:7], atol=1e-12)
    frames[4, 1, 2] += 0.05
    np.savez(file, positions=frames)
    with pytest.raises(ValueError, match=r"atom 1, which cannot move along z \(num_dimensions = 2\), is 0.05 nm .* frame 4"):
        read_path(str(file), paths)


def test_a_path_in_another_plane_is_moved_and_said(tmp_path):
    problem, said = oscillators(2, 2), []
    np.savez(tmp_path / "path.npz", positions=crossing(problem) + [0.0, 0.0, 0.1])
    found = read_path(str(tmp_path / "path.npz"), PathProblem(problem, PathSettings(), "Reference"), said.append)
    np.testing.assert_array_equal(found.positions[:, :, 2], Z)
    assert said[0].endswith("9 frames were moved as a whole, back to where particles stay that cannot move.")

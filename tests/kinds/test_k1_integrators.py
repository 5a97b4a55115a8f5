"""K1: the integrator of a command does what the System says: constraints, virtual sites, force groups."""

from dataclasses import replace

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")

from openmm import unit
from openpathsampling.engines.openmm import Snapshot
from openpathsampling.engines.topology import Topology

import chain4
from openmm_rare import Coordinate, Range, RareEventSystem
from openmm_rare.config.run import load_config
from openmm_rare.dynamics.checks import examine, require_runnable
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.dynamics.overdamped import OverdampedLangevinIntegrator
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.snapshots import trajectory_of
from openmm_rare.paths.direct_committor import direct_committor
from openmm_rare.settings.paths import PathSettings
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.driven_path import dynamics_in_a
from openmm_rare.tps.trajectories.connection import frames_at_rest
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.phase_slots import PhaseSlots
from openmm_rare.workflow.path_sampling import run_path_sampling

BOND, KEPT = 0.153, 1e-5
EACH_PLATFORM = pytest.mark.parametrize("platform", ["Reference", "CPU"])
EACH_DYNAMICS = pytest.mark.parametrize("inertial", [True, False])
CONSTRAINED = "import chain4\n\ndef build():\n    return chain4.system(True, 8.0), chain4.topology(), chain4.positions()\n"


def worst(positions):
    """The largest relative error of a bond of the chain."""
    return np.abs(np.linalg.norm(np.diff(positions, axis=-2), axis=-1) / BOND - 1.0).max()


def rigid(inertial, **options):
    return chain4.problem(chain4.system(constrain=True), inertial=inertial, friction=5 if inertial else 50, **options)


def frames_of(problem, platform="Reference", n_frames=40):
    engine = make_engine(PathProblem(problem, PathSettings(), platform))
    start = trajectory_of(frames_at_rest(problem, problem.positions[None]), engine)[0]
    engine.current_snapshot = start
    return engine.block(n_frames, start, [])


@EACH_PLATFORM
@EACH_DYNAMICS
def test_rigid_bonds_are_kept_in_every_frame(inertial, platform):
    """Case 01, and with momenta."""
    positions = frames_of(rigid(inertial), platform).positions
    assert worst(positions) < KEPT and worst(positions.astype(np.float32).astype(float)) < KEPT
    assert np.abs(positions[-1] - positions[0]).max() > 1e-3


def test_bonds_that_are_free_are_not_kept():
    assert worst(frames_of(chain4.problem()).positions) > 1e-3  # negative control


def test_accepted_paths_keep_rigid_bonds(tmp_path):
    """Case 01 as a command: the user has left out inertial = true."""
    path = chain4.write(tmp_path, CONSTRAINED, inertial="false", friction='"50 1/ps"', trials="4")
    run_path_sampling(load_config(path), tmp_path / "out")
    with np.load(tmp_path / "out/chain-0/paths-000000.npz") as archive:
        paths = [archive[name] for name in archive.files if archive[name].ndim == 3]
    assert paths
    assert max(worst(path.astype(float)) for path in paths) < KEPT


@EACH_DYNAMICS
def test_fresh_shots_keep_rigid_bonds(inertial):
    dynamics = PhaseSlots(rigid(inertial), 3, Machine(), np.random.default_rng(1))
    dynamics.restart(np.arange(3), np.repeat(chain4.positions()[None], 3, axis=0))
    dynamics.step(50)
    assert worst(dynamics.positions()) < KEPT


def dimer_in_a_plane(inertial, num_dimensions=2):
    system = openmm.System()
    for _ in range(2):
        system.addParticle(10.0)
    system.addConstraint(0, 1, 0.1)
    states = Range({"x": (-9.0, 0.1)}), Range({"x": (0.5, 9.0)})
    options = {"num_dimensions": num_dimensions, "inertial": inertial}
    start = [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]
    return RareEventSystem.from_openmm(system, start, *states, [Coordinate("x", 0, 0)], 300, 5, 0.001, **options)


@EACH_DYNAMICS
@pytest.mark.parametrize("purpose", ["rate", "paths"])
def test_constraints_in_a_plane_are_refused_by_every_command(purpose, inertial):
    with pytest.raises(ValueError, match="1 constraints.*3 dimensions only, and num_dimensions = 2; set it to 3"):
        require_runnable(dimer_in_a_plane(inertial), purpose)
    found = examine(dimer_in_a_plane(inertial, 3), purpose).obstacles
    assert not any("dimensions" in each.fact for each in found)


def test_fresh_shots_pass_the_gate():
    problem = dimer_in_a_plane(True)
    with pytest.raises(ValueError, match="num_dimensions = 2"):
        direct_committor(problem, np.array([[[0.3, 0.0, 0.0], [0.4, 0.0, 0.0]]]), 2, seed=1)


def engine_of(system, integrator, positions, platform="Reference", n_steps=1):
    """As in a script for OpenPathSampling, with a frame at rest."""
    options = {"n_steps_per_frame": n_steps, "n_frames_max": 100}
    engine = RareEventEngine(Topology(len(positions)), system, integrator, options=options, platform=platform)
    return engine, frame_of(engine, positions)


def frame_of(engine, positions):
    still = np.zeros((len(positions), 3)) * unit.nanometer / unit.picosecond
    return Snapshot.construct(np.array(positions) * unit.nanometer, np.eye(3) * unit.nanometer, still, engine=engine)


def generate(engine, frame, n_frames=5):
    return engine.generate(frame, running=[lambda path, trusted=None: len(path) < n_frames])


def test_a_script_whose_integrator_ignores_constraints_is_refused():
    free = OverdampedLangevinIntegrator(300, 50, 0.001)
    engine, frame = engine_of(chain4.system(constrain=True), free, chain4.positions())
    with pytest.raises(ValueError, match="3 constraints, which this Overdamped.* does not apply.*constrained=True"):
        generate(engine, frame)
    with pytest.raises(ValueError, match="3 constraints"):
        engine.shoot(frame, lambda block: np.zeros(len(block), dtype=int))
    kept = OverdampedLangevinIntegrator(300, 50, 0.001, constrained=True)
    assert len(generate(*engine_of(chain4.system(constrain=True), kept, chain4.positions()))) == 5  # negative control


def test_constraints_that_break_on_the_way_name_their_atoms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    integrator = BAOABLangevinIntegrator(300, 5.0, 0.3)
    engine, frame = engine_of(chain4.system(constrain=True), integrator, chain4.positions())
    engine.is_checked = True  # the time step is the fault
    with pytest.raises(FloatingPointError, match=r"between atoms \d and \d of the System is off|NaN|fly apart"):
        generate(engine, engine.randomize_velocities(frame), 50)
    assert list(tmp_path.glob("*-after-*.npz"))


def test_forces_in_a_group_that_is_not_integrated_are_refused():
    system = chain4.system()
    system.getForce(0).setForceGroup(3)
    with pytest.raises(ValueError, match=r"force 0 \(HarmonicBondForce\) is in force group 3.*setForceGroup\(0\)"):
        engine_of(system, OverdampedLangevinIntegrator(300, 50, 1e-4), chain4.positions())
    on_purpose = OverdampedLangevinIntegrator(300, 50, 1e-4)
    on_purpose.setIntegrationForceGroups({0})
    engine_of(system, on_purpose, chain4.positions())
    engine_of(system, BAOABLangevinIntegrator(300, 5, 1e-3), chain4.positions())  # feels all groups


SITE = np.array([[0.1, 0.0, 0.0], [0.3, 0.05, 0.0], [0.24, 0.035, 0.0]])


def with_site():
    """Two atoms on a spring, and between them a virtual site to which all other forces belong, as in TIP4P."""
    system = openmm.System()
    for mass in (10.0, 12.0, 0.0):
        system.addParticle(mass)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.3, 0.7))
    bond = openmm.HarmonicBondForce()
    bond.addBond(0, 1, 0.2, 2e4)
    force = openmm.CustomExternalForce("200*(x^2+2*y^2+3*z^2)+3000*x^4")
    force.addParticle(2, [])
    system.addForce(bond)
    system.addForce(force)
    return system


def problem_with_site(**options):
    states = Range({"x": (-9.0, 0.2)}), Range({"x": (0.5, 9.0)})
    given = {"temperature": 300, "friction": 1.0, "timestep": 0.002, "inertial": True, **options}
    return RareEventSystem.from_openmm(with_site(), SITE, *states, [Coordinate("x", 0, 0)], **given)


@EACH_PLATFORM
def test_forces_on_virtual_sites_belong_to_their_place(platform):
    """OpenMM places them at the end of a step, after the last force of velocity Verlet: energy would come out of nothing."""
    drift = {}
    for sites in (True, False):
        integrator = BAOABLangevinIntegrator(300, 0.0, 0.002, virtual_sites=sites)
        context = openmm.Context(with_site(), integrator, openmm.Platform.getPlatformByName(platform))
        context.setPositions(SITE)
        velocities = np.random.default_rng(1).normal(size=(3, 3)) * [[5.0], [5.0], [0.0]]
        context.setVelocities(velocities)
        before = energy(context)
        integrator.step(1000)
        drift[sites] = abs(energy(context) - before)
        if sites:
            context.setVelocities(-context.getState(velocities=True).getVelocities(asNumpy=True)._value)
            integrator.step(1000)
            back = context.getState(positions=True).getPositions(asNumpy=True)._value
            np.testing.assert_allclose(back, SITE, atol=1e-6)
    assert drift[True] < 2.0 < 20.0 < drift[False]  # kJ/mol; the latter is the negative control


def energy(context):
    state = context.getState(energy=True)
    return (state.getPotentialEnergy() + state.getKineticEnergy()).value_in_unit(unit.kilojoule_per_mole)


def test_commands_and_fresh_shots_place_virtual_sites():
    frames = frames_of(problem_with_site())
    sites = 0.3 * frames.positions[:, 0] + 0.7 * frames.positions[:, 1]
    np.testing.assert_allclose(frames.positions[:, 2], sites, atol=1e-12)
    dynamics = PhaseSlots(problem_with_site(), 1, Machine(), np.random.default_rng(1))
    assert dynamics.integrator.getGlobalVariableByName("openmm_rare_half") == 0
    assert require_runnable(problem_with_site(), "paths") == []


def test_overdamped_dynamics_places_virtual_sites_too():
    frames = frames_of(problem_with_site(inertial=False, friction=20.0, timestep=1e-3))
    sites = 0.3 * frames.positions[:, 0] + 0.7 * frames.positions[:, 1]
    np.testing.assert_allclose(frames.positions[:, 2], sites, atol=1e-12)


def test_scripts_with_virtual_sites_need_the_integrator_for_them():
    with pytest.raises(ValueError, match="virtual sites, which OpenMM places after the last force.*virtual_sites=True"):
        engine_of(with_site(), BAOABLangevinIntegrator(300, 1.0, 0.002), SITE)
    engine_of(with_site(), BAOABLangevinIntegrator(300, 1.0, 0.002, virtual_sites=True), SITE)
    engine_of(with_site(), OverdampedLangevinIntegrator(300, 20.0, 0.001), SITE)


def test_a_stored_engine_makes_whole_steps():
    """What XML keeps of an integrator is no BAOABLangevinIntegrator any more, which counts two steps of OpenMM as one."""
    engine, frame = engine_of(with_site(), BAOABLangevinIntegrator(1e-20, 1.0, 0.002, virtual_sites=True), SITE, n_steps=5)
    stored = RareEventEngine.from_dict(engine.to_dict())
    assert type(stored.integrator) is openmm.CustomIntegrator
    ends = [generate(each, frame_of(each, SITE), 4)[-1].coordinates._value for each in (engine, stored)]
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-12)
    assert np.abs(ends[0] - SITE).max() > 1e-3


def test_constraints_of_particles_without_mass_are_named():
    """OpenMM cannot keep them, and says so of none in particular, when it makes a Context."""
    system = chain4.system(constrain=True)
    system.setParticleMass(0, 0.0)
    with pytest.raises(ValueError, match="1 constraints of particles without mass, such as that between atoms 0 and 1; remove"):
        require_runnable(chain4.problem(system), "paths")
    system.removeConstraint(0)
    require_runnable(chain4.problem(system), "paths")


@pytest.mark.parametrize("off", [0.002, 0.1])
def test_constraints_that_a_structure_breaks_are_put_right_before_dynamics(off):
    """Without that, dynamics begins with a kick and is taken for an explosion."""
    positions = chain4.positions()
    positions[3] += off * np.array([1.0, 0.0, 0.0])
    problem = replace(chain4.problem(chain4.system(constrain=True)), positions=positions)
    notes = require_runnable(problem, "paths")
    assert [note.startswith("The initial structure is strained: 1 of 3") for note in notes] == [True] * (off > 0.03)
    frames = dynamics_in_a(PathProblem(problem, PathSettings(steps_per_frame=1), "Reference"), 1, 20)
    assert np.abs(np.linalg.norm(np.diff(frames.positions, axis=1), axis=2) - 0.153).max() < 1e-5

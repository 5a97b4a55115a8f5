"""K2: forces that need an integrator, a temperature or a box of their own are refused by name, or said."""

import json
from dataclasses import replace

import numpy as np
import openmm
import pytest

pytest.importorskip("openpathsampling")

from click.testing import CliRunner
from openmm import app, unit
from openpathsampling.engines.topology import Topology

import chain4
from openmm_rare.cli.main import main
from openmm_rare.dynamics.biased_langevin import BiasedLangevinIntegrator
from openmm_rare.dynamics.checks import examine, require_runnable
from openmm_rare.dynamics.copies.replication import fits_in_slots
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.dynamics.overdamped import BiasedOverdampedLangevinIntegrator, OverdampedLangevinIntegrator
from openmm_rare.io.tasks import Silent
from openmm_rare.ops.engine import RareEventEngine
from openmm_rare.ops.snapshots import trajectory_of
from openmm_rare.settings.paths import PathSettings
from openmm_rare.structure.parameter_names import VARIABLES
from openmm_rare.structure.special_forces import special_forces
from openmm_rare.tps.chains.chain import make_engine
from openmm_rare.tps.chains.task import PathProblem
from openmm_rare.tps.first_paths.driven_path import hot_path
from openmm_rare.tps.trajectories.connection import frames_at_rest

BAROSTATS = [
    lambda t=300: openmm.MonteCarloBarostat(1.0, t),
    lambda t=300: openmm.MonteCarloAnisotropicBarostat(openmm.Vec3(1, 1, 1), t),
    lambda t=300: openmm.MonteCarloMembraneBarostat(
        1.0, 0.0, t, openmm.MonteCarloMembraneBarostat.XYIsotropic, openmm.MonteCarloMembraneBarostat.ZFree
    ),
    lambda t=300: openmm.MonteCarloFlexibleBarostat(1.0, t),
]
EACH_BAROSTAT = pytest.mark.parametrize("barostat", BAROSTATS)
EACH_DYNAMICS = pytest.mark.parametrize("inertial", [True, False])


def andersen():
    return openmm.AndersenThermostat(600.0, 20.0)


def drude():
    force = openmm.DrudeForce()
    force.addParticle(1, 0, -1, -1, -1, -1.2, 0.001, 1, 1)
    return force


def inside(force):
    """A collective variable as a force with the other one in it."""
    outer = openmm.CustomCVForce("0*q")
    outer.addCollectiveVariable("q", force)
    return outer


def inside_alchemy(force):
    outer = openmm.ATMForce(0.0, 0.0, 0.0, 0.0, 0.0, 100.0, 50.0, 0.06, 1.0)
    outer.addForce(force)
    for _ in range(4):
        outer.addParticle(openmm.Vec3(0, 0, 0))
    return outer


def with_force(force, inertial=True, box=None):
    system = chain4.system(box=box)
    system.addForce(force)
    return chain4.problem(system, inertial=inertial, timestep=1e-3 if inertial else 1e-5)


@EACH_DYNAMICS
@pytest.mark.parametrize(
    ("force", "message"),
    [
        (
            andersen,
            r"force 3 \(AndersenThermostat\) is a second thermostat, at 600 K; the integrator is the thermostat: remove",
        ),
        (drude, r"force 3 \(DrudeForce\): Drude oscillators need a thermostat of their own near 1 K"),
        (lambda: inside(andersen()), r"force 3 \(AndersenThermostat in CustomCVForce\) is a second thermostat"),
        (lambda: inside_alchemy(drude()), r"force 3 \(DrudeForce in ATMForce\)"),
        (lambda: inside(inside(andersen())), r"AndersenThermostat in CustomCVForce"),
        (openmm.RPMDMonteCarloBarostat, "RPMDIntegrator only"),
    ],
)
def test_what_needs_an_integrator_of_its_own_is_refused(force, message, inertial):
    """Cases 03 and 05, and where such a force hides in another."""
    made = force(1.0) if force is openmm.RPMDMonteCarloBarostat else force()
    with pytest.raises(ValueError, match=message):
        require_runnable(with_force(made, inertial), "paths")


@EACH_DYNAMICS
@EACH_BAROSTAT
def test_barostats_are_refused_with_the_way_out(barostat, inertial):
    problem = with_force(barostat(), inertial, box=3.0)
    with pytest.raises(ValueError, match=r"changes the box, but states.*setDefaultPeriodicBoxVectors, and remove the barostat"):
        require_runnable(problem, "paths")
    with pytest.raises(ValueError, match="barostat"):
        require_runnable(problem, "rate")


def parametrized(name):
    force = openmm.CustomExternalForce(f"{name}*0.5*(x^2)" if name != "x" else "0")
    force.addGlobalParameter(name, 1.0)
    force.addParticle(0, [])
    return force


@EACH_DYNAMICS
@pytest.mark.parametrize("name", ["dt", "m", "f0", "kT", "strength"])
def test_parameters_that_an_integrator_would_take_for_its_own_are_refused(name, inertial):
    """OpenMM sets ``dt`` to the time step, and takes ``m`` for the mass on OpenCL, without a word; ``kT`` it refuses late."""
    for made in (parametrized(name), inside(parametrized(name))) if inertial else (parametrized(name),):
        problem = with_force(made, inertial)
        for purpose in ("paths", "rate"):
            with pytest.raises(
                ValueError, match=f"global parameter '{name}', .* give it another name, such as '{name}_of_force'"
            ):
                require_runnable(problem, purpose)
    programmed = openmm.PythonForce(python_force, {name: 1.0})
    with pytest.raises(ValueError, match=f"PythonForce.* has a global parameter '{name}'"):
        require_runnable(with_force(programmed, True), "paths")


def test_other_parameters_are_welcome():
    for name in ("k", "lambda", "mass", "f_of_force", "energy_scale"):
        require_runnable(with_force(parametrized(name), True), "rate")
    problem, reference = with_force(parametrized("dt")), openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(problem.system, BAOABLangevinIntegrator(300, 1, 0.001), reference)
    context.setPositions(problem.positions)
    context.getIntegrator().step(1)
    assert context.getParameter("dt") == 0.001  # what it stands for
    with pytest.raises(ValueError, match="has a global parameter 'dt'"):
        script(parametrized("dt"), BAOABLangevinIntegrator(300, 5, 0.001), box=None)


def test_all_variables_of_the_integrators_are_known():
    """A new one must be refused as the name of a parameter, too."""
    dynamics, found = (300.0, 1.0, 0.001), set()
    for made in (
        BAOABLangevinIntegrator(*dynamics, num_dimensions=2, virtual_sites=True),
        BiasedLangevinIntegrator(*dynamics, virtual_sites=True),
        OverdampedLangevinIntegrator(*dynamics, constrained=True),
        BiasedOverdampedLangevinIntegrator(*dynamics, bias_group=1, mask_group=2, constrained=True),
        BiasedOverdampedLangevinIntegrator(*dynamics, num_dimensions=2, bias_group=1),
    ):
        found |= {made.getGlobalVariableName(i) for i in range(made.getNumGlobalVariables())}
        found |= {made.getPerDofVariableName(i) for i in range(made.getNumPerDofVariables())}
    assert found == VARIABLES


def test_all_forces_are_named_at_once():
    problem = with_force(andersen(), box=3.0)
    problem.system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    with pytest.raises(ValueError, match=r"2 things stand in the way of sampling paths of user: \(1\).*second.*; \(2\).*box"):
        require_runnable(problem, "paths")


def test_every_force_of_openmm_has_been_decided():
    """A new version of OpenMM with another force that acts on heat or box fails here."""
    kinds = {name for name, kind in vars(openmm).items() if isinstance(kind, type) and issubclass(kind, openmm.Force)}
    words = ("Barostat", "Thermostat", "Drude", "Remover")
    assert {name for name in kinds if any(word in name for word in words)} == {
        "AndersenThermostat",
        "CMMotionRemover",
        "DrudeForce",
        "MonteCarloAnisotropicBarostat",
        "MonteCarloBarostat",
        "MonteCarloFlexibleBarostat",
        "MonteCarloMembraneBarostat",
        "RPMDMonteCarloBarostat",
    }


def python_force(state):
    return 0.0, np.zeros((4, 3))


@pytest.mark.parametrize(
    "force", [lambda: inside(openmm.HarmonicBondForce()), lambda: openmm.PythonForce(python_force), openmm.GBSAOBCForce]
)
def test_forces_that_only_push_are_welcome(force):
    made = force()
    if isinstance(made, openmm.GBSAOBCForce):
        for _ in range(4):
            made.addParticle(0.0, 0.15, 0.8)
    assert require_runnable(with_force(made), "paths") == []


COMMANDS = {
    "tps": ["--out", "out"],
    "path": ["--out", "first.npz"],
    "rate": ["--out", "rate"],
    "scan": ["--out", "scan", "--temperature", "400 K"],
}
CODE = (
    "import chain4, openmm\n\ndef build():\n    made = chain4.system()\n    made.addForce({})\n"
    "    return made, chain4.topology(), chain4.positions()\n"
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_it_before_anything_is_written(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chain4.write(tmp_path, CODE.format("openmm.AndersenThermostat(600.0, 20.0)"))
    before = set(tmp_path.iterdir())
    done = CliRunner().invoke(main, [command, "config.toml", *COMMANDS[command]])
    assert done.exit_code == 2 and "Thermostat" in done.output and "integrator is the thermostat" in done.output
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"__pycache__"}


def test_a_remover_of_motion_is_said_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chain4.write(tmp_path, CODE.format("openmm.CMMotionRemover()"), trials="5")
    sentence = "CMMotionRemover keeps the center of mass at rest: 3 degrees of freedom less."
    done = CliRunner().invoke(main, ["path", "config.toml", "--out", "first.npz"], catch_exceptions=False)
    assert done.exit_code == 0 and f"Note: {sentence}" in done.output
    options = ["--initial-path", "first.npz", "--out", "out"]
    done = CliRunner().invoke(main, ["tps", "config.toml", *options], catch_exceptions=False)
    assert done.exit_code == 0 and f"Note: {sentence}" in done.output
    assert json.loads((tmp_path / "out/result.json").read_text())["notes"] == [sentence]
    assert sentence in (tmp_path / "out/report.html").read_text()


def test_a_remover_does_nothing_in_overdamped_dynamics():
    (note,) = require_runnable(with_force(openmm.CMMotionRemover(), inertial=False), "paths")
    assert "does nothing" in note
    assert require_runnable(chain4.problem(), "paths") == []


def test_particles_without_mass_are_said():
    system = chain4.system()
    system.setParticleMass(2, 0.0)
    (note,) = examine(chain4.problem(system), "paths").notes
    assert note == "Particles [2] have no mass and stay where they are."


def script(force, integrator, box=3.0):
    system = chain4.system(box=box)
    system.addForce(force)
    return RareEventEngine(Topology(4), system, integrator, platform="Reference")


@EACH_BAROSTAT
def test_scripts_may_have_a_barostat_of_the_same_temperature(barostat):
    """Their own variables see the box of every frame."""
    script(barostat(300), BAOABLangevinIntegrator(300, 5, 0.001))
    with pytest.raises(ValueError, match=r"acts at 310 K, the integrator at 300 K; call its setDefaultTemperature\(300\)"):
        script(barostat(310), BAOABLangevinIntegrator(300, 5, 0.001))
    with pytest.raises(ValueError, match="would have no effect: this OverdampedLangevinIntegrator never updates"):
        script(barostat(300), OverdampedLangevinIntegrator(300, 5, 1e-5))
    script(barostat(300), openmm.BrownianIntegrator(300, 5, 1e-5))


@pytest.mark.parametrize("force", [andersen, drude])
def test_scripts_are_refused_the_rest(force):
    with pytest.raises(ValueError, match="second thermostat|Drude"):
        script(force(), BAOABLangevinIntegrator(600, 5, 0.001), box=None)


@pytest.mark.parametrize(
    "integrator",
    [
        openmm.DrudeLangevinIntegrator(300, 1, 1, 20, 0.001),
        openmm.DrudeSCFIntegrator(0.001),
        openmm.RPMDIntegrator(2, 300, 1, 0.001),
        openmm.AMDIntegrator(0.001, 1.0, 1.0),
    ],
)
def test_integrators_of_another_physics_are_refused(integrator):
    with pytest.raises(ValueError, match="leapfrog|use one of velocity-Verlet type"):
        RareEventEngine(Topology(4), chain4.system(), integrator, platform="Reference")


def test_hot_dynamics_is_as_hot_as_it_says():
    """With no second thermostat left, the temperature is that of the integrator."""
    hot = chain4.problem().with_temperature(600)
    engine = make_engine(PathProblem(hot, PathSettings(), "Reference"))
    assert engine.integrator.getGlobalVariableByName("kT") == pytest.approx(hot.kt)
    with pytest.raises(ValueError, match="second thermostat"):
        hot_path(PathProblem(with_force(andersen()), PathSettings(), "Reference"), 1, Silent())


def solvated(n_water=40):
    """An ion in rigid water with sites, a cutoff and a remover of motion: what nobody can copy."""
    system, top = openmm.System(), app.Topology()
    pairs = openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setCutoffDistance(0.6)
    masses, positions = [23.0], [[0.0, 0.0, 0.0]]
    for i in range(n_water):
        place = np.array([0.4 * (i % 4 + 1), 0.4 * (i // 4 % 4 + 1), 0.4 * (i // 16 + 1)])
        masses += [16.0, 1.0, 1.0, 0.0]
        positions += [place + shift for shift in ([0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0], [0.015, 0.012, 0.0])]
    for mass in masses:
        system.addParticle(mass)
        pairs.addParticle(0.0, 0.3, 0.0)
    for first in range(1, len(masses), 4):
        system.addConstraint(first, first + 1, 0.0957)
        system.setVirtualSite(first + 3, openmm.ThreeParticleAverageSite(first, first + 1, first + 2, 0.6, 0.2, 0.2))
    system.setDefaultPeriodicBoxVectors([2.4, 0, 0], [0, 2.4, 0], [0, 0, 2.4])
    restraint = openmm.CustomExternalForce("10*periodicdistance(x,y,z,0,0,0)^2")
    restraint.addParticle(0, [])
    for force in (pairs, restraint, openmm.CMMotionRemover()):
        system.addForce(force)
    return system, top, np.array(positions)


def test_a_solvated_system_may_have_a_rate_in_a_fixed_box():
    """What could not be copied moves one walker at a time."""
    from openmm_rare import Coordinate, Range, RareEventSystem

    system, _, positions = solvated()
    states = Range({"x": (-9.0, 0.3)}), Range({"x": (0.5, 9.0)})
    options = {"inertial": True, "name": "nacl"}
    where = [Coordinate("x", 0, 0)]
    problem = RareEventSystem.from_openmm(system, positions, *states, where, 300, 1, 0.002, **options)
    assert not fits_in_slots(problem) and [str(each) for each in special_forces(system)] == []
    for purpose in ("rate", "paths"):
        (note,) = require_runnable(problem, purpose)
        assert note.startswith("CMMotionRemover keeps the center of mass at rest")
    overdamped = replace(problem, inertial=False, friction=100.0, timestep=1e-5)
    assert require_runnable(overdamped, "rate")[0].startswith("CMMotionRemover does nothing")
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))  # negative control
    for each in (problem, overdamped):
        with pytest.raises(ValueError, match=r"changes the box, but states.*and remove the barostat$"):
            require_runnable(each, "rate")


@pytest.mark.parametrize("purpose", ["rate", "paths"])
def test_a_time_step_beyond_vibrations_is_refused_with_momenta(purpose):
    """As with heavy hydrogens that somebody forgot."""
    assert require_runnable(chain4.problem(), purpose) == []
    with pytest.raises(ValueError, match="the fastest vibration at the initial structure grows with every step; use"):
        require_runnable(chain4.problem(timestep=0.02), purpose)


def test_a_small_system_hears_its_cures():
    problem = chain4.problem(chain4.system(box=3.0), inertial=False, timestep=1e-5)
    with pytest.raises(ValueError, match=r"force 3 \(NonbondedForce .*periodic boundary conditions; build .*NoCutoff"):
        require_runnable(problem, "rate")
    restraint = openmm.CustomExternalForce("periodicdistance(x,y,z,0,0,0)^2")
    problem = chain4.problem(chain4.system(), inertial=False, timestep=1e-5)
    problem.system.addForce(restraint)
    with pytest.raises(ValueError, match=r"periodic boundary conditions; write its energy without periodicdistance$"):
        require_runnable(problem, "rate")
    assert unit.is_quantity(problem.system.getParticleMass(0))


def test_the_command_line_of_openpathsampling_passes_the_gate(tmp_path):
    from openmm_rare.tps.ops_cli import configured_engine, engine_of_files

    with pytest.raises(ValueError, match="changes the box"):
        code = CODE.format("openmm.MonteCarloBarostat(1.0, 300.0)").replace("system()", "system(box=3.0)")
        configured_engine(str(chain4.write(tmp_path, code)))
    with pytest.raises(ValueError, match="second thermostat"):
        system = chain4.system()
        system.addForce(andersen())
        engine_of_files(Topology(4), system, BAOABLangevinIntegrator(300, 5, 0.001), 10, 100, "Reference")


def test_what_a_storage_holds_can_be_read_but_not_run():
    system = chain4.system()
    system.addForce(andersen())
    old = RareEventEngine(Topology(4), system, BAOABLangevinIntegrator(300, 5, 0.001), platform="Reference", check=False)
    stored = RareEventEngine.from_dict(old.to_dict())
    problem = chain4.problem()
    start = trajectory_of(frames_at_rest(problem, problem.positions[None]), stored)[0]
    with pytest.raises(ValueError, match="second thermostat"):
        stored.generate(start, running=[lambda path, trusted=None: len(path) < 3])
    with pytest.raises(ValueError, match="second thermostat"):
        stored.shoot(start, lambda block: np.zeros(len(block), dtype=int))


def verlet(timestep=0.001):
    """Velocity Verlet of nobody's package: no thermostat, and no temperature that it could tell."""
    made = openmm.CustomIntegrator(timestep)
    made.addUpdateContextState()
    made.addComputePerDof("v", "v+0.5*dt*f/m")
    made.addComputePerDof("x", "x+dt*v")
    made.addComputePerDof("v", "v+0.5*dt*f/m")
    return made


def test_the_only_thermostat_is_welcome_in_scripts():
    script(andersen(), verlet(), box=None)
    script(andersen(), BAOABLangevinIntegrator(600, 0, 0.001), box=None)
    with pytest.raises(ValueError, match="acts at 600 K, the integrator at 300 K"):
        script(andersen(), BAOABLangevinIntegrator(300, 0, 0.001), box=None)

"""Alanine dipeptide: the system is what it says, its shipped structures fit, and its dynamics is right."""

import importlib.util
from pathlib import Path

import numpy as np
import openmm
import pytest
from click.testing import CliRunner
from openmm import unit

from openmm_rare import BruteForceRate, ImportanceSamplingRate
from openmm_rare.cli.main import main
from openmm_rare.committor.fitting import require_fitting
from openmm_rare.committor.load import load_committor
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.states.states import IN_A, IN_B, NEITHER
from openmm_rare.structure.constraints import KeptDistances
from openmm_rare.systems import alanine_dipeptide, build
from openmm_rare.units import KB
from openmm_rare.walkers.machine import Machine
from stats import assert_within, mean_and_stderr

EXAMPLE = Path(__file__).parents[2] / "examples" / "alanine_dipeptide"
N_CONSTRAINTS = 12 + 3 * 543  # bonds to hydrogen of the molecule; rigid water


@pytest.fixture(scope="module")
def target():
    return build("alanine_dipeptide")


@pytest.fixture(scope="module")
def path():
    return alanine_dipeptide.initial_path()


def context_of(target, integrator, platform="CPU"):
    context = Machine(platform, threads=1).context(target.system, integrator)
    context.setPositions(target.positions)
    return context


def test_the_system_is_the_published_one(target):
    system = target.system
    assert system.getNumParticles() == len(target.positions) == target.topology.getNumAtoms() == 1651
    assert system.getNumConstraints() == N_CONSTRAINTS
    assert sum(residue.name == "HOH" for residue in target.topology.residues()) == 543
    np.testing.assert_allclose(
        [vector.value_in_unit(unit.nanometer) for vector in system.getDefaultPeriodicBoxVectors()], np.eye(3) * 2.61
    )
    forces = {force.getName(): force for force in system.getForces()}
    nonbonded = forces["NonbondedForce"]
    assert nonbonded.getNonbondedMethod() == openmm.NonbondedForce.PME
    assert nonbonded.getCutoffDistance()._value == 1.0 and nonbonded.getEwaldErrorTolerance() == 5e-4
    assert "CMMotionRemover" not in forces
    charge = sum(nonbonded.getParticleParameters(i)[0]._value for i in range(1651))
    assert charge == pytest.approx(0.0, abs=1e-4)
    assert (target.temperature, target.friction, target.timestep, target.inertial) == (300.0, 1.0, 0.002, True)


def test_the_states_are_the_published_ones(target):
    """In degrees: phi from -180 to 0, psi from 120 to 200 in A and from -50 to 30 in B."""
    grid = np.array(
        [(phi, psi) for phi in (-170.0, -10.0, 10.0) for psi in (110.0, 130.0, -170.0, -150.0, -60.0, -40.0, 20.0, 40.0)]
    )
    inside = [
        state.contains(np.empty((len(grid), 0, 3)), np.radians(grid), target.states.variables)
        for state in (target.states.a, target.states.b)
    ]
    left = grid[:, 0] < 0.0
    np.testing.assert_array_equal(inside[0], left & np.isin(grid[:, 1], (130.0, -170.0)))
    np.testing.assert_array_equal(inside[1], left & np.isin(grid[:, 1], (-40.0, 20.0)))


def test_the_shipped_structure_is_sound(target):
    assert target.states.classify(target.positions[None])[0] == IN_A
    KeptDistances(target.system, target.name, target.timestep).require(target.positions[None])
    context = context_of(target, openmm.VerletIntegrator(0.001), "Reference")
    state = context.getState(energy=True, forces=True)
    per_water = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / 543
    assert -45.0 < per_water < -35.0  # liquid water
    assert np.isfinite(state.getForces(asNumpy=True)._value).all()
    n, ca, cb, c = target.positions[[6, 8, 10, 14]]
    assert np.dot(np.cross(n - ca, c - ca), cb - ca) > 0.0  # L-alanine


def test_the_shipped_path_goes_from_a_to_b(target, path):
    assert path.shape[1:] == (1651, 3) and 5 < len(path) <= 60
    status = target.states.classify(path)
    assert status[0] == IN_A and status[-1] == IN_B and (status[1:-1] == NEITHER).all()
    step = np.linalg.norm(np.diff(path, axis=0), axis=2)
    assert 0.0 < step.max() < 0.3  # nm in 20 fs: no atom jumps, not even to its periodic image
    KeptDistances(target.system, target.name, target.timestep).require(path)
    with np.load(alanine_dipeptide.INITIAL_PATH) as archive:
        assert archive["positions"].dtype == np.float32
    assert alanine_dipeptide.INITIAL_PATH.stat().st_size < 1e6
    assert sum(file.stat().st_size for file in alanine_dipeptide.STRUCTURE.parent.iterdir()) < 4e6


def test_angles_are_those_of_mdtraj(target, path):
    md = pytest.importorskip("mdtraj", reason="mdtraj comes with the extra ops")
    trajectory = md.Trajectory(path, md.Topology.from_openmm(target.topology))
    found = [compute(trajectory) for compute in (md.compute_phi, md.compute_psi)]
    assert [tuple(atoms[0]) for atoms, _ in found] == [alanine_dipeptide.PHI, alanine_dipeptide.PSI]
    np.testing.assert_allclose(np.hstack([angles for _, angles in found]), target.states.variables(path), atol=1e-5)


def test_the_molecule_that_the_script_starts_from(target):
    """Built from internal coordinates: L-alanine in A, with bonds near those of the force field."""
    script = Path(__file__).parents[2] / "examples" / "alanine_dipeptide" / "build.py"
    spec = importlib.util.spec_from_file_location("build_alanine", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    start = module.solute()
    np.testing.assert_allclose(np.degrees(target.states.variables(start[None])), [[-80.0, 150.0]], atol=1e-6)
    assert np.dot(np.cross(start[6] - start[8], start[14] - start[8]), start[10] - start[8]) > 0.0
    bonds = np.array(target.descriptor_spec()["bonds"])
    made, shipped = (np.linalg.norm(np.diff(x[bonds], axis=1)[:, 0], axis=1) for x in (start, target.positions))
    np.testing.assert_allclose(made, shipped, atol=0.012)
    apart = np.linalg.norm(start[:, None] - start, axis=2)[np.triu_indices(22, 1)]
    assert apart.min() > 0.09


def test_the_molecule_alone(target):
    alone = build("alanine_dipeptide", solvent="none")
    assert alone.system.getNumParticles() == 22 and alone.system.getNumConstraints() == 12
    assert not alone.system.usesPeriodicBoundaryConditions()
    np.testing.assert_array_equal(alone.positions, target.positions[:22])
    assert alone.fingerprint() != target.fingerprint()
    with pytest.raises(ValueError, match='solvent = \'oil\' must be "water" or "none"'):
        build("alanine_dipeptide", solvent="oil")


VARIANTS = [
    {"transition": "phi"},
    {"solvent": "none", "transition": "phi", "temperature": 700.0},
    {"hydrogen_mass": "3 amu"},
    {"solvent": "none", "transition": "phi", "hydrogen_mass": 3.0},
    {"inputs": "solvent"},
]


@pytest.mark.parametrize("options", [{}, *VARIANTS], ids=str)
def test_every_variant_starts_in_its_a_and_moves(options):
    """Twenty steps keep the bonds; steps are 2 fs, or 4 with heavy hydrogens, and states are tested every 20 fs."""
    target = build("alanine_dipeptide", **options)
    assert target.states.classify(target.positions[None])[0] == IN_A
    assert target.temperature == options.get("temperature", 300.0)
    assert target.timestep == (0.004 if "hydrogen_mass" in options else 0.002)
    assert target.timestep * target.check_interval == pytest.approx(0.02)
    kept = KeptDistances(target.system, target.name, target.timestep)
    kept.require(target.positions[None])
    integrator = BAOABLangevinIntegrator(target.temperature, target.friction, target.timestep)
    integrator.setRandomNumberSeed(1)
    context = context_of(target, integrator, "CPU" if len(target.positions) > 22 else "Reference")
    context.setVelocitiesToTemperature(target.temperature, 2)
    integrator.step(20)
    state = context.getState(positions=True, energy=True)
    kept.require(state.getPositions(asNumpy=True)._value[None])
    assert np.isfinite(state.getPotentialEnergy()._value)


def test_heavy_hydrogens_take_their_mass_from_what_they_are_bound_to(target):
    heavy = build("alanine_dipeptide", hydrogen_mass=3)
    mass, before = (np.array([each.system.getParticleMass(i)._value for i in range(1651)]) for each in (heavy, target))
    hydrogens = [atom.index for atom in target.topology.atoms() if atom.element.symbol == "H" and atom.index < 22]
    np.testing.assert_allclose(mass[hydrogens], 3.0)
    assert mass.sum() == pytest.approx(before.sum()) and mass.min() > 1.0
    np.testing.assert_array_equal(mass[22:], before[22:])  # rigid water
    assert heavy.fingerprint() != target.fingerprint()


def test_where_phi_turns():
    """In degrees, from negative phi, -180 included, to positive ones; without water from C7eq to C7ax."""
    grid = np.array([(phi, psi) for phi in (-170.0, 170.0, -80.0, -30.0, 30.0, 60.0, 130.0) for psi in (-40.0, 70.0, 160.0)])

    def status(**options):
        states = build("alanine_dipeptide", transition="phi", **options).states
        inside = [region.contains(np.empty((21, 0, 3)), np.radians(grid), states.variables) for region in (states.a, states.b)]
        return (inside[0] * IN_A + inside[1] * IN_B + (~inside[0] & ~inside[1]) * NEITHER).reshape(7, 3)

    expected = np.repeat([[IN_A], [IN_A], [IN_A], [NEITHER], [NEITHER], [IN_B], [NEITHER]], 3, axis=1)
    np.testing.assert_array_equal(status(), expected)
    dry = np.full((7, 3), NEITHER)
    dry[2, 1], dry[5, 0] = IN_A, IN_B
    np.testing.assert_array_equal(status(solvent="none"), dry)
    states = build("alanine_dipeptide").states, build("alanine_dipeptide", transition="phi").states
    assert states[0].describe() != states[1].describe()
    assert build("alanine_dipeptide", transition="phi").initial_path is None


def test_the_committor_of_the_example_is_that_of_its_configuration():
    config = load_config(EXAMPLE / "rate.toml")
    target = build_system(config)
    require_fitting(load_committor(EXAMPLE / "committor.npz"), target)
    with pytest.raises(ValueError, match="states are tested every|another system"):  # negative control: steps of 2 fs
        require_fitting(load_committor(EXAMPLE / "committor.npz"), build("alanine_dipeptide"))


def test_the_water_is_an_input_where_that_is_asked_for(target):
    wet = build("alanine_dipeptide", inputs="solvent")
    assert build_descriptor(wet.descriptor_spec(), 1651).n_features == 1507
    assert build_descriptor(target.descriptor_spec(), 1651).n_features == 55
    assert wet.fingerprint() == target.fingerprint()  # the same states and dynamics
    config = parse_config('[system]\nname = "alanine_dipeptide"\nparameters = { inputs = "solvent" }', ".")
    again = build_system(parse_config(config.expanded(build_system(config)).to_toml(), "."))
    assert again.descriptor_spec() == wet.descriptor_spec()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transition": "omega"}, 'transition = \'omega\' must be "psi" or "phi"'),
        ({"inputs": "all"}, 'inputs = \'all\' must be "solute" or "solvent"'),
        ({"inputs": "solvent", "solvent": "none"}, 'inputs = "solvent" needs a solvent'),
        ({"hydrogen_mass": 12}, "hydrogen_mass = 12 amu must be 3 to 4, for steps of 4 fs, or left out, for 2 fs"),
    ],
)
def test_what_there_is_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("alanine_dipeptide", **options)


def test_a_rate_needs_a_model_of_its_paths_or_is_counted(target, tmp_path):
    with pytest.raises(ValueError, match="no committor is learned on the way to a rate of alanine_dipeptide"):
        ImportanceSamplingRate(target)
    assert BruteForceRate(target, machine="CPU").notes == ()
    result = CliRunner().invoke(main, ["rate", "alanine_dipeptide", "--out", str(tmp_path / "run")])
    assert result.exit_code == 2 and "first run openmm-rare tps, and give its model.npz with --model" in result.output
    assert not (tmp_path / "run").exists()


def test_the_dynamics_retraces_its_path_without_friction(target):
    """Turned round in the middle, velocity Verlet with constraints and PME comes back; a leapfrog does not."""
    distances = {}
    for name, integrator in (
        ("own", BAOABLangevinIntegrator(300.0, 0.0, 0.002)),
        ("leapfrog", openmm.VerletIntegrator(0.002)),
    ):
        integrator.setConstraintTolerance(1e-8)
        context = context_of(target, integrator)
        context.setVelocitiesToTemperature(300.0, 3)
        integrator.step(20)
        state = context.getState(velocities=True)
        context.setVelocities(-state.getVelocities(asNumpy=True)._value)
        integrator.step(20)
        back = context.getState(positions=True).getPositions(asNumpy=True)._value
        distances[name] = np.abs(back - target.positions).max()
    assert distances["own"] < 2e-5
    assert distances["leapfrog"] > 2e-4  # negative control


@pytest.mark.slow
def test_temperature_and_constraints_of_the_dynamics(target):
    """Every 0.5 ps for 30 ps: 2 KE = (3 N - constraints) kT, and bonds kept by positions and velocities alike."""
    integrator = BAOABLangevinIntegrator(300.0, 1.0, 0.002)
    integrator.setRandomNumberSeed(1)
    context = context_of(target, integrator)
    context.setVelocitiesToTemperature(300.0, 2)
    integrator.step(1000)
    constraints = [target.system.getConstraintParameters(i) for i in range(N_CONSTRAINTS)]
    pairs = np.array([pair for *pair, _ in constraints])
    lengths = np.array([length._value for *_, length in constraints])
    masses = np.array([target.system.getParticleMass(i)._value for i in range(1651)])[:, None]
    twice_kinetic = []
    for _ in range(60):
        integrator.step(250)
        state = context.getState(positions=True, velocities=True)
        x, v = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value
        twice_kinetic.append((masses * v**2).sum() / (KB * 300.0))
        bond, relative = x[pairs[:, 1]] - x[pairs[:, 0]], v[pairs[:, 1]] - v[pairs[:, 0]]
        np.testing.assert_allclose(np.linalg.norm(bond, axis=1), lengths, rtol=2e-5)
        assert np.abs((bond * relative).sum(axis=1) / lengths).max() < 1e-3  # nm/ps, where atoms move at 0.4
    mean, error = mean_and_stderr(np.array(twice_kinetic).reshape(10, -1).mean(axis=1))  # blocks of 3 ps
    freedom = 3 * 1651 - N_CONSTRAINTS
    assert error < 0.01 * freedom
    assert_within(mean, freedom, error)
    with pytest.raises(AssertionError):  # negative control: as if nothing were constrained
        assert_within(mean, 3 * 1651, error)

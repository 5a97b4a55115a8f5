"""Ion pairs in water: the systems are what they say, their shipped structures fit, and a committor sees the water."""

import numpy as np
import openmm
import pytest
import torch
from click.testing import CliRunner
from openmm import unit

from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, parse_config
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.dynamics.langevin import BAOABLangevinIntegrator
from openmm_rare.states.states import IN_A, IN_B, NEITHER
from openmm_rare.structure.constraints import KeptDistances
from openmm_rare.systems import build, licl
from openmm_rare.walkers.machine import Machine

JOUNG_CHEATHAM = {  # mass, charge, sigma (nm), epsilon (kJ/mol), for TIP3P
    "LI": (6.94, 1.0, 0.182634, 0.117108),
    "NA": (22.99, 1.0, 0.243928, 0.365846),
    "CL": (35.45, -1.0, 0.447766, 0.148913),
}
ALL = list(licl.SOLUTIONS)
SMALL = [key for key in ALL if key[0] == "small"]


@pytest.fixture(scope="module", params=ALL, ids="-".join)
def made(request):
    size, cation = request.param
    return licl.SOLUTIONS[request.param], build("licl", size=size, cation=cation)


def context_of(target, integrator, platform="CPU"):
    context = Machine(platform, threads=1).context(target.system, integrator)
    context.setPositions(target.positions)
    return context


def nonbonded_of(target):
    return next(force for force in target.system.getForces() if isinstance(force, openmm.NonbondedForce))


def test_the_system_is_what_it_says(made):
    solution, target = made
    n_ions = 2 * solution.n_pairs
    assert target.system.getNumParticles() == len(target.positions) == target.topology.getNumAtoms() == solution.n_atoms
    assert solution.n_atoms == {1: 1112, 37: 6386}[solution.n_pairs]
    assert target.system.getNumConstraints() == 3 * solution.n_waters == {1: 1110, 37: 6312}[solution.n_pairs]
    box = [vector.value_in_unit(unit.nanometer) for vector in target.system.getDefaultPeriodicBoxVectors()]
    np.testing.assert_allclose(box, np.eye(3) * solution.box)
    assert "CMMotionRemover" not in {force.getName() for force in target.system.getForces()}
    nonbonded = nonbonded_of(target)
    assert nonbonded.getNonbondedMethod() == openmm.NonbondedForce.PME
    assert nonbonded.getCutoffDistance()._value == 1.0 and nonbonded.getEwaldErrorTolerance() == 5e-4
    names = [residue.name for residue in target.topology.residues()]
    assert names[n_ions:] == ["HOH"] * solution.n_waters
    for atom, name in enumerate(names[:n_ions]):
        parameters = [value._value for value in nonbonded.getParticleParameters(atom)]
        found = (target.system.getParticleMass(atom)._value, *parameters)
        assert found == pytest.approx(JOUNG_CHEATHAM[name], rel=1e-4)
    assert names[solution.pair[1]] == "CL" and names[solution.pair[1] - 1] in ("LI", "NA")
    charges = [nonbonded.getParticleParameters(atom)[0]._value for atom in range(solution.n_atoms)]
    assert sum(charges) == pytest.approx(0.0, abs=1e-9)
    assert charges[n_ions : n_ions + 3] == pytest.approx([-0.834, 0.417, 0.417])  # TIP3P
    assert (target.temperature, target.friction, target.timestep, target.inertial) == (300.0, 1.0, 0.002, True)
    assert target.check_interval * target.timestep == pytest.approx(0.02)


def test_the_shipped_structure_is_sound(made):
    solution, target = made
    assert target.states.classify(target.positions[None])[0] == IN_A and not target.repairs
    KeptDistances(target.system, target.name, target.timestep).require(target.positions[None])
    state = context_of(target, openmm.VerletIntegrator(0.001)).getState(energy=True, forces=True)
    per_pair = {"LI": -1050.0, "NA": -900.0}[next(target.topology.residues()).name]  # hydration, roughly
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) - solution.n_pairs * per_pair
    assert -45.0 < energy / solution.n_waters < -35.0  # liquid water
    assert np.isfinite(state.getForces(asNumpy=True)._value).all()
    assert licl.structure_file(*next(key for key in ALL if licl.SOLUTIONS[key] is solution)).stat().st_size < 1e5


def test_the_states_are_distances_to_the_nearest_image(made):
    solution, target = made
    edges = {("LI", 1): (0.25, 0.48), ("NA", 1): (0.31, 0.46), ("LI", 37): (0.25, 0.47)}
    bound, apart = edges[next(target.topology.residues()).name, solution.n_pairs]
    frames = np.repeat(target.positions[None], 5, axis=0)
    for frame, r in zip(frames, (bound - 0.001, bound + 0.001, apart - 0.001, apart + 0.001, solution.box - 0.2), strict=True):
        frame[solution.pair[1]] = frame[solution.pair[0]] + [r, 0.0, 0.0]
    assert target.states.classify(frames).tolist() == [IN_A, NEITHER, NEITHER, IN_B, IN_A]
    assert target.states.variables(frames)[-1, 0] == pytest.approx(0.2)


@pytest.mark.parametrize(("size", "cation", "n_inputs"), [("small", "Li", 221), ("small", "Na", 221), ("full", "Li", 529)])
def test_a_committor_sees_the_distance_and_what_is_around(size, cation, n_inputs):
    target, solution = build("licl", size=size, cation=cation), licl.SOLUTIONS[size, cation]
    descriptor = build_descriptor(target.descriptor_spec(), solution.n_atoms)
    assert descriptor.n_features == len(descriptor.names) == n_inputs
    assert any(name.startswith("G2 of O") and name.endswith(f"around {cation}") for name in descriptor.names)
    positions = torch.tensor(target.positions[None], dtype=torch.float32)
    features = descriptor(positions)[0]
    assert float(features[0]) == pytest.approx(float(target.states.variables(target.positions[None])[0, 0]), abs=1e-5)
    assert torch.isfinite(features).all()
    moved = positions.clone()
    moved[:, 2 * solution.n_pairs :] += torch.tensor([0.0, 0.05, 0.0])  # the water, and nothing else
    after = descriptor(moved)[0]
    assert after[0] == features[0] and (after[1:] - features[1:]).abs().max() > 0.01
    turned = positions.clone() + torch.tensor([solution.box, 0.0, 0.0])
    turned[:, 0, 0] -= solution.box  # an ion on the other side of the boundary
    torch.testing.assert_close(descriptor(turned)[0], features, rtol=2e-3, atol=2e-3)


def test_a_committor_may_see_the_distance_alone():
    target = build("licl", inputs="solute")
    descriptor = build_descriptor(target.descriptor_spec(), 1112)
    assert descriptor.n_features == 1
    assert target.fingerprint() == build("licl").fingerprint()


def test_long_steps_change_nothing_but_the_steps():
    short = build("licl")
    for mass in (3.0, "3 amu", 3.0 * unit.dalton):
        target = build("licl", hydrogen_mass=mass)
        assert (target.timestep, target.check_interval) == (0.004, 5)
        assert openmm.XmlSerializer.serialize(target.system) == openmm.XmlSerializer.serialize(short.system)  # rigid water
        assert target.parameters["hydrogen_mass"] == 3.0
    assert build("licl", hydrogen_mass=3).fingerprint() != short.fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "huge"}, "there is no size = 'huge' with cation = 'Li': there are size = \"small\" with"),
        ({"size": "full", "cation": "Na"}, "there is no size = 'full' with cation = 'Na'"),
        ({"cation": "K"}, "there is no size = 'small' with cation = 'K'"),
        ({"inputs": "water"}, "inputs = 'water' must be"),
        ({"hydrogen_mass": 1.0}, "hydrogen_mass = 1 amu must be 3 to 4, for steps of 4 fs, or left out, for 2 fs"),
        ({"hydrogen_mass": "3 nm"}, "hydrogen_mass"),
        ({"waters": 3}, "has no parameter waters"),
    ],
)
def test_what_there_is_not_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build("licl", **options)


@pytest.mark.parametrize("mass", [None, 3.0])
@pytest.mark.parametrize("cation", ["Li", "Na"])
def test_dynamics_keeps_the_water_rigid_and_the_pair_bound(cation, mass):
    target = build("licl", cation=cation, hydrogen_mass=mass)
    integrator = BAOABLangevinIntegrator(target.temperature, target.friction, target.timestep)
    integrator.setRandomNumberSeed(1)
    context = context_of(target, integrator)
    context.setVelocitiesToTemperature(300.0, 2)
    integrator.step(20)
    state = context.getState(positions=True, energy=True)
    positions = state.getPositions(asNumpy=True)._value
    KeptDistances(target.system, target.name, target.timestep).require(positions[None])
    assert np.isfinite(state.getPotentialEnergy()._value)
    assert 0.15 < target.states.variables(positions[None])[0, 0] < 0.4
    moved = np.linalg.norm(positions - target.positions, axis=1)
    assert 0.0 < moved.max() < 0.3


@pytest.mark.parametrize("cation", ["Li", "Na"])
def test_the_shipped_path_goes_from_a_to_b(cation):
    target = build("licl", cation=cation)
    with np.load(target.initial_path) as archive:
        assert archive["positions"].dtype == np.float32
        path = archive["positions"].astype(np.float64)
    assert path.shape[1:] == (1112, 3) and 5 < len(path) <= 100
    status = target.states.classify(path)
    assert status[0] == IN_A and status[-1] == IN_B and (status[1:-1] == NEITHER).all()
    step = np.linalg.norm(np.diff(path, axis=0), axis=2)
    assert 0.0 < step.max() < 0.3  # nm in 20 fs: no atom jumps, not even to its periodic image
    KeptDistances(target.system, target.name, target.timestep).require(path)
    assert target.initial_path.stat().st_size < 1.3e6
    assert build("licl", size="full").initial_path is None


def test_a_configuration_and_the_command_know_it():
    text = '[system]\nname = "licl"\nparameters = { size = "small", cation = "Na", hydrogen_mass = "3 amu" }\n'
    config = parse_config(text, ".")
    problem = build_system(config)
    assert problem.fingerprint() == build("licl", cation="Na", hydrogen_mass=3).fingerprint()
    expanded = config.expanded(problem)
    assert expanded.system.check_interval == 5 and expanded.system.parameters["inputs"] == "solvent"
    again = build_system(parse_config(expanded.to_toml(), "."))
    assert again.fingerprint() == problem.fingerprint() and again.descriptor_spec() == problem.descriptor_spec()
    listed = CliRunner().invoke(main, ["systems"]).output
    assert "licl" in listed and "parameters: size=small, cation=Li, hydrogen_mass, inputs=solvent" in listed

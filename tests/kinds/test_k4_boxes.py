"""Kind 4: one box counts, that of the System; variables, structures and topologies are held to it."""

import re
from dataclasses import replace
from itertools import product

import numpy as np
import openmm
import pytest
from openmm import app, unit

import chain4
from openmm_rare import Angle, CoordinationMoment, Dihedral, Distance, Range, RareEventSystem
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.dynamics.checks import require_runnable
from openmm_rare.io.toml import read_toml
from openmm_rare.states.states import IN_A, IN_B, CollectiveVariables
from openmm_rare.structure.nearest_image import box_vectors, nearest_image, same_box
from openmm_rare.systems import build

BOXES = {
    "cube": 2.0 * np.eye(3),
    "dodecahedron": 2.0 * np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, np.sqrt(0.5)]]),
    "octahedron": 2.0 * np.array([[1, 0, 0], [1 / 3, np.sqrt(8 / 9), 0], [-1 / 3, np.sqrt(2 / 9), np.sqrt(2 / 3)]]),
}


def pair(vectors=BOXES["cube"], **options):
    """Two particles in a periodic box: in A, if the nearest images count, they are apart, in B they touch."""
    made, pairs = openmm.System(), openmm.NonbondedForce()
    pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    pairs.setCutoffDistance(0.7)
    for _ in range(2):
        made.addParticle(20.0)
        pairs.addParticle(0.0, 0.3, 3.0)
    made.addForce(pairs)
    made.setDefaultPeriodicBoxVectors(*vectors)
    return RareEventSystem.from_openmm(
        made, [[0.1, 0.1, 0.1], [0.8, 0.6, 0.5]], Range({"d": (0.6, 100)}), Range({"d": (0, 0.38)}),
        [Distance("d", (0, 1), **options)], 300, 1, 0.005, inertial=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", BOXES)
def test_variables_of_a_periodic_system_use_nearest_images_by_default(name):
    """Case 16: particles that touch through the boundary are in B, in every shape of the box."""
    shifts = np.array(list(product((-1, 0, 2), repeat=3))) @ BOXES[name]
    touching = np.zeros((len(shifts), 2, 3))
    touching[:, 1] = shifts + [0.2, 0.1, -0.2]
    assert (pair(BOXES[name]).states.classify(touching) == IN_B).all()
    assert (pair(BOXES[name], box=BOXES[name]).states.classify(touching) == IN_B).all()
    plain = pair(BOXES[name], box="none").states.classify(touching)  # as it is meant, and a negative control
    assert (plain == IN_A).sum() == len(shifts) - 1


@pytest.mark.parametrize("name", BOXES)
def test_every_variable_between_atoms_follows_the_system(name):
    made = chain4.system(box=2.0)
    made.setDefaultPeriodicBoxVectors(*BOXES[name])
    made.getForce(made.getNumForces() - 1).setCutoffDistance(0.7)
    variables = [
        Dihedral("phi", (0, 1, 2, 3)), Distance("d", (0, 3)), Angle("a", (0, 1, 2)), CoordinationMoment("m", 2, 0.2),
    ]  # fmt: skip
    a, b = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE})
    problem = RareEventSystem.from_openmm(made, chain4.positions(), a, b, variables, 300, 5, 0.001)
    frames = chain4.positions() + np.random.default_rng(1).normal(0, 0.02, (20, 4, 3))
    torn = frames + np.random.default_rng(2).integers(-2, 3, frames.shape) @ BOXES[name]
    whole = CollectiveVariables(variables)(frames)
    np.testing.assert_array_equal(CollectiveVariables(variables[:1])(frames), problem.states.variables(frames)[:, :1])
    np.testing.assert_allclose(problem.states.variables(torn), whole, rtol=1e-6, atol=1e-6)
    again = CollectiveVariables.from_description(problem.states.variables.describe())  # as storages bring them back
    np.testing.assert_allclose(again(torn), whole, rtol=1e-6, atol=1e-6)
    assert not np.isclose(CollectiveVariables(variables)(torn), whole).all(axis=0).any()  # negative control


@pytest.mark.parametrize("name", BOXES)
def test_forces_and_stored_states_use_the_box_of_the_system(name):
    """What pulls a system into B, and what storages bring back, know of the box as the states do."""
    paths = pytest.importorskip("openpathsampling")
    from openmm_rare.ops.volumes import StateVolume, state_volumes
    from openmm_rare.tps.first_paths.pull_force import Pull

    touching = np.array([[0.0, 0.0, 0.0], BOXES[name][2] - BOXES[name][0] + [0.3, 0.0, 0.0]])
    for box, energy in ((None, 0.0), ("none", 1.0)):
        problem = pair(BOXES[name], box=box)
        pull = Pull(problem.states.variables, problem.states.b, [0.1])
        assert (pull.distance(touching[None])[0] < 1.0) == (energy == 0.0)
        made = openmm.XmlSerializer.clone(problem.system)
        made.addForce(pull.force(2.0, 1.0, 2))
        made.getForce(1).setForceGroup(1)
        context = openmm.Context(made, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        context.setPositions(touching)
        pulled = context.getState(energy=True, groups={1}).getPotentialEnergy()._value
        assert pulled == pytest.approx(max(0.0, pull.distance(touching[None])[0] - 1.0) ** 2, abs=1e-4)
        stored = StateVolume.from_dict(state_volumes(problem.states)[1].to_dict())
        assert isinstance(stored, paths.Volume) and stored.contains(touching[None])[0] == (energy == 0.0)


def test_a_box_in_words_fits_systems_with_and_without_one():
    assert pair(box="system").states.variables.variables[0].periodic_box.tolist() == BOXES["cube"].tolist()
    a, b, phi = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE}), (0, 1, 2, 3)
    dry = dict(temperature=300, friction=5, timestep=0.001)
    for box in (None, "none"):
        problem = RareEventSystem.from_openmm(chain4.system(), chain4.positions(), a, b, [Dihedral("phi", phi, box=box)], **dry)
        assert problem.states.variables.variables[0].periodic_box is None
    with pytest.raises(ValueError, match="variable 'phi' has a box, but the System has no periodic boundaries"):
        RareEventSystem.from_openmm(chain4.system(), chain4.positions(), a, b, [Dihedral("phi", phi, box="system")], **dry)


def test_another_box_of_the_system_is_followed():
    problem = pair()
    larger = openmm.XmlSerializer.clone(problem.system)
    larger.setDefaultPeriodicBoxVectors(*(2.5 * np.eye(3)))
    assert replace(problem, system=larger).states.variables.variables[0].periodic_box[0, 0] == 2.5


def test_fingerprints_of_before_there_was_a_default_still_hold():
    """Hashes of version 0.1.0 (commit 7afed45), which computed them from the same calls."""
    box = "231d758470a08012159b3ee81d6523fada6522d8d05b973f5c5790896615f0d9"
    assert chain4.problem(chain4.system(box=2.0)).fingerprint() == box
    assert chain4.problem().fingerprint() == "e57a32e073d5b161919f638c8ef87f2a7e0473739f92e4e4a738959d5e010e17"
    alanine = "4c51724e6c74753fe6dabb03cfb9bab4db9bca8955bc7f21f5ed2e247199ecc3"
    assert build("alanine_dipeptide").with_check_interval(1).fingerprint() == alanine  # as it was tested then
    dry = "11fa5af1e1a61235b0f8c34771ec54b673aa2106349f0b6347b015921b2fd9d6"
    assert build("alanine_dipeptide", solvent="none").with_check_interval(1).fingerprint() == dry


def test_what_is_meant_is_part_of_the_fingerprint():
    assert pair().fingerprint() == pair(box="system").fingerprint()
    assert len({made.fingerprint() for made in (pair(), pair(box="none"), pair(box=[2.0, 2.0, 2.0]))}) == 3
    assert pair().with_temperature(310).fingerprint() == pair().fingerprint()


def test_explicit_boxes_are_reduced_and_must_be_that_of_the_system():
    skewed = BOXES["dodecahedron"] + [[0, 0, 0], [2.0, 0, 0], [-4.0, 2.0, 0]]
    used = pair(BOXES["dodecahedron"], box=skewed).states.variables.variables[0].periodic_box
    np.testing.assert_allclose(used, BOXES["dodecahedron"])
    with pytest.raises(ValueError, match=r"variable 'd' has the box .*1.9.*, the System 2 x 2 x 2 nm: .* leave its box out"):
        pair(box=[1.9, 2.0, 2.0])
    with pytest.raises(ValueError, match="variable 'd': box = 'cell' must be \"system\", \"none\", three edges"):
        pair(box="cell")


@pytest.mark.parametrize("name", BOXES)
def test_boxes_are_compared_as_lattices_within_rounding(name):
    rng, box = np.random.default_rng(3), BOXES[name]
    for size in (1.0, 2.0, 5.0):
        scaled = size * box
        rounded = scaled + np.tril(rng.uniform(-5e-4, 5e-4, (3, 3)))
        assert same_box(box_vectors(rounded, "box"), scaled)
        steps = np.array([[1, 0, 0], [-1, 1, 0], [1, 0, 1]])  # the same lattice by other vectors
        assert same_box(steps @ scaled, scaled)
        assert not same_box(1.01 * scaled, scaled)
        assert not same_box(scaled @ np.diag([1, 1, 2]), scaled)  # negative control: a lattice with half the points


# --- the box of the structure -------------------------------------------------------------------------------------------


def files(folder, vectors, structure_vectors, ending="pdb", periodic=True):
    """A configuration with system.xml and a structure, each with its box (nm, or None)."""
    made = chain4.system(box=2.0 if periodic else None)
    made.setDefaultPeriodicBoxVectors(*vectors)
    if periodic:
        made.getForce(made.getNumForces() - 1).setCutoffDistance(0.5)
    topology = chain4.topology()
    if structure_vectors is not None:
        topology.setPeriodicBoxVectors(structure_vectors * unit.nanometer)
    writer = app.PDBFile if ending == "pdb" else app.PDBxFile
    with open(folder / f"start.{ending}", "w") as stream:
        writer.writeFile(topology, chain4.positions() * unit.nanometer, stream)
    (folder / "system.xml").write_text(openmm.XmlSerializer.serialize(made))
    source = f'xml = "system.xml"\npdb = "start.{ending}"'
    (folder / "config.toml").write_text(chain4.CONFIG.replace('builder = "MODULE:build"', source))
    return folder / "config.toml"


@pytest.mark.parametrize("ending", ["pdb", "cif"])
@pytest.mark.parametrize("name", BOXES)
def test_a_structure_with_another_box_than_the_system_is_refused(tmp_path, name, ending):
    """Case 18, and its siblings in triclinic boxes and in mmCIF."""
    path = files(tmp_path, BOXES[name], 0.95 * BOXES[name], ending)
    message = (
        rf'start.{ending} has the box .* nm, system.xml .* nm, as it was created with.*box = "structure" or box = "system"'
    )
    with pytest.raises(ValueError, match=message) as caught:
        build_system(load_config(path))
    assert "\n" not in str(caught.value)
    if name == "cube":
        assert "1.9 x 1.9 x 1.9 nm, system.xml 2 x 2 x 2 nm" in str(caught.value)


@pytest.mark.parametrize("name", BOXES)
def test_the_configuration_says_which_box_counts(tmp_path, name):
    path = files(tmp_path, BOXES[name], 0.95 * BOXES[name])
    for choice, factor in (("structure", 0.95), ("system", 1.0)):
        path.write_text(path.read_text().replace("[system]", f'[system]\nbox = "{choice}"', 1))
        config = load_config(path)
        problem = build_system(config)
        used = box_vectors(problem.system.getDefaultPeriodicBoxVectors(), "box")
        assert same_box(used, factor * BOXES[name])
        np.testing.assert_array_equal(problem.states.variables.variables[0].periodic_box, used)
        assert config.system.to_dict()["box"] == choice
        again = parse_config(config.expanded(problem).to_toml(), tmp_path)
        assert build_system(again).fingerprint() == problem.fingerprint()
        path.write_text(path.read_text().replace(f'box = "{choice}"\n', "", 1))


@pytest.mark.parametrize("ending", ["pdb", "cif"])
@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("size", [0.8, 1.03717, 2.4])
def test_rounding_of_a_structure_file_is_no_difference(tmp_path, name, size, ending):
    problem = build_system(load_config(files(tmp_path, size * BOXES[name], size * BOXES[name], ending)))
    own = box_vectors(problem.system.getDefaultPeriodicBoxVectors(), "the box")
    np.testing.assert_allclose(own, size * BOXES[name], atol=1e-9)  # all its digits, not those of the file


def test_structures_without_a_box_or_with_a_placeholder_take_that_of_the_system(tmp_path):
    for box in (None, 0.1 * np.eye(3)):
        build_system(load_config(files(tmp_path, BOXES["cube"], box)))
    build_system(load_config(files(tmp_path, BOXES["cube"], 5 * BOXES["cube"], periodic=False)))  # nothing uses a box
    path = files(tmp_path, BOXES["cube"], None)
    path.write_text(path.read_text().replace("[system]", '[system]\nbox = "structure"', 1))
    with pytest.raises(ValueError, match='system.box = "structure", but start.pdb has no box'):
        build_system(load_config(path))
    path = files(tmp_path, BOXES["cube"], None, periodic=False)
    path.write_text(path.read_text().replace("[system]", '[system]\nbox = "structure"', 1))
    with pytest.raises(ValueError, match='system.box = "structure", but the System has no periodic boundaries'):
        build_system(load_config(path))


def test_other_sources_of_a_system_are_held_to_its_box(tmp_path):
    code = chain4.BUILDER.replace(
        "    return chain4.system(), chain4.topology(), chain4.positions()",
        "    topology = chain4.topology()\n    topology.setPeriodicBoxVectors(((1.9, 0, 0), (0, 1.9, 0), (0, 0, 1.9)))\n"
        "    return chain4.system(box=2.0), topology, chain4.positions()",
    )
    path = chain4.write(tmp_path, code)
    with pytest.raises(ValueError, match="the topology of .*:build has the box 1.9 x 1.9 x 1.9 nm, its System 2 x 2 x 2 nm"):
        build_system(load_config(path))
    path.write_text(path.read_text().replace("[system]", '[system]\nbox = "system"', 1))
    build_system(load_config(path))
    topology, made = chain4.topology(), chain4.system(box=2.0)
    topology.setPeriodicBoxVectors(1.9 * np.eye(3) * unit.nanometer)
    with pytest.raises(ValueError, match=r"the topology has the box 1.9 .* the System 2 .*: call system.setDefault"):
        chain4.problem(made, topology=topology)
    topology.setPeriodicBoxVectors(made.getDefaultPeriodicBoxVectors())
    chain4.problem(made, topology=topology)
    config = parse_config('[system]\nname = "lj7"\nbox = "system"', tmp_path)
    with pytest.raises(ValueError, match="system.box = 'system', but lj7 brings its own box: remove it"):
        build_system(config)
    with pytest.raises(ValueError, match='system.box = \'cell\' must be "structure" or "system"'):
        parse_config('[system]\nname = "lj7"\nbox = "cell"', tmp_path)


@pytest.mark.parametrize(("given", "spelled"), [(None, "system"), ('"none"', "none"), ("[2.0, 2.0, 2.0]", [2.0, 2.0, 2.0])])
def test_the_configuration_of_a_run_says_which_box_a_variable_uses(tmp_path, given, spelled):
    path = files(tmp_path, BOXES["cube"], None)
    if given:
        path.write_text(path.read_text().replace("[variables.phi]", f"[variables.phi]\nbox = {given}"))
    config = load_config(path)
    problem = build_system(config)
    expanded = config.expanded(problem)
    assert read_toml(expanded.to_toml())["variables"]["phi"]["box"] == spelled
    again = parse_config(expanded.to_toml(), tmp_path)
    assert again == expanded and build_system(again).fingerprint() == problem.fingerprint()
    assert (problem.states.variables.variables[0].periodic_box is None) == (given == '"none"')


def test_runs_without_periodic_boundaries_say_nothing_of_boxes(tmp_path):
    config = load_config(files(tmp_path, BOXES["cube"], None, periodic=False))
    assert "box" not in config.expanded(build_system(config)).to_toml()


def test_boxes_in_words_that_do_not_exist_are_named(tmp_path):
    path = files(tmp_path, BOXES["cube"], None)
    path.write_text(path.read_text().replace("[variables.phi]", '[variables.phi]\nbox = "cell"'))
    with pytest.raises(ValueError, match='variables.phi.box = \'cell\' must be "system", "none", three edges'):
        load_config(path)


def test_cutoffs_longer_than_half_the_box_are_refused_before_openmm_does():
    made = chain4.system(box=2.0)
    made.getForce(made.getNumForces() - 1).setCutoffDistance(1.0)
    chain4.problem(made)  # just half
    made.setDefaultPeriodicBoxVectors(*(1.9 * np.eye(3)))
    with pytest.raises(ValueError, match="NonbondedForce has a cutoff of 1 nm, more than half .*1.9 x 1.9 x 1.9 nm"):
        chain4.problem(made)
    with pytest.raises(openmm.OpenMMException, match="cutoff"):  # what it stands for
        openmm.Context(made, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


def with_distance(edge, far, **options):
    """The chain in a cubic box, with states in one distance."""
    distance = [Distance("d", (0, 3), **options)]
    return RareEventSystem.from_openmm(
        chain4.system(box=edge),
        chain4.positions(),
        Range({"d": (0.3, 0.45)}),
        Range({"d": far}),
        distance,
        300,
        5,
        0.001,
        inertial=True,
    )


def test_states_that_nearest_images_never_reach_are_refused():
    with pytest.raises(ValueError, match=r"no frame can lie in d from 1 nm to inf nm: .* at most 0.866025 nm .*box = \"none\""):
        with_distance(1.0, (1.0, np.inf))
    with_distance(1.0, (0.8, np.inf))
    with_distance(1.0, (1.0, np.inf), box="none")


@pytest.mark.parametrize(
    ("edge", "far", "options", "said"),
    [
        (0.9, (0.5, 0.6), {}, "longer in a state, while nearest images in the periodic box are unambiguous up to 0.45 nm"),
        (0.7, (0.0, 0.29), {}, "0.389 nm in the structure, and nearest images in the periodic box are unambiguous up to 0.35"),
        (2.0, (0.5, 0.6), {}, None),
        (0.7, (0.5, 0.6), {"box": "none"}, None),
        (0.7, (0.5, 0.6), {"box": (0.7, 0.7, 0.7)}, None),
    ],
)
def test_a_molecule_longer_than_half_its_box_is_said(edge, far, options, said):
    notes = require_runnable(with_distance(edge, far, **options), "paths")
    assert len(notes) == (said is not None)
    assert not notes or said in notes[0]


@pytest.mark.parametrize(
    ("border", "said"), [(0.9, None), (1.1, "border at d = 1.1 nm, but .* room for 0.98 nm in all directions")]
)
def test_a_border_beyond_half_the_box_is_said_of_two_molecules(border, said):
    """In a truncated octahedron nearest images of OpenMM, and ours, jump there: they are the nearest ones up to it only."""
    octahedron = 2.4 * np.array([[1.0, 0.0, 0.0], [1 / 3, np.sqrt(8) / 3, 0.0], [-1 / 3, np.sqrt(2) / 3, np.sqrt(2 / 3)]])
    system, force = openmm.System(), openmm.NonbondedForce()
    for _ in range(2):
        system.addParticle(20.0)
        force.addParticle(0.0, 0.2, 0.5)
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.5)
    system.addForce(force)
    system.setDefaultPeriodicBoxVectors(*octahedron)
    regions = Range({"d": (0.0, 0.4)}), Range({"d": (border, np.inf)})
    positions = [[0.0, 0.0, 0.0], [0.3, 0.0, 0.0]]
    problem = RareEventSystem.from_openmm(system, positions, *regions, Distance("d", (0, 1)), 300, 5, 0.001, inertial=True)
    notes = require_runnable(problem, "rate")
    assert len(notes) == (said is not None) and (said is None or re.search(said, notes[0]))
    rng = np.random.default_rng(1)
    vectors = nearest_image(rng.uniform(-3.0, 3.0, (5000, 3)), octahedron)
    shifts = np.array(list(product((-1, 0, 1), repeat=3))) @ octahedron
    nearest = np.linalg.norm(vectors[:, None] + shifts, axis=2).min(axis=1)
    wrong = np.linalg.norm(vectors, axis=1) > nearest + 1e-9
    assert wrong.any() and nearest[wrong].min() > 0.5 * octahedron[2, 2]

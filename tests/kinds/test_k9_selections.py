"""K9: atoms by name in variables and descriptors, and messages about descriptors that name the setting."""

import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

import openmm_rare
from openmm_rare import select_atoms
from openmm_rare.config.run import build_system, parse_config
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.io.toml import read_toml
from openmm_rare.systems import alanine_dipeptide

pytest.importorskip("mdtraj")

HERE = Path(__file__).parent

CONFIG = """
[system]
name = "brine"
builder = "test_k9_selections:brine"
temperature = "300 K"
friction = "1 1/ps"
timestep = "1 fs"
inertial = true

[system.descriptor]
kind = "subset"
atoms = "not water"
part = { kind = "pair_distances" }

[variables.r]
type = "distance"
atoms = ["name NA", "resname CL"]

[variables.z]
type = "coordinate"
atom = "name NA"
axis = 2

[states.a]
range = { r = ["0 nm", "0.3 nm"] }

[states.b]
range = { r = ["0.5 nm", "1 nm"] }
"""


def brine():
    """Three waters, a pair of ions between them, and alanine dipeptide without coordinates of its own."""
    topology = app.Topology()
    for number in range(3):
        residue = topology.addResidue("HOH", topology.addChain())
        oxygen, *hydrogens = (topology.addAtom(n, app.Element.getBySymbol(n[0]), residue) for n in ("O", "H1", "H2"))
        for hydrogen in hydrogens:
            topology.addBond(oxygen, hydrogen)
        if number < 2:
            name, symbol = (("NA", "Na"), ("CL", "Cl"))[number]
            topology.addAtom(name, app.Element.getBySymbol(symbol), topology.addResidue(name, topology.addChain()))
    system = openmm.System()
    for atom in topology.atoms():
        system.addParticle(atom.element.mass)
    positions = np.random.default_rng(1).uniform(0, 2, (11, 3))
    positions[3], positions[7] = [0.0, 0.0, 0.0], [0.25, 0.0, 0.0]
    return system, topology, positions


def variable(line, kind="distance"):
    """The configuration with another line for the atoms of r."""
    return CONFIG.replace('"distance"\natoms = ["name NA", "resname CL"]', f'"{kind}"\n{line}')


def descriptor(text):
    """The configuration with another descriptor."""
    start, end = CONFIG.index("kind ="), CONFIG.index("[variables.r]")
    return CONFIG[:start] + text + "\n\n" + CONFIG[end:]


def built(text):
    return build_system(parse_config(text, HERE))


def test_a_selection_is_the_numbers_of_its_atoms():
    topology = brine()[1]
    assert select_atoms(topology, "resname NA") == (3,) and select_atoms(topology, "water and name O") == (0, 4, 8)
    assert all(type(atom) is int for atom in select_atoms(topology, "all"))
    assert select_atoms(alanine_dipeptide.topology(3), "protein and name CA or index 0") == (0, 8)
    assert "select_atoms" in openmm_rare.__all__


@pytest.mark.parametrize(
    "atoms", ['["name NA", "resname CL"]', '["name NA", 7]', '[3, "name CL"]', '"name NA or name CL"', "[3, 7]"]
)
def test_variables_name_their_atoms(atoms):
    problem = built(variable(f"atoms = {atoms}"))
    r, z = problem.states.variables.variables
    assert tuple(r.atoms) == (3, 7) and z.atom == 3
    assert problem.fingerprint() == built(variable("atoms = [3, 7]")).fingerprint()  # a name is a way to write a number


def test_a_configuration_with_names_reloads_to_the_same_problem():
    config = parse_config(CONFIG, HERE)
    problem = build_system(config)
    text = config.expanded(problem).to_toml()
    again = parse_config(text, HERE)
    assert build_system(again).fingerprint() == problem.fingerprint()
    assert build_system(again).descriptor_spec() == problem.descriptor_spec()
    assert read_toml(text)["variables"]["r"]["atoms"] == ["name NA", "resname CL"]
    assert again.expanded(build_system(again)).to_toml() == text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            'atoms = "water"',
            "variables.r.atoms: 'water' selects 9 atoms, 0 (HOH1:O), 1 (HOH1:H1), 2 (HOH1:H2), ..., wh",
        ),
        ('atoms = "name NA"', "variables.r.atoms: 'name NA' selects 1 atom, 3 (NA2:NA), where 2 are needed"),
        ('atoms = ["name NA", "water"]', "variables.r.atoms: 'water' selects 9 atoms"),
        (
            'atoms = ["name K", 3]',
            "variables.r.atoms: the selection 'name K' selects no atom; the residues are named CL",
        ),
        ('atoms = "name NA and or"', "variables.r.atoms: 'name NA and or' is no selection of atoms for mdtraj: write it as"),
        ('atoms = ["name NA", -1]', "variables.r.atoms = -1 must be a whole number of at least 0"),
        ('atoms = ["name NA", true]', "variables.r.atoms = True must be a whole number"),
        ('atoms = ["0", "3"]', "the selection '0' holds numbers only: write [0] without quotes, or \"index 0\""),
        ('atoms = "0, 3"', "the selection '0, 3' holds numbers only: write [0, 3] without quotes, or \"index 0 3\""),
        ("atoms = 3", "variables.r.atoms = 3 must be a list in brackets"),
        ('atoms = ["name NA", 3]', "atoms must be 2 different indices"),
    ],
)
def test_what_is_no_selection_of_that_many_atoms_is_refused_in_one_line(line, words):
    with pytest.raises(ValueError) as caught:
        built(variable(line))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_selections_need_a_topology_and_mdtraj(monkeypatch):
    with pytest.raises(ValueError, match="'name NA' needs a topology, and the system has none: give numbers of atoms"):
        select_atoms(None, "name NA")
    monkeypatch.setitem(sys.modules, "mdtraj", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs mdtraj .*: pip install 'openmm-rare\[ops\]'"):
        built(CONFIG)
    assert built(descriptor("").replace('["name NA", "resname CL"]', "[3, 7]").replace('"name NA"', "3"))  # numbers need none


def test_descriptors_name_their_atoms():
    subset = built(CONFIG).descriptor_spec()
    assert subset == {"kind": "subset", "atoms": [3, 7], "part": {"kind": "pair_distances"}}
    solvent = """kind = "symmetry_functions"
centers = ["name NA", 7]
species = { O = "water and name O", H = "element H" }
box = ["20 angstrom", "2 nm", 2.0]
shells = ["0.2 nm", 0.4]
cutoff = "6 angstrom"
"""
    spec = built(descriptor(solvent)).descriptor_spec()
    assert spec["centers"] == [3, 7] and spec["species"] == {"O": [0, 4, 8], "H": [1, 2, 5, 6, 9, 10]}
    assert np.allclose(spec["box"], 2.0) and spec["shells"] == [0.2, 0.4] and spec["cutoff"] == pytest.approx(0.6)
    water = built(descriptor('kind = "internal_coordinates"\natoms = "resid 0"')).descriptor_spec()
    assert water["bonds"] == [[0, 1], [0, 2]] and water["angles"] == [[1, 0, 2]] and "atoms" not in water
    rows = built(descriptor('kind = "internal_coordinates"\nbonds = [["name NA", "name CL"], [0, 1]]')).descriptor_spec()
    assert rows["bonds"] == [[3, 7], [0, 1]]
    angle = built(descriptor('kind = "dihedrals"\natoms = ["index 0 to 3", [4, 5, 6, "name CL"]]')).descriptor_spec()
    assert angle["atoms"] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_names_within_a_subset_count_within_it():
    part = 'atoms = [7, 8, 9, 10]\npart = { kind = "internal_coordinates", atoms = "resid 4" }'
    spec = built(descriptor(f'kind = "subset"\n{part}')).descriptor_spec()
    assert spec["part"]["bonds"] == [[1, 2], [1, 3]]
    assert build_descriptor(spec, 11).names[0] == "r HOH5:O-HOH5:H1"
    with pytest.raises(ValueError, match="descriptor.part.atoms: 'name NA' selects atom 3, which is not in the subset"):
        built(descriptor(f'kind = "subset"\n{part.replace("resid 4", "name NA")}'))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "pair_distance"', "descriptor kind 'pair_distance' is unknown; choose one of concatenate"),
        ('kind = "pair_distance"', "did you mean 'pair_distances'?"),
        ("atoms = [0]", "descriptor kind None is unknown; choose one of"),
        (
            'kind = "coordination"\nradus = 0.3',
            "unknown keys ['radus']; it takes box, labels, radius, sorted; did you mea",
        ),
        ('kind = "coordination"', "descriptor 'coordination' needs the key 'radius'"),
        ('kind = "coordination"\nradius = "3 fs"', "descriptor.radius = '3 fs' has a unit of another dimension"),
        ('kind = "coordination"\nradius = [1]', "descriptor 'coordination' has a value of the wrong kind"),
        (
            'kind = "subset"\natoms = "name K"\npart = { kind = "pair_distances" }',
            "descriptor.atoms: the selection 'name K'",
        ),
        (
            'kind = "subset"\natoms = 3\npart = { kind = "pair_distances" }',
            "descriptor.atoms = 3 must be a selection of atoms",
        ),
        ('kind = "subset"\natoms = [3]\npart = "pairs"', "descriptor.part = 'pairs' must be a table with a kind"),
        ('kind = "subset"\natoms = [3, 99]\npart = { kind = "pair_distances" }', "atoms of a subset must be different indices"),
        ('kind = "dihedrals"\natoms = "water"', "descriptor.atoms: 'water' selects 9 atoms"),
        ('kind = "dihedrals"\natoms = 5', "descriptor 'dihedrals' has a value of the wrong kind"),
        ('kind = "internal_coordinates"\natoms = "name NA"', "descriptor.atoms: there is no bond between the atoms"),
        ('kind = "internal_coordinates"\natoms = [1.5]', "descriptor.atoms = [1.5] must be atoms from 0 to 10"),
        ('kind = "internal_coordinates"\natoms = "all"\nbonds = [[0, 1]]', "descriptor has both atoms and bonds"),
    ],
)
def test_messages_about_descriptors_name_the_setting(text, words):
    with pytest.raises(ValueError) as caught:
        built(descriptor(text))
    assert words in str(caught.value) and "\n" not in str(caught.value)

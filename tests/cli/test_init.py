"""`openmm-rare init` as a user meets it: help, what is printed, and one line for everything that is wrong."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from openmm import app, unit

from openmm_rare.cli.main import main
from openmm_rare.systems import alanine_dipeptide

WATER = Path(__file__).parents[1] / "data" / "water"
CRYSTAL = "CRYST1   {0}   {0}   {0}  90.00  90.00  90.00 P 1           1\n"


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Files of users, good and bad, by their names."""
    folder = tmp_path_factory.mktemp("inputs")
    problem = alanine_dipeptide.build(solvent="none")
    modeller = app.Modeller(problem.topology, problem.positions * unit.nanometer)
    with open(folder / "ala.pdb", "w") as stream:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, stream)
    text = (folder / "ala.pdb").read_text()
    modeller.delete([atom for atom in modeller.topology.atoms() if atom.element.symbol == "H"])
    with open(folder / "dry.pdb", "w") as stream:
        app.PDBFile.writeFile(modeller.topology, modeller.positions, stream)
    written = {
        "empty.pdb": "",
        "script.pdb": "import os\nos.remove('x')\n",
        "script.py": "print('hello')\n",
        "unknown.pdb": text.replace("ALA A", "XYZ A"),
        "nan.pdb": re.sub(r"-?\d+\.\d{3}( +1\.00)", r"   nan\1", text, count=1),
        "tight.pdb": CRYSTAL.format("15.000") + text,
        "crystal.pdb": CRYSTAL.format("60.000") + text,
        "broken.cif": "data_x\nloop_\n_atom_site.id\n_atom_site.type_symbol\n1 C\n2\n",
        "broken.xml": "<System",
        "field.xml": "<ForceField><Script>print(1)</Script></ForceField>",
        "cut.prmtop": (WATER / "water.prmtop").read_text()[:600],
        "cut.top": '#include "amber99.ff/forcefield.itp"\n',
    }
    for name, content in written.items():
        (folder / name).write_text(content)
    (folder / "folder.pdb").mkdir()
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("keep")
    for path in WATER.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def run(inputs, monkeypatch):
    monkeypatch.chdir(inputs)
    monkeypatch.setenv("COLUMNS", "120")
    return lambda *arguments: CliRunner().invoke(main, ["init", *arguments])


REFUSED = {
    "nothing.pdb": "STRUCTURE nothing.pdb does not exist",
    "folder.pdb": "folder.pdb is a folder: give a file",
    "empty.pdb": "empty.pdb cannot be read as PDB .it holds no atoms",
    "script.pdb": "script.pdb cannot be read as PDB",
    "script.py": r"script.py is no structure file. Known are: PDB or mmCIF .*AMBER.*GROMACS.*CHARMM",
    "broken.cif": "broken.cif cannot be read as mmCIF",
    "nan.pdb": "nan.pdb cannot be read as PDB|not finite",
    "dry.pdb": "is missing 3 H atoms; add its hydrogens with --add-hydrogens",
    "dry.pdb --water tip3p": "add its hydrogens with --add-hydrogens",
    "unknown.pdb": r"does not fit residue 2 \(XYZ\).*CONECT",
    "tight.pdb": 'the box of 1.5 x 1.5 x 1.5 nm is smaller than twice the cutoff of 1 nm: .*--cutoff "0.7 nm"',
    "crystal.pdb": r"nearly empty \(0.0011 g/ml\): fill it with --water tip3p, or give --box none",
    "ala.pdb --forcefield none.xml": "none.xml is neither a file here nor one of OpenMM, which has amber14-all.xml",
    "ala.pdb --forcefield field.xml": "field.xml holds a program, which OpenMM runs: .*--trust",
    "ala.pdb --forcefield script.py": "script.py is no force field of OpenMM, which is XML",
    "ala.pdb --forcefield amber14-all.xml --water tip3p": r"residue 4 \(HOH\).*add a force field of water and ions",
    "ala.pdb --water tip9": "must be one of tip3p, .*; did you mean 'tip3p'",
    "ala.pdb --water tip3p --padding -1": "--padding = '-1' must be positive",
    "ala.pdb --water tip3p --padding 0.5": 'give a larger --padding, such as "0.8 nm", or a shorter cutoff',
    "ala.pdb --box-shape ball --water tip3p": "must be one of cube, dodecahedron, octahedron",
    "ala.pdb --box 3,2": "must be one edge or three",
    "ala.pdb --temperature 0": "--temperature = '0' must be positive",
    "ala.pdb --temperature 300nm": "has a unit of another dimension, 'nm'; allowed: .* K",
    "ala.pdb --temperature 1e5": "must lie between 1 and 5000 K",
    "ala.pdb --hydrogen-mass 12": "must lie between 1.008 and 4.04 Da",
    "ala.pdb --timestep 5fs": 'hydrogen of 1.01 Da: give 2.5 fs or less, or heavier hydrogen: --hydrogen-mass "3 Da"',
    "ala.pdb --hydrogen-mass 3 --timestep 6fs": "too long for hydrogen of 3 Da: give 4.3 fs or less",
    "ala.pdb --equilibrate -5": "--equilibrate = '-5' must be at least 0",
    "ala.pdb --ph 20": "must lie between 0 and 14",
    "ala.pdb --platform Quantum": "platform 'Quantum' is not available here",
    "ala.pdb --state-a phi2=-110..-50": "give both --state-a and --state-b",
    "ala.pdb --state-a phi=-110..-50 --state-b phi2=30..90": "no variable 'phi' here; did you mean 'phi2'",
    "ala.pdb --state-a phi2=-110 --state-b phi2=30..90": "is not understood at 'phi2=-110': write it as",
    "ala.pdb --state-a phi2=a..b --state-b phi2=30..90": "'a' in 'phi2=a..b' is no number",
    "ala.pdb --state-a phi2=..b --state-b phi2=30..90": "is no number|goes round",
    "ala.pdb --state-a phi2=..9 --state-b phi2=30..90": "phi2 is an angle, which goes round: give both ends",
    "ala.pdb --state-a phi2=-9..40 --state-b phi2=30..90": "states A and B overlap",
    "ala.pdb --state-a r_1O_2O=0.4..0.2 --state-b phi2=30..90": "0.4",
    "ala.pdb --topology broken.xml": "broken.xml is no serialized OpenMM object",
    "ala.pdb --topology script.py": "--topology script.py is none of .prmtop",
    "ala.pdb --topology water.prmtop": "the topology has 119 atoms, the structure 22",
    "water.rst7": "holds coordinates only: add --topology",
    "water.rst7 --topology cut.prmtop": "cut.prmtop cannot be read as a topology of AMBER",
    "water.rst7 --topology water.top": "does not go with water.top, which is of GROMACS: give .gro",
    "water.rst7 --topology water.prmtop --water tip3p": "--water is for PDB and mmCIF with a force field",
    "water.gro --topology cut.top": "--include FOLDER .*Could not locate #include file",
    "water.gro --topology gone.top": "--topology gone.top does not exist",
    "water.pdb --topology water.psf": "water.psf names no parameters: give CHARMM's files, as --forcefield",
    "water.pdb --topology water.psf --forcefield script.py": "script.py cannot be read as parameters of CHARMM|all parameters",
    "water.gro --topology water.top": "smaller than twice the cutoff of 1 nm: give a larger box",
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_is_wrong_is_one_line_that_says_what_to_do(run, inputs, given):
    before = {path.name for path in inputs.iterdir()}
    result = run(*given.split(), "--out", "new")
    assert result.exit_code == 2, result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and re.search(REFUSED[given], errors[0]), result.output
    assert "Traceback" not in result.output and {path.name for path in inputs.iterdir()} == before


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("full", "full exists and is not empty: choose another --out"),
        ("script.py", "script.py is a file: choose a folder"),
        ("script.py/x", "cannot be made .*: choose another --out"),
    ],
)
def test_nothing_is_overwritten(run, inputs, out, message):
    result = run("ala.pdb", "--out", out)
    assert result.exit_code == 2 and re.search(message, result.output), result.output
    assert (inputs / "full" / "mine.txt").read_text() == "keep" and (inputs / "script.py").is_file()


def test_variables_are_listed_before_anything_is_written(run, inputs):
    before = {path.name for path in inputs.iterdir()}
    result = run("ala.pdb", "--list")
    assert result.exit_code == 0 and re.search(r"phi2 +-\d+ deg +ACE1:C-ALA2:N-ALA2:CA-ALA2:C\n", result.output), result.output
    assert re.search(r"r_1O_3N +0\.\d+ nm +ACE1:O to NME3:N\n", result.output)
    assert {path.name for path in inputs.iterdir()} == before
    asked = run("ala.pdb")
    assert asked.exit_code == 2 and "say where to write: --out FOLDER" in asked.output


def test_what_comes_next_is_printed(run, tmp_path):
    out = tmp_path / "gro"
    given = ["water.gro", "--topology", "water.top", "--cutoff", "0.4 nm", "--platform", "CPU", "--equilibrate", "0.1"]
    result = run(*given, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert re.search(r"atoms +119, 2 of them of the solute, 39 molecules of water\n", result.output)
    assert "Warning: Equilibrated for 0.1 ps" in result.output and "r_1NA_2CL" in result.output
    config = out / "config.toml"
    ending = result.output.splitlines()
    first = next(number for number, line in enumerate(ending) if line.startswith("next: write the states A and B into"))
    assert "FILL IN" in ending[first]
    expected = [
        f"openmm-rare check {config}",
        f"openmm-rare path {config} --out {out / 'first.npz'}",
        f"openmm-rare tps {config} --initial-path {out / 'first.npz'} --out {out / 'tps'}",
        f"openmm-rare rate {config} --model {out / 'tps' / 'model.npz'} --out {out / 'rate'}",
    ]
    assert [line.strip() for line in ending[first + 1 : first + 5]] == expected
    again = run(*given, "--out", str(out))
    assert again.exit_code == 2 and "exists and is not empty" in again.output

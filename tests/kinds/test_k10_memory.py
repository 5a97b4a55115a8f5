"""K10: what a network sees of a large system by default, and memory that is known before it is taken."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openmm
import pytest
import torch
from openmm import app

import chain4
from openmm_rare import (
    CommittorModel,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Distance,
    FunctionVariable,
    Range,
    RareEventSystem,
)
from openmm_rare.cli.main import main
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.descriptors import pairs as pair_features
from openmm_rare.descriptors.build import build_descriptor
from openmm_rare.parallel.processes import Workers
from openmm_rare.states import coordination as coordination_numbers
from openmm_rare.systems import BUILDERS, build

EDGE = 4.0


def solvated(n_waters=40, n_gas=0, molecules=1, ions=0, variables=None, named=True, box=EDGE):
    """Chains, ions, water and argon without a force between them, the first chain trans."""
    topology, masses, positions = app.Topology(), [], []
    rng = np.random.default_rng(1)
    forces = chain4.system()

    def add(name, atoms, bonds, places):
        residue = topology.addResidue(name, topology.addChain())
        made = [topology.addAtom(each, app.element.Element.getBySymbol(symbol), residue) for each, symbol in atoms]
        for i, j in bonds:
            topology.addBond(made[i], made[j])
        masses.extend(atom.element.mass for atom in made)
        positions.extend(places)

    for _ in range(molecules):
        add("BUT", [(f"C{i}", "C") for i in range(4)], [(0, 1), (1, 2), (2, 3)], chain4.positions() + rng.uniform(0, 2, 3))
    for number in range(ions):
        add(*(("NA", [("NA", "Na")]) if number % 2 == 0 else ("CL", [("CL", "Cl")])), [], [[0.3 * number, 0.0, 0.0]])
    for _ in range(n_waters):
        atoms = [("O", "O"), ("H1", "H"), ("H2", "H")]
        place = rng.uniform(0, EDGE, 3)
        add("HOH", atoms, [(0, 1), (0, 2)], [place, place + [0.1, 0, 0], place + [0, 0.1, 0]])
    for _ in range(n_gas):
        add("AR", [("AR", "Ar")], [], [rng.uniform(0, EDGE, 3)])
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    if molecules == 1:
        for force in forces.getForces():
            system.addForce(openmm.XmlSerializer.clone(force))
    pairs = openmm.NonbondedForce()
    for _ in masses:
        pairs.addParticle(0.0, 0.3, 0.0)
    if box:
        system.setDefaultPeriodicBoxVectors(*(box * np.eye(3)))
        pairs.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        pairs.setCutoffDistance(0.45 * box)
        topology.setPeriodicBoxVectors(box * np.eye(3))
    system.addForce(pairs)
    variables = variables or [Dihedral("phi", (0, 1, 2, 3))]
    a, b = Range({variables[0].name: (-10.0, 10.0)}), Range({variables[0].name: (20.0, 30.0)})
    if isinstance(variables[0], Dihedral):
        a, b = Range({"phi": chain4.TRANS}), Range({"phi": chain4.GAUCHE})
    if isinstance(variables[0], Distance):  # which is never longer than the box lets it be
        start = float(variables[0].in_box(box * np.eye(3) if box else None)(np.array([positions]))[0])
        a, b = Range({variables[0].name: (0.0, start + 0.001)}), Range({variables[0].name: (start + 0.002, 30.0)})
    return RareEventSystem.from_openmm(
        system, np.array(positions), a, b, variables, 300.0, 1.0, 0.001, inertial=True, topology=topology, name="wet"
    )


def separation(positions):
    """Of the first two particles."""
    return np.linalg.norm(positions[:, 0] - positions[:, 1], axis=1)


def test_a_molecule_in_solvent_is_seen_by_its_internal_coordinates():
    """Case 21: 1504 particles, the default."""
    problem = solvated(n_waters=0, n_gas=1500)
    spec = problem.descriptor_spec()
    assert spec["kind"] == "internal_coordinates" and [len(spec[key]) for key in ("bonds", "angles", "dihedrals")] == [3, 2, 1]
    assert "box" not in spec  # OpenMM keeps a molecule whole
    assert "1504 atoms" in problem.descriptor_note and "the molecule of atom 0 (BUT1:C0), 4 atoms" in problem.descriptor_note
    assert CommittorModel(spec, 1504, (8,)).descriptor.n_features == 7
    assert solvated().descriptor_spec() == spec  # in water the same
    assert "40 water molecules among them" in solvated().descriptor_note


def test_two_ions_in_water_are_seen_by_their_distance():
    problem = solvated(molecules=0, ions=4, variables=[Distance("r", (0, 1))])
    spec = problem.descriptor_spec()
    assert spec["kind"] == "subset" and spec["atoms"] == [0, 1] and spec["part"]["kind"] == "pair_distances"
    assert spec["part"]["box"] == [EDGE] * 3 and build_descriptor(spec, len(problem.positions)).names == ("r NA1:NA-CL2:CL",)
    assert "the distance between the atoms 0 (NA1:NA), 1 (CL2:CL), which the states name" in problem.descriptor_note


def test_atoms_of_several_molecules_are_seen_by_both():
    problem = solvated(molecules=2, variables=[Distance("r", (0, 5))])
    first, second, between = problem.descriptor_spec()["parts"]
    assert first["kind"] == second["kind"] == "internal_coordinates" and second["bonds"] == [[4, 5], [5, 6], [6, 7]]
    assert between["atoms"] == [0, 5] and between["part"]["box"] == [EDGE] * 3
    assert len(set(build_descriptor(problem.descriptor_spec(), len(problem.positions)).names)) == 15
    named_water = solvated(molecules=0, ions=1, variables=[Distance("r", (0, 1))])
    assert named_water.descriptor_spec()["atoms"] == [0, 1]  # and not the two hydrogens of that water


def test_variables_that_are_functions_name_everything_but_water():
    function = [FunctionVariable("r", separation)]
    pair = solvated(molecules=0, ions=2, variables=function).descriptor_spec()
    assert pair["atoms"] == [0, 1]
    alone = solvated(ions=6, variables=function)  # salt beside a molecule is solvent
    assert alone.descriptor_spec()["kind"] == "internal_coordinates" and len(alone.descriptor_spec()["bonds"]) == 3
    assert solvated(molecules=2, variables=function).descriptor_spec()["atoms"] == list(range(8))


def test_states_in_coordinates_are_seen_by_them():
    spec = solvated(molecules=0, ions=2, variables=[Coordinate("z", 0, 2)]).descriptor_spec()
    assert spec == {"kind": "coordinates", "columns": [0, 1, 2], "scale": 1.0}


def test_small_systems_without_solvent_and_built_in_ones_keep_theirs():
    assert chain4.problem().descriptor_spec() == {"kind": "pair_distances"} and chain4.problem().descriptor_note is None
    assert chain4.problem(chain4.system(box=3.0)).descriptor_spec() == {"kind": "pair_distances"}  # one molecule
    few = solvated(n_waters=2, box=None)
    assert few.descriptor_spec() == {"kind": "pair_distances"} and few.descriptor_note is None
    for name in BUILDERS:
        problem = build(name)
        assert problem.descriptor is not None and problem.descriptor_spec() == problem.descriptor
        assert problem.default_in_descriptor is None


CONFIG = """
[system]
name = "gas"
builder = "MODULE:make"
temperature = "300 K"
friction = "5 1/ps"
timestep = "1 fs"
inertial = true

[variables.r]
type = "function"
function = "MODULE:separation"

[states.a]
range = { r = [0.0, 100.0] }

[states.b]
range = { r = [200.0, 300.0] }
"""


def test_where_nothing_can_be_chosen_one_line_says_so_before_anything_is_written(tmp_path, monkeypatch):
    from click.testing import CliRunner

    pytest.importorskip("openpathsampling")
    module = "case_" + tmp_path.name.replace("-", "_")
    code = "from test_k10_memory import separation, solvated\n\ndef make():\n"
    code += "    made = solvated(n_waters=0, n_gas=1500, molecules=0, variables=VARIABLES)\n"
    code += "    return made.system, made.topology, made.positions\n"
    variables = "from openmm_rare import FunctionVariable\nVARIABLES = [FunctionVariable('r', separation)]\n"
    (tmp_path / f"{module}.py").write_text(code.replace("\n\ndef", f"\n{variables}\ndef"))
    (tmp_path / "config.toml").write_text(CONFIG.replace("MODULE", module))
    result = CliRunner().invoke(main, ["tps", str(tmp_path / "config.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and not (tmp_path / "out").exists()
    assert len(result.output.strip().splitlines()) == 1
    for words in ("1500 atoms", "1124250 pair distances take 4.5 GB", '[system.descriptor] with kind = "subset"'):
        assert words in result.output
    config = parse_config((tmp_path / "config.toml").read_text() + '\n[sampling]\nmethod = "brute_force"\n', tmp_path)
    assert config.expanded(build_system(config)).system.descriptor is None  # no network: nothing is refused


@pytest.mark.parametrize("kind", ["pair_distances", "sorted_distances"])
def test_more_inputs_than_possible_are_refused_before_anything_is_allocated(kind, monkeypatch):
    """Case 21 with the kind given."""
    monkeypatch.setattr(torch, "zeros", None)
    monkeypatch.setattr(torch, "triu_indices", None)
    with pytest.raises(ValueError, match=rf"descriptor '{kind}' of 1504 atoms has 1130256 inputs, 4.5 GB for every 1000 fram"):
        build_descriptor({"kind": kind}, 1504)
    with pytest.raises(ValueError, match="4000 atoms have 7998000 pairs, 0.096 GB for each frame"):
        build_descriptor({"kind": "coordination", "radius": 0.5}, 4000)


def test_other_kinds_count_their_inputs_too():
    atoms = list(range(2000))
    solvent = {"kind": "symmetry_functions", "centers": atoms[:1000], "species": {"x": atoms[1000:]}, "box": [4.0] * 3}
    with pytest.raises(ValueError, match="has 55000 inputs"):
        build_descriptor(solvent | {"shells": [0.1, 0.2, 0.3, 0.4, 0.5], "cutoff": 0.6}, 2000)
    with pytest.raises(ValueError, match="'concatenate' of 250 atoms has 62250 inputs"):
        build_descriptor({"kind": "concatenate", "parts": [{"kind": "pair_distances"}] * 2}, 250)
    assert build_descriptor({"kind": "pair_distances"}, 250).n_features == 31125  # negative control


@pytest.mark.parametrize("box", [None, [1.0, 1.1, 1.2]])
def test_coordination_of_many_atoms_needs_no_matrix(monkeypatch, box):
    positions = torch.tensor(np.random.default_rng(1).uniform(0, 2, (5, 12, 3)), requires_grad=True)
    specs = [
        {"kind": "coordination", "radius": 0.5},
        {"kind": "coordination_moments", "radius": 0.5},
        {"kind": "pair_distances"},
    ]
    spec = {"kind": "concatenate", "parts": [each | ({"box": box} if box else {}) for each in specs]}
    dense = build_descriptor(spec, 12).double()
    monkeypatch.setattr(pair_features, "_DENSE", 0)
    monkeypatch.setattr(pair_features, "_BLOCK", 100)
    gathered = build_descriptor(spec, 12).double()
    assert gathered.parts[0].difference is None and dense.parts[0].difference is not None
    values = [each(positions) for each in (dense, gathered)]
    torch.testing.assert_close(*values)
    weights = torch.linspace(-1, 1, dense.n_features, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad((value @ weights).sum(), positions)[0] for value in values))


def test_coordination_of_1504_atoms_is_possible_as_descriptor_and_variable(monkeypatch):
    positions = np.random.default_rng(1).uniform(0, 4, (2, 1504, 3))
    features = build_descriptor({"kind": "coordination", "radius": 0.3}, 1504)(torch.as_tensor(positions)).numpy()
    numbers = coordination_numbers.coordination_numbers(positions, 0.3)
    np.testing.assert_allclose(numbers.T, features, rtol=1e-6)
    few = positions[:, :40]
    for box in (None, np.diag([3.0, 3.0, 3.0])):
        direct = CoordinationMoment("m", order=2, radius=0.3, box=box)(few)
        monkeypatch.setattr(coordination_numbers, "_MOST_ATOMS", 10)
        np.testing.assert_allclose(CoordinationMoment("m", order=2, radius=0.3, box=box)(few), direct, rtol=1e-9)
        monkeypatch.undo()


def test_the_choice_is_spelled_out_in_the_configuration_of_the_run(tmp_path):
    code = "from test_k10_memory import solvated\n\ndef build():\n    made = solvated()\n"
    path = chain4.write(tmp_path, code + "    return made.system, made.topology, made.positions\n")
    config = load_config(path)
    problem = build_system(config)
    again = parse_config(config.expanded(problem).to_toml(), tmp_path)
    assert again.system.descriptor == problem.descriptor_spec() == build_system(again).descriptor_spec()
    assert build_system(again).descriptor_note is None  # it is given now
    plain = load_config(chain4.write(tmp_path / "plain" if (tmp_path / "plain").mkdir() is None else tmp_path))
    assert plain.expanded(build_system(plain)).system.descriptor is None  # negative control


# --- all processes of a run together


IONS = """
import numpy as np
from test_k10_memory import solvated
from openmm_rare import Distance

def make():
    made = solvated(n_waters=331, molecules=0, ions=2, variables=[Distance("r", (0, 1))], box=2.0)
    made.positions[:2] = [[1.0, 1.0, 1.0], [1.25, 1.0, 1.0]]
    return made.system, made.topology, made.positions
"""
PAIR = CONFIG.replace('type = "function"', 'type = "distance"').replace('function = "MODULE:separation"', "atoms = [0, 1]")
PAIR = PAIR.replace("[0.0, 100.0]", "[0.0, 0.31]").replace("[200.0, 300.0]", "[0.36, 2.0]")
WATCHED = """
import json, os, sys
from pathlib import Path
import numpy as np
from openmm_rare import Silent
from openmm_rare.cli.options import configured
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.folders.path_folder import with_path_settings

class Watch(Silent):
    most = 0
    def update(self, n=1.0, **postfix):
        family = [os.getpid(), *map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
        maps = [Path(f"/proc/{each}/smaps_rollup").read_text() for each in family]
        taken = [int(text.split("\\nPss:")[1].split()[0]) * 1024 for text in maps]  # what they share is there once
        Watch.most, Watch.modules = max(Watch.most, sum(taken)), sorted(sys.modules)
        Watch.processes = len(family)

config, out = configured("config.toml", Path("out"), False, "tps", {"seed": 1, "platform": "CPU"})
config = with_path_settings(config, initial_path="first.npz", trials=12, trials_per_round=4, threads=1, scouting=4)
result = run_path_sampling(config, out, progress=Watch())
print(json.dumps({"most": Watch.most, "processes": Watch.processes, "modules": Watch.modules, **result}))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="what processes take is read from /proc")
@pytest.mark.skipif(torch.version.cuda is not None, reason="torch for CUDA takes more memory by itself")
def test_ions_in_water_take_less_than_a_gigabyte_in_all_processes(tmp_path):
    """995 atoms with no descriptor given: 12 trials; free ions, so that they are soon made."""
    pytest.importorskip("openpathsampling")
    module = "case_" + tmp_path.name.replace("-", "_")
    (tmp_path / f"{module}.py").write_text(IONS)
    (tmp_path / "config.toml").write_text(PAIR.replace("MODULE", module))
    path = np.repeat(build_system(load_config(tmp_path / "config.toml")).positions[None], 20, axis=0)
    path[:, 1, 0] += np.linspace(0.0, 0.25, 20)
    np.savez(tmp_path / "first.npz", positions=path)
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{WATCHED}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["processes"] >= 2 and 0.2e9 < seen["most"] < 1e9, seen["most"]
    unused = {"openpathsampling", "matplotlib", "pandas", "networkx", "netCDF4", "scipy.stats"}
    assert not unused & set(seen["modules"])  # in the process that waits
    assert seen["trials"] == 12 and "995 atoms" in seen["notes"][0] and "the distance between the atoms 0" in seen["notes"][0]
    again = load_config(tmp_path / "out" / "config.toml").system.descriptor
    assert again["kind"] == "subset" and list(again["atoms"]) == [0, 1]


def platforms_and_kernels():
    """In a worker."""
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    ewald = ["CalcPmeReciprocalForce"]  # of a plugin of its own, on the CPU
    return {each.getName(): each.supportsKernels(ewald) for each in platforms}


def test_workers_on_processors_load_no_plugins_for_gpus():
    here = platforms_and_kernels()
    with Workers(1, platform="CPU") as pool:
        assert pool.submit(platforms_and_kernels).result() == {name: here[name] for name in ("Reference", "CPU")}
    with Workers(1) as pool:  # negative control
        assert pool.submit(platforms_and_kernels).result() == here


def test_commands_import_what_they_use():
    heavy = {
        "openpathsampling",
        "mdtraj",
        "matplotlib",
        "pandas",
        "netCDF4",
        "scipy.stats",
        "scipy.optimize",
        "scipy.integrate",
    }
    modules = "openmm_rare.cli.options, openmm_rare.workflow.rate" + ", openmm_rare.workflow.path_sampling" * bool(
        find_spec("openpathsampling")
    )
    code = f"import sys, {modules}; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

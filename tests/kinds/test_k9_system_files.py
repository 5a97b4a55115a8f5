"""Kind 9: what files of a System lack is named, with the way out: plugins, structures of other atoms, broken files."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app, unit

import chain4
from openmm_rare.config.run import build_system, load_config, parse_config
from openmm_rare.dynamics.native import plugin
from openmm_rare.io.toml import read_toml
from openmm_rare.structure.files import read_structure, require_same_atoms


def files(folder, ending="pdb", system=None, force="", structure=None):
    """A configuration with system.xml, perhaps with one more force, and a structure."""
    xml = openmm.XmlSerializer.serialize(system or chain4.system())
    (folder / "system.xml").write_text(xml.replace("</Forces>", f"{force}</Forces>"))
    writer = app.PDBxFile if ending.lower().endswith("cif") else app.PDBFile
    with open(folder / f"start.{ending}", "w") as stream:
        topology, positions = structure or (chain4.topology(), chain4.positions())
        writer.writeFile(topology, positions * unit.nanometer, stream)
    source = f'xml = "system.xml"\npdb = "start.{ending}"'
    (folder / "config.toml").write_text(chain4.CONFIG.replace('builder = "MODULE:build"', source))
    return folder / "config.toml"


def with_import(path, *modules):
    path.write_text(path.read_text().replace("[system]", f"[system]\nimport = {list(modules)!r}", 1))
    return path


def refusal(path, trust=False):
    with pytest.raises(ValueError) as caught:
        build_system(load_config(path, trust))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "module"),
    [("PlumedForce", "openmmplumed"), ("TorchForce", "openmmtorch"), ("DeepmdForce", "module_of_the_plugin")],
)
def test_forces_of_plugins_are_named_with_the_key_that_loads_them(tmp_path, kind, module):
    """Case 19."""
    if kind == "TorchForce" and "openmmtorch" in sys.modules:
        pytest.skip("openmmtorch is loaded: its forces can be read")
    path = files(tmp_path, force=f'<Force type="{kind}" version="2" forceGroup="0" name="{kind}" script="d"/>')
    message = refusal(path)
    assert f"{tmp_path}/system.xml needs the plugin that defines '{kind}': install it and name" in message
    assert f'e.g. [system] import = ["{module}"]' in message
    assert "may run programs" in message and "--trust" in message
    assert refusal(path, trust=True).endswith(f'e.g. [system] import = ["{module}"]')
    message = refusal(with_import(path, "json", "email"), trust=True)
    assert f"needs the plugin that defines '{kind}', which json, email of system.import do not" in message


def test_modules_that_do_not_exist_are_named(tmp_path):
    message = refusal(with_import(files(tmp_path), "openmm_of_nobody"))
    assert message.endswith("config.toml: system.import = ['openmm_of_nobody']: no module 'openmm_of_nobody' is installed")
    (tmp_path / "lacks_something.py").write_text("import nobody_has_this")
    with pytest.raises(ModuleNotFoundError, match="nobody_has_this"):  # a fault of that module
        build_system(load_config(with_import(files(tmp_path), "lacks_something")))
    with pytest.raises(ValueError, match="system.import = 'openmmtorch' must be a list"):
        parse_config('[system]\nname = "lj7"\nimport = "openmmtorch"', tmp_path)


def test_a_module_beside_the_configuration_is_imported_and_kept(tmp_path):
    (tmp_path / "loads_plugins.py").write_text("LOADED = True")
    config = load_config(with_import(files(tmp_path), "loads_plugins"))
    problem = build_system(config)
    assert sys.modules["loads_plugins"].LOADED and problem.imports == ("loads_plugins",)
    text = config.expanded(problem).to_toml()
    assert read_toml(text)["system"]["import"] == ["loads_plugins"]
    assert parse_config(text, tmp_path).system.imports == ("loads_plugins",)
    assert problem.fingerprint() == build_system(load_config(files(tmp_path))).fingerprint()
    builder = chain4.write(tmp_path)
    assert build_system(load_config(with_import(builder, "loads_plugins"))).imports == ("loads_plugins",)


@pytest.mark.skipif(not plugin().available, reason="there is no native plugin")
def test_a_system_with_a_plugin_force_is_read_here_and_by_workers(tmp_path):
    """Processes that know nothing of the plugin: one reads the configuration, one what the first hands to its workers."""
    from openmm_rare.dynamics.copies.walker_bonds import WalkerBondForce

    made, harmonic = chain4.system(), openmm.CustomBondForce("100*(r-0.3)^2")
    harmonic.addBond(0, 3, [])
    made.addForce(WalkerBondForce(harmonic, 1))
    path = files(tmp_path, system=made)
    (tmp_path / "loads_ours.py").write_text("from openmm_rare.dynamics.native import plugin\nassert plugin().available\n")
    read = (
        "import pickle, sys; from openmm_rare.config.run import build_system, load_config\n"
        "made = build_system(load_config('config.toml'))\n"
        "pickle.dump(made, open('problem.pkl', 'wb')); print(made.fingerprint())"
    )
    bare = python(read, tmp_path)
    assert bare.returncode == 1 and "needs the plugin that defines" in bare.stderr  # negative control
    with_import(path, "loads_ours")
    done = python(read, tmp_path)
    assert done.returncode == 0, done.stderr
    work = "import pickle; made = pickle.load(open('problem.pkl', 'rb')); print(made.fingerprint(), made.system.getNumForces())"
    worker = python(work, tmp_path)
    assert worker.stdout.split() == [done.stdout.strip(), "4"], worker.stderr


def python(code, folder):
    root = str(Path(chain4.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, str(folder)])}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)


def test_problems_survive_pickling():
    problem = chain4.problem(chain4.system(box=2.0))
    again = pickle.loads(pickle.dumps(problem))
    assert again.fingerprint() == problem.fingerprint() and again.states.variables.variables[0].periodic_box is not None
    np.testing.assert_array_equal(again.positions, problem.positions)


@pytest.mark.parametrize("ending", ["pdb", "ent", "cif", "mmcif", "CIF"])
def test_structures_are_read_by_their_ending(tmp_path, ending):
    problem = build_system(load_config(files(tmp_path, ending)))
    np.testing.assert_allclose(problem.positions, chain4.positions(), atol=6e-5)
    assert problem.topology.getNumAtoms() == 4


@pytest.mark.parametrize(("ending", "form"), [("pdb", "PDB"), ("cif", "mmCIF")])
def test_structures_that_cannot_be_read_are_named(tmp_path, ending, form):
    path, structure = files(tmp_path, ending), tmp_path / f"start.{ending}"
    for content in (b"nonsense", b"", bytes(range(256)), b"ATOM  nonsense"):
        structure.write_bytes(content)
        message = refusal(path)
        assert f"system.pdb: {structure} cannot be read as {form} (" in message and "index" not in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no serialized OpenMM object"),
        (b"   \n", "is no serialized OpenMM object"),
        (bytes(range(256)), "is no serialized OpenMM object"),
        (b"<nonsense/>", "is no serialized OpenMM object"),
        (openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001)).encode(), "holds a VerletIntegrator, not a System"),
        (openmm.XmlSerializer.serialize(openmm.HarmonicBondForce()).encode(), "holds a HarmonicBondForce, not a System"),
    ],
    ids=["empty", "blank", "binary", "other", "integrator", "force"],
)
def test_xml_of_something_else_is_named(tmp_path, content, said):
    path = files(tmp_path)
    (tmp_path / "system.xml").write_bytes(content)
    message = refusal(path)
    assert f"system.xml: {tmp_path}/system.xml {said}" in message and "()" not in message


def test_a_serialized_state_is_named(tmp_path):
    context = openmm.Context(chain4.system(), openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(chain4.positions())
    path = files(tmp_path)
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(context.getState(positions=True)))
    assert "system.xml holds a State, not a System" in refusal(path)


@pytest.mark.parametrize("key", ["xml", "pdb"])
def test_a_builder_needs_no_files(tmp_path, key):
    path = chain4.write(tmp_path)
    path.write_text(path.read_text().replace("builder =", f'{key} = "system.file"\nbuilder =', 1))
    with pytest.raises(ValueError, match=rf"section \[system\] has both builder and {key}; a builder returns"):
        load_config(path)


def test_structures_of_other_atoms_name_both_files(tmp_path):
    made = chain4.system()
    made.addParticle(0.0)
    made.setVirtualSite(4, openmm.TwoParticleAverageSite(1, 2, 0.5, 0.5))
    message = refusal(files(tmp_path, system=made))
    assert f"system.xml: {tmp_path}/system.xml has 5 particles (1 of them virtual sites" in message
    assert f"system.pdb: {tmp_path}/start.pdb has 4 atoms" in message


def test_a_structure_with_its_atoms_in_another_order_is_refused(tmp_path):
    made, path = chain4.system(), files(tmp_path)
    topology, _ = read_structure(tmp_path / "start.pdb")
    atoms = list(topology.atoms())
    atoms[0].element, atoms[2].element = app.element.nitrogen, app.element.oxygen
    for index, mass in enumerate((14.007, 12.011, 15.999, 12.011)):
        made.setParticleMass(index, mass)
    require_same_atoms(made, path, topology, path)  # negative control
    made.setParticleMass(0, 15.999)
    require_same_atoms(made, path, topology, path)  # another mass on purpose
    made.setParticleMass(2, 14.007)
    with pytest.raises(ValueError, match=r"in another order: atom 0 is N there, and has a mass of 16 Da .*2 atoms differ"):
        require_same_atoms(made, path, topology, path)

"""Which module may import what: dependencies run one way."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openmm_rare
import openmm_rare.systems

PACKAGE = Path(openmm_rare.__file__).parent
SYSTEMS = Path(openmm_rare.systems.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "systems")

# From the top floor down: a module imports from floors below its own and from its own package; packages on one line ignore each
# other. What is imported for annotations only does not count.
FLOORS = """
cli
workflow
tps report
folders
config
rates mechanism
flux paths ops
walkers
learning bias
settings
committor
dynamics systems
problem
descriptors
states
structure
trust
io parallel
units statistics convergence
errors
"""
INSIDE_TPS = """
paths_cli_plugins
point_sampler ops_cli
sampler
first_paths
trajectories
chains
"""
ONLY = {  # what each of these may import
    "torch": "bias cli committor descriptors learning mechanism ops parallel rates tps",
    "openpathsampling": "ops tps",
    "matplotlib": "report",
    "click": "cli tps",
    "netCDF4": "io",
    "openmm_rare.systems": "cli workflow config systems",
}
MOST_FILES = 20


def floors(text):
    lines = text.split("\n")
    return {name: -n for n, line in enumerate(lines) for name in line.split()}


FLOOR, FLOOR_OF_TPS = floors(FLOORS), floors(INSIDE_TPS)


def name_of(path):
    """Parts of a module's name below openmm_rare."""
    parts = path.relative_to(PACKAGE).parts if path.is_relative_to(PACKAGE) else ("systems", path.name)
    return tuple(part.removesuffix(".py") for part in parts)


def imports(path):
    """Names of everything a module imports at run time: whole ones for modules of this package, else the first part."""
    found, package = set(), ("openmm_rare", *name_of(path)[:-1])
    tree = ast.parse(path.read_text(encoding="utf8"))
    tree.body = [node for node in tree.body if getattr(getattr(node, "test", None), "id", "") != "TYPE_CHECKING"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return {name if name.startswith("openmm_rare.") else name.partition(".")[0] for name in found}


def upward(name, imported):
    """Those of the imported modules that lie on no lower floor and in no package that a module of this name is in."""
    found = []
    for parts in (other.split(".")[1:] for other in imported if other.startswith("openmm_rare.")):
        if parts[0] == name[0]:
            inside = name[0] == "tps" and len(parts) > 1 and name[1] != parts[1] and parts[1] in FLOOR_OF_TPS
            up = inside and FLOOR_OF_TPS[parts[1]] >= FLOOR_OF_TPS[name[1]]
        else:
            up = parts[0] in FLOOR and FLOOR[parts[0]] >= FLOOR[name[0]]
        found += [".".join(parts)] * up
    return found


@pytest.mark.parametrize("path", [*MODULES, *sorted(SYSTEMS.glob("*.py"))], ids=lambda path: ".".join(name_of(path)))
def test_imports_point_down(path):
    name, found = name_of(path), imports(path)
    if name == ("__init__",):
        return
    assert not upward(name, found)
    for other, allowed in ONLY.items():
        if any(each == other or each.startswith(f"{other}.") for each in found):
            assert name[0] in allowed.split(), other


def test_the_check_sees_an_import():
    found = imports(PACKAGE / "committor" / "model.py")  # negative control
    assert {"torch", "openmm_rare.descriptors.build"} <= found
    assert upward(("states", "regions"), found) and not upward(("bias", "bias"), found)
    assert upward(("tps", "chains", "chain"), {"openmm_rare.tps.sampler"}) and upward(
        ("ops", "engine"), {"openmm_rare.flux.flux"}
    )


def test_every_folder_has_a_floor_and_few_files():
    tops = {name_of(path)[0] for path in MODULES} - {"__init__"}
    assert tops | {"systems"} == set(FLOOR)
    for folder in {path.parent for path in MODULES} - {PACKAGE}:
        assert len([*folder.glob("*.py")]) <= MOST_FILES, folder
        assert (folder / "__init__.py").is_file() or folder.name == "paths_cli_plugins"


def test_no_module_imports_itself_through_others():
    names = {f"openmm_rare.{'.'.join(name_of(path))}": path for path in MODULES}
    late = {"openmm_rare.workflow.scan"}  # imported by what makes its report, when it is asked for one
    graph = {name: imports(path) & set(names) - late for name, path in names.items() if "tps.chains" not in name}
    assert len([*graphlib.TopologicalSorter(graph).static_order()]) > 200
    with pytest.raises(graphlib.CycleError):  # negative control
        graphlib.TopologicalSorter(graph | {"openmm_rare.errors": {"openmm_rare.cli.main"}}).prepare()


def test_states_need_arrays_only():
    code = "import sys, openmm_rare.states.states; heavy = {'torch', 'openmm'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light():
    code = (
        "import sys, openmm_rare; heavy = {'torch', 'openmm', 'openpathsampling', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy; assert openmm_rare.ImportanceSamplingRate.__name__ == 'ImportanceSamplingRate'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist_and_are_documented():
    for name in openmm_rare.__all__:
        thing = getattr(openmm_rare, name)
        assert name == "__version__" or thing.__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        openmm_rare.nothing  # noqa: B018


def test_path_sampling_without_openpathsampling_says_what_to_install():
    code = "import sys; sys.modules['openpathsampling'] = None; import openmm_rare.ops.engine"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'pip install -c constraints.txt ".[ops,symbolic]"' in done.stderr


def test_docstrings_cite_documents_and_headings_that_exist():
    root, cited = Path(__file__).parent.parent, 0
    for path in [*MODULES, *SYSTEMS.glob("*.py")]:
        text = path.read_text(encoding="utf8")
        assert "THEORY" not in text, path
        for name in re.findall(r"[\w/]+\.md\b", text):
            assert (root / name).is_file(), f"{path.name} cites {name}"
        for heading, name in re.findall(r'"([^"\n]+)" in\s+(docs/\w+\.md)', text):
            cited += 1
            there = re.search(rf"^#+ [\d. ]*{heading}\b", (root / name).read_text(encoding="utf8"), re.MULTILINE)
            assert there, f"{path.name} cites {heading} in {name}"
    assert cited >= 11


@pytest.mark.parametrize(("name", "version"), [("numpy", "2.1.0"), ("pandas", "3.0.0")])
def test_packages_that_openpathsampling_does_not_fit_are_named(name, version):
    pytest.importorskip("openpathsampling")
    code = (
        "import importlib.metadata as here; real = here.version;"
        f"here.version = lambda name: {version!r} if name == {name!r} else real(name); import openmm_rare.ops"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and f"here is {version}): in the repository, pip install" in done.stderr, done.stderr

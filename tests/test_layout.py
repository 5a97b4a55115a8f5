"""Which module may import what: dependencies run one way."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import openmm_rare

PACKAGE = Path(openmm_rare.__file__).parent
ARRAYS_ONLY = {"branching", "statistics", "coordination", "sorting", "variables", "regions", "states", "named_functions"}
ARRAYS_ONLY |= {"channels", "variable_base", "box_variables", "frame_values", "function_checks"}
TORCH = {
    "adam",
    "architectures",
    "saved_model",
    "multistate",
    "ensemble",
    "table",
    "atoms",
    "expression",
    "formula",
    "fitting",
    "network",
    "residual",
    "descriptor_base",
    "descriptors",
    "internal_features",
    "pair_features",
    "symmetry_functions",
    "committor",
    "losses",
    "threads",
    "training",
    "fast_features",
    "inference",
    "torch_force",
    "rates",
    "summary",
    "benchmark",
    "processes",
}
KNOWS_SYSTEMS = {"workflow", "yardsticks", "config", "config_system", "scan", "cli", "benchmark", "run_figures", "run_folder"}


def imports(path):
    """Top-level names of everything a module imports at run time, package-relative ones with a leading dot."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf8"))
    tree.body = [node for node in tree.body if getattr(getattr(node, "test", None), "id", "") != "TYPE_CHECKING"]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add(("." if node.level else "") + (node.module or "").split(".")[0])
            if node.module and node.module.startswith("openmm_rare."):
                found.add("." + node.module.split(".")[1])
    return found


MODULES = sorted([*PACKAGE.glob("*.py"), *PACKAGE.glob("ops/**/*.py"), *PACKAGE.glob("mechanism/*.py")])


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_direction_of_imports(path):
    name, found = path.stem, imports(path)
    if "ops" in path.relative_to(PACKAGE).parts:
        assert not {".systems", ".cli"} & found
        return
    assert not ({"openpathsampling", ".ops"} - ({".ops"} if name == "cli" else set())) & found
    if name in ARRAYS_ONLY:
        assert not found & {"torch", "openmm"}
    if "torch" in found:
        assert name in TORCH
    if ".systems" in found:
        assert name in KNOWS_SYSTEMS
    assert not found & {".cli"}


def test_the_check_sees_an_import():
    assert "torch" in imports(PACKAGE / "committor.py")  # negative control
    assert ".systems" in imports(PACKAGE / "workflow.py")


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
    for path in [*MODULES, *PACKAGE.glob("systems/*.py")]:
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

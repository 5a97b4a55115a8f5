"""The house: which module may import what (the contracts in pyproject.toml), how long modules are, and its public face."""

import ast
import importlib
import re
import shutil
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import openmm_rare
import openmm_rare.systems
from openmm_rare.errors import MissingPackageError

ROOT = Path(__file__).parent.parent
PACKAGE = Path(openmm_rare.__file__).parent
SYSTEMS = Path(openmm_rare.systems.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "systems")
ALL = [*MODULES, *sorted(SYSTEMS.glob("*.py"))]

MOST_LINES, MEDIAN_LINES = 300, 150  # of a module
MOST_IN_A_FUNCTION = 60
MOST_FILES = 20
FACES = ["", *sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py") if "= face(" in path.read_text())]
LINT = "import sys; from importlinter.cli import lint_imports_command as lint; lint(['--no-logo', '--no-cache'])"


@pytest.fixture
def house(tmp_path):
    """The package as it is installed, with the built-in systems in it, and who may import what."""
    shutil.copytree(PACKAGE, tmp_path / "openmm_rare", ignore=shutil.ignore_patterns("lib", "systems", "__pycache__"))
    shutil.copytree(SYSTEMS, tmp_path / "openmm_rare" / "systems", ignore=shutil.ignore_patterns("data", "__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(house):
    """Exit status of lint-imports in a folder, and what it says."""
    if sys.version_info[:2] == (3, 10):
        pytest.skip("import-linter needs Python 3.11")
    done = subprocess.run([sys.executable, "-c", LINT], cwd=house, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout


def test_imports_point_down_and_packages_enter_through_their_doors(house):
    status, said = lint(house)
    assert status == 0, said
    shutil.rmtree(house / "openmm_rare" / "systems")
    assert lint(house)[0] == 0  # as in a clone, where lint-imports can be run as well


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("states/regions.py", "from ..cli import main", "states is not allowed to import openmm_rare.cli"),
        ("rates/importance.py", "from ..systems import lj7", "rates is not allowed to import openmm_rare.systems"),
        ("systems/lj7.py", "from openmm_rare.rates import roots", "systems is not allowed to import openmm_rare.rates"),
        ("tps/chains/chain.py", "from .. import sampler", "tps.chains is not allowed to import openmm_rare.tps.sampler"),
        ("units.py", "from . import statistics", "units -> openmm_rare.statistics"),
        ("io/text.py", "def late():\n    from . import toml\n    from .. import units", None),
        ("io/text.py", "def late():\n    from ..problem import RareEventSystem", "io.text -> openmm_rare.problem"),
        ("descriptors/base.py", "from .pairs import PairDistances", "No cycles are allowed in openmm_rare.descriptors"),
        ("states/regions.py", "import torch", "states.regions"),
        ("rates/roots.py", "import openpathsampling", "rates.roots"),
        ("workflow/rate.py", "import matplotlib", "workflow.rate"),
        ("workflow/rate.py", "import jinja2", "workflow.rate"),
        ("workflow/rate.py", "import click", "workflow.rate"),
        ("flux/pool.py", "import netCDF4", "flux.pool"),
        ("new/__init__.py", "", "new"),
    ],
)
def test_a_wrong_import_breaks_a_contract(house, module, line, broken):
    path = house / "openmm_rare" / module
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{path.read_text() if path.exists() else ''}\n{line}\n")
    status, said = lint(house)
    assert status == (broken is not None) and (broken or "") in said, said


def test_the_picture_of_the_house_is_that_of_the_code(tmp_path):
    if sys.version_info[:2] == (3, 10):
        pytest.skip("grimp needs Python 3.11")
    subprocess.run([sys.executable, ROOT / "docs" / "architecture.py", tmp_path / "now.svg"], check=True)
    now, there = (
        set(re.findall(r'id="(\w+)-&gt;(\w+)"', path.read_text(encoding="utf8")))
        for path in (tmp_path / "now.svg", ROOT / "docs" / "architecture.svg")
    )
    assert len(now) > 30 and now == there, "python docs/architecture.py draws it again"
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf8")
    assert all(f"`{name}`" in page for arrow in now for name in arrow)


def test_folders_have_few_files():
    for folder in {path.parent for path in ALL} - {PACKAGE}:
        assert len([*folder.glob("*.py")]) <= MOST_FILES, folder
        assert (folder / "__init__.py").is_file() or folder.name == "paths_cli_plugins"


def long_functions(text):
    """Names of functions with too many lines."""
    defined = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.name for node in defined if node.end_lineno - node.lineno >= MOST_IN_A_FUNCTION]


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_modules_and_functions_are_short(path):
    text = path.read_text(encoding="utf8")
    assert len(text.splitlines()) <= MOST_LINES
    assert not long_functions(text)


def test_most_modules_are_shorter_still():
    assert len(ALL) > 200
    assert statistics.median(len(path.read_text(encoding="utf8").splitlines()) for path in ALL) <= MEDIAN_LINES
    body = "    pass\n" * (MOST_IN_A_FUNCTION - 1)  # negative control
    assert not long_functions(f"def f():\n{body}") and long_functions(f"def f():\n{body}    pass\n") == ["f"]


def test_states_need_arrays_only():
    code = "import sys, openmm_rare.states.states; heavy = {'torch', 'openmm'} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_is_light():
    packages = [f"openmm_rare.{face}".rstrip(".") for face in FACES if face != "ops" or find_spec("openpathsampling")]
    code = (
        f"import sys, {', '.join(packages)};"
        "heavy = {'torch', 'openmm', 'openpathsampling', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy; assert openmm_rare.ImportanceSamplingRate.__name__ == 'ImportanceSamplingRate'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", FACES)
def test_public_names_exist_and_are_documented(package):
    if package == "ops":
        pytest.importorskip("openpathsampling")
    face = importlib.import_module(f"openmm_rare.{package}".rstrip("."))
    for name in face.__all__:
        try:
            thing = getattr(face, name)
        except MissingPackageError:  # says what to install
            assert find_spec("openpathsampling") is None
            continue
        assert name == "__version__" or (thing.__doc__ and name in dir(face))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        face.nothing  # noqa: B018


def test_the_way_in_is_short():
    """What a user would guess is there, and faces say no more than names."""
    guessed = (
        "RareEventSystem States Range Distance ImportanceSamplingRate RateSettings PathSettings find_path analyze load_run"
    )
    assert set(guessed.split()) <= set(openmm_rare.__all__) and len(openmm_rare.__all__) <= 50 and len(FACES) > 8
    for face in PACKAGE.rglob("__init__.py"):
        text = face.read_text(encoding="utf8")
        long = 60 if face.parent == PACKAGE else 40
        assert face.parent.name == "systems" or len(text.splitlines()) <= long, face


def test_path_sampling_without_openpathsampling_says_what_to_install():
    code = "import sys; sys.modules['openpathsampling'] = None; import openmm_rare.ops.engine"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and 'pip install -c constraints.txt ".[ops,symbolic]"' in done.stderr


def test_docstrings_cite_documents_and_headings_that_exist():
    cited = 0
    for path in ALL:
        text = path.read_text(encoding="utf8")
        assert "THEORY" not in text, path
        for name in re.findall(r"[\w/]+\.md\b", text):
            assert (ROOT / name).is_file(), f"{path.name} cites {name}"
        for heading, name in re.findall(r'"([^"\n]+)" in\s+(docs/\w+\.md)', text):
            cited += 1
            there = re.search(rf"^#+ [\d. ]*{heading}\b", (ROOT / name).read_text(encoding="utf8"), re.MULTILINE)
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

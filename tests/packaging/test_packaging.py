"""What is shipped: one version and one list of tested versions, all that a build needs, and rates without OpenPathSampling."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jinja2 import Environment
from packaging.requirements import Requirement

import openmm_rare
from openmm_rare.cli.main import main
from openmm_rare.errors import MissingPackageError
from openmm_rare.ops import installed

ROOT = Path(__file__).parents[2]
IN_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
OPS = ("openpathsampling", "openpathsampling-cli")


@pytest.fixture(scope="module")
def package():
    """What setup.py says, without a build."""
    pytest.importorskip("setuptools")
    from distutils.core import run_setup

    return run_setup(str(ROOT / "setup.py"), stop_after="init")


@pytest.fixture
def clone(tmp_path):
    """The files of the repository, without what is installed or built in them."""
    for name in ("openmm_rare", "plugin_src", "systems"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("lib", "__pycache__"), symlinks=True)
    (tmp_path / "openmm_rare" / "systems").unlink(missing_ok=True)
    for path in filter(Path.is_file, ROOT.iterdir()):
        shutil.copy(path, tmp_path)
    return tmp_path


def text(name):
    return (ROOT / name).read_text(encoding="utf8")


def test_there_is_one_version(package):
    version = openmm_rare.__version__
    assert package.get_version() == version
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert re.search(r"^## (\S+)", text("CHANGELOG.md"), re.MULTILINE)[1] == version


def test_doctor_prints_the_versions_that_were_tested():
    done = CliRunner().invoke(main, ["doctor", "--constraints"])
    assert done.exit_code == 0 and done.output == text("constraints.txt") == text("openmm_rare/cli/constraints.txt")


def wanted(package, extra, python):
    """Names of what an extra asks for on a version of Python, with their specifiers."""
    found, here = map(Requirement, package.extras_require[extra]), {"python_version": python}
    return {each.name: each.specifier for each in found if each.marker is None or each.marker.evaluate(here)}


def test_all_is_what_users_may_want(package):
    users = set(package.extras_require) - {"all", "docs", "test"}
    assert len(users) >= 5
    every = {name for extra in users for name in wanted(package, extra, "3.12")}
    assert set(wanted(package, "all", "3.12")) == every and set(OPS) <= every
    pinned = {Requirement(line).name.lower() for line in text("constraints.txt").splitlines() if not line.startswith("#")}
    assert {name.lower() for name in every} - pinned <= {"packaging"}


def test_no_extra_keeps_python_3_13_from_numpy_2(package):
    for extra in package.extras_require:
        found = wanted(package, extra, "3.13")
        assert not set(OPS) & set(found) and not str(found.get("numpy", "")), extra
    assert str(wanted(package, "ops", "3.12")["numpy"]) == "<2"  # the control


def recipe():
    """The recipe of conda as it is rendered for Linux and Python 3.10, with names in the place of compilers."""
    source = re.sub(r"# \[(?!py).*\]", "", text(".conda/meta.yaml"))
    given = {"compiler": lambda name: name, "stdlib": lambda name: name, "PYTHON": "python"}
    given["pin_compatible"] = lambda name, max_pin: f"{name} {max_pin}"
    return yaml.safe_load(Environment().from_string(source).render(given))


def test_the_recipe_for_conda_says_what_setup_py_says(package):
    found = recipe()
    assert found["package"] == {"name": package.get_name(), "version": openmm_rare.__version__}
    run = dict(each.partition(" ")[::2] for each in found["requirements"]["run"])
    assert run.pop("python") == ">=3.10" == str(package.python_requires) and run.pop("openmm") == "x.x.x"
    asked = {each.name: str(each.specifier) for each in map(Requirement, package.install_requires)}
    assert "openmm >=8.6,<8.7" in found["requirements"]["host"] and asked.pop("openmm") in (">=8.6,<8.7", "<8.7,>=8.6")
    assert run == {IN_CONDA.get(name, name).lower(): versions for name, versions in asked.items()}
    more = dict(each.partition(" ")[::2] for each in found["requirements"]["run_constrained"])
    pins = {Requirement(each).name: Requirement(each).specifier for each in package.extras_require["all"]}
    for name, versions in more.items():
        assert {*versions.split(",")} == {str(each).removeprefix("==") for each in pins[name]}, name
    assert found["build"]["entry_points"] == package.entry_points["console_scripts"]


def test_an_sdist_has_all_that_a_build_needs(clone):
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", "out"]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (archive,) = (clone / "out").iterdir()
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}
    for folder in ("plugin_src", "systems", "openmm_rare"):
        needed = {str(path.relative_to(clone)) for path in (clone / folder).rglob("*") if path.is_file()}
        assert len(needed) > 10 and needed <= names, needed - names
    assert {"setup.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "CHANGELOG.md"} <= names


WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("openpathsampling", "mdtraj"):
            return None
        return next(filter(None, (each.find_spec(name, path, target) for each in finders)), None)

finders, sys.meta_path[:] = [*sys.meta_path], [Without]
from openmm_rare.cli.main import main
main()
"""


def without_ops(*words):
    return subprocess.run([sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True)


def test_rates_need_no_openpathsampling_and_path_sampling_says_so(tmp_path):
    rate = ("rate", "double_well_1d", "--temperature", "1500 K", "--brute-force", "--target-error", "0.5")
    done = without_ops(*rate, "--out", str(tmp_path / "rate"))
    assert done.returncode == 0 and "rate constant k" in done.stdout, done.stderr
    assert (tmp_path / "rate" / "report.html").is_file()
    done = without_ops("tps", "double_well_1d", "--trials", "3", "--out", str(tmp_path / "tps"))
    assert done.returncode == 2 and not (tmp_path / "tps").exists()
    assert "Error: path sampling needs OpenPathSampling" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("python", "said"),
    [((3, 12, 1), "no package openpathsampling"), ((3, 13, 0), "no release is for Python 3.13: with Python 3.10 to 3.12")],
)
def test_path_sampling_says_what_it_needs_and_for_which_python(monkeypatch, python, said):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    monkeypatch.setattr(installed.sys, "version_info", python)
    with pytest.raises(MissingPackageError, match=f"path sampling needs OpenPathSampling.*{said}"):
        installed.require_openpathsampling()

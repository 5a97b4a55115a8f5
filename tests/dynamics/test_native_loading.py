"""Loading the native plugin: every way to fail leaves a working package and a sentence that says what to do."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import openmm
import pytest
from click.testing import CliRunner

from openmm_rare.cli import doctor
from openmm_rare.cli.main import main
from openmm_rare.dynamics import native

HERE = openmm.version.short_version
MINOR = ".".join(HERE.split(".")[:2])
needs_plugin = pytest.mark.skipif(not native.plugin().available, reason="; ".join(native.plugin().problems))


class StandInLibrary:
    """What ctypes makes of a library that works, without touching OpenMM."""

    built_for, refuses = HERE, 0

    def __init__(self, path=None):
        self.calls = []
        self.rare_built_for = self._function(lambda: self.built_for.encode())
        self.rare_error = self._function(lambda: b"no room")
        self.rare_register_proxies = self._function(lambda: self.refuses)
        self.rare_thing = self._function(lambda *arguments: self.calls.append(arguments) or self.refuses)

    @staticmethod
    def _function(function):
        def called(*arguments):
            return function(*arguments)

        return called


@pytest.fixture
def folder(tmp_path):
    """As it is installed, with files that are no libraries."""
    folder = tmp_path / "lib"
    (folder / "plugins").mkdir(parents=True)
    (folder / "built_for.txt").write_text(f"{HERE}\n")
    (folder / native._LIBRARY_NAME).write_bytes(b"no library")
    return folder


@pytest.fixture
def stand_in(monkeypatch):
    class Library(StandInLibrary):
        pass

    monkeypatch.setattr(ctypes, "CDLL", Library)
    return Library


def run(code, **environment):
    """Run Python in a process of its own, because what is loaded stays loaded."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def load_elsewhere(folder):
    """Platforms and problems after loading from a folder, in another process."""
    code = f"import pathlib; from openmm_rare.dynamics.native import load; p = load(pathlib.Path({str(folder)!r}));"
    code += "print(p.platforms, p.problems)"
    return run(code, OPENMM_RARE_NATIVE="1")


def assert_unusable(plugin, *texts):
    assert not plugin.available and plugin.library is None and plugin.platforms == ()
    (sentence,) = plugin.problems
    for text in (*texts, "pip install"):
        assert text in sentence


def test_not_built(tmp_path):
    assert_unusable(native.load(tmp_path / "lib"), "not built", "C++17 compiler")
    (tmp_path / "not_built.txt").write_text("CMake could not compile it\n")
    assert_unusable(native.load(tmp_path), "not built", "(CMake could not compile it)")


def test_library_is_missing(folder):
    (folder / native._LIBRARY_NAME).unlink()
    plugin = native.load(folder)
    assert_unusable(plugin, f"{native._LIBRARY_NAME} is missing")
    assert plugin.built_for == HERE


def test_another_openmm_is_noticed_before_anything_is_loaded(folder, monkeypatch):
    def loaded(path):
        raise AssertionError("loaded")

    monkeypatch.setattr(ctypes, "CDLL", loaded)
    (folder / "built_for.txt").write_text("8.5.2\n")
    assert_unusable(native.load(folder), f"built for OpenMM 8.5.2, but this is {HERE}", "openmm==8.5.2")
    (folder / "built_for.txt").write_text(f"{MINOR}.99\n")
    with pytest.raises(AssertionError, match="loaded"):  # negative control: the last number does not matter
        native.load(folder)


def test_library_that_is_none(folder):
    assert_unusable(native.load(folder), f"{native._LIBRARY_NAME} cannot be loaded")


def test_library_that_is_another(folder):
    shutil.copy(importlib.util.find_spec("_ctypes").origin, folder / native._LIBRARY_NAME)
    assert_unusable(native.load(folder), "is not the library of this openmm_rare", "rare_error")


def test_library_beside_the_wrong_version_file(folder, stand_in):
    stand_in.built_for = "8.5.2"
    assert_unusable(native.load(folder), f"built for OpenMM 8.5.2, but this is {HERE}")


def test_library_that_openmm_does_not_take(folder, stand_in):
    stand_in.refuses = 1
    assert_unusable(native.load(folder), "OpenMM did not take the plugin: no room")


def test_kernels_that_are_missing_or_broken(folder, stand_in, monkeypatch):
    monkeypatch.setattr(native, "KERNELS", ("NobodyHasThis",))
    plugin = native.load(folder)
    assert plugin.library is not None and not plugin.available
    assert "No platform of OpenMM has its kernels" in plugin.problems[0]
    for name in ("Reference", "Abacus"):
        (folder / "plugins" / f"libOpenMMRare{name}.so").write_bytes(b"no library")
    plugin = native.load(folder)
    assert [sentence.split(" (")[0] for sentence in plugin.problems] == [
        "libOpenMMRareAbacus.so cannot be loaded",
        "libOpenMMRareReference.so cannot be loaded",
    ]
    assert all("pip install" in sentence for sentence in plugin.problems)
    monkeypatch.setattr(native, "KERNELS", ("IntegrateVerletStep",))
    assert "Reference" in native.load(folder).platforms  # negative control: kernels that are there are found


def test_libraries_of_platforms_that_openmm_does_not_have_here_are_left_alone(folder, stand_in, monkeypatch):
    for name in ("CUDA", "HIP", "OpenCL"):
        (folder / "plugins" / f"libOpenMMRare{name}.so").write_bytes(b"no library")
    monkeypatch.setattr(openmm.Platform, "getNumPlatforms", lambda: 1)  # Reference
    monkeypatch.setattr(native, "KERNELS", ("IntegrateVerletStep",))
    plugin = native.load(folder)
    assert plugin.platforms == ("Reference",) and plugin.problems == ()
    monkeypatch.setattr(native, "_OPTIONAL_PLATFORMS", ())  # negative control
    assert len(native.load(folder).problems) == 3


def test_call_and_make(stand_in, monkeypatch):
    library, integrator = stand_in(), openmm.VerletIntegrator(0.001)
    monkeypatch.setattr(native, "plugin", lambda: native.Plugin(library))
    native.call("rare_thing", integrator, 7)
    ((pointer, argument),) = library.calls
    assert (pointer.value, argument) == (int(integrator.this), 7)
    library.refuses = 1
    with pytest.raises(openmm.OpenMMException, match="no room"):
        native.call("rare_thing", integrator)
    assert isinstance(native.make(openmm.XmlSerializer.serialize(integrator)), openmm.VerletIntegrator)
    monkeypatch.setattr(native, "plugin", lambda: native.Plugin(problems=("It is away.",)))
    with pytest.raises(RuntimeError, match="rare_thing needs the native plugin. It is away."):
        native.call("rare_thing", integrator)
    with pytest.raises(RuntimeError, match="needs the native plugin. It is away."):
        native.make("<Integrator/>")


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ('{"url": "file:///a%20b/c", "dir_info": {"editable": true}}', "-e '/a b/c'"),
        ('{"url": "file:///a/c", "dir_info": {}}', "/a/c"),
        (None, "--no-cache-dir openmm-rare"),
    ],
)
def test_the_command_that_builds_it_again_knows_where_the_package_came_from(origin, source, monkeypatch):
    class Found:
        def __init__(self, text):
            self.text = text

        def read_text(self, name):
            return self.text

    monkeypatch.setattr(native, "distributions", lambda name: [Found(None), Found(origin)])
    assert native.reinstall_command() == f"OPENMM_RARE_NATIVE=1 pip install --force-reinstall --no-deps {source}"


def test_switched_off_the_package_works_without_it():
    code = """
from openmm_rare import BruteForceRate, RateSettings; from openmm_rare.dynamics import native
from openmm_rare.systems import double_well_1d
assert not native.plugin().available and "OPENMM_RARE_NATIVE=0: unset it" in native.plugin().problems[0]
target = double_well_1d.build(temperature=1500.0, barrier=10.0)
estimate = BruteForceRate(target, target_error=0.3, seed=1, settings=RateSettings(flux_walkers=200, flux_steps=200)).run()
print(estimate.rate_per_ps > 0.0)
"""
    assert run(code, OPENMM_RARE_NATIVE="0") == "True"


def test_nothing_is_loaded_before_it_is_needed_and_then_once():
    code = """
import openmm, openmm_rare, openmm_rare.cli.main
from openmm_rare.dynamics import native
before = native._loaded.cache_info().misses
first = native.plugin()
print(before, native.plugin() is first, native._loaded.cache_info().misses)
"""
    assert run(code) == "0 True 1"


@needs_plugin
def test_the_plugin_serves_the_platforms_of_the_cpu():
    plugin = native.plugin()
    assert {"Reference", "CPU"} <= set(plugin.platforms) and not plugin.problems
    assert plugin.built_for.startswith(f"{MINOR}.")
    assert load_elsewhere(native.LIBRARY_FOLDER).startswith("('Reference', 'CPU'")


@needs_plugin
@pytest.mark.parametrize("keep", [0.1, 0.6, 0.999])
@pytest.mark.parametrize("name", [native._LIBRARY_NAME, "plugins/libOpenMMRareReference.so"])
@pytest.mark.skipif(sys.platform != "linux", reason="only the loader of Linux kills the process over a file that is cut off")
def test_library_that_is_cut_off(tmp_path, name, keep):
    folder = shutil.copytree(native.LIBRARY_FOLDER, tmp_path / "lib")
    assert "cannot be loaded" not in load_elsewhere(folder)  # negative control
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(keep * len(whole))])
    assert f"{Path(name).name} cannot be loaded (the file is cut off)" in load_elsewhere(folder)


def test_doctor_says_what_there_is(monkeypatch):
    monkeypatch.setattr(openmm.Platform, "getPluginLoadFailures", lambda: ("libOpenMMAbacus.so: not found",))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.output.splitlines() if line.startswith("  ")]
    assert ["openmm", HERE] in lines and ["Reference", "works"] in lines
    assert {"openmm_rare", "torch", "numpy", "python"} <= {line[0] for line in lines}
    assert "not loaded" in result.output and "libOpenMMAbacus.so: not found" in result.output


@pytest.mark.parametrize(
    ("plugin", "rows"),
    [
        (
            native.Plugin(None, "8.6.1", ("Reference", "CPU")),
            [("available on", "Reference, CPU"), ("built for OpenMM", "8.6.1")],
        ),
        (
            native.Plugin(problems=("It was not built: do this.",)),
            [("available on", "no platform; the package works without it"), ("problem", "It was not built: do this.")],
        ),
    ],
)
def test_doctor_says_whether_there_is_a_plugin(plugin, rows, monkeypatch):
    monkeypatch.setattr(native, "plugin", lambda: plugin)
    assert dict(doctor.diagnose())["Native plugin"] == rows


def test_doctor_finds_a_platform_that_does_not_work(monkeypatch):
    def fail(*arguments):
        raise openmm.OpenMMException("no device")

    monkeypatch.setattr(openmm, "Context", fail)
    assert ("Reference", "does not work: no device") in dict(doctor.diagnose())["OpenMM platforms"]

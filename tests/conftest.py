"""Fixtures that all tests share: the OpenMM platforms of this machine."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load: threads cost more than they give here
os.environ["COLUMNS"] = "120"  # lines break as in no terminal, not as where the tests were started

import openmm
import pytest

import platforms
from openmm_rare.dynamics import native
from openmm_rare.walkers.machine import BACKENDS


def _require(platform: str) -> str:
    reason = platforms.why_absent(platform)
    if reason and platform not in ("Reference", "CPU"):
        pytest.skip(reason)
    assert not reason, reason
    return platform


def _require_native(platform: str) -> str:
    plugin = native.plugin()
    assert platform.split()[0] in plugin.platforms, plugin.problems
    return platform


@pytest.fixture(scope="module", autouse=True)
def _forget_modules_of_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No file of tests sees the modules that another one wrote and imported: one name in two folders is refused."""
    yield
    ours = tmp_path_factory.getbasetemp().resolve()
    for name, module in list(sys.modules.items()):
        if (file := getattr(module, "__file__", None)) and Path(file).resolve().is_relative_to(ours):
            del sys.modules[name]


@pytest.fixture(params=platforms.NAMES)
def platform(request: pytest.FixtureRequest) -> str:
    """Name of an OpenMM platform: Reference and CPU must work, a GPU's is skipped with its reason where it does not."""
    return _require(request.param)


@pytest.fixture
def native_platform(platform: str) -> str:
    """The same for tests of the native plugin, which must serve every platform that works."""
    return _require_native(platform)


@pytest.fixture(params=platforms.IN_EVERY_PRECISION)
def precise_platform(request: pytest.FixtureRequest) -> str:
    """The same in every precision, as ``make_context`` takes it."""
    return _require_native(_require(request.param))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Name of a backend; the native one is skipped with its reason where the plugin does not serve the platform."""
    platform = request.getfixturevalue("platform") if "platform" in request.fixturenames else "Reference"
    plugin = native.plugin()
    if request.param == "native" and platform not in plugin.platforms:
        pytest.skip("; ".join(plugin.problems) or f"the native plugin does not serve {platform}")
    return request.param


@pytest.fixture
def make_context() -> Callable[..., openmm.Context]:
    """make_context(system, integrator, platform, positions): a Context with one thread, or mixed precision on a GPU."""
    return platforms.make_context

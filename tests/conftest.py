"""Fixtures that all tests share: the OpenMM platforms of this machine."""

import os
from collections.abc import Callable
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load: threads cost more than they give here

import numpy as np
import openmm
import pytest

from openmm_rare import native
from openmm_rare.dynamics import BACKENDS

_PROPERTIES = {"CPU": {"Threads": "1"}, "OpenCL": {"Precision": "mixed"}}


@cache
def _why_absent(name: str) -> str:
    """Why there is no such platform, or an empty string if it works."""
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        failures = [failure for failure in openmm.Platform.getPluginLoadFailures() if name in failure]
        return f"OpenMM has no {name} platform here: {failures[0] if failures else 'its plugin is not installed'}"
    system = openmm.System()
    system.addParticle(1.0)
    try:
        properties = _PROPERTIES.get(name, {})
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(name), properties)
    except openmm.OpenMMException as error:
        return f"the {name} platform does not work here: {error}"
    return ""


@pytest.fixture(params=["Reference", "CPU", "OpenCL"])
def platform(request: pytest.FixtureRequest) -> str:
    """Name of an OpenMM platform: Reference and CPU must work, OpenCL is skipped with its reason where it does not."""
    reason = _why_absent(request.param)
    if reason and request.param == "OpenCL":
        pytest.skip(reason)
    assert not reason, reason
    return request.param


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

    def make(system: openmm.System, integrator: openmm.Integrator, platform: str, positions: np.ndarray) -> openmm.Context:
        properties = _PROPERTIES.get(platform, {})
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
        context.setPositions(np.reshape(positions, (-1, 3)))
        return context

    return make

"""What is installed on this machine and what works: the rows that ``openmm-rare doctor`` prints."""

from __future__ import annotations

import platform as machine
from importlib.metadata import PackageNotFoundError, version

import openmm

from . import __version__, native
from .result_text import Group

__all__ = ["diagnose"]


def diagnose() -> list[Group]:
    """Versions, platforms of OpenMM, and the native plugin.

    Every platform is tried out, which takes a few seconds where a GPU compiles for the first time.

    Returns
    -------
    list of (heading, rows)
        As :func:`~openmm_rare.result_text.format_table` takes them.
    """
    plugin = native.plugin()
    return [("Versions", _versions()), ("OpenMM platforms", _platforms()), ("Native plugin", _native(plugin))]


def _versions() -> list[tuple[str, str]]:
    rows = [("openmm_rare", __version__), ("openmm", openmm.version.short_version)]
    rows += [(name, _installed(name)) for name in ("torch", "numpy")]
    return [*rows, ("python", f"{machine.python_version()} on {machine.platform()}")]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"missing: pip install {name}"


def _platforms() -> list[tuple[str, str]]:
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    rows = [(platform.getName(), _trial(platform)) for platform in platforms]
    return [*rows, *(("not loaded", failure) for failure in openmm.Platform.getPluginLoadFailures())]


def _trial(platform: openmm.Platform) -> str:
    """Whether a Context can be made."""
    system = openmm.System()
    system.addParticle(1.0)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    except openmm.OpenMMException as error:
        return f"does not work: {error}"
    return "works"


def _native(plugin: native.Plugin) -> list[tuple[str, str]]:
    rows = [("available on", ", ".join(plugin.platforms) or "no platform; the package works without it")]
    if plugin.built_for is not None:
        rows.append(("built for OpenMM", plugin.built_for))
    return [*rows, *(("problem", sentence) for sentence in plugin.problems)]

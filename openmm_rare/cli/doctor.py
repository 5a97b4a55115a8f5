"""What is installed on this machine and what works: the rows that ``openmm-rare doctor`` prints."""

from __future__ import annotations

import platform as machine
from pathlib import Path

import openmm

from .. import __version__
from ..bias.force import FORCES, why_not
from ..dynamics import native
from ..errors import HOW_TO_INSTALL
from ..io.text import Group
from ..rates.summary import installed_version

__all__ = ["diagnose", "tested_versions"]

_WORKS = "works"
_PATHS = f"for path sampling, {HOW_TO_INSTALL}"
_PACKAGES = {
    "torch": "pip install torch",
    "numpy": "pip install numpy",
    "netCDF4": "pip install netCDF4",
    "openpathsampling": _PATHS,
    "mdtraj": _PATHS,
    "openpathsampling-cli": "pip install openpathsampling-cli, if you use its input files",
    "pyoperon": f"for formulas, {HOW_TO_INSTALL}",
    "distributed": 'for workers on a Dask cluster, pip install -c constraints.txt ".[dask]"',
    "openmmtorch": "one of four ways to compute the bias, see below",
}
"""What the versions are shown of, and what to do where it is missing."""


def diagnose() -> list[Group]:
    """Versions, platforms of OpenMM, the native plugin, and what can evaluate the bias.

    Every platform is tried out, and every kind of bias force on it, which takes seconds where a GPU compiles for the first
    time, or where there is openmmtorch.

    Returns
    -------
    list of (heading, rows)
        As :func:`~openmm_rare.io.text.format_table` takes them.
    """
    plugin = native.plugin()
    platforms = _platforms()
    working = [name for name, result in platforms if result == _WORKS]
    failures = [("not loaded", failure) for failure in openmm.Platform.getPluginLoadFailures()]
    return [
        ("Versions", _versions()),
        ("OpenMM platforms", platforms + failures),
        ("Native plugin", _native(plugin)),
        ("Bias forces", [row for kind in FORCES for row in _force(kind, working)]),
    ]


def tested_versions() -> str:
    """The versions of packages that were tested together, as pip takes them with ``-c``."""
    return Path(__file__).with_name("constraints.txt").read_text(encoding="utf8")


def _versions() -> list[tuple[str, str]]:
    rows = [("openmm_rare", __version__), ("openmm", openmm.version.short_version)]
    rows += [(name, _installed(name, remedy)) for name, remedy in _PACKAGES.items()]
    return [*rows, ("python", f"{machine.python_version()} on {machine.platform()}")]


def _installed(name: str, remedy: str) -> str:
    found = installed_version(name)
    return f"not installed: {remedy}" if found is None else found


def _platforms() -> list[tuple[str, str]]:
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    return [(platform.getName(), _trial(platform)) for platform in platforms]


def _trial(platform: openmm.Platform) -> str:
    """Whether a Context can be made."""
    system = openmm.System()
    system.addParticle(1.0)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    except openmm.OpenMMException as error:
        return f"does not work: {error}"
    return _WORKS


def _native(plugin: native.Plugin) -> list[tuple[str, str]]:
    rows = [("available on", ", ".join(plugin.platforms) or "no platform; the package works without it")]
    if plugin.built_for is not None:
        rows.append(("built for OpenMM", plugin.built_for))
    return [*rows, *(("problem", sentence) for sentence in plugin.problems)]


def _force(kind: str, platforms: list[str]) -> list[tuple[str, str]]:
    """Where a kind of bias force works, and every reason why it does not."""
    reasons = {platform: why_not(kind, platform) for platform in platforms}
    rows = [(kind, "works on " + (", ".join(name for name in platforms if not reasons[name]) or "no platform"))]
    for reason in dict.fromkeys(filter(None, reasons.values())):
        rows.append(("problem", f"{', '.join(name for name in platforms if reasons[name] == reason)}: {reason}"))
    return rows

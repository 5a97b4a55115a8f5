"""Platforms of OpenMM by name."""

from __future__ import annotations

import openmm

from ..errors import InputError

__all__ = ["platform_by_name"]


def platform_by_name(name: str) -> openmm.Platform:
    """The OpenMM platform of that name.

    Raises
    ------
    ValueError
        If it is unknown or not available on this machine; the message lists those that are.
    """
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        raise InputError(f"platform {name!r} is not available here; this machine has {', '.join(names)}")
    return openmm.Platform.getPlatformByName(name)

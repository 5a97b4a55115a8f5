"""Which GPU a process computes on."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InputError
from .processor_plugins import ON_GPUS

__all__ = ["require_devices", "use_device"]


def require_devices(devices: Sequence[str], platform: str | None) -> None:
    """Refuse devices that cannot be right.

    Raises
    ------
    ValueError
        If one is no index, or the platform of OpenMM has none.
    """
    for device in devices:
        if not device.isdecimal():
            raise InputError(f"devices = {list(devices)}: {device!r} is not the index of a GPU, such as 0")
    if devices and platform not in ON_GPUS:
        raise InputError(
            f"platform {platform} has no devices to choose from: leave them out, or take one of {', '.join(ON_GPUS)}"
        )


def use_device(platform: str, device: str) -> None:
    """Let every Context that this process makes on a platform compute on the GPU with this index."""
    import openmm  # after the process has chosen which plugins it loads

    openmm.Platform.getPlatformByName(platform).setPropertyDefaultValue("DeviceIndex", device)

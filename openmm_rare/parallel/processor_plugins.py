"""OpenMM without its plugins for GPUs: what a driver of OpenCL or CUDA loads takes 60 MB and more in each process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["ON_GPUS", "import_openmm_for"]

ON_GPUS: tuple[str, ...] = ("CUDA", "OpenCL", "HIP")
"""Platforms that compute on devices with an index."""

_ON_PROCESSORS = ("Reference", "CPU")
_FOLDER = "OPENMM_PLUGIN_DIR"


def import_openmm_for(platform: str | None) -> None:
    """Import OpenMM in a process of ours that computes on one platform only, without what this platform does not need.

    Where the user names a folder of plugins in the environment, all of them are loaded, as OpenMM does.

    Parameters
    ----------
    platform : str or None
        None, and platforms on GPUs, load all plugins.
    """
    if platform not in _ON_PROCESSORS or "openmm" in sys.modules or _FOLDER in os.environ:
        return
    os.environ[_FOLDER] = os.devnull  # importing openmm loads all that is there: nothing
    try:
        import openmm
    finally:
        del os.environ[_FOLDER]
    own = Path(openmm.version.openmm_library_path)
    folder = own / "plugins" if own.is_dir() else Path(openmm.Platform.getDefaultPluginsDirectory())
    files = [path for path in sorted(folder.glob("*")) if path.is_file() and not any(name in path.stem for name in ON_GPUS)]
    for path in sorted(files, key=lambda path: not path.stem.endswith("CPU")):  # others add kernels to the platform CPU
        with suppress(openmm.OpenMMException):  # one that cannot be loaded is missed by nobody but who needs it
            openmm.Platform.loadPluginLibrary(str(path))

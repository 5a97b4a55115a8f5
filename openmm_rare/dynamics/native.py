"""The native plugin: finds it, loads it once, and says what is wrong where it cannot be used.

It is optional: nothing here raises because of what is missing on this machine.
"""

from __future__ import annotations

import ctypes
import json
import operator
import os
import shlex
import struct
import sys
import threading
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import openmm

from ..errors import InputError, RunError

__all__ = ["KERNELS", "LIBRARY_FOLDER", "Plugin", "call", "load", "make", "plugin", "reinstall_command", "whole_number"]

KERNELS = ("IntegrateBiasedOverdampedLangevinStep", "CalcCommittorForce")
LIBRARY_FOLDER = Path(os.environ.get("OPENMM_RARE_LIBRARY") or Path(__file__).parents[1] / "lib").resolve()
"""Of the plugin; the environment variable OPENMM_RARE_LIBRARY names another one, as ``make sanitize`` does."""

_OPTIONAL_PLATFORMS = ("OpenCL", "CUDA", "HIP")
_LIBRARY_NAME = {"win32": "OpenMMRare.dll", "darwin": "libOpenMMRare.dylib"}.get(sys.platform, "libOpenMMRare.so")
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Plugin:
    """What this process has of the native plugin.

    Attributes
    ----------
    library : ctypes.CDLL or None
        The C interface of libOpenMMRare; its calls let other Python threads run.
    built_for : str or None
        The version of OpenMM that it was built for, if it was built.
    platforms : tuple of str
        OpenMM platforms that have all its kernels.
    problems : tuple of str
        What is wrong and what to do about it, in sentences.
    """

    library: ctypes.CDLL | None = None
    built_for: str | None = None
    platforms: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether at least one platform can use it."""
        return bool(self.platforms)


class _Unusable(Exception):
    """Why the library cannot be used, in a sentence."""


def plugin() -> Plugin:
    """The plugin, loaded on the first call; OPENMM_RARE_NATIVE=0 in the environment switches it off."""
    with _LOCK:
        return _loaded()


@cache
def _loaded() -> Plugin:
    if os.environ.get("OPENMM_RARE_NATIVE") == "0":
        sentence = "It is switched off by the environment variable OPENMM_RARE_NATIVE=0: unset it to use the plugin."
        return Plugin(problems=(sentence,))
    return load(LIBRARY_FOLDER)


def load(folder: Path) -> Plugin:
    """Load the plugin from a folder; what is loaded stays in the process, so use :func:`plugin` instead.

    Parameters
    ----------
    folder : Path
        Holds the library, ``built_for.txt``, and in ``plugins/`` the libraries of kernels.

    Returns
    -------
    Plugin
        Never raises for what is missing or broken.
    """
    built_for = None
    try:
        built_for = _built_for(folder)
        _require_same_openmm(built_for)
        library = _open(folder / _LIBRARY_NAME)
    except _Unusable as problem:
        return Plugin(built_for=built_for, problems=(str(problem),))
    problems = _load_kernels(folder / "plugins")
    platforms = _platforms_with(KERNELS)
    if not platforms and not problems:
        problems = (f"No platform of OpenMM has its kernels, which belong into {folder / 'plugins'}. {_again()}",)
    return Plugin(library, built_for, platforms, problems)


def make(text: str) -> openmm.Integrator | openmm.Force:
    """Make an object of the plugin from its XML, as a subclass of its own then takes it: ``self.this = make(text).this``.

    Raises
    ------
    openmm.OpenMMException
        If the plugin refuses what the XML says.
    RuntimeError
        If there is no plugin.
    """
    _require_library("this object")
    return openmm.XmlSerializer.deserialize(text)


def call(name: str, obj: openmm.Integrator | openmm.Force, *arguments: Any) -> None:
    """Call a function of the C interface on an object that the plugin made.

    Parameters
    ----------
    name : str
        Of the function; its first parameter is a pointer to the object, and it returns 0 for success.
    obj : Integrator or Force
    *arguments
        As ctypes takes them: Python integers, or objects of ctypes.

    Raises
    ------
    openmm.OpenMMException
        With the message of the C++ exception.
    RuntimeError
        If there is no plugin.
    """
    library = _require_library(name)
    if getattr(library, name)(ctypes.c_void_p(int(obj.this)), *arguments):
        raise openmm.OpenMMException(library.rare_error().decode())


def whole_number(value: Any, name: str) -> int:
    """An integer as the plugin takes it, of 32 bits.

    Raises
    ------
    ValueError
        If it is something else; the message names the argument.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} = {value!r} must be a whole number") from None
    if not -(2**31) <= number < 2**31:
        raise InputError(f"{name} = {number} must be between -2^31 and 2^31 - 1")
    return number


def _require_library(what: str) -> ctypes.CDLL:
    library = plugin().library
    if library is None:
        raise RunError(f"{what} needs the native plugin. {' '.join(plugin().problems)}")
    return library


def reinstall_command() -> str:
    """The command that builds the plugin again, from where this package was installed from; it shows what fails."""
    texts = [found.read_text("direct_url.json") for found in distributions(name="openmm-rare")]  # .egg-info has none
    origin = json.loads(next(filter(None, texts), "{}"))
    source = "--no-cache-dir openmm-rare"  # pip may have kept the pure Python wheel
    if "dir_info" in origin:
        folder = shlex.quote(url2pathname(urlparse(origin["url"]).path))
        source = f"-e {folder}" if origin["dir_info"].get("editable") else folder
    return f"OPENMM_RARE_NATIVE=1 pip install --force-reinstall --no-deps {source}"


def _again() -> str:
    return f"Build it again: {reinstall_command()}"


def _built_for(folder: Path) -> str:
    """The version of OpenMM that the plugin in a folder was built for."""
    try:
        return (folder / "built_for.txt").read_text(encoding="utf8").strip()
    except OSError:
        reason = ""
    try:
        reason = f" ({(folder / 'not_built.txt').read_text(encoding='utf8').strip()})"
    except OSError:
        pass
    raise _Unusable(
        f"It was not built when openmm_rare was installed{reason}. With a C++17 compiler and make (Debian, Ubuntu: "
        f"apt-get install g++ make): {reinstall_command()}"
    )


def _require_same_openmm(built_for: str) -> None:
    """Versions that differ in more than the last number are not binary compatible."""
    here = openmm.version.short_version
    if built_for.split(".")[:2] != here.split(".")[:2]:
        theirs = f"pip install openmm=={built_for}"
        raise _Unusable(f"It was built for OpenMM {built_for}, but this is {here}. {_again()}, or: {theirs}")


def _open(path: Path) -> ctypes.CDLL:
    """Load the library and tell OpenMM how to make its objects."""
    if not path.is_file():
        raise _Unusable(f"{path} is missing. {_again()}")
    try:
        _require_whole(path)
        library = ctypes.CDLL(str(path))
        library.rare_error.restype = library.rare_built_for.restype = ctypes.c_char_p
        register = library.rare_register_proxies
        built_for = library.rare_built_for().decode()
    except OSError as error:
        raise _Unusable(f"{path} cannot be loaded ({error}). {_again()}") from error
    except AttributeError as error:
        raise _Unusable(f"{path} is not the library of this openmm_rare ({error}). {_again()}") from error
    _require_same_openmm(built_for)
    if register():
        raise _Unusable(f"OpenMM did not take the plugin: {library.rare_error().decode()}. {_again()}")
    return library


def _require_whole(path: Path) -> None:
    """Refuse a library of Linux that is cut off: loading it would not fail but kill the process."""
    with path.open("rb") as stream:
        header = stream.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return  # the loader refuses it, or it is of another system
    table, entry_size, entries = *struct.unpack_from("<Q", header, 0x28), *struct.unpack_from("<HH", header, 0x3A)
    if path.stat().st_size < table + entry_size * entries:
        raise OSError("the file is cut off")


def _load_kernels(folder: Path) -> tuple[str, ...]:
    """Load the libraries of kernels for the platforms that OpenMM has here, and return what went wrong.

    They go one by one, because ``Platform.loadPluginsFromDirectory`` would wipe OpenMM's own list of failures.
    """
    here = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    absent = tuple(f"OpenMMRare{name}" for name in _OPTIONAL_PLATFORMS if name not in here)
    problems = []
    for path in sorted(folder.glob("*OpenMMRare*")):
        if path.stem.endswith(absent):
            continue
        try:
            _require_whole(path)
            openmm.Platform.loadPluginLibrary(str(path))
        except (OSError, openmm.OpenMMException) as error:
            problems.append(f"{path.name} cannot be loaded ({error}). {_again()}")
    return tuple(problems)


def _platforms_with(kernels: tuple[str, ...]) -> tuple[str, ...]:
    platforms = [openmm.Platform.getPlatform(i) for i in range(openmm.Platform.getNumPlatforms())]
    return tuple(platform.getName() for platform in platforms if platform.supportsKernels(list(kernels)))

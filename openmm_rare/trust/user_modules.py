"""Modules of the user's: functions that a configuration names, and plugins that define forces.

Where a module lies is found out before anything is imported, its packages included.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from ..errors import InputError, UntrustedCodeError
from ..io.toml import nearest
from .policy import HOW_TO_TRUST, Trust
from .user_code import faults_in

__all__ = ["import_function", "import_modules"]


def import_modules(names: Sequence[str], folder: str | None = None, trust: Trust | None = None) -> None:
    """Import modules whose plugins define forces.

    Parameters
    ----------
    names : sequence of str
    folder : str, optional
        Put at the head of the import path, as the folder of a script is.
    trust : Trust, optional
        Which modules may be imported; default: any.

    Raises
    ------
    ValueError
        If one is not installed, is not trusted, or fails.
    ImportError
        If one lacks another one.
    """
    where = f"system.import = {list(names)}"
    for name in names:
        if _imported(name, folder, where, trust or Trust(everything=True)) is None:
            raise InputError(f"{where}: no module {name!r} is installed")


def import_function(reference: str, folder: str, name: str, trust: Trust) -> Callable:
    """The function that ``"module:function"`` means.

    Parameters
    ----------
    reference : str
    folder : str
        Put at the head of the import path, as the folder of a script is, and left there: functions of the
        configuration are imported again by whoever unpickles them.
    name : str
        Name of the setting, for the message.
    trust : Trust
        Which modules may be imported.

    Raises
    ------
    ValueError
        If there is no such module or function, the module fails, or it is not trusted.
    ImportError
        If the module lacks another one.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (colon and module_name and function_name):
        raise InputError(f'{name} = {reference!r} must be "module:function", e.g. "my_system:build"')
    module = _imported(module_name, folder, f"{name} = {reference!r}", trust)
    if module is None:
        moved = "" if Path(folder).is_dir() else " (which is not there: folder = ... in the configuration names it)"
        raise InputError(f"{name} = {reference!r}: no module {module_name!r} in {folder}{moved} or installed")
    function = getattr(module, function_name, None)
    if not callable(function):
        defined = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = f"; did you mean {nearest(function_name, defined)!r}?" if defined else ""
        raise InputError(f"{name} = {reference!r}: {module.__file__} defines no function {function_name!r}{hint}")
    return function


def _imported(name: str, folder: str | None, where: str, trust: Trust) -> ModuleType | None:
    """A module, which is looked up in the folder first; None if there is none. `where` is the setting, for messages."""
    importlib.invalidate_caches()
    if trust.everything:
        first = folder is not None and folder not in sys.path
    else:
        own = None if folder is None else _places(name, [folder])
        if not _is_allowed(name, own, where, trust):
            return None
        first = own is not None
    if first:
        sys.path[:] = [folder, *(each for each in sys.path if each != folder)]
    with faults_in(f"{where}: {name} cannot be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # it exists and lacks something itself
            return None


def _is_allowed(name: str, own: Sequence[Path] | None, where: str, trust: Trust) -> bool:
    """Whether a module may be imported, whose files, and those of its packages, are these; False if there is none.

    Raises
    ------
    UntrustedCodeError
        If there is one which is not trusted.
    """
    package = name.partition(".")[0]
    if package in sys.stdlib_module_names or package in sys.builtin_module_names or package == "__main__":
        raise UntrustedCodeError(
            f"{where}: {package!r} is a module of Python itself, which no configuration may run: name a function of a module "
            "of your own beside the configuration"
        )
    if package in trust.packages:
        return True
    if trust.folder is None:
        raise UntrustedCodeError(f"{where} names code, and none runs here: {HOW_TO_TRUST}")
    if own is None:
        if _places(package, None) is None:
            return False
        raise UntrustedCodeError(
            f"{where}: {package!r} does not lie beside the configuration but is installed: if it may run, give --allow-package "
            f'{package} (in Python packages=["{package}"])'
        )
    for file in own:
        if not file.resolve().is_relative_to(Path(trust.folder).resolve()):
            raise UntrustedCodeError(
                f"{where}: {file.resolve()} does not lie in the folder of the configuration, {trust.folder}: if it may run, "
                "give --trust (in Python trust=True)"
            )
    _require_not_hidden(name, own, where)
    return True


def _places(name: str, folders: Sequence[str] | None) -> list[Path] | None:
    """The files of a module and of its packages, found without importing any of them; None if there is no such module.

    Parameters
    ----------
    name : str
    folders : sequence of str or None
        Where its first package is looked up; None: wherever modules are installed.
    """
    places = []
    for part in name.split("."):
        found = PathFinder.find_spec(part, folders) if part.isidentifier() and folders != [] else None
        if found is None:
            return None
        folders = list(found.submodule_search_locations or ())
        places.append(Path(found.origin if found.has_location else folders[0]))
    return places


def _require_not_hidden(name: str, own: Sequence[Path], where: str) -> None:
    """Refuse a module whose name, or that of a package of it, belongs to another one that is imported already."""
    parts = name.split(".")
    for number, file in enumerate(own, 1):
        each = ".".join(parts[:number])
        if each not in sys.modules:
            continue
        loaded = sys.modules[each]
        places = [getattr(loaded, "__file__", None) or "built in", *getattr(loaded, "__path__", ())]
        if not any(Path(place).resolve() == file.resolve() for place in places):
            raise InputError(f"{where}: another module {each!r}, {places[0]}, is in use already: give {file} another name")

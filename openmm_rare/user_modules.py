"""Modules of the user's: functions that a configuration names, and plugins that define forces."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from .errors import InputError
from .toml_text import nearest
from .user_code import faults_in

__all__ = ["import_function", "import_modules"]


def import_modules(names: Sequence[str], folder: str | None = None) -> None:
    """Import modules whose plugins define forces.

    Parameters
    ----------
    names : sequence of str
    folder : str, optional
        Put at the head of the import path, as the folder of a script is.

    Raises
    ------
    ValueError
        If one is not installed, or fails.
    ImportError
        If one lacks another one.
    """
    where = f"system.import = {list(names)}"
    for name in names:
        if _imported(name, folder, where) is None:
            raise InputError(f"{where}: no module {name!r} is installed")


def import_function(reference: str, folder: str, name: str) -> Callable:
    """The function that ``"module:function"`` means.

    Parameters
    ----------
    reference : str
    folder : str
        Put at the head of the import path, as the folder of a script is, and left there: functions of the
        configuration are imported again by whoever unpickles them.
    name : str
        Name of the setting, for the message.

    Raises
    ------
    ValueError
        If there is no such module or function, or the module fails.
    ImportError
        If the module lacks another one.
    """
    module_name, colon, function_name = reference.partition(":")
    if not (colon and module_name and function_name):
        raise InputError(f'{name} = {reference!r} must be "module:function", e.g. "my_system:build"')
    module = _imported(module_name, folder, f"{name} = {reference!r}")
    if module is None:
        moved = "" if Path(folder).is_dir() else " (which is not there: folder = ... in the configuration names it)"
        raise InputError(f"{name} = {reference!r}: no module {module_name!r} in {folder}{moved} or installed")
    function = getattr(module, function_name, None)
    if not callable(function):
        defined = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        hint = f"; did you mean {nearest(function_name, defined)!r}?" if defined else ""
        raise InputError(f"{name} = {reference!r}: {module.__file__} defines no function {function_name!r}{hint}")
    return function


def _imported(name: str, folder: str | None, where: str) -> ModuleType | None:
    """A module, which is looked up in the folder first; None if there is none. `where` is the setting, for messages."""
    if folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    with faults_in(f"{where}: {name} cannot be imported"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # it exists and lacks something itself
            return None

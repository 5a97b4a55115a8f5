"""Functions of the user's by the name under which another process, or a later run, finds them again."""

import importlib
import sys
from collections.abc import Callable

import numpy as np

from ..errors import InputError, UntrustedCodeError

__all__ = ["Function", "function_label", "function_of_label"]

Function = Callable[..., np.ndarray]


def function_label(function: Function, argument: str) -> str:
    """``module:name`` of a module-level function: the form in which fingerprints and workers refer to it.

    Raises
    ------
    ValueError
        If it is not a named function of a module; a lambda or nested function has no name that another process
        could find.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not callable(function) or not module or not name or "<" in name:
        raise InputError(
            f"{argument} must be a function defined at the top level of a module, not {function!r}; "
            "give the lambda or nested function a name there"
        )
    return f"{module}:{name}"


def function_of_label(label: str) -> Function:
    """Inverse of :func:`function_label`.

    Raises
    ------
    ValueError
        If the module cannot be imported here, or has no such function.
    """
    module, _, name = label.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise UntrustedCodeError(f"the function {label} is one of Python itself, which no variable and no region is made of")
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise InputError(f"the function {label} cannot be found ({error}): put its module on the import path") from error

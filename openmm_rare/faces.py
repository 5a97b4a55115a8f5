"""The face of a package: the few names that are meant for users, each loaded when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["face"]


def face(package: str, homes: Mapping[str, Iterable[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Nothing is imported before a name is asked for, so that packages of PyTorch or OpenPathSampling, which take seconds, come
    with what needs them only; and what a package imports from others stays where readers, and checks of imports, see it.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to iterable of str
        Names by the module that defines them, which is named as seen from the package. A name there that is another than here
        is given as ``"there=here"``.
    """
    places = {}
    for module, names in homes.items():
        for there, _, here in (name.partition("=") for name in names):
            places[here or there] = (f"{package}.{module}", there)

    def load(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, there = places[name]
        return getattr(import_module(module), there)

    return load, lambda: sorted({*vars(sys.modules[package]), *places}), list(places)

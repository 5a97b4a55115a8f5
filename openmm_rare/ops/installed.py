"""Whether OpenPathSampling is there, with packages that fit it: found out without importing any of them."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from ..errors import HOW_TO_INSTALL, MissingPackageError

__all__ = ["require_openpathsampling"]

_PACKAGES = ("openpathsampling", "mdtraj", "sqlalchemy", "pandas", "six")  # the last it imports without saying so
_TOO_NEW = (3, 13)  # there are no wheels of numpy 1 for it
_LAST_WITH_OLD_PANDAS = Requirement("openpathsampling<=1.7.0")


def require_openpathsampling() -> None:
    """Refuse to go on without it.

    Raises
    ------
    ModuleNotFoundError
        Says what is missing, or too new, and what to install.
    """
    reason = _why_not()
    if reason and sys.version_info >= _TOO_NEW and find_spec("openpathsampling") is None:
        python = ".".join(map(str, sys.version_info[:2]))
        raise MissingPackageError(
            f"path sampling needs OpenPathSampling, of which no release is for Python {python}: with Python 3.10 to 3.12, "
            f"{HOW_TO_INSTALL}"
        )
    if reason:
        raise MissingPackageError(
            f"path sampling needs OpenPathSampling, and packages that fit it ({reason}): {HOW_TO_INSTALL}"
        )


def _why_not() -> str | None:
    """What is missing, or too new."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        return f"no package {missing[0]}"
    try:
        here = version("openpathsampling")
        wanted = [Requirement(text) for text in requires("openpathsampling") or []]
        if _LAST_WITH_OLD_PANDAS.specifier.contains(here, prereleases=True):
            wanted.append(Requirement("pandas<3"))
        for each in wanted:
            if each.marker is None and not each.specifier.contains(version(each.name), prereleases=True):
                return f"OpenPathSampling {here} needs {each}, here is {version(each.name)}"
    except PackageNotFoundError:
        return None  # from a folder of its source: whoever has that knows what it needs
    return None

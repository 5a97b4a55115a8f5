"""OpenPathSampling with openmm_rare: needs the extra ``ops``.

Importing OpenPathSampling takes 150 MB and seconds: here it is only made sure that it is there, with packages that fit it.
"""

from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from ..errors import HOW_TO_INSTALL, MissingPackageError

_PACKAGES = ("openpathsampling", "mdtraj", "sqlalchemy", "pandas", "six")  # the last it imports without saying so
_LAST_WITH_OLD_PANDAS = Requirement("openpathsampling<=1.7.0")


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


_reason = _why_not()
if _reason:
    raise MissingPackageError(f"path sampling needs OpenPathSampling, and packages that fit it ({_reason}): {HOW_TO_INSTALL}")

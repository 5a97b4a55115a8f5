"""OpenPathSampling with openmm_rare: needs the extra ``ops``."""

from ..errors import MissingPackageError

try:
    import openpathsampling as _openpathsampling  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingPackageError(
        f"openmm_rare.ops needs OpenPathSampling and what it needs ({error}): pip install 'openmm-rare[ops]'"
    ) from error

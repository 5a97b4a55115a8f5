"""OpenPathSampling with openmm_rare: needs the extra ``ops``."""

from ..errors import HOW_TO_INSTALL, MissingPackageError

try:
    import mdtraj as _mdtraj  # noqa: F401
    import openpathsampling as _openpathsampling  # noqa: F401
    import sqlalchemy as _sqlalchemy  # noqa: F401
except (ImportError, AttributeError) as error:  # with a NumPy or pandas that is too new it lacks names
    raise MissingPackageError(
        f"path sampling needs OpenPathSampling, and packages that fit it ({error}): {HOW_TO_INSTALL}"
    ) from error

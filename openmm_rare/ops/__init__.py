"""OpenPathSampling with openmm_rare: needs the extra ``ops``."""

try:
    import openpathsampling as _openpathsampling  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"openmm_rare.ops needs OpenPathSampling and what it needs ({error}): pip install 'openmm-rare[ops]'"
    ) from error

"""What configurations of earlier versions called otherwise."""

from __future__ import annotations

from ..errors import InputError
from ..io.toml import Section

__all__ = ["REPLACED", "with_block_ps"]

REPLACED: set[str] = {"sampling.block_steps"}
"""Whole names that runs of earlier versions recorded, and that others stand for now."""


def with_block_ps(sampling: Section, timestep_ps: float | None, of_run: bool) -> Section:
    """The section ``[sampling]``, with the length of blocks as a time.

    Parameters
    ----------
    sampling : Section
    timestep_ps : float or None
        Of the configuration; a run records its own.
    of_run : bool
        Whether a run recorded it: its blocks stay as they were. Whoever writes a configuration is told the new name.

    Raises
    ------
    ValueError
        If it has the old name, and no run recorded it.
    """
    if "block_steps" not in sampling:
        return sampling
    steps = sampling.count("block_steps")
    if not of_run or timestep_ps is None:
        raise InputError("sampling.block_steps is block_ps now, a time: e.g. block_ps = 5.0, in ps, whatever the time step is")
    rest = {key: value for key, value in sampling.raw.items() if key != "block_steps"}
    return Section({"block_ps": round(steps * timestep_ps, 9), **rest}, sampling.name)

"""What OpenMM refuses, in one line of ours that names the System and the platform."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import openmm

from .errors import DynamicsError, InputError, RareError

__all__ = ["naming_system", "our_error"]


@contextmanager
def naming_system(name: str, platform: str, kind: type[RareError] = InputError) -> Iterator[None]:
    """Raise :func:`our_error` where OpenMM raises its own.

    Raises
    ------
    RareError
    """
    try:
        yield
    except openmm.OpenMMException as error:
        raise our_error(error, name, platform, kind) from error


def our_error(error: openmm.OpenMMException, name: str, platform: str, kind: type[RareError]) -> RareError:
    """An error of ours with the words of OpenMM.

    Parameters
    ----------
    error : openmm.OpenMMException
    name : str
        Of the system.
    platform : str
        Of OpenMM.
    kind : type
        Of the result, unless a position became NaN: InputError where a Context is made, RunError where it ran before.
    """
    said = " ".join(str(error).split()).rstrip(".")
    if re.search(r"\bnan\b", said, re.IGNORECASE):
        return DynamicsError(
            f"positions became NaN in {name} (OpenMM on platform {platform}: {said}): use a smaller time step, or check the "
            "forces at the initial structure"
        )
    return kind(f"OpenMM cannot run {name} on platform {platform}: {said}")

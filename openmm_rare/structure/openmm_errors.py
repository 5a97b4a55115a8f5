"""What OpenMM refuses, in one line of ours that names the System and the platform; scripts can catch it as OpenMM's, too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import openmm

from ..errors import DynamicsError, InputError, RareError, RunError

__all__ = ["BrokenDynamics", "RefusedSystem", "StoppedSystem", "naming_system", "our_error"]


class RefusedSystem(InputError, openmm.OpenMMException):
    """A System, or a platform, of which OpenMM makes no Context."""


class StoppedSystem(RunError, openmm.OpenMMException):
    """A System that OpenMM does not go on with."""


class BrokenDynamics(DynamicsError, openmm.OpenMMException):
    """A System in which OpenMM found a position that is not a number."""


@contextmanager
def naming_system(name: str, platform: str, running: bool = False) -> Iterator[None]:
    """Raise :func:`our_error` where OpenMM raises its own.

    Raises
    ------
    RareError
    """
    try:
        yield
    except RareError:  # also one of these, which has a name already
        raise
    except openmm.OpenMMException as error:
        raise our_error(error, name, platform, running) from error


def our_error(error: openmm.OpenMMException, name: str, platform: str, running: bool) -> RareError:
    """An error of ours with the words of OpenMM.

    Parameters
    ----------
    error : openmm.OpenMMException
    name : str
        Of the system.
    platform : str
        Of OpenMM.
    running : bool
        Whether a Context was there already.
    """
    said = " ".join(str(error).split()).rstrip(".")
    if re.search(r"\bnan\b", said, re.IGNORECASE):
        return BrokenDynamics(
            f"positions became NaN in {name} (OpenMM on platform {platform}: {said}): use a smaller time step, or check the "
            "forces at the initial structure"
        )
    return (StoppedSystem if running else RefusedSystem)(f"OpenMM cannot run {name} on platform {platform}: {said}")

"""Errors that are raised on purpose: one line that says what is wrong and what to do, from whatever process it comes.

Each is also the built-in error that its kind of fault would be anywhere else, so that scripts can catch it as that.
"""

from __future__ import annotations

__all__ = [
    "HOW_TO_INSTALL",
    "DynamicsError",
    "InputError",
    "MissingPackageError",
    "RareError",
    "RunError",
    "UntrustedCodeError",
    "UserCodeError",
]


HOW_TO_INSTALL: str = 'in the repository, pip install -c constraints.txt ".[ops,symbolic]"'
"""Both extras at once and with the versions that were tested together: pip would change what the other one needs."""


class RareError(Exception):
    """Something that the user can mend: commands show its text alone, without a traceback."""


class InputError(RareError, ValueError):
    """An argument, a file, a setting or a System that cannot be right, or two of them that contradict each other."""


class UserCodeError(InputError):
    """A function or a module of the user's that raised an error itself."""


class UntrustedCodeError(InputError):
    """Code that somebody's files name or hold, and that nobody has said may run."""


class RunError(RareError, RuntimeError):
    """A calculation that cannot go on as it was asked for."""


class DynamicsError(RareError, FloatingPointError):
    """Dynamics that broke down: positions that are not finite, bonds torn apart."""


class MissingPackageError(RareError, ModuleNotFoundError):
    """A package that is not installed, or too old."""

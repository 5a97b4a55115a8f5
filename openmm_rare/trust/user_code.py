"""Code of the user's that fails: one line that says which, how, and where in its source."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MissingPackageError, RareError, UserCodeError

__all__ = ["faults_in"]

_OWN = str(Path(__file__).parents[1])


@contextmanager
def faults_in(what: str) -> Iterator[None]:
    """Name code of the user's in the errors that it raises, where they are not errors of this package already.

    Parameters
    ----------
    what : str
        Beginning of the message, e.g. "variable 'q': my_module:q fails".

    Raises
    ------
    ValueError
        Of the kind UserCodeError, with the type of the error and its place.
    ImportError
        If a module of another package is missing.
    """
    try:
        yield
    except (RareError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's code may raise; the command is not its to end
        kind = MissingPackageError if isinstance(error, ModuleNotFoundError) else UserCodeError
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise kind(f"{what}: {said}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where the user's code failed: its innermost line, not one of a package that it calls."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return ""  # it says so itself
    own = ("site-packages", "importlib", _OWN)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not any(part in frame.filename for part in own)]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""

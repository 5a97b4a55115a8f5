"""Errors of commands as one line that says what to do, where the user can mend them."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["UserError", "command", "plain_errors"]

_EXPECTED = (ValueError, RuntimeError, FloatingPointError)
_STOPPED = 130


class UserError(click.ClickException):
    """Something that the user can mend: one line, exit status 2."""

    exit_code = 2


@contextmanager
def plain_errors(show_traceback: bool, resumes: bool = True) -> Iterator[None]:
    """Turn errors that this package raises on purpose, and those of files, into one line without traceback."""
    try:
        yield
    except KeyboardInterrupt:
        kept = " Every finished round is kept: continue with --resume." if resumes else ""
        click.echo(f"\nStopped.{kept}", err=True)
        sys.exit(_STOPPED)
    except OSError as error:
        if show_traceback:
            raise
        place = "" if error.filename is None else f": {error.filename}"
        raise UserError(f"{error.strerror or error}{place}") from error
    except _EXPECTED as error:
        if show_traceback or not _raised_on_purpose(error.__traceback__):
            raise
        raise UserError(str(error)) from error


def _raised_on_purpose(traceback: TracebackType | None) -> bool:
    """Whether an exception comes from a ``raise`` statement in this package.

    An unexpected ValueError or RuntimeError of NumPy or torch surfaces in a call or an operator instead, and needs
    its traceback.
    """
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    code = traceback.tb_frame.f_code
    instruction = dis.opname[code.co_code[traceback.tb_lasti]]
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return module.partition(".")[0] == __package__ and instruction == "RAISE_VARARGS"


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the error handling of this program."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> None:
        with plain_errors(click.get_current_context().find_root().params.get("traceback", False), "resume" in options):
            function(*args, **options)

    return wrapped

"""Errors of commands as one line that says what to do, where the user can mend them."""

from __future__ import annotations

import functools
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..errors import RareError
from ..io.log import SAID, keeping_lines
from ..io.terminal_text import printable

__all__ = ["UserError", "command", "plain_errors"]

_STOPPED, _TERMINATED = 130, 143  # as shells say it: 128 and the number of the signal


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they kill: a command ends as with Ctrl-C."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # which alone is told of signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


class UserError(click.ClickException):
    """Something that the user can mend: one line, exit status 2."""

    exit_code = 2


@contextmanager
def plain_errors(show_traceback: bool, resumes: bool = True) -> Iterator[None]:
    """Turn errors that this package raises on purpose, and those of files, into one line without traceback."""
    try:
        with _terminable():
            yield
    except KeyboardInterrupt as interrupt:
        kept = " Every finished round is kept: continue with --resume." if resumes else ""
        click.echo(f"\nStopped.{kept}", err=True)
        sys.exit(_TERMINATED if isinstance(interrupt, _Terminated) else _STOPPED)
    except Exception as error:
        sentence = _sentence(error)
        if show_traceback or sentence is None:
            raise
        raise UserError(printable(" ".join(sentence.splitlines()))) from error


def _sentence(error: Exception) -> str | None:
    """What to tell the user; None for a fault of this program or of the user's code, which needs its traceback."""
    if isinstance(error, RareError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}{'' if error.filename is None else f': {error.filename}'}"
    if isinstance(error, MemoryError):
        return f"not enough memory{f' ({error})' if str(error) else ''}: take fewer atoms, inputs, walkers or processes"
    # by name: help is to come at once, without importing OpenMM
    if any(kind.__name__ == "OpenMMException" for kind in type(error).__mro__):
        return f"OpenMM says: {error} (openmm-rare --traceback ... shows where)"
    return None


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the error handling of this program."""

    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> None:
        shows_traceback = click.get_current_context().find_root().params.get("traceback", False)
        with keeping_lines(), plain_errors(shows_traceback, "resume" in options):
            SAID.info(f"command: {shlex.join(['openmm-rare', *sys.argv[1:]])}")
            function(*args, **options)

    return wrapped

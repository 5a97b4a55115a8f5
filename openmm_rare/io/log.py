"""The log of a folder: every line that its commands show, with the time and how grave it is, in ``log.txt``.

Lines go to the logger ``openmm_rare.said``, which shows nothing by itself; those of other loggers of this package, which the
terminal shows where they are warnings or the user asked for them, are written beside them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .. import __version__
from ..errors import RareError
from .terminal_text import printable

__all__ = ["FILE", "SAID", "keeping_lines", "logged"]

FILE: str = "log.txt"
"""In each folder that a command writes."""

SAID: logging.Logger = logging.getLogger("openmm_rare.said")
"""Takes what is said to people."""
SAID.setLevel(logging.INFO)
SAID.propagate = False
SAID.addHandler(logging.NullHandler())

_MOST = 10_000  # lines that wait


class _Lines(logging.Formatter):
    """Times, levels, and nothing that a terminal would obey."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        return printable(super().format(record))


class _Waiting(logging.Handler):
    """Keeps what is said while no folder is open."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[logging.LogRecord] = []
        self.folders = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line that no folder has taken yet."""
        if not self.folders and len(self.lines) < _MOST:
            self.lines.append(record)

    def hand_over(self, handler: logging.Handler) -> None:
        """Give what waits to the first folder that opens."""
        lines, self.lines = self.lines, []
        for line in lines:
            handler.handle(line)


_WAITING = _Waiting()


@contextmanager
def keeping_lines() -> Iterator[None]:
    """Keep what is said before a folder is open, and between two, for the next one; forget it at the end."""
    SAID.addHandler(_WAITING)
    try:
        yield
    finally:
        SAID.removeHandler(_WAITING)
        _WAITING.lines.clear()


@contextmanager
def logged(folder: str | Path, begins: bool = True) -> Iterator[None]:
    """Write what is said, and how the block ends, into the log of a folder, after what is there.

    Parameters
    ----------
    folder : path
        Must exist.
    begins : bool
        Whether to begin with a line about this process.
    """
    handler = logging.FileHandler(Path(folder) / FILE, encoding="utf8", delay=True)
    handler.setFormatter(_Lines())
    loggers = SAID, logging.getLogger("openmm_rare")
    for logger in loggers:
        logger.addHandler(handler)
    if not _WAITING.folders:
        _WAITING.hand_over(handler)
    if begins:
        handler.handle(SAID.makeRecord(SAID.name, logging.INFO, "", 0, _beginning(), (), None))
    _WAITING.folders += 1
    try:
        yield
    except BaseException as error:
        _tell_end(handler, error)
        raise
    finally:
        _WAITING.folders -= 1
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


def _beginning() -> str:
    return f"openmm-rare {__version__}, process {os.getpid()}"


def _tell_end(handler: logging.Handler, error: BaseException) -> None:
    """Write what ended a block: a sentence where it is one for people, else with its traceback."""
    if isinstance(error, KeyboardInterrupt):
        level, text, trace = logging.WARNING, "stopped", None
    elif isinstance(error, RareError):
        level, text, trace = logging.ERROR, str(error), None
    else:
        level, text, trace = logging.ERROR, type(error).__name__, (type(error), error, error.__traceback__)
    handler.handle(SAID.makeRecord(SAID.name, level, "", 0, text, (), trace))

"""The end of a command: what to distrust, where the report lies, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from ..io.log import logged
from .saying import say, warn

__all__ = ["UNRELIABLE", "end", "keep"]

UNRELIABLE: int = 3
"""Exit status of a result that should not be trusted."""


def keep(out: Path) -> None:
    """Put what was said since the folder was closed into its log."""
    with logged(out, begins=False):
        pass


def end(out: Path, told: Iterable[tuple[str, str]], reliable: bool, strict: bool) -> None:
    """Say what to distrust, under its heading, and where the report lies; set the exit status."""
    for heading, sentence in told:
        warn(f"{heading}: {sentence}")
    say(f"report: {out / 'report.html'}")
    keep(out)
    if strict and not reliable:
        sys.exit(UNRELIABLE)

"""The end of a command: what to distrust, where the report lies, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click

from ..io.terminal_text import printable

__all__ = ["UNRELIABLE", "end"]

UNRELIABLE: int = 3
"""Exit status of a result that should not be trusted."""


def end(out: Path, told: Iterable[tuple[str, str]], reliable: bool, strict: bool) -> None:
    """Say what to distrust, under its heading, and where the report lies; set the exit status."""
    for heading, sentence in told:
        click.secho(printable(f"{heading}: {sentence}"), fg="red", err=True)
    click.echo(printable(f"report: {out / 'report.html'}"))
    if strict and not reliable:
        sys.exit(UNRELIABLE)

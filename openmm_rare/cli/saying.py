"""What commands say: on the terminal, and in the log of the folder that they write."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from ..io.log import SAID
from ..io.terminal_text import printable

if TYPE_CHECKING:
    from ..io.progress import TerminalProgress

__all__ = ["ShownLog", "say", "terminal_progress", "warn"]


def say(text: str) -> None:
    """A line or a table of the result."""
    click.echo(printable(text))
    for line in filter(None, text.splitlines()):
        SAID.info(line)


def warn(text: str) -> None:
    """Something to distrust."""
    click.secho(printable(text), fg="red", err=True)
    SAID.warning(text)


def terminal_progress() -> TerminalProgress:
    """Progress on the terminal, unless the user wants none."""
    from ..io.progress import TerminalProgress

    return TerminalProgress(quiet=click.get_current_context().find_root().params.get("quiet", False))


class ShownLog(logging.Handler):
    """Shows the log on standard error, whatever that is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a line."""
        click.echo(printable(self.format(record)), err=True)

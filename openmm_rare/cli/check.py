"""The command `check`: what can be said of a configuration before hours of work."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..io.terminal_text import printable
from .errors import UserError, command
from .options import model_option, package_option, platform_option, source_argument, trust_option
from .saying import terminal_progress

if TYPE_CHECKING:
    from ..workflow.checking.rows import Checked

__all__ = ["check"]

_COLORS = {"warning": "yellow", "refused": "red"}


@click.command()
@source_argument
@click.option(
    "--for",
    "methods",
    metavar="[rate|tps|barrier|brute-force]",
    multiple=True,
    show_default="all",
    help="Method to look at; repeatable.",
)
@click.option(
    "--steps", type=click.FloatRange(min=1.0), default=1e8, show_default="1e8", help="Say how long so many steps take."
)
@model_option("Committor model that a rate or path sampling would start from.")
@platform_option
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Also write rows and numbers here.")
@package_option
@trust_option
@command
def check(
    source: str,
    methods: tuple[str, ...],
    steps: float,
    model: Path | None,
    platform: str | None,
    path: Path | None,
    packages: tuple[str, ...],
    trust: bool,
) -> None:
    """Look at SYSTEM or CONFIG.toml for some seconds: states, start, time step, descriptor, cost, and what would be refused.

    Exit status 0 when all methods could run, 2 when one would be refused.
    """
    from ..committor.load import load_committor
    from ..io.files import write_json
    from ..workflow.checking.check import check_config
    from ..workflow.checking.methods import METHODS
    from ..workflow.rate import configuration

    config = configuration(source, trust, packages).with_options(platform=platform)
    start = None if model is None else load_committor(model)
    with terminal_progress() as progress:
        checked = check_config(config, source, methods or METHODS, start, steps, progress)
    _show(checked)
    if path is not None:
        write_json(path, checked.to_dict())
    if checked.refused:
        sys.exit(UserError.exit_code)


def _show(checked: Checked) -> None:
    """One table, its last column as wide as the terminal has room."""
    import shutil
    import textwrap

    about = max(len(row.about) for row in checked.rows)
    width = max(40, min(shutil.get_terminal_size((120, 24)).columns, 128) - about - 13)
    click.echo()
    for row in checked.rows:
        first, *others = textwrap.wrap(printable(row.said), width) or [""]
        verdict = click.style(f"{row.verdict:<7}", fg=_COLORS.get(row.verdict, "green"))
        click.echo(f"{verdict}  {row.about:<{about}}  {first}")
        for line in others:
            click.echo(f"{'':9}{'':{about}}  {line}")
    counted = [f"{sum(row.verdict == name for row in checked.rows)} {name}" for name in ("ok", "warning", "refused")]
    click.echo(f"\n{', '.join(counted)}")

"""The commands about learned actions: `action train`, `action check` and `action run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import end, keep
from .errors import command
from .options import (
    configured,
    folder_option,
    package_option,
    platform_option,
    resume_option,
    seed_option,
    source_argument,
    strict_option,
    trust_option,
)
from .saying import say, terminal_progress, warn

__all__ = ["action"]

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))


@click.group()
def action() -> None:
    """Long time steps from a learned action (experimental): train, check, run.

    With Metropolis frames are those of equilibrium; rates and times of learned dynamics are approximate in any case.
    """


@action.command()
@source_argument
@click.option("--stride", type=int, show_default="8", help="Fine steps in a learned one.")
@click.option("--samples", type=int, show_default="400", help="Stretches of fine dynamics to learn from.")
@click.option("--model", metavar="[linear|network|both]", show_default="linear", help="What the action is.")
@click.option("--features", metavar="[pairs|coordinates]", show_default="pairs", help="What it sees.")
@seed_option
@platform_option
@folder_option
@resume_option
@package_option
@trust_option
@command
def train(
    source: str,
    seed: int | None,
    platform: str | None,
    out: Path | None,
    resume: bool,
    packages: tuple[str, ...],
    trust: bool,
    **options: Any,
) -> None:
    """Learn a long step for SYSTEM or CONFIG.toml from short stretches of fine dynamics."""
    from dataclasses import replace

    from ..io.text import format_table
    from ..report.action import training_doubts, training_rows
    from ..settings.action import ActionSettings
    from ..workflow.action import train_action

    given = {"seed": seed, "platform": platform, "packages": packages, "trust": trust}
    config, out = configured(source, out, resume, "action", given)
    own = {name: value for name, value in options.items() if value is not None}
    config = replace(config, action=replace(config.action or ActionSettings(), **own))
    with terminal_progress() as progress:
        found = train_action(config, out, resume, progress)
    say(f"\n{format_table([('Learned', training_rows(found))])}\n")
    for sentence in training_doubts(found):
        warn(f"Warning: {sentence}")
    elsewhere = bool(config.system.builder) and not Path(config.folder).resolve().is_relative_to(Path(out).resolve())
    say(f"next: openmm-rare action check {out}{' --trust' if elsewhere else ''}")
    keep(out)


@action.command()
@_FOLDER
@strict_option
@trust_option
@command
def check(folder: Path, strict: bool, trust: bool) -> None:
    """Compare the action in FOLDER with Verlet and with a predictor that has no structure."""
    from ..io.text import format_columns
    from ..report.action import check_table
    from ..workflow.action import check_action

    with terminal_progress() as progress:
        found = check_action(folder, trust, progress)
    say(f"\n{format_columns(*check_table(found))}\n")
    end(folder, [("Warning", sentence) for sentence in found.doubts], not found.doubts, strict)


@action.command()
@_FOLDER
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="Learned ones; multiples of --every.",
)
@click.option("--temperature", show_default="that of the training", help='E.g. "300 K".')
@click.option(
    "--metropolize/--no-metropolize", default=True, show_default=True, help="Exact at equilibrium, or of a shadow energy."
)
@click.option("--every", type=click.IntRange(min=1), default=100, show_default=True, help="Steps between frames that are kept.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same result.")
@resume_option
@trust_option
@command
def run(
    folder: Path, steps: int, temperature: str | None, metropolize: bool, every: int, seed: int, resume: bool, trust: bool
) -> None:
    """Sample with the action in FOLDER; frames and energies go to FOLDER/run."""
    from ..io.text import format_table
    from ..workflow.action_run import run_action, run_rows
    from .options import temperatures_of

    kelvin = temperatures_of([temperature])[0] if temperature else None
    with terminal_progress() as progress:
        found = run_action(
            folder,
            steps,
            temperature=kelvin,
            metropolize=metropolize,
            every=every,
            seed=seed,
            resume=resume,
            trust=trust,
            progress=progress,
        )
    say(f"\n{format_table([('Run', run_rows(found))])}\n")
    for sentence in found["warnings"]:
        warn(f"Warning: {sentence}")
    say(f"frames: {folder / 'run' / 'frames.npz'}")
    keep(folder / "run")

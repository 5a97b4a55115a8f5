"""The commands `openmm-rare latent check`, `fit` and `sample`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .ending import UNRELIABLE, end
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
    temperatures_of,
    trust_option,
)
from .saying import say, terminal_progress, warn

__all__ = ["latent"]

_temperature = click.option("--temperature", show_default="that of the system", help='E.g. "600 K".')


@click.group()
def latent() -> None:
    """Coarse coordinates: which are admissible, their free energy, and Langevin dynamics in them (experimental).

    \b
    openmm-rare latent check config.toml           which coordinates are admissible
    openmm-rare latent fit config.toml --out x     their free energy, from trajectories
    openmm-rare latent sample x                    Langevin dynamics in it

    What it gives are distributions, at the temperature of the trajectories, and never rates or times. Coordinates are those of
    [latent] in the configuration.
    """


@latent.command()
@source_argument
@_temperature
@seed_option
@platform_option
@package_option
@trust_option
@command
def check(source: str, temperature: str | None, **options: Any) -> None:
    """Say which coordinates of SYSTEM or CONFIG.toml are admissible; exit status 3 if its own are not."""
    from ..io.text import format_columns
    from ..workflow.latent.check import check_coordinates, check_table

    config, _ = configured(source, None, False, "latent", options | _kelvin(temperature))
    with terminal_progress() as progress:
        found = check_coordinates(config, progress)
    say(f"\n{format_columns(*check_table(found))}\n")
    own = found["latent"]
    if isinstance(own, str) or not own.is_admissible:
        sys.exit(UNRELIABLE)


@latent.command()
@source_argument
@_temperature
@seed_option
@platform_option
@folder_option
@resume_option
@strict_option
@package_option
@trust_option
@command
def fit(source: str, temperature: str | None, out: Path | None, resume: bool, strict: bool, **options: Any) -> None:
    """Fit the free energy of the coordinates of SYSTEM or CONFIG.toml to trajectories, which are made or read."""
    from ..io.text import format_table
    from ..report.latent import latent_groups
    from ..workflow.latent.fit import run_latent_fit

    config, out = configured(source, out, resume, "latent", options | _kelvin(temperature))
    with terminal_progress() as progress:
        result = run_latent_fit(config, out, resume, progress)
    say(f"\n{format_table(latent_groups(result))}\n")
    end(out, [("Warning", sentence) for sentence in result["warnings"]], result["reliable"], strict)


@latent.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--temperature", help='To be sure that it is that of the model, e.g. "600 K".')
@click.option("--propagator", metavar="[constant|exact]", default="constant", show_default=True, help="Mass matrix.")
@click.option("--walkers", type=click.IntRange(min=1), default=1000, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=1000, show_default=True, help="Of each walker.")
@click.option("--timestep", type=float, show_default="from the free energy", help="ps of the model, which are no real ones.")
@click.option("--friction", type=float, default=5.0, show_default=True, help="1/ps of the model.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same result.")
@click.option("--out", type=click.Path(path_type=Path), show_default="none", help="New .npz file for the frames.")
@command
def sample(model: Path, temperature: str | None, **options: Any) -> None:
    """Sample the density of MODEL, a model.npz of `latent fit` or its folder, by Langevin dynamics."""
    from ..io.text import format_table
    from ..report.latent import sampling_rows
    from ..workflow.latent.sample import sample_latent

    with terminal_progress() as progress:
        told = sample_latent(model, progress=progress, **options, **_kelvin(temperature))
    say(f"\n{format_table([('Latent dynamics', sampling_rows(told))])}\n")
    for sentence in told["warnings"]:
        warn(f"Warning: {sentence}")


def _kelvin(temperature: str | None) -> dict[str, float | None]:
    return {"temperature_k": temperatures_of([temperature])[0] if temperature else None}

"""What several commands have in common: options, and how a configuration follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import InputError

if TYPE_CHECKING:
    from .config import RunConfig

__all__ = [
    "common_options",
    "configured",
    "default_folder",
    "folder_option",
    "platform_option",
    "resume_option",
    "seed_option",
    "source_argument",
    "strict_option",
    "temperatures_of",
]

source_argument = click.argument("source", metavar="SYSTEM|CONFIG.toml")
seed_option = click.option("--seed", type=click.IntRange(min=0), help="Same seed, same result.")
platform_option = click.option("--platform", help="OpenMM platform: Reference, CPU, OpenCL or CUDA.")
folder_option = click.option("--out", type=click.Path(path_type=Path), help="Folder for everything that is written.")
strict_option = click.option("--strict", is_flag=True, help="Exit status 3 when a result should not be trusted.")
resume_option = click.option("--resume", is_flag=True, help="Continue the run in the folder.")


def common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options of every command that computes."""
    for option in (
        source_argument,
        click.option("--target-error", type=float, help="Relative standard error at which to stop, e.g. 0.1."),
        seed_option,
        platform_option,
        click.option("--backend", help="What moves the walkers: auto, native, python or custom_integrator."),
        folder_option,
        resume_option,
        click.option("--no-reweighting", is_flag=True, help="Also say what the model alone would give."),
        strict_option,
    )[::-1]:
        function = option(function)
    return function


def configured(source: str, out: Path | None, resume: bool, ending: str, options: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """The configuration with the options of the command line, and the folder of the run.

    A run of a built-in system that is continued takes from its folder what the command line does not say.
    """
    from .config import load_config
    from .workflow import configuration

    given = {key: None if value is False else value for key, value in options.items()}
    if given.pop("brute_force", None):
        given["method"] = "brute_force"
    config = configuration(source)
    named = config.with_options(**given)
    out = out or default_folder(named, ending)
    if resume and config.system.is_builtin and not Path(source).is_file() and (out / "config.toml").is_file():
        stored = load_config(out / "config.toml")
        if stored.system.name == config.system.name:
            return stored.with_options(**given), out
    return named, out


def temperatures_of(texts: tuple[str, ...] | list[str]) -> list[float]:
    """Temperatures of the command line, in K.

    Raises
    ------
    ValueError
        If one is no temperature, or not positive.
    """
    from openmm import unit

    from .units import parse_quantity

    values = [parse_quantity(text, unit.kelvin, "--temperature") for text in texts]
    for value, text in zip(values, texts, strict=True):
        if value <= 0.0:
            raise InputError(f"--temperature = {text!r} must be positive")
    return values


def default_folder(config: RunConfig, ending: str) -> Path:
    """Where a run goes unless the command line says so: below ``runs``, named after system, temperature and kind of run."""
    name = config.system.name or "user"
    temperature = "" if config.system.temperature_k is None else f"_{config.system.temperature_k:g}K"
    return Path("runs") / f"{name}{temperature}{'_' if ending else ''}{ending}"

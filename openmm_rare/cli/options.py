"""What several commands have in common: options, and how a configuration follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import InputError
from ..parallel.processor_plugins import import_openmm_for
from .errors import UserError

if TYPE_CHECKING:
    from ..config.run import RunConfig

__all__ = [
    "common_options",
    "configured",
    "default_folder",
    "fastest_platform_option",
    "folder_option",
    "model_option",
    "package_option",
    "platform_option",
    "resume_option",
    "seed_option",
    "source_argument",
    "strict_option",
    "temperatures_of",
    "trust_option",
]

source_argument = click.argument("source", metavar="SYSTEM|CONFIG.toml")
seed_option = click.option("--seed", type=click.IntRange(min=0), show_default="1", help="Same seed, same result.")


def _import_openmm(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """Before any module of ours imports it: the process that waits needs no driver of a GPU that computes nothing."""
    with suppress(ImportError):  # the command says it
        import_openmm_for(value)
    return value


def _platform_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--platform",
        metavar="[Reference|CPU|OpenCL|CUDA|HIP]",
        show_default=default,
        callback=_import_openmm,
        help="OpenMM platform.",
    )


platform_option = _platform_option("Reference")
fastest_platform_option = _platform_option("the fastest here")
folder_option = click.option(
    "--out", type=click.Path(path_type=Path), show_default="below runs/", help="Folder for everything that is written."
)
strict_option = click.option("--strict", is_flag=True, help="Exit status 3 when a result should not be trusted.")
trust_option = click.option("--trust", is_flag=True, help="Run all code that files name or hold, which you trust.")
package_option = click.option(
    "--allow-package",
    "packages",
    metavar="NAME",
    multiple=True,
    help="Installed package whose functions the configuration may run; repeatable.",
)
resume_option = click.option("--resume", is_flag=True, help="Continue the run in the folder; where there is none, begin one.")


def model_option(what: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """``--model FILE``, which must exist."""
    return click.option("--model", type=click.Path(path_type=Path), callback=_existing, help=what)


def _existing(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and not value.is_file():
        within = value / "model.npz"  # of a run
        instead = within if within.is_file() else "a file"
        raise UserError(f"--{option.name} {value} {'is a folder' if value.is_dir() else 'does not exist'}: give {instead}")
    return value


def common_options(function: Callable[..., None]) -> Callable[..., None]:
    """Options of every command that computes."""
    for option in (
        source_argument,
        click.option("--target-error", type=float, show_default="0.1", help="Relative standard error at which to stop."),
        seed_option,
        platform_option,
        click.option(
            "--backend",
            metavar="[auto|native|python|custom_integrator]",
            show_default="auto",
            help="What moves the walkers.",
        ),
        folder_option,
        resume_option,
        click.option("--no-reweighting", is_flag=True, help="Also say what the model alone would give."),
        strict_option,
        package_option,
        trust_option,
    )[::-1]:
        function = option(function)
    return function


def configured(source: str, out: Path | None, resume: bool, ending: str, options: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """The configuration with the options of the command line, and the folder of the run.

    A run that is continued takes from its folder what neither the command line nor the file says.
    """
    from ..config.stored import as_begun, stored_config
    from ..workflow.rate import configuration

    given = {key: None if value is False else value for key, value in options.items()}
    if given.pop("brute_force", None):
        given["method"] = "brute_force"
    config = configuration(source, bool(given.pop("trust", None)), given.pop("packages", None) or ())
    named = config.with_options(**given)
    out = out or default_folder(named, ending)
    stored = stored_config(out) if resume else None
    if stored is None:
        return named, out
    if config.file is not None:
        return as_begun(config, stored).with_options(**given), out
    same = stored.system.is_builtin and stored.system.name == config.system.name
    return stored.with_options(**given) if same else named, out


def temperatures_of(texts: tuple[str, ...] | list[str]) -> list[float]:
    """Temperatures of the command line, in K.

    Raises
    ------
    ValueError
        If one is no temperature, or not positive.
    """
    from openmm import unit

    from ..units import parse_quantity

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

"""The command `openmm-rare`. Everything heavy is imported when a command runs, so that help comes at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..io.terminal_text import printable
from .action import action
from .check import check
from .ending import end
from .errors import command
from .export import export
from .init import init
from .latent import latent
from .options import common_options, configured, model_option, temperatures_of, trust_option
from .paths import analyze, path, tps
from .saying import ShownLog, say, terminal_progress
from .workers import executor_of, worker_options

__all__ = ["main"]

_SHOWN_LOG = ShownLog()
_SHOWN_LOG.setFormatter(logging.Formatter("%(name)s: %(message)s"))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="openmm-rare")
@click.option("--traceback", is_flag=True, help="Show where an error comes from.")
@click.option("-v", "--verbose", is_flag=True, help="Show more of the log.")
@click.option("-q", "--quiet", is_flag=True, help="Show warnings, errors and the result alone.")
def main(traceback: bool, verbose: bool, quiet: bool) -> None:
    """Rate constants of rare events in OpenMM, with error bars to trust.

    \b
    openmm-rare systems                            what is built in
    openmm-rare rate lj7 --temperature "600 K"     one rate constant
    openmm-rare rate my_system.toml                of a system of your own
    openmm-rare init my.pdb --water tip3p --out x  a system of your own from its structure

    Defaults of options hold where CONFIG.toml says nothing. What a command shows is also in log.txt of its folder, with times.
    Ctrl-C and SIGTERM leave what is known so far; their exit statuses are 130 and 143.
    """
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet contradict each other: leave out one of them")
    _SHOWN_LOG.setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger().addHandler(_SHOWN_LOG)


for each in (init, check, tps, path, analyze, export, latent, action):
    main.add_command(each)


@main.command()
@common_options
@click.option("--temperature", show_default="that of the system", help='E.g. "600 K".')
@click.option("--brute-force", is_flag=True, help="Count transitions of unbiased dynamics instead.")
@click.option(
    "--method",
    type=click.Choice(["importance", "brute_force", "barrier"]),
    show_default="importance",
    help="Weighted paths from A; counted transitions; or windows up to the barrier and shots from its top.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="Folder of a finished rate of the same problem, to stand beside this one; repeatable.",
)
@click.option(
    "--along",
    metavar="VARIABLE",
    show_default="the only one that both states limit, or the logit of the model",
    help="Barrier: the variable that windows lie along.",
)
@model_option("Committor model to start from; with momenta, or for a large System, the direction of splitting.")
@click.option("--importance", metavar="VARIABLE", help="A variable of the states that is the direction, instead of a model.")
@click.option(
    "--max-steps",
    type=click.IntRange(min=1),
    show_default="10^10",
    help="End after so many steps with what there is, and go on with --resume.",
)
@click.option(
    "--save-paths", type=click.IntRange(min=0), metavar="N", show_default="0", help="Write N paths from A to B, with weights."
)
@click.option("--reverse", is_flag=True, help="Then also the rate from B to A, and the free energy between them.")
@worker_options
@command
def rate(
    source: str,
    temperature: str | None,
    out: Path | None,
    resume: bool,
    strict: bool,
    compare: tuple[Path, ...],
    model: Path | None,
    workers: int | None,
    scheduler: str | None,
    devices: str | None,
    **options: Any,
) -> None:
    """Compute the rate constant of SYSTEM (a name from `openmm-rare systems`) or of CONFIG.toml."""
    from ..committor.load import load_committor
    from ..io.run_file import RunFile
    from ..io.text import format_table, summary_groups
    from ..report.results import read_result
    from ..workflow.rate import run_rate

    temperatures = temperatures_of([temperature] if temperature else [])
    wanted = {"temperature_k": temperatures[0] if temperatures else None, **options}
    config, out = configured(source, out, resume, _ending(options), wanted)
    start = None if model is None else load_committor(model)
    with executor_of(workers, scheduler, devices, config.sampling.platform) as executor, terminal_progress() as progress:
        estimate = run_rate(config, out, resume, progress, start, compare, executor)
    result = read_result(out)
    references = RunFile.open(out / "run.nc").load("reference")
    say(f"\n{format_table(summary_groups(result, references))}\n")
    _finish(out, [estimate], strict)


@main.command()
@common_options
@click.option("--temperature", multiple=True, required=True, help='E.g. "600 K"; repeat for each temperature.')
@click.option("--brute-force", multiple=True, help="Temperature at which to count transitions as well; repeatable.")
@worker_options
@command
def scan(
    source: str,
    temperature: tuple[str, ...],
    brute_force: tuple[str, ...],
    out: Path | None,
    resume: bool,
    strict: bool,
    workers: int | None,
    scheduler: str | None,
    devices: str | None,
    **options: Any,
) -> None:
    """Rate constants over temperatures, from hot to cold, each starting from the model of the one before."""
    from ..io.text import format_columns
    from ..report.results import read_json
    from ..report.scan import channel_table, scan_table
    from ..workflow.scan import run_scan

    temperatures, counted = temperatures_of(temperature), temperatures_of(brute_force)
    config, out = configured(source, out, resume, "scan", options)
    with executor_of(workers, scheduler, devices, config.sampling.platform) as executor, terminal_progress() as progress:
        estimates = run_scan(config, temperatures, out, resume, counted, progress, executor)
    data = read_json(out / "scan.json")
    say(f"\n{format_columns(*scan_table(data))}\n")
    header, rows = channel_table(data)
    if rows:
        say(f"{format_columns(header, rows)}\n")
    _finish(out, estimates, strict)


@main.command()
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), help="Also write the numbers here.")
@command
def benchmark(path: Path | None) -> None:
    """Measure the throughput on this machine."""
    from .benchmark import HEADER, format_row, run_benchmark

    click.echo(HEADER)
    run_benchmark(path, lambda row: click.echo(format_row(row)))


@main.command()
@click.option("--constraints", is_flag=True, help="Print the versions that were tested together, for pip install -c.")
@command
def doctor(constraints: bool) -> None:
    """Say what is installed on this machine, what works, and what to do about the rest."""
    from ..io.text import format_table
    from .doctor import diagnose, tested_versions

    click.echo(tested_versions() if constraints else format_table(diagnose()), nl=not constraints)


@main.command()
@command
def systems() -> None:
    """List the built-in systems."""
    from ..systems import list_systems

    for row in list_systems():
        click.echo(f"{click.style(row['name'], bold=True)}\n  {row['summary']}\n  parameters: {row['parameters']}")


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@trust_option
@command
def report(folder: Path, trust: bool) -> None:
    """Draw the figures and write the report of the run in FOLDER again."""
    from ..workflow.reports import make_report

    page = make_report(folder, trust, lambda sentence: click.echo(printable(sentence), err=True))
    say(f"report: {page}")


def _ending(options: dict[str, Any]) -> str:
    """What the folder of a rate is called after, beside the system."""
    return "brute_force" if options["brute_force"] else {None: "", "importance": ""}.get(options["method"], options["method"])


def _finish(out: Path, estimates: list[Any], strict: bool) -> None:
    """The end of a command that computed rates."""
    told = [(f"Warning ({each.temperature_k:g} K)", sentence) for each in estimates for sentence in each.warnings]
    end(out, told, all(each.reliable for each in estimates), strict or not all(each.complete for each in estimates))

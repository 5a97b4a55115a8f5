"""The commands about transition paths: `tps`, `path` and `analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import end
from .errors import command
from .options import (
    configured,
    default_folder,
    folder_option,
    model_option,
    package_option,
    platform_option,
    resume_option,
    seed_option,
    source_argument,
    strict_option,
    trust_option,
)
from .saying import say, terminal_progress
from .workers import executor_of, worker_options

__all__ = ["analyze", "path", "tps"]

_AS_TESTED = "those between two tests of the states, or 10 where that is 1"


@click.command()
@source_argument
@click.option(
    "--method",
    metavar="[chains|points]",
    show_default="chains",
    help="Markov chains of paths, or weighted paths from shooting points that walkers sample near the barrier.",
)
@click.option("--trials", type=int, show_default="500", help="Trials of each chain or walker.")
@click.option("--chains", type=int, show_default="1", help="Independent chains that share one model.")
@click.option("--walkers", type=int, show_default="8", help="Points: independent walkers that share one model.")
@click.option("--reach", type=float, show_default="1", help="Points: how far walkers go, in units of the logit.")
@click.option(
    "--selector",
    metavar="[lorentzian|gaussian|uniform|aimless]",
    show_default="lorentzian",
    help="How shooting points are chosen.",
)
@click.option(
    "--width",
    type=float,
    show_default="0.5",
    help="How near to transition states, in units of the logit; less gives more transition paths.",
)
@click.option("--steps-per-frame", type=int, show_default=_AS_TESTED, help="Integration steps between two frames.")
@click.option(
    "--initial-path",
    multiple=True,
    show_default="auto: what suits",
    help="A file of mdtraj or .npz, auto, line, hot, or biased; repeat it for chains that start apart.",
)
@model_option("Committor model to start from.")
@seed_option
@platform_option
@worker_options
@folder_option
@resume_option
@strict_option
@package_option
@trust_option
@command
def tps(
    source: str,
    model: Path | None,
    seed: int | None,
    platform: str | None,
    workers: int | None,
    scheduler: str | None,
    devices: str | None,
    out: Path | None,
    resume: bool,
    strict: bool,
    packages: tuple[str, ...],
    trust: bool,
    **options: Any,
) -> None:
    """Sample transition paths of SYSTEM or CONFIG.toml, shooting from where a learned committor says 1/2."""
    from ..committor.load import load_committor
    from ..folders.path_folder import with_path_settings
    from ..folders.path_summary import path_rows
    from ..io.text import format_table
    from ..workflow.path_sampling import run_path_sampling

    trusted = {"packages": packages, "trust": trust}
    config, out = configured(source, out, resume, "tps", {"seed": seed, "platform": platform, **trusted})
    config = with_path_settings(config, **options | {"initial_path": options["initial_path"] or None})
    start = None if model is None else load_committor(model)
    with executor_of(workers, scheduler, devices, config.sampling.platform) as executor, terminal_progress() as progress:
        result = run_path_sampling(config, out, resume, progress, start, executor)
    say(f"\n{format_table([('Result', path_rows(result))])}\n")
    end(out, [("Warning", sentence) for sentence in result["warnings"]], result["reliable"], strict)


@click.command()
@source_argument
@click.option("--from", "how", show_default="auto", help="auto, line, hot, biased, or a file of mdtraj or .npz.")
@model_option("Committor model that guides biased dynamics.")
@click.option(
    "--relax", type=click.IntRange(min=0), default=0, show_default=True, help="Shots to accept, each from the path before."
)
@click.option("--steps-per-frame", type=int, show_default=_AS_TESTED, help="Integration steps between two frames.")
@seed_option
@platform_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default=".npz below runs/",
    help="New file: .npz, or what mdtraj writes, such as .xtc.",
)
@package_option
@trust_option
@command
def path(
    source: str,
    how: str | None,
    model: Path | None,
    relax: int,
    steps_per_frame: int | None,
    out: Path | None,
    packages: tuple[str, ...],
    trust: bool,
    **options: Any,
) -> None:
    """Find a first path of SYSTEM or CONFIG.toml from A to B, for `openmm-rare tps --initial-path`."""
    from ..committor.fitting import as_tested_for, require_fitting
    from ..committor.load import load_committor
    from ..config.run import build_system
    from ..folders.path_folder import initial_paths_of, path_settings, with_path_settings
    from ..io.text import format_table
    from ..tps.first_paths.find_path import find_path, found_rows
    from ..workflow.rate import configuration

    config = configuration(source, trust, packages).with_options(**options)
    config = with_path_settings(config, steps_per_frame=steps_per_frame, initial_path=how)
    system, sampling = build_system(config), config.sampling
    out = out or default_folder(config, "path").with_suffix(".npz")
    guide = None if model is None else load_committor(model)
    if guide is not None:
        require_fitting(guide, as_tested_for(system, guide), model)
    with terminal_progress() as progress:
        found = find_path(
            system,
            initial_paths_of(config)[0],
            model=guide,
            relax=relax,
            out=out,
            settings=path_settings(config),
            seed=sampling.seed,
            machine=sampling.platform,
            progress=progress,
        )
    say(f"\n{format_table([('Path', found_rows(found, system))])}\n")
    say(f"next: openmm-rare tps {source} --initial-path {found.file}")


@click.command()
@click.argument("folder", metavar="FOLDER|SHOTS.npz", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), show_default="mechanism, in FOLDER or beside SHOTS.npz", help="Where to write."
)
@click.option("--storage", type=click.Path(path_type=Path), help="Of a script: its storage of OpenPathSampling, .db or .nc.")
@click.option("--system", "source", metavar="SYSTEM|CONFIG.toml", help="Of a script: what it sampled, with the same states.")
@click.option(
    "--configurations", type=click.IntRange(min=0), show_default="50", help="Configurations to shoot from afresh; 0: none."
)
@click.option("--fresh-shots", type=click.IntRange(min=2), show_default="40", help="Shots from each of them.")
@click.option(
    "--formula-inputs", type=click.IntRange(min=0), show_default="3", help="Most inputs of a formula; 0: no formulas."
)
@click.option(
    "--penalty", type=click.FloatRange(min=0.0), show_default="0.001", help="Loss per shot that one more operation must save."
)
@click.option(
    "--method", type=click.Choice(["noise", "permutation"]), show_default="noise", help="How inputs are made worthless."
)
@seed_option
@platform_option
@worker_options
@strict_option
@trust_option
@command
def analyze(
    folder: Path,
    out: Path | None,
    storage: Path | None,
    source: str | None,
    workers: int | None,
    scheduler: str | None,
    devices: str | None,
    strict: bool,
    trust: bool,
    **options: Any,
) -> None:
    """Find the mechanism in the path sampling run in FOLDER: inputs and atoms that matter, a formula, a calibration.

    \b
    openmm-rare analyze runs/jung_42d_tps
    openmm-rare analyze shots.npz --storage steps.db --system my.toml     of a script with TrainingHook
    """
    from ..io.text import format_table
    from ..report.mechanism import summary_rows
    from ..workflow.analysis import AnalysisOptions
    from ..workflow.analysis import analyze as analyze_mechanism
    from ..workflow.to_analyze import load_run_to_analyze, load_script_run

    chosen = AnalysisOptions(**{name: value for name, value in options.items() if value is not None})
    of_script = storage is not None or source is not None or folder.is_file()
    out = out or (folder.parent if of_script else folder) / "mechanism"
    with executor_of(workers, scheduler, devices, chosen.platform) as executor, terminal_progress() as progress:
        if of_script:
            sampled, doubts, notes = load_script_run(folder, storage, source, trust), None, ()
        else:
            sampled, doubts, notes = load_run_to_analyze(folder, trust)
        found = analyze_mechanism(*sampled, out, chosen, progress=progress, doubts=doubts, notes=notes, executor=executor)
    say(f"\n{format_table([('Mechanism', summary_rows(found))])}\n")
    end(out, [("Warning", sentence) for sentence in found.warnings], found.reliable, strict)

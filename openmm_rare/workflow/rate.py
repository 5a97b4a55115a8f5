"""The command `openmm-rare rate`: from a configuration to a run folder with its result, figures and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..committor.base import Committor
from ..committor.model import CommittorModel
from ..config.run import RunConfig, SystemConfig, build_system, load_config
from ..config.stored import stored_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.run_folder import open_run
from ..folders.saved_paths import write_saved_paths
from ..io.checksums import unchecked_note
from ..io.files import resolved, write_json
from ..io.progress import shows_progress
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..io.toml import nearest
from ..parallel.executors import Executor
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..rates.importance import ImportanceSamplingRate
from ..rates.rate_run import RateRun
from ..states.states import IN_A, IN_B, NEITHER
from ..systems import BUILDERS
from ..systems.known_rates import Reference, reference_of
from ..walkers.machine import Machine
from .compare import compared, other_results
from .engines import engine_of

__all__ = ["configuration", "run_rate"]


def configuration(source: str, trust: bool = False, packages: Sequence[str] = ()) -> RunConfig:
    """The configuration that a word on the command line means: the name of a system, or a TOML file.

    What of its code may run is as for :func:`openmm_rare.config.run.load_config`.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if source in BUILDERS:
        return RunConfig(str(Path.cwd()), SystemConfig(name=source))
    path = Path(source)
    if path.is_file():
        return load_config(path, trust, packages)
    if path.suffix == ".toml":
        raise InputError(f"{source} does not exist (looked for {resolved(path)})")
    raise InputError(
        f"{source!r} is neither a system nor a file; did you mean {nearest(source, BUILDERS)!r}? Systems: {', '.join(BUILDERS)}"
    )


@shows_progress
def run_rate(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    progress: Progress | None = None,
    model: Committor | None = None,
    compare: Sequence[Path] = (),
    executor: Executor | None = None,
) -> RateEstimate:
    """Compute a rate constant and write the run folder.

    Parameters
    ----------
    config : RunConfig
    out : path
        Folder for config.toml, run.nc, model.npz, result.json, figures and report.html.
    resume : bool
        Continue the run in `out`.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    model : Committor, optional
        Trained on the same system and states: to start from, or, with momenta or for a large System, to tell the direction.
    compare : sequence of path
        Folders of finished runs of the same problem, by other methods or seeds.
    executor : Executor, optional
        Where walkers move that do not fit into one Context; default: here.

    Returns
    -------
    RateEstimate

    Raises
    ------
    ValueError
        If anything about the input is wrong; nothing is written then.
    """
    out = Path(out)
    system = build_system(config)
    require_runnable(system, "rate")
    others = other_results(system, compare)
    machine = _machine(config, out if resume else None)
    config = config.expanded(system).with_options(backend=machine.backend)
    progress.stage(f"{machine.backend} backend on {machine.platform}")
    with open_run(out, config, system, resume, model) as (run, start):
        unchecked = unchecked_note(out, remade=True) if resume else None
        if resume:
            progress.stage(_where_it_stands(out, run))
        engine = engine_of(config, system, machine, run, progress, start, executor)
        if unchecked:
            engine.notes = (*engine.notes, unchecked)
        estimate = compared(engine.run(), others)
        if engine.saved_paths is not None:
            estimate = replace(estimate, saved_paths=write_saved_paths(out, engine.saved_paths, system))
        progress.stage("figures and report")
        _finish(out, run, system, engine, estimate, others)
    return estimate


def _finish(
    out: Path,
    run: RunFile,
    problem: RareEventSystem,
    engine: RateRun,
    estimate: RateEstimate,
    others: Sequence[Mapping[str, Any]],
) -> None:
    """Write what a finished run leaves."""
    known = reference_of(problem)
    if isinstance(engine, ImportanceSamplingRate):
        engine.model.save(out / "model.npz")
        _record_plane(run, problem, engine.model, known)
    _record_references(run, problem, known, others)
    run.finalize()
    about = {"run": run.attributes.get("run"), "records": run.kinds}
    write_json(out / "result.json", estimate.to_dict() | about, checked=True)
    from ..report.rate import write_rate_report  # matplotlib takes memory that the dynamics can do without

    write_rate_report(out, run)


def _machine(config: RunConfig, continued: Path | None) -> Machine:
    """What moves the walkers: what is asked for, else what did in the run that is continued, else what suits."""
    backend = config.sampling.settings.backend
    stored = stored_config(continued) if backend == "auto" and continued is not None else None
    return Machine(config.sampling.platform, backend if stored is None else stored.sampling.settings.backend)


def _where_it_stands(out: Path, run: RunFile) -> str:
    """Where a run that is to be continued goes on."""
    parts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in run.kinds.items())
    return f"continuing {out} after {parts}" if parts else f"nothing in {out} to continue: starting"


def _record_references(
    run: RunFile, problem: RareEventSystem, known: Reference | None, others: Sequence[Mapping[str, Any]]
) -> None:
    there = {record["label"] for record in run.load("reference")}
    if known is not None and known.label not in there:
        run.append("reference", {"label": known.label, "rate_per_ps": float(known.rate(problem.temperature))})
    for other in others:
        if other["label"] not in there:
            run.append("reference", other)


def _record_plane(run: RunFile, problem: RareEventSystem, model: CommittorModel, known: Reference | None) -> None:
    """ln I on a grid, learned beside exact, where the exact solution in the plane is known."""
    if known is None or known.plane is None or run.kinds.get("plane"):
        return
    solution = known.plane(problem.temperature)
    grid = np.stack(np.meshgrid(solution.x, solution.y, indexing="ij"), axis=-1)
    positions = np.concatenate([grid, np.zeros((*grid.shape[:2], 1))], axis=-1).reshape(-1, 1, 3)
    status = problem.states.classify(positions).reshape(grid.shape[:2])
    learned = model.log_importance(positions).reshape(grid.shape[:2])
    transition = (solution.committor > 0.3) & (solution.committor < 0.7)
    # what lies in A or B, or is visited far less than the transition region, has nothing to show
    shown = (status == NEITHER) & (solution.density > 0.01 * solution.density[transition].max())
    truth = np.log(solution.committor, out=np.full(grid.shape[:2], np.nan), where=shown)
    record = {"x": solution.x, "y": solution.y, "learned": np.where(shown, learned, np.nan), "exact": truth}
    run.append("plane", record | {"center_a": grid[status == IN_A].mean(0), "center_b": grid[status == IN_B].mean(0)})

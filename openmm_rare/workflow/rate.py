"""The command `openmm-rare rate`: from a configuration to a run folder with its result, figures and report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..committor.base import Committor
from ..config.run import RunConfig, SystemConfig, build_system, load_config
from ..config.stored import stored_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.run_folder import open_run
from ..io.checksums import unchecked_note
from ..io.files import resolved
from ..io.progress import shows_progress
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..io.toml import nearest
from ..parallel.executors import Executor
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..systems import BUILDERS
from ..walkers.machine import Machine
from .compare import other_results
from .engines import engine_of, way_of
from .finishing import finish
from .live import computed
from .reverse import Way, with_way_back

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
    out, config = Path(out), replace(config, path_sampling=None, latent=None, action=None)  # the record is of the rate alone
    _require_way_there(config)
    system = build_system(config)
    require_runnable(system, "rate")
    others = other_results(system, compare)
    config, machine = _as_begun(config, system, stored_config(out) if resume else None)
    with open_run(out, config, system, resume, model) as (run, start):
        unchecked = unchecked_note(out, remade=True) if resume else None
        if resume:
            progress.stage(_where_it_stands(out, run))
        engine = engine_of(config, system, machine, run, progress, start, executor)
        if unchecked:
            engine.notes = (*engine.notes, unchecked)
        progress.stage(f"{engine.backend} backend on {machine.platform}")
        estimate = computed(out, run, engine, progress, others)
        progress.stage("figures and report")
        estimate = finish(out, run, system, engine, estimate, others)
        if config.sampling.settings.reverse:
            way = Way(config, out, system, machine, resume, progress, start, executor)
            estimate = with_way_back(way, run, estimate, engine.arrivals)
    return estimate


def _require_way_there(config: RunConfig) -> None:
    if config.sampling.backward:
        raise InputError(
            "backward = true is of a way back, which belongs to the run in the folder above it: run openmm-rare rate for that "
            "one, with --reverse"
        )


def _as_begun(config: RunConfig, system: RareEventSystem, begun: RunConfig | None) -> tuple[RunConfig, Machine]:
    """The configuration with every setting spelled out, and what moves the walkers; a run that is continued keeps its own."""
    config, machine = config.expanded(system), _machine(config, begun)
    if begun is not None:
        config = _with_unused(config, begun, way_of(config.sampling, system))
    return config.with_options(backend=machine.backend), machine


def _with_unused(config: RunConfig, begun: RunConfig, way: str) -> RunConfig:
    """A copy with what the run that is continued has of all that its way to a rate does not use."""
    config = config.with_options(settings=config.sampling.settings.continuing(begun.sampling.settings, way))
    if way in ("brute_force", "barrier"):
        config = config.with_options(importance=begun.sampling.importance)
    if way != "importance":
        config = replace(config, system=replace(config.system, descriptor=begun.system.descriptor))
    return config


def _machine(config: RunConfig, begun: RunConfig | None) -> Machine:
    """What moves the walkers: what is asked for, else what did in the run that is continued, else what suits."""
    backend = config.sampling.settings.backend
    taken = backend if begun is None or backend != "auto" else begun.sampling.settings.backend
    return Machine(config.sampling.platform, taken)


def _where_it_stands(out: Path, run: RunFile) -> str:
    """Where a run that is to be continued goes on."""
    parts = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in run.kinds.items())
    return f"continuing {out} after {parts}" if parts else f"nothing in {out} to continue: starting"

"""The command `openmm-rare tps`: from a configuration to a folder with sampled transition paths, or to more of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..committor.base import Committor
from ..committor.ensemble import CommittorEnsemble
from ..config.run import RunConfig, build_system
from ..config.stored import stored_config, write_config
from ..dynamics.checks import require_runnable
from ..dynamics.platforms import platform_by_name
from ..errors import InputError
from ..folders.path_files import holds_paths
from ..folders.path_folder import PathRecord, initial_paths_of, load_run, path_settings
from ..folders.run_folder import check_new
from ..io.checksums import unchecked_note
from ..io.files import lock_folder, remove_stale
from ..io.progress import shows_progress
from ..io.tasks import Noting, Progress
from ..parallel.cores import available_cores
from ..parallel.processes import require_importable, require_own_process
from ..settings.paths import PathSettings
from ..tps.point_sampler import PointSampler
from ..tps.sampler import PathSampler

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["run_path_sampling"]

_SAMPLERS = {"chains": PathSampler, "points": PointSampler}


@shows_progress
def run_path_sampling(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    progress: Progress | None = None,
    model: Committor | None = None,
) -> dict[str, Any]:
    """Sample transition paths and write the run folder.

    Parameters
    ----------
    config : RunConfig
        With or without ``[path_sampling]``.
    out : path
        Folder for config.toml, shots.npz, model.npz, result.json, report.html and its figures, and a folder for each chain or
        walker.
    resume : bool
        Continue the run in `out`; start where there is nothing, which `progress` is told. A run that was stopped ends as if it
        had not been, to the bit; more trials than it was to make go on from its last one, and are the same each time.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    model : CommittorModel or CommittorEnsemble, optional
        To start from; of the same system, states and descriptor. Its network takes the place of that of the settings.

    Returns
    -------
    dict
        The content of result.json; what to distrust is in ``reliable`` and ``warnings``.

    Raises
    ------
    ValueError
        If anything about the input is wrong; nothing is lost then.
    """
    require_own_process()
    out = Path(out)
    system = build_system(config)
    require_importable(system)
    platform_by_name(config.sampling.platform)
    progress = Noting(progress)
    for note in (*require_runnable(system, "paths"), *filter(None, [system.descriptor_note])):
        progress.note(note)
    config = _expanded(config, system, out if resume else None)
    fresh = _is_fresh(out, resume, progress)
    if model is not None:
        _require_fitting(model, system)
        config = replace(config, path_sampling=_with_network_of(model, path_settings(config)))
    made = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    with lock_folder(out):
        remove_stale(out)
        with _SAMPLERS[path_settings(config).method](config, system, out, progress, model) as sampler:
            if fresh:
                _begin(sampler, out, config, made)
            else:
                write_config(_take_up(sampler, out, config, system, progress), out)
            sampler.run()
        return _finish(sampler, out, progress)


def _finish(sampler: PathSampler, out: Path, progress: Progress) -> dict[str, Any]:
    """The result, with its report."""
    result = sampler.finish()
    progress.stage("figures and report")
    from ..report.paths import write_path_report  # what figures need takes no memory while chains run

    write_path_report(out, sampler.system)
    return result


def _is_fresh(out: Path, resume: bool, progress: Progress) -> bool:
    """Whether a run begins in this folder, which must be one for it."""
    fresh = not (out / "shots.npz").exists()
    if not resume or (fresh and not (out / "config.toml").exists()):
        check_new(out)
        if resume:
            progress.stage(f"no run in {out} to continue: a new one begins")
    if fresh and holds_paths(out):
        PathRecord.load(out)  # says what is missing: a new run would remove the paths
    return fresh


def _begin(sampler: PathSampler, out: Path, config: RunConfig, made: bool) -> None:
    """Start in an empty folder, which goes again if that fails and it was `made` for this run.

    The configuration is there before anything else: whatever happens next, `--resume` finds it.
    """
    known = (out / "config.toml").exists()
    write_config(config, out)
    try:
        sampler.begin()
    except BaseException:
        if made:
            shutil.rmtree(out, ignore_errors=True)
        elif not known:
            (out / "config.toml").unlink()
        raise


def _take_up(sampler: PathSampler, out: Path, config: RunConfig, system: RareEventSystem, progress: Progress) -> RunConfig:
    """Continue the run in a folder; its configuration from now on."""
    stored, record = load_run(out)
    _require_same(out, stored, record, config, system)
    unchecked = unchecked_note(out, remade=True)
    if unchecked:
        progress.note(unchecked)
    config = _as_it_began(out, stored, config, progress)
    sampler.take_up(record, config)
    return config


def _as_it_began(out: Path, stored: RunConfig, config: RunConfig, progress: Progress) -> RunConfig:
    """The configuration with the first paths of the run in the folder: they are not read again."""
    began, given = initial_paths_of(stored), initial_paths_of(config)
    names = [[Path(each).name for each in places] for places in (began, given)]
    if given != ("auto",) and names[0] != names[1]:  # the folder may have been moved
        shown = [", ".join(map(repr, places)) for places in (began, given)]
        progress.note(f"The run in {out} began with the initial path {shown[0]}; {shown[1]} is not read any more.")
    return replace(config, path_sampling=replace(path_settings(config), initial_path=began))


def _expanded(config: RunConfig, system: RareEventSystem, stored: Path | None) -> RunConfig:
    """Every setting spelled out; on another machine a continued run keeps the number of threads that it began with."""
    settings = path_settings(config)
    cores = available_cores()
    processes = min(settings.processes or cores, settings.series)
    threads = settings.threads or max(1, cores // processes)
    began = stored_config(stored) if stored is not None and not settings.threads else None
    if began is not None:
        threads = path_settings(began).threads
    settings = replace(settings, processes=processes, threads=threads, initial_path=initial_paths_of(config))
    return replace(config.expanded(system), path_sampling=settings)


def _require_fitting(model: Committor, system: RareEventSystem) -> None:
    """Refuse a model of something else."""
    if model.n_states != 2:
        raise InputError(f"a {model.title} cannot be used: path sampling from A to B needs a model of two states")
    if model.spec != system.descriptor_spec():
        raise InputError(
            f"the model was trained on the descriptor {model.spec}, but the run uses {system.descriptor_spec()}: give the "
            "descriptor of the model in [system], or train a new model"
        )
    if model.fingerprint != system.fingerprint():
        raise InputError("the model is one of another system, other states or other dynamics; train a new one")


def _with_network_of(model: Committor, settings: PathSettings) -> PathSettings:
    members = model.members if isinstance(model, CommittorEnsemble) else [model]
    kind, dropout = members[0].architecture["kind"], members[0].architecture.get("dropout", 0.0)
    return replace(settings, network=kind, dropout=dropout, hidden=members[0].hidden, members=len(members))


def _require_same(out: Path, stored: RunConfig, record: PathRecord, config: RunConfig, system: RareEventSystem) -> None:
    """Refuse to mix two runs in one folder; code that the folder names does not run for it."""
    began = record.model_of
    if began["fingerprint"] != system.fingerprint():
        raise InputError(f"the run in {out} is of another system, other states or other dynamics; choose another --out")
    old, new = _identity(stored, began["descriptor"]), _identity(config, json.loads(json.dumps(system.descriptor_spec())))
    for name, value in new.items():
        if old[name] != value:
            raise InputError(
                f"{name} = {value} differs from the run in {out}, which has {old[name]}: give that value to continue it, or "
                "choose another --out"
            )


def _identity(config: RunConfig, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that changes the course of a run."""
    same = path_settings(config).course()
    same |= {"seed": config.sampling.seed, "platform": config.sampling.platform}
    return same | {"temperature": config.system.temperature_k, "descriptor": descriptor}

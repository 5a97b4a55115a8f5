"""A run of path sampling that is continued: what it began with, and what must be the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config.run import RunConfig
from ..config.stored import stored_config
from ..errors import InputError
from ..folders.path_folder import PathRecord, initial_paths_of, load_run, path_settings
from ..io.checksums import unchecked_note
from ..io.tasks import Progress
from ..parallel.cores import available_cores
from .sampler import PathSampler

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["expanded", "take_up"]


def take_up(sampler: PathSampler, out: Path, config: RunConfig, problem: RareEventSystem, progress: Progress) -> RunConfig:
    """Continue the run in a folder; its configuration from now on."""
    stored, record = load_run(out)
    record.metadata = _with_check_interval(record.metadata, stored, problem)
    _require_same(out, stored, record, config, problem)
    unchecked = unchecked_note(out, remade=True)
    if unchecked:
        progress.note(unchecked)
    config = _as_it_began(out, stored, config, progress)
    sampler.take_up(record, config)
    return config


def _with_check_interval(metadata: dict[str, Any], stored: RunConfig, problem: RareEventSystem) -> dict[str, Any]:
    """Metadata of the model of a run as today's are: those of earlier versions had the check interval of the system alone."""
    members = metadata.get("members", [metadata])
    before = problem.with_check_interval(stored.system.check_interval or 1)
    if "check_interval" in members[0] or members[0]["fingerprint"] != before.fingerprint():
        return metadata
    today = {"fingerprint": problem.fingerprint(), "check_interval": problem.check_interval}
    members = [member | today for member in members]
    return metadata | {"members": members} if "members" in metadata else members[0]


def _as_it_began(out: Path, stored: RunConfig, config: RunConfig, progress: Progress) -> RunConfig:
    """The configuration with the first paths of the run in the folder: they are not read again."""
    began, given = initial_paths_of(stored), initial_paths_of(config)
    names = [[Path(each).name for each in places] for places in (began, given)]
    if given != ("auto",) and names[0] != names[1]:  # the folder may have been moved
        shown = [", ".join(map(repr, places)) for places in (began, given)]
        progress.note(f"The run in {out} began with the initial path {shown[0]}; {shown[1]} is not read any more.")
    return replace(config, path_sampling=replace(path_settings(config), initial_path=began))


def expanded(config: RunConfig, problem: RareEventSystem, stored: Path | None, one_thread: bool) -> RunConfig:
    """Every setting spelled out; elsewhere a continued run keeps the number of threads that it began with."""
    settings = path_settings(config)
    cores = available_cores()
    processes = min(settings.processes or cores, settings.series)
    threads = settings.threads or (1 if one_thread else max(1, cores // processes))
    began = stored_config(stored) if stored is not None and not settings.threads else None
    if began is not None:
        threads = path_settings(began).threads
    settings = replace(settings, processes=processes, threads=threads, initial_path=initial_paths_of(config))
    return replace(config.expanded(problem), path_sampling=settings)


def _require_same(out: Path, stored: RunConfig, record: PathRecord, config: RunConfig, problem: RareEventSystem) -> None:
    """Refuse to mix two runs in one folder; code that the folder names does not run for it."""
    began = record.model_of
    if began["fingerprint"] != problem.fingerprint():
        others = f"another system, other states or other dynamics{problem.states.may_be_edited}"
        raise InputError(f"the run in {out} is of {others}; choose another --out")
    old, new = _identity(stored, began["descriptor"]), _identity(config, json.loads(json.dumps(problem.descriptor_spec())))
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

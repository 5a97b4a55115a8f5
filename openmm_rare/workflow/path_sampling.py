"""The command `openmm-rare tps`: from a configuration to a folder with sampled transition paths, or to more of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..committor.base import Committor
from ..config.run import RunConfig, build_system
from ..folders.path_folder import path_settings
from ..io.progress import shows_progress
from ..io.tasks import Progress
from ..parallel.executors import Executor
from ..parallel.processes import require_own_process
from ..tps.path_sampling import PathSampling

__all__ = ["run_path_sampling"]


@shows_progress
def run_path_sampling(
    config: RunConfig,
    out: str | Path,
    resume: bool = False,
    progress: Progress | None = None,
    model: Committor | None = None,
    executor: Executor | None = None,
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
    executor : Executor, optional
        As for :class:`~openmm_rare.tps.path_sampling.PathSampling`.

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
    problem, sampling = build_system(config), config.sampling
    run = PathSampling(
        problem,
        path_settings(config),
        seed=sampling.seed,
        machine=sampling.platform,
        model=model,
        progress=progress,
        folder=out,
        resume=resume,
        source=config,
        executor=executor,
    )
    result = run.run().result
    progress.stage("figures and report")
    from ..report.paths import write_path_report  # what figures need takes no memory while chains run

    write_path_report(out, run.problem)
    return dict(result)

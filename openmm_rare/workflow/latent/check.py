"""The command `openmm-rare latent check`: which coordinates are admissible, on frames of equilibrium."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ...config.run import RunConfig, build_system
from ...dynamics.checks import require_runnable
from ...errors import InputError
from ...io.progress import shows_progress
from ...io.tasks import Memory, Progress, TaskLog
from ...latent.autoencoder import train_autoencoder
from ...latent.violation import MetricReport, metric_violation
from ...walkers.machine import Machine
from .coordinates import embedding_of, latent_settings
from .frames import frames_of

__all__ = ["check_coordinates", "check_table"]

_MOST_FRAMES = 2000  # of each run

Checked = Mapping[str, "MetricReport | str"]


@shows_progress
def check_coordinates(config: RunConfig, progress: Progress | None = None) -> dict[str, MetricReport | str]:
    """Test the coordinates of a configuration, and its candidates.

    Parameters
    ----------
    config : RunConfig
    progress : Progress, optional
        Default: on the terminal.

    Returns
    -------
    dict
        A report for each; for one that is refused, what is wrong with it. The first, "latent", is that of the configuration.

    Raises
    ------
    ValueError
        If anything else about the input is wrong.
    """
    problem = build_system(config)
    require_runnable(problem, "paths")
    settings = latent_settings(config, problem)
    few = replace(settings, frames=min(settings.frames, _MOST_FRAMES))
    machine = Machine(config.sampling.platform)
    frames = frames_of(config, problem, few, TaskLog(Memory(), config.sampling.seed), machine, progress)
    wanted: dict[str, Mapping[str, Any] | None] = {"latent": None, **settings.candidates}
    found: dict[str, MetricReport | str] = {}
    progress.stage("metric", float(len(wanted)))
    for name, descriptor in wanted.items():
        try:
            embedding = embedding_of(problem, settings, descriptor)
            if embedding.latents:
                train_autoencoder(embedding, embedding.sites(frames.positions), settings, config.sampling.seed)
            found[name] = metric_violation(embedding, frames.positions, settings.tolerance, config.sampling.seed)
        except InputError as error:
            found[name] = str(error)
        progress.update(1.0)
    return found


def check_table(found: Checked) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a table of these reports."""
    rows = []
    for name, report in found.items():
        if isinstance(report, str):
            rows.append([name, "", "", "", "", f"refused: {report}"])
            continue
        det = np.nan if report.is_dependent else report.det_quantiles[0.01]
        cells = [_number(each) for each in (report.fibre, report.data, report.spread, det)]
        rows.append([name, *cells, report.verdict])
    return ["coordinates", "fibre", "data", "of spread", "det 1 %", "verdict"], rows


def _number(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.2g}"

"""The command `openmm-rare latent fit`: from a configuration to a folder with a free energy of latent coordinates."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...config.run import RunConfig, build_system
from ...dynamics.checks import require_runnable
from ...folders.run_folder import open_run
from ...io.files import write_json, write_npz
from ...io.progress import shows_progress
from ...io.run_file import RunFile
from ...io.tasks import Noting, Progress, TaskLog
from ...latent.autoencoder import train_autoencoder
from ...latent.comparison import DensityComparison
from ...latent.embedding import Embedding
from ...latent.fitting import fit_latent_potential, potential_of
from ...latent.frames import ForceFrames
from ...latent.judging import committor_of, judged, left_out, sampled
from ...latent.mean_force import local_mean_force
from ...latent.violation import metric_violation
from ...problem import RareEventSystem
from ...rates.summary import versions
from ...settings.latent import LatentSettings
from ...walkers.machine import Machine
from .coordinates import embedding_of, latent_settings, require_possible, unit_of
from .frames import frames_of, require_files, rounded_notes

__all__ = ["run_latent_fit"]

_MOST_TESTED = 25_000  # frames for the metric condition
_SHOWN = 50  # frames in red


@shows_progress
def run_latent_fit(
    config: RunConfig, out: str | Path, resume: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Fit the free energy of latent coordinates and write the run folder.

    Parameters
    ----------
    config : RunConfig
        With ``[latent]``.
    out : path
        Folder for config.toml, run.nc (the trajectories), model.npz, committor.npz, latent.json, figures and report.html.
    resume : bool
        Continue the run in `out`.
    progress : Progress, optional
        Default: on the terminal.

    Returns
    -------
    dict
        The content of latent.json; what to distrust is in ``reliable`` and ``warnings``.

    Raises
    ------
    ValueError
        If anything about the input is wrong; nothing is written then, and recorded trajectories are kept in any case.
    """
    out, started, notes = Path(out), time.monotonic(), Noting(progress)
    problem = build_system(config)
    for note in require_runnable(problem, "paths"):
        notes.note(note)
    settings = latent_settings(config, problem)
    embedding = embedding_of(problem, settings)
    require_possible(embedding, problem, settings)
    warnings = rounded_notes(require_files(config, settings))
    machine = Machine(config.sampling.platform)
    config = replace(config, path_sampling=None, latent=settings).expanded(problem)
    with open_run(out, config, problem, resume, None) as (run, _):
        frames = frames_of(config, problem, settings, TaskLog(run, config.sampling.seed), machine, progress)
        result = _fitted(config, problem, settings, embedding, frames, out, warnings, progress)
        run.finalize()
        about = {
            "notes": notes.notes,
            "wall_seconds": time.monotonic() - started,
            "run": run.attributes.get("run"),
            "records": run.kinds,
        }
        return _finished(out, run, result | about)


def _fitted(
    config: RunConfig,
    problem: RareEventSystem,
    settings: LatentSettings,
    embedding: Embedding,
    frames: ForceFrames,
    out: Path,
    warnings: list[str],
    progress: Progress,
) -> dict[str, Any]:
    seed = config.sampling.seed
    sites = embedding.sites(frames.positions)
    autoencoder = None
    if embedding.latents:
        progress.stage("autoencoder")
        autoencoder = train_autoencoder(embedding, sites, settings, seed, progress)
    progress.stage("metric and mean force")
    tested = frames.positions[np.linspace(0, len(frames) - 1, min(len(frames), _MOST_TESTED)).astype(int)]
    report = metric_violation(embedding, tested, settings.tolerance, seed)
    warnings = warnings + report.require(settings.strict)
    g, coordinates = local_mean_force(embedding, frames.positions, frames.forces, problem.temperature)
    if not embedding.latents:
        embedding.standardize(coordinates)
    potential = potential_of(problem, settings, embedding, sites, coordinates, seed)
    progress.stage("free energy", float(settings.training_steps))
    fit = fit_latent_potential(potential, coordinates, g, settings, seed, progress)
    potential.save(out / "model.npz")
    comparison, doubts = (None, []) if settings.biased else judged(potential, coordinates.numpy())
    again = settings.cross_validation and not settings.biased
    crossed = left_out(potential, coordinates, g, frames.run, settings, seed, progress) if again else []
    sampling = sampled(potential, coordinates, comparison, settings, seed, progress)
    model, committor = committor_of(problem, potential, frames.positions, coordinates.numpy(), seed, progress)
    if model is not None:
        model.save(out / "committor.npz")
        committor["file"] = "committor.npz"
    _write_densities(out, comparison, coordinates.numpy())
    return {
        "method": "latent",
        "system": problem.name,
        "temperature_k": problem.temperature,
        "seed": seed,
        "platform": config.sampling.platform,
        "coordinates": list(embedding.names),
        "unit": unit_of(embedding),
        "descriptor": embedding.spec,
        "metric": potential.metric.kind,
        "frames": len(frames),
        "runs": frames.n_runs,
        "condition": asdict(report) | {"verdict": report.verdict},
        "fit": asdict(fit),
        "comparison": None if comparison is None else _numbers(comparison),
        "left_out": crossed,
        "sampling": sampling,
        "autoencoder": None if autoencoder is None else asdict(autoencoder),
        "committor": committor,
        "model": potential.digest(),
        "warnings": [*warnings, *doubts],
        "reliable": not warnings and not doubts,
        "versions": versions(),
    }


def _numbers(comparison: DensityComparison) -> dict[str, Any]:
    pairs = {f"{one},{other}": value for (one, other), value in comparison.kl_pairs.items()}
    names = ("kl", "half_l1", "kl_floor", "kl_uniform", "outside")
    return {name: getattr(comparison, name) for name in names} | {"kl_pairs": pairs}


def _write_densities(out: Path, comparison: DensityComparison | None, coordinates: np.ndarray) -> None:
    """What figures are drawn from."""
    if comparison is None:
        return
    edges = {f"edges_{axis}": each for axis, each in enumerate(comparison.grid.edges)}
    shown = coordinates[:: max(len(coordinates) // _SHOWN, 1)]
    write_npz(out / "densities.npz", {**edges, "frames": comparison.frames, "model": comparison.model, "shown": shown})


def _finished(out: Path, run: RunFile, result: dict[str, Any]) -> dict[str, Any]:
    write_json(out / "latent.json", result, checked=True)
    from ...report.latent import write_latent_report  # matplotlib takes memory that the dynamics can do without

    write_latent_report(out)
    return result

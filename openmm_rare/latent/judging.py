"""How good a fitted free energy is, and what it is good for: densities, runs left out, latent dynamics, a committor."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..committor.model import CommittorModel
from ..errors import InputError
from ..io.tasks import Progress
from ..problem import RareEventSystem
from ..settings.latent import LatentSettings
from ..states.states import IN_A, IN_B
from .committor import latent_committor
from .comparison import (
    MOST_GRID_DIMENSIONS,
    DensityComparison,
    compare_densities,
    divergence,
    latent_grid,
    model_density,
    support,
)
from .fitting import fit_latent_potential
from .langevin import LatentLangevin
from .potential import LatentPotential
from .starting_model import starting_model

__all__ = ["committor_of", "judged", "left_out", "sampled", "sampling_of"]

_MOST_OUTSIDE = 0.01
_FEWEST_RUNS = 2
_LOWEST_ACCEPTANCE = 0.3
_SETTLING = 0.2  # of the steps of latent dynamics, which are not counted


def judged(potential: LatentPotential, coordinates: np.ndarray) -> tuple[DensityComparison | None, list[str]]:
    """The density beside that of the frames, where a grid is possible, and what to distrust."""
    if coordinates.shape[1] > MOST_GRID_DIMENSIONS:
        return None, []
    found, doubts = compare_densities(potential, coordinates), []
    if found.kl > found.kl_floor:
        doubts.append(
            f"The density of the model is further from the frames ({found.kl:.3g}) than halves of these are from each other "
            f"({found.kl_floor:.3g}): make more frames, train for longer, or choose other coordinates."
        )
    if found.outside > _MOST_OUTSIDE:
        doubts.append(f"{100 * found.outside:.2g} % of the probability of the model lies where there were no frames.")
    return found, doubts


def left_out(
    potential: LatentPotential,
    coordinates: Tensor,
    g: Tensor,
    run: np.ndarray,
    settings: LatentSettings,
    seed: int,
    progress: Progress,
) -> list[dict[str, float]]:
    """Each run against a model of the others, and against their histogram."""
    n_runs = int(run.max()) + 1
    if n_runs < _FEWEST_RUNS or coordinates.shape[1] > MOST_GRID_DIMENSIONS:
        return []
    grid, rows = latent_grid(coordinates.numpy()), []
    progress.stage("runs left out", float(n_runs * settings.training_steps))
    for number in range(n_runs):
        others = torch.as_tensor(run != number)
        made = LatentPotential.from_metadata(potential.metadata() | {"n_starts": 0})
        tensors = potential.state_dict() | {"starts": made.starts}
        made.load_state_dict(tensors)
        fit_latent_potential(made, coordinates[others], g[others], settings, seed, progress)
        own, rest = (grid.histogram(coordinates[which].numpy()) for which in (~others, others))
        data = grid.coarse(own)
        model = grid.coarse(model_density(made, grid, support(rest)))
        row = {"run": number, "kl_model": divergence(data, model), "kl_histogram": divergence(data, grid.coarse(rest))}
        rows.append(row)
    return rows


def sampled(
    potential: LatentPotential,
    coordinates: Tensor,
    comparison: DensityComparison | None,
    settings: LatentSettings,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Latent dynamics from frames: acceptance, reasons, and the divergence from the density of the model."""
    start = coordinates[torch.linspace(0, len(coordinates) - 1, settings.walkers).long()]
    timestep = settings.latent_timestep or None
    run = LatentLangevin(potential, start, settings.propagator, timestep, settings.latent_friction, seed=seed)
    progress.stage("latent dynamics", float(settings.latent_steps))
    frames, _, told = sampling_of(run, start, settings.latent_steps, progress)
    told["propagator"] = settings.propagator
    if comparison is not None:
        grid = comparison.grid
        counts = grid.coarse(grid.histogram(frames.numpy()))
        told["kl"] = divergence(counts, grid.coarse(model_density(potential, grid)))
    return told


def sampling_of(
    run: LatentLangevin, start: Tensor, n_steps: int, progress: Progress
) -> tuple[Tensor, list[str], dict[str, Any]]:
    """Frames ``(n, n_coordinates)`` of latent dynamics, without the first; what to distrust; and numbers."""
    frames, report = run.run(start, n_steps, max(n_steps // 100, 1), progress)
    kept = frames[int(_SETTLING * len(frames)) :].flatten(0, 1)
    doubts = []
    if report.acceptance < _LOWEST_ACCEPTANCE:
        doubts.append(f"Latent dynamics accepts {100 * report.acceptance:.0f} % of its steps: take a smaller time step.")
    return kept, doubts, asdict(report)


def committor_of(
    problem: RareEventSystem,
    potential: LatentPotential,
    positions: np.ndarray,
    coordinates: np.ndarray,
    seed: int,
    progress: Progress,
) -> tuple[CommittorModel | None, dict[str, Any]]:
    """A committor model to start a rate or path sampling from, and its error; or none, and why there is none."""
    if coordinates.shape[1] > MOST_GRID_DIMENSIONS:
        return None, {"none": f"a grid has {MOST_GRID_DIMENSIONS} coordinates at most"}
    progress.stage("committor")
    place = problem.states.classify(positions.astype(np.float64))
    in_a, in_b = place == IN_A, place == IN_B
    try:
        grid = latent_grid(coordinates)
        values = latent_committor(potential, grid, coordinates, in_a, in_b)[grid.cells(coordinates)]
        between = ~(in_a | in_b)
        model, error = starting_model(problem, positions[between], values[between], seed)
    except InputError as told:
        return None, {"none": str(told)}
    return model, {"logit_error": error, "frames": int(between.sum())}

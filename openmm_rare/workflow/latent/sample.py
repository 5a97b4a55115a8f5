"""The command `openmm-rare latent sample`: latent dynamics of a saved free energy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...io.files import write_npz
from ...io.progress import shows_progress
from ...io.tasks import Progress
from ...latent.comparison import MOST_GRID_DIMENSIONS, divergence, latent_grid, model_density
from ...latent.judging import sampling_of
from ...latent.langevin import LatentLangevin
from ...latent.potential import LatentPotential

__all__ = ["sample_latent"]


@shows_progress
def sample_latent(
    model: str | Path,
    out: str | Path | None = None,
    temperature_k: float | None = None,
    propagator: str = "constant",
    walkers: int = 1000,
    steps: int = 1000,
    timestep: float | None = None,
    friction: float = 5.0,
    seed: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sample the density of a latent free energy.

    Parameters
    ----------
    model : path
        ``model.npz`` of a fit, or its folder.
    out : path, optional
        New ``.npz`` file for the frames: ``coordinates`` and their ``names``.
    temperature_k : float, optional
        To be sure of it.
    propagator, timestep, friction
        As for :class:`~openmm_rare.latent.langevin.LatentLangevin`.
    walkers, steps : int
    seed : int
    progress : Progress, optional

    Returns
    -------
    dict
        Acceptance, reasons of rejections, ``kl`` of the frames from the density of the model where a grid is possible, and
        ``warnings``. No time in it means anything.

    Raises
    ------
    ValueError
        If the model is none, is of another temperature, or numbers are out of range.
    """
    path = Path(model)
    if out is not None and (Path(out).suffix != ".npz" or Path(out).exists() or not Path(out).absolute().parent.is_dir()):
        raise InputError(f"{out} must be a new file that ends with .npz, in a folder that is there")
    potential = LatentPotential.load(path / "model.npz" if path.is_dir() else path, temperature_k)
    if not len(potential.starts):
        raise InputError(f"{path} holds no frames to start from: fit it again with openmm-rare latent fit")
    if walkers < 1 or steps < 1:
        raise InputError(f"walkers = {walkers} and steps = {steps} must be at least 1")
    start = potential.starts[np.arange(walkers) % len(potential.starts)]
    run = LatentLangevin(potential, potential.starts, propagator, timestep, friction, seed=seed)
    progress.stage("latent dynamics", float(steps))
    frames, doubts, told = sampling_of(run, start, steps, progress)
    told |= {"temperature_k": potential.temperature_k, "propagator": propagator, "warnings": doubts}
    if frames.shape[1] <= MOST_GRID_DIMENSIONS:
        grid = latent_grid(frames.numpy())
        counts = grid.coarse(grid.histogram(frames.numpy()))
        told["kl"] = divergence(counts, grid.coarse(model_density(potential, grid)))
    if out is not None:
        write_npz(out, {"coordinates": frames.numpy(), "names": np.array(potential.embedding.names)})
    return told

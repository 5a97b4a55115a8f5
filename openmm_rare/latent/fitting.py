"""Force matching: V is fitted to the mean forces of frames, and tested on blocks of frames that were held out."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..io.tasks import Progress
from ..learning.adam import Adam
from ..problem import RareEventSystem
from ..settings.latent import LatentSettings
from .embedding import Embedding
from .metric import LearnedMetric, metric_of
from .potential import LatentPotential

__all__ = ["FitReport", "fit_latent_potential", "fit_metric", "learning_rate", "potential_of", "require_enough"]

_BLOCKS = 40  # at least so many blocks of consecutive frames
_LONGEST_BLOCK = 500
_PEAK, _RISE = 6e-3, 0.3  # learning rate, and the part of the steps in which it rises
_DECAY = 1e-4
_MOST_MATRICES, _MOST_STARTS = 25_000, 256  # frames of which G is looked at, and those to start dynamics from
_METRIC_STEPS, _METRIC_PEAK = 800, 8e-3


@dataclass(frozen=True)
class FitReport:
    """How well forces were matched, in units of kT per standard deviation of the coordinates.

    Most of the loss is what mean forces of single frames scatter by: a model is to be judged by its density.

    Attributes
    ----------
    held_out_loss, without_model : float
        Mean square of what is left of g in held-out blocks, with the model and without.
    rms_force : float
        Of the fitted mean force in held-out frames.
    n_frames, n_held_out : int
    """

    held_out_loss: float
    without_model: float
    rms_force: float
    n_frames: int
    n_held_out: int


def potential_of(
    problem: RareEventSystem, settings: LatentSettings, embedding: Embedding, sites: Tensor, coordinates: Tensor, seed: int
) -> LatentPotential:
    """An unfitted potential, with the metric that settings ask for.

    Parameters
    ----------
    problem : RareEventSystem
    settings : LatentSettings
    embedding : Embedding
    sites : Tensor, shape (n, n_sites, 3), nm
        Of frames.
    coordinates : Tensor, shape (n, n_coordinates)
        Of these.
    seed : int
        Of a learned metric.
    """
    chosen = torch.linspace(0, len(sites) - 1, min(len(sites), _MOST_MATRICES)).long()
    _, matrices = embedding.inverse_mass(sites[chosen])
    metric = metric_of(embedding, settings.metric, matrices)
    if isinstance(metric, LearnedMetric):
        fit_metric(metric, coordinates[chosen], matrices, seed)
    n_starts = min(_MOST_STARTS, len(sites))
    return LatentPotential(embedding, metric, problem.temperature, problem.fingerprint(), settings.hidden, n_starts)


def fit_latent_potential(
    potential: LatentPotential,
    coordinates: Tensor,
    g: Tensor,
    settings: LatentSettings,
    seed: int = 1,
    progress: Progress | None = None,
) -> FitReport:
    r"""Fit V to mean forces: :math:`|\nabla V_\theta + g + \tfrac12 kT \nabla\ln\det G|^2`.

    Parameters
    ----------
    potential : LatentPotential
        Changed in place: its network, and the range of its coordinates.
    coordinates, g : Tensor, shape (n, n_coordinates)
        What :func:`openmm_rare.latent.mean_force.local_mean_force` returned for frames in their order.
    settings : LatentSettings
        Steps, batch, and the share of blocks that is held out.
    seed : int
        Of blocks, batches and the network.
    progress : Progress, optional

    Raises
    ------
    ValueError
        If frames are too few, or their mean forces are not finite.
    """
    require_enough(len(coordinates))
    if not (torch.isfinite(coordinates).all() and torch.isfinite(g).all()):
        raise InputError("coordinates or mean forces are not finite")
    still = torch.nonzero(coordinates.amin(0) == coordinates.amax(0)).flatten().tolist()
    if still:
        raise InputError(f"{potential.embedding.names[still[0]]} is the same in all frames: give frames that move along it")
    potential.set_range(coordinates)
    unit = potential.embedding.scale() / potential.kt
    inputs = potential.embedding.standardized(coordinates).float()
    targets = ((g + _known_slope(potential, coordinates)) * unit).float()
    held_out = _held_out(len(inputs), settings.held_out, seed)
    network = _fresh(potential, seed)
    _train(network, inputs[~held_out], targets[~held_out], settings, seed, progress)
    potential.network.load_state_dict(network.double().state_dict())
    slope = _slope(network, inputs[held_out].double())
    left = (slope + targets[held_out]).square().mean().item()
    nothing = targets[held_out].double().square().mean().item()
    return FitReport(left, nothing, slope.square().mean().sqrt().item(), len(inputs), int(held_out.sum()))


def require_enough(n_frames: int) -> None:
    """Refuse fewer frames than can be fitted to.

    Raises
    ------
    ValueError
    """
    if n_frames < _BLOCKS:
        raise InputError(f"{n_frames} frames are too few for a free energy: give {_BLOCKS} at least")


def _known_slope(potential: LatentPotential, coordinates: Tensor) -> Tensor:
    """Gradient of what is known of A: the determinant of the metric, and the orbit of rotations."""
    blocks = []
    for block in coordinates.split(20_000):
        at = block.detach().requires_grad_(True)
        known = 0.5 * potential.kt * potential.metric.log_det(at) + potential.known_part(at)
        blocks.append(torch.autograd.grad(known.sum(), at)[0] if known.requires_grad else torch.zeros_like(block))
    return torch.cat(blocks)


def _held_out(n: int, share: float, seed: int) -> Tensor:
    """Which frames are left out: whole blocks, for frames remember those before them."""
    block = torch.arange(n) // min(_LONGEST_BLOCK, max(n // _BLOCKS, 1))
    n_blocks = int(block[-1]) + 1
    order = np.random.default_rng(seed).permutation(n_blocks)
    return torch.isin(block, torch.as_tensor(order[: min(max(1, round(share * n_blocks)), n_blocks - 1)]))


def _fresh(potential: LatentPotential, seed: int) -> torch.nn.Sequential:
    """Its network in single precision with new weights, which depend on the seed alone."""
    network = copy.deepcopy(potential.network).float().requires_grad_(True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in network:
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
    return network


def _slope(network: torch.nn.Module, inputs: Tensor, differentiable: bool = False) -> Tensor:
    at = inputs.detach().requires_grad_(True)
    return torch.autograd.grad(network(at).sum(), at, create_graph=differentiable)[0]


def _train(
    network: torch.nn.Sequential,
    inputs: Tensor,
    targets: Tensor,
    settings: LatentSettings,
    seed: int,
    progress: Progress | None,
) -> None:
    parameters, generator = list(network.parameters()), torch.Generator().manual_seed(seed)
    optimizer = Adam(parameters, _DECAY)
    for step in range(settings.training_steps):
        chosen = torch.randint(0, len(inputs), (settings.batch,), generator=generator)
        loss = (_slope(network, inputs[chosen], differentiable=True) + targets[chosen]).square().mean()
        pieces = torch.autograd.grad(loss, parameters, allow_unused=True)  # the last bias is a constant of V
        gradient = torch.cat(
            [(torch.zeros_like(p) if d is None else d).reshape(-1) for p, d in zip(parameters, pieces, strict=True)]
        )
        optimizer.step(gradient, learning_rate(step, settings.training_steps, _PEAK))
        if progress is not None and (step + 1) % 50 == 0:
            progress.update(50.0, loss=f"{loss.item():.4g}")


def learning_rate(step: int, n_steps: int, peak: float) -> float:
    """One cycle: up to the peak, and down to nothing."""
    done = (step + 0.5) / n_steps
    return peak * done / _RISE if done < _RISE else 0.5 * peak * (1.0 + math.cos(math.pi * (done - _RISE) / (1.0 - _RISE)))


def fit_metric(metric: LearnedMetric, coordinates: Tensor, matrices: Tensor, seed: int = 1, batch: int = 512) -> float:
    """Fit the mean of G at each Q; the root mean square residual relative to the mean of G.

    Parameters
    ----------
    metric : LearnedMetric
        Changed in place.
    coordinates : Tensor, shape (n, n_coordinates)
    matrices : Tensor, shape (n, n_coordinates, n_coordinates)
        G of each frame.
    seed : int
    batch : int
    """
    metric.standardize(coordinates, matrices)
    inner = torch.linalg.inv(metric.outer)
    white = inner @ matrices @ inner.mT
    parameters = [each.requires_grad_(True) for each in metric.network.parameters()]
    optimizer, generator = Adam(parameters), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in metric.network:
            if isinstance(layer, torch.nn.Linear):
                layer.reset_parameters()
    for step in range(_METRIC_STEPS):
        chosen = torch.randint(0, len(white), (batch,), generator=generator)
        fitted = inner @ metric.inverse_mass(coordinates[chosen]) @ inner.mT
        loss = (fitted - white[chosen]).square().mean()
        gradient = torch.cat([each.reshape(-1) for each in torch.autograd.grad(loss, parameters)])
        optimizer.step(gradient, learning_rate(step, _METRIC_STEPS, _METRIC_PEAK))
    metric.network.requires_grad_(False)
    with torch.no_grad():
        fitted = inner @ metric.inverse_mass(coordinates) @ inner.mT
        return (fitted - white).square().sum((1, 2)).mean().div(metric.n).sqrt().item()

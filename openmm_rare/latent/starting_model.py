"""A committor model that says of frames what the latent committor says: what a rate or path sampling may start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..committor.model import CommittorModel
from ..errors import InputError
from ..learning.adam import Adam
from .fitting import learning_rate

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["starting_model"]

_STEPS, _BATCH, _PEAK = 1500, 512, 5e-3
_FEWEST, _BINS = 200, 20
_STEEPEST = 20.0  # of the logit that is learned


def starting_model(
    problem: RareEventSystem, positions: np.ndarray, committor: np.ndarray, seed: int = 1
) -> tuple[CommittorModel, float]:
    """A model of the problem, and the root mean square error of its logit at the frames.

    Frames are drawn alike from all values of the logit, for most frames of equilibrium lie next to a state.

    Parameters
    ----------
    problem : RareEventSystem
        Whose descriptor the model has.
    positions : ndarray, shape (n, n_atoms, 3), nm
        Frames outside of the states.
    committor : ndarray, shape (n,)
        Of these; NaN and the values 0 and 1 are left out.
    seed : int

    Raises
    ------
    ValueError
        If there are too few frames between the states.
    """
    between = np.isfinite(committor) & (committor > 0.0) & (committor < 1.0)
    if between.sum() < _FEWEST:
        raise InputError(f"{between.sum()} frames between A and B are too few for a committor model: {_FEWEST} at least")
    p = committor[between]
    logit = np.clip(np.log(p) - np.log1p(-p), -_STEEPEST, _STEEPEST)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CommittorModel(
            problem.descriptor_spec(),
            len(problem.positions),
            temperature=problem.temperature,
            fingerprint=problem.fingerprint(),
            check_interval=problem.check_interval,
        )
    model.standardize(positions[between])
    with torch.no_grad():
        inputs = model.standardized(model.descriptor(torch.as_tensor(positions[between], dtype=torch.float32)))
    edges = np.linspace(logit.min(), logit.max() + 1e-9, _BINS + 1)
    place = np.digitize(logit, edges) - 1
    weights = torch.as_tensor(1.0 / np.bincount(place, minlength=_BINS)[place])
    targets = torch.as_tensor(logit, dtype=torch.float32)
    parameters, generator = list(model.network.parameters()), torch.Generator().manual_seed(seed)
    optimizer = Adam(parameters)
    for step in range(_STEPS):
        chosen = torch.multinomial(weights, _BATCH, replacement=True, generator=generator)
        loss = (model.state_logits(inputs[chosen])[:, 1] - targets[chosen]).square().mean()
        gradient = torch.cat([each.reshape(-1) for each in torch.autograd.grad(loss, parameters)])
        optimizer.step(gradient, learning_rate(step, _STEPS, _PEAK))
    with torch.no_grad():
        error = (model.state_logits(inputs)[:, 1] - targets).square().mean().sqrt().item()
    return model, error

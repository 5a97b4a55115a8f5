r"""Learned latent coordinates: an autoencoder of features whose latents are made to have a metric of their own.

Beside the reconstruction error the loss has :math:`\lambda\,|L(Q)^{-1} J M^{-1} J^T L(Q)^{-T} - 1|^2 / N`, with a Cholesky
factor L of the latents: a bottleneck breaks the metric condition unless it is trained for it. A plain autoencoder of the same
frames is trained beside it, to tell what the penalty costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..committor.networks import MLP, build_network
from ..io.tasks import Progress
from ..learning.adam import Adam
from ..settings.latent import LatentSettings
from .embedding import Embedding
from .fitting import learning_rate
from .metric import LearnedMetric
from .violation import MOST_NEIGHBOURS, data_residual

__all__ = ["AutoencoderReport", "train_autoencoder"]

_STEPS, _BATCH, _PEAK = 1200, 512, 8e-3
_MOST_FRAMES, _MOST_NUMBERS = 25_000, 2e7  # of frames, and of their matrices


@dataclass(frozen=True)
class AutoencoderReport:
    """What latents reconstruct, and how far they are from a metric of their own.

    Attributes
    ----------
    reconstruction, plain_reconstruction : float
        Root mean square error in standard deviations of the features, with the penalty and without.
    violation, plain_violation : float
        Of the metric condition by nearest neighbours, relative; NaN for more latents than that is possible for.
    """

    reconstruction: float
    plain_reconstruction: float
    violation: float
    plain_violation: float


class _Autoencoder(nn.Module):
    """Encoder, decoder, and the Cholesky factor, in single precision."""

    def __init__(self, embedding: Embedding) -> None:
        super().__init__()
        n_features, n = embedding.descriptor.n_features, embedding.latents
        self.encoder = build_network(MLP, n_features, embedding.hidden, n)
        self.decoder = build_network(MLP, n, embedding.hidden, n_features)
        self.head = LearnedMetric(n, embedding.hidden).float().requires_grad_(True)

    def latents(self, features: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of a batch, and their G of that of the features."""
        at = features.detach().requires_grad_(True)
        latents = self.encoder(at)
        rows = [torch.autograd.grad(column.sum(), at, create_graph=True)[0] for column in latents.unbind(1)]
        jacobian = torch.stack(rows, 1)
        return latents, jacobian @ matrices @ jacobian.mT

    def violation(self, latents: Tensor, matrices: Tensor) -> Tensor:
        """Mean square of G relative to the factor of the latents."""
        factor = self.head.factor(latents)
        half = torch.linalg.solve_triangular(factor, matrices, upper=False)
        relative = torch.linalg.solve_triangular(factor, half.mT, upper=False)
        return (relative - torch.eye(relative.shape[1])).square().sum((1, 2)).mean() / relative.shape[1]


def train_autoencoder(
    embedding: Embedding, sites: Tensor, settings: LatentSettings, seed: int = 1, progress: Progress | None = None
) -> AutoencoderReport:
    """Train the encoder of an embedding.

    Parameters
    ----------
    embedding : Embedding
        With latents; its encoder and scaling are changed in place, so that latents of the frames have mean 0 and spread 1.
    sites : Tensor, shape (n, n_sites, 3), nm
        Frames of equilibrium.
    settings : LatentSettings
        The penalty.
    seed : int
    progress : Progress, optional
    """
    size = int(min(_MOST_FRAMES, len(sites), _MOST_NUMBERS // embedding.descriptor.n_features**2))
    chosen = sites[torch.linspace(0, len(sites) - 1, max(size, 2)).long()]
    features, matrices = _features(embedding, chosen)
    embedding.standardize(features)
    inputs = ((features - embedding.feature_mean) / embedding.feature_scale).float()
    scale = embedding.feature_scale
    metric = (matrices / scale[:, None] / scale[None, :]).float()
    metric = metric / metric.diagonal(dim1=1, dim2=2).mean()  # the violation knows no unit
    judged = []
    for penalty in dict.fromkeys((0.0, settings.penalty)):
        made = _trained(embedding, inputs, metric, penalty, seed, progress)
        judged.append(_judged(made, inputs, metric, seed))
    (plain_error, plain_violation), (error, violation) = judged[0], judged[-1]
    assert embedding.encoder is not None
    embedding.encoder.load_state_dict(_rescaled(made, inputs).double().state_dict())
    return AutoencoderReport(error, plain_error, violation, plain_violation)


def _features(embedding: Embedding, sites: Tensor) -> tuple[Tensor, Tensor]:
    """Features of frames, and their inverse mass."""
    plain = Embedding(embedding.spec, embedding.masses, embedding.dimensions)
    return plain.inverse_mass(sites)


def _trained(
    embedding: Embedding, inputs: Tensor, metric: Tensor, penalty: float, seed: int, progress: Progress | None
) -> _Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = _Autoencoder(embedding)
    parameters, generator = list(made.parameters()), torch.Generator().manual_seed(seed)
    optimizer = Adam(parameters)
    for step in range(_STEPS):
        chosen = torch.randint(0, len(inputs), (_BATCH,), generator=generator)
        batch = inputs[chosen]
        if penalty:
            latents, matrices = made.latents(batch, metric[chosen])
            loss = penalty * made.violation(latents, matrices)
        else:
            latents, loss = made.encoder(batch), torch.zeros(())
        loss = loss + (made.decoder(latents) - batch).square().mean()
        pieces = torch.autograd.grad(loss, parameters, allow_unused=True)
        filled = (torch.zeros_like(p) if d is None else d for p, d in zip(parameters, pieces, strict=True))
        optimizer.step(torch.cat([each.reshape(-1) for each in filled]), learning_rate(step, _STEPS, _PEAK))
        if progress is not None and (step + 1) % 100 == 0:
            progress.update(100.0, loss=f"{loss.item():.4g}")
    return made


def _judged(made: _Autoencoder, inputs: Tensor, metric: Tensor, seed: int) -> tuple[float, float]:
    """Reconstruction error and violation on all frames."""
    latents, matrices = (each.detach() for each in made.latents(inputs, metric))
    with torch.no_grad():
        error = (made.decoder(latents) - inputs).square().mean().sqrt().item()
    if latents.shape[1] > MOST_NEIGHBOURS:
        return error, math.nan
    found = data_residual(latents.double().numpy(), matrices.double().numpy(), np.random.default_rng(seed))
    return error, found[0]


def _rescaled(made: _Autoencoder, inputs: Tensor) -> nn.Sequential:
    """The encoder with latents of mean 0 and spread 1."""
    with torch.no_grad():
        latents, last = made.encoder(inputs), made.encoder[-1]
        spread = latents.std(0).clamp(min=1e-6)
        last.weight.div_(spread[:, None])
        last.bias.sub_(latents.mean(0)).div_(spread)
    return made.encoder

"""The backward equation of the committor as a residual to be trained away ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..committor.mlp import Network
from ..committor.model import CommittorModel
from ..descriptors.by_hand import feature_columns, make_features

__all__ = ["BackwardResidual"]


class BackwardResidual:
    r"""Residual of the backward equation for :math:`u = \ln I`, per step: what a biased path's :math:`\ln(w I)` gains there.

    .. math::
        R = b\cdot\nabla u + \tfrac12 |s \nabla u|^2 + \tfrac12 \sum_i s_i^2\, \partial_i^2 u ,

    with b the drift and s the noise of one Euler-Maruyama step. It vanishes everywhere for the exact committor in the limit
    of small steps. Unlike the outcome of a segment it has no noise of the dynamics in it, only that of the probes.

    Parameters
    ----------
    model : CommittorModel
    network : Network
        That of the model.
    positions, drift : Tensor, shape (n, n_atoms, 3), nm
        Places, and the displacement by the physical forces in one step from there.
    spread : Tensor, shape (n_atoms, 3), nm
        Standard deviation of the noise of one step; 0 where nothing moves.
    probes : Tensor, shape (n_probes, n, n_atoms, 3)
        Independent signs +1 or -1, for the second derivative (Hutchinson's estimator of a trace).

    Attributes
    ----------
    value : Tensor, shape (n_probes, n)
    """

    def __init__(
        self, model: CommittorModel, network: Network, positions: Tensor, drift: Tensor, spread: Tensor, probes: Tensor
    ) -> None:
        self.network, scale = network, model.feature_scale[:, None]
        features, numbers = make_features(model.descriptor, 3), torch.empty(2, len(scale), len(positions))
        features.forward(positions.numpy(), numbers[0].numpy())
        self.here = network.forward(model.standardized(numbers[0].T).T)
        # Features have no parameters: their derivatives are numbers. That of |s grad u|^2/2 is s^2 grad u times that of grad u.
        gradient = np.zeros(positions.shape, dtype=np.float32)
        features.backward((network.gradient(self.here) / scale).numpy(), gradient)
        climb = torch.from_numpy(gradient) * spread
        features.along((drift + climb * spread).numpy(), numbers[1].numpy())
        self.change = network.along(self.here, numbers[1] / scale)
        known = (self.here.outer * self.change.logit)[0] - 0.5 * climb.square().sum((1, 2))
        around = torch.stack([positions + spread * probes, positions - spread * probes]).flatten(0, 2)
        columns = torch.from_numpy(feature_columns(model.descriptor, around.numpy()))
        self.around = network.forward(model.standardized(columns.T).T)
        there, back = self.around.log_importance().reshape(2, *probes.shape[:2])
        self.value = known + 0.5 * (there + back - 2.0 * self.here.log_importance())

    def add_gradient(self, total: list[Tensor], slope: Tensor) -> None:
        """Add the gradient with respect to the parameters of a function whose derivative by ``value`` is ``slope``."""
        each, outer, rise = slope.sum(0), self.here.outer[0], self.change.logit[0]
        # the derivative of the outer factor, sigmoid(-logit), is -outer (1 - outer)
        by_logit = -each * outer * (1.0 + rise * (1.0 - outer))
        self.network.add_gradient(total, self.here, by_logit[None], self.change, (each * outer)[None])
        by_around = 0.5 * slope.expand(2, *slope.shape).reshape(1, -1)
        self.network.add_gradient(total, self.around, by_around * self.around.outer)

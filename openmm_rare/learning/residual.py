"""The backward equation of the committor as a residual to be trained away ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..committor.mlp import Evaluation, Network
from ..committor.model import CommittorModel
from ..descriptors.by_hand import BLOCK, feature_columns, make_features

__all__ = ["BackwardResidual", "Places"]


@dataclass(frozen=True)
class Places:
    """What the residual needs of the features at some places. They have no parameters: they are computed once for a fit.

    Attributes
    ----------
    here : Tensor, shape (n, n_features)
        Standardized features.
    drift : Tensor, shape (n, n_features)
        Their change, to first order, with the displacement by the physical forces in one step.
    noise : Tensor, shape (n, n_moving, n_features)
        The same with one standard deviation of the noise of one step, for every coordinate that moves.
    around : Tensor, shape (n, 2 n_probes, n_features)
        Standardized features one noise with the signs of each probe away, and with the opposite ones.
    """

    here: Tensor
    drift: Tensor
    noise: Tensor
    around: Tensor

    @classmethod
    def of(
        cls, model: CommittorModel, positions: np.ndarray, drift: np.ndarray, spread: np.ndarray, probes: np.ndarray
    ) -> Places:
        """Evaluate the features of a model.

        Parameters
        ----------
        model : CommittorModel
        positions, drift : ndarray, shape (n, n_atoms, 3), nm
            Places, and the displacement by the physical forces in one step from there.
        spread : ndarray, shape (n_atoms, 3), nm
            Standard deviation of the noise of one step; 0 where nothing moves.
        probes : ndarray, shape (n_probes, n, n_atoms, 3)
            Independent signs +1 or -1, for the second derivative (Hutchinson's estimator of a trace).
        """
        features, moving, width = make_features(model.descriptor, 3), np.argwhere(spread), model.descriptor.n_features
        here, along = (np.empty((width, len(positions)), dtype=np.float32) for _ in range(2))
        noise = np.empty((len(moving), width, len(positions)), dtype=np.float32)
        for first in range(0, len(positions), BLOCK):
            block = slice(first, first + BLOCK)
            n = len(positions[block])
            value, change = (np.empty((width, n), dtype=np.float32) for _ in range(2))
            features.forward(positions[block], value)
            here[:, block] = value
            features.along(drift[block], change)
            along[:, block] = change
            displacement = np.zeros((n, *spread.shape), dtype=np.float32)
            for number, (atom, axis) in enumerate(moving):
                displacement[:, atom, axis] = spread[atom, axis]
                features.along(displacement, change)
                noise[number, :, block] = change
                displacement[:, atom, axis] = 0.0
        away = positions + spread * np.stack([probes, -probes]).reshape(-1, *positions.shape)
        around = feature_columns(model.descriptor, away.reshape(-1, *spread.shape)).T.reshape(len(away), len(positions), width)
        scale = model.feature_scale
        return cls(
            model.standardized(_rows(here.T)),
            _rows(along.T) / scale,
            _rows(noise.transpose(2, 0, 1)) / scale,
            model.standardized(_rows(around.transpose(1, 0, 2))),
        )

    def __len__(self) -> int:
        return len(self.here)

    def take(self, rows: slice) -> Places:
        """A stretch of them; nothing is copied."""
        return Places(self.here[rows], self.drift[rows], self.noise[rows], self.around[rows])

    def columns(self) -> Tensor:
        """The features to evaluate: here, then around."""
        return torch.cat([self.here, self.around.flatten(0, 1)])


def _rows(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))


class BackwardResidual:
    r"""Residual of the backward equation for :math:`u = \ln I`, per step: what a biased path's :math:`\ln(w I)` gains there.

    .. math::
        R = b\cdot\nabla u + \tfrac12 |s \nabla u|^2 + \tfrac12 \sum_i s_i^2\, \partial_i^2 u ,

    with b the drift and s the noise of one Euler-Maruyama step. It vanishes everywhere for the exact committor in the limit
    of small steps. Unlike the outcome of a segment it has no noise of the dynamics in it, only that of the probes.

    Parameters
    ----------
    network : Network
    places : Places
    at : Evaluation
        Of :meth:`Places.columns`, perhaps followed by others.

    Attributes
    ----------
    value : Tensor, shape (n_probes, n)
    change : Change
        Of the network at the places themselves, with the drift and the climb along s² grad u.
    """

    def __init__(self, network: Network, places: Places, at: Evaluation) -> None:
        n, n_columns = len(places), len(places) * (1 + places.around.shape[1])
        self._here, self._outer = at.first(n), at.outer[0, n:n_columns]
        by_feature = network.gradient(self._here).T
        climb = torch.bmm(places.noise, by_feature[:, :, None])  # s grad u, (n, n_moving, 1)
        # the derivative of |s grad u|^2/2 is s^2 grad u times that of grad u
        along = places.drift + torch.bmm(climb.transpose(1, 2), places.noise)[:, 0]
        self.change = network.along(self._here, along.T)
        known = (self._here.outer * self.change.logit)[0] - 0.5 * climb.square().sum((1, 2))
        log_importance = at.first(n_columns).log_importance()
        there_and_back = log_importance[n:].view(n, 2, -1).sum(1).T
        self.value = known + 0.5 * there_and_back - log_importance[:n]

    def slopes(self, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of a function whose derivative by ``value`` is ``slope``, for :meth:`Network.add_gradient`.

        Returns
        -------
        by_logit : Tensor, shape (n_columns,)
            By the logit of all its columns, at fixed change.
        by_change : Tensor, shape (1, n)
            By the change of the logit at the places.
        """
        each, outer, rise = slope.sum(0), self._here.outer[0], self.change.logit[0]
        # the derivative of the outer factor, sigmoid(-logit), is -outer (1 - outer)
        here = -each * outer * (1.0 + rise * (1.0 - outer))
        around = (0.5 * slope).T[:, None, :].expand(-1, 2, -1).reshape(-1) * self._outer
        return torch.cat([here, around]), (each * outer)[None]

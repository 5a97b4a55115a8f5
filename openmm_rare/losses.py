"""Losses from which a committor is learned (THEORY: section 5)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .committor import CommittorModel
from .fast_features import feature_columns, make_features

__all__ = ["backward_residual", "binomial_loss", "stopped_operator_loss"]


def binomial_loss(logit: Tensor, n_a: Tensor, n_b: Tensor) -> Tensor:
    r"""Negative log-likelihood per shot of shooting outcomes (Jung, Covino & Hummer 2019, eq. 3).

    Parameters
    ----------
    logit, n_a, n_b : Tensor, shape (n,)
        Committor logit and the numbers of shots that reached A and B.

    Notes
    -----
    Written with softplus, so that it stays finite for :math:`|q|` of hundreds in float32.
    """
    softplus = torch.nn.functional.softplus
    return (n_a * softplus(logit) + n_b * softplus(-logit)).sum() / (n_a + n_b).sum()


def stopped_operator_loss(log_importance: Tensor, reference: Tensor, ratio: Tensor) -> Tensor:
    r"""Loss whose minimum is :math:`\ln I = \ln E[w I_{ref}(x_1)\,|\,x_0]`, the stopped transition operator.

    :math:`\mathrm{mean}[e^{u - u_{ref}} - \rho u]` with :math:`\rho = w I_{ref}(x_1)/I_{ref}(x_0)`.

    Parameters
    ----------
    log_importance, reference, ratio : Tensor, shape (n,)
        :math:`u(x_0)`, :math:`u_{ref}(x_0)` and :math:`\rho`.
    """
    change = log_importance - reference
    # beyond e^3 the exponential is continued as a straight line: a single outlier must not throw the network away
    bounded = change.clamp(max=3.0)
    return (torch.exp(bounded) * (1.0 + change - bounded) - ratio * change).mean()


def backward_residual(model: CommittorModel, positions: Tensor, drift: Tensor, spread: Tensor, probes: Tensor) -> Tensor:
    r"""Residual of the backward equation for :math:`u = \ln I`, per step: what a biased path's :math:`\ln(w I)` gains there.

    .. math::
        R = b\cdot\nabla u + \tfrac12 |s \nabla u|^2 + \tfrac12 \sum_i s_i^2\, \partial_i^2 u ,

    with b the drift and s the noise of one Euler-Maruyama step. It vanishes everywhere for the exact committor in the limit
    of small steps. Unlike the outcome of a segment it has no noise of the dynamics in it, only that of the probes.

    Parameters
    ----------
    model : CommittorModel
    positions, drift : Tensor, shape (n, n_atoms, 3), nm
        Places, and the displacement by the physical forces in one step from there.
    spread : Tensor, shape (n_atoms, 3), nm
        Standard deviation of the noise of one step; 0 where nothing moves.
    probes : Tensor, shape (n_probes, n, n_atoms, 3)
        Independent signs +1 or -1, for the second derivative (Hutchinson's estimator of a trace).

    Returns
    -------
    Tensor, shape (n_probes, n)
        Differentiable with respect to the parameters of the model.
    """
    n = len(positions)
    fast, numbers = make_features(model.descriptor, 3), np.empty((2, model.descriptor.n_features, n), dtype=np.float32)
    fast.forward(positions.numpy(), numbers[0])
    features = model.standardized(torch.from_numpy(numbers[0]).T).requires_grad_(True)
    value = model.from_features(features)
    # Features have no parameters: their derivatives are numbers. That of |s grad u|^2/2 is s^2 grad u times that of grad u.
    (slope,) = torch.autograd.grad(value.sum(), features, create_graph=True)
    gradient = np.zeros((n, *spread.shape), dtype=np.float32)
    fast.backward((slope.detach() / model.feature_scale).T.numpy(), gradient)
    climb = torch.from_numpy(gradient) * spread
    fast.along((drift + climb * spread).numpy(), numbers[1])
    change = torch.from_numpy(numbers[1]).T / model.feature_scale
    known = (slope * change).sum(1) - 0.5 * climb.square().sum((1, 2))
    around = torch.stack([positions + spread * probes, positions - spread * probes]).flatten(0, 2)
    columns = torch.from_numpy(feature_columns(model.descriptor, around.numpy()))
    there, back = model.from_features(model.standardized(columns.T)).reshape(2, *probes.shape[:2])
    return known + 0.5 * (there + back - 2.0 * value)

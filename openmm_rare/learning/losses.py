"""Losses from which a committor is learned ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["binomial_loss", "bounded_product", "multinomial_loss", "stopped_operator_loss"]


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


def stopped_operator_loss(log_importance: Tensor, reference: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor]:
    r"""Loss whose mean is least where :math:`\ln I = \ln E[w I_{ref}(x_1)\,|\,x_0]`, the stopped transition operator.

    :math:`e^{u - u_{ref}} - \rho (u - u_{ref})` with :math:`\rho = w I_{ref}(x_1)/I_{ref}(x_0)`.

    Parameters
    ----------
    log_importance, reference, ratio : Tensor, shape (n,)
        :math:`u(x_0)`, :math:`u_{ref}(x_0)` and :math:`\rho`.

    Returns
    -------
    loss, slope : Tensor, shape (n,)
        Of every segment, and its derivative with respect to ``log_importance``.
    """
    change = log_importance - reference
    # beyond e^3 the exponential is continued as a straight line: a single outlier must not throw the network away
    bounded = change.clamp(max=3.0)
    growth = torch.exp(bounded)
    return growth * (1.0 + change - bounded) - ratio * change, growth - ratio


def bounded_product(residual: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Product of two independent estimates of a residual, which has the mean of its square; none pulls beyond the bound.

    Parameters
    ----------
    residual : Tensor, shape (2, n)
    bound : float
        Each estimate r becomes ``bound * tanh(r / bound)``.

    Returns
    -------
    product : Tensor, shape (n,)
    slope : Tensor, shape (2, n)
        Its derivative with respect to the residuals.
    """
    relative = torch.tanh(residual / bound)
    return bound**2 * relative.prod(0), bound * relative.flip(0) * (1.0 - relative.square())


def multinomial_loss(logits: Tensor, counts: Tensor) -> Tensor:
    r"""Negative log-likelihood per shot of outcomes in several states: :func:`binomial_loss` for more than two.

    Parameters
    ----------
    logits : Tensor, shape (n, n_states)
        The probability to reach state i first is softmax(logits)_i.
    counts : Tensor, shape (n, n_states)
        Shots that reached each state.

    Notes
    -----
    Written with log-softmax, so that it stays finite for logits of hundreds in float32.
    """
    return -(counts * torch.nn.functional.log_softmax(logits, dim=1)).sum() / counts.sum()

"""The network of a committor model by hand: forward, back to its features or parameters, and along a change of features.

A rate calculation does this for millions of frames, and the bookkeeping of autograd costs several times more than the
arithmetic. Walkers are the last axis of all arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..errors import InputError
from .model import CommittorModel
from .networks import MLP

__all__ = ["Change", "Evaluation", "Network"]


@dataclass(frozen=True)
class Evaluation:
    """What a forward pass leaves for the others.

    Attributes
    ----------
    inputs : list of Tensor, shape (width, n)
        Of every layer; the first are the features.
    sigmoids : list of Tensor
        Of the weighted sums of every hidden layer.
    logit : Tensor, shape (1, n)
    """

    inputs: list[Tensor]
    sigmoids: list[Tensor]
    logit: Tensor

    @cached_property
    def slopes(self) -> list[Tensor]:
        """Derivative of SiLU, s + y (1 - s), in every hidden layer."""
        pairs = zip(self.inputs[1:], self.sigmoids, strict=True)
        return [torch.addcmul(output, output, sigmoid, value=-1.0).add_(sigmoid) for output, sigmoid in pairs]

    @cached_property
    def outer(self) -> Tensor:
        """Derivative of ln I with respect to the logit, shape (1, n): 1 - I."""
        return torch.sigmoid(-self.logit)

    def first(self, n: int) -> Evaluation:
        """That of the first n columns."""
        inputs, sigmoids = ([tensor[:, :n] for tensor in tensors] for tensors in (self.inputs, self.sigmoids))
        return Evaluation(inputs, sigmoids, self.logit[:, :n])

    def log_importance(self) -> Tensor:
        """ln I, shape (n,)."""
        return torch.nn.functional.logsigmoid(self.logit)[0]

    def curvature(self, layer: int) -> Tensor:
        """Second derivative of SiLU in a hidden layer, (1 - s) (s - s y + y')."""
        output, sigmoid = self.inputs[layer + 1], self.sigmoids[layer]
        inner = torch.addcmul(self.slopes[layer], output, sigmoid, value=-1.0).add_(sigmoid)
        return torch.addcmul(inner, inner, sigmoid, value=-1.0)


@dataclass(frozen=True)
class Change:
    """To first order, what a change of the features does to everything inside the network.

    Attributes
    ----------
    at : Evaluation
        Where.
    inputs : list of Tensor, shape (width, n)
        Change of the inputs of every layer.
    sums : list of Tensor
        Change of the weighted sums of every hidden layer.
    logit : Tensor, shape (1, n)
    """

    at: Evaluation
    inputs: list[Tensor]
    sums: list[Tensor]
    logit: Tensor


class Network:
    """Layers whose tensors may be those of a model in training: nothing is copied.

    Parameters
    ----------
    weights, biases : sequence of Tensor, shapes (n_out, n_in) and (n_out, 1)
    direct : sequence of (row, factor, offset)
        Features that are added to the logit as they are: ``factor`` times a row of the features, plus ``offset``.
    """

    def __init__(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], direct: Sequence[tuple[int, Tensor | float, Tensor | float]]
    ) -> None:
        self.weights, self.biases, self.direct = list(weights), list(biases), list(direct)

    @classmethod
    def of_model(cls, model: CommittorModel) -> Network:
        """The network of a model, of standardized features.

        Raises
        ------
        ValueError
            For a model whose network is no plain chain of layers with SiLU.
        """
        if model.architecture != MLP:
            raise InputError(
                f"a network of kind {model.architecture['kind']!r} serves path sampling and analysis only: bias forces and "
                "rate calculations need a model with the default network, CommittorModel(..., network=None)"
            )
        layers = [layer for layer in model.network if isinstance(layer, torch.nn.Linear)]
        direct = [(row, model.feature_scale[row], model.feature_mean[row]) for row in model.descriptor.in_logit]
        return cls([layer.weight.detach() for layer in layers], [layer.bias.detach()[:, None] for layer in layers], direct)

    def forward(self, features: Tensor) -> Evaluation:
        """Evaluate features ``(n_features, n)``."""
        value, inputs, sigmoids = features, [features], []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            value = torch.addmm(bias, weight, value)
            sigmoids.append(torch.sigmoid(value))
            inputs.append(value.mul_(sigmoids[-1]))
        logit = torch.addmm(self.biases[-1], self.weights[-1], value)
        for row, factor, offset in self.direct:
            logit += features[row] * factor + offset
        return Evaluation(inputs, sigmoids, logit)

    def gradient(self, at: Evaluation) -> Tensor:
        """Gradient of ln I with respect to the features ``(n_features, n)``."""
        gradient = self.weights[-1].T * at.outer
        for weight, slope in zip(self.weights[-2::-1], at.slopes[::-1], strict=True):
            gradient = weight.T @ gradient.mul_(slope)
        for row, factor, _ in self.direct:
            gradient[row] += at.outer[0] * factor
        return gradient

    def along(self, at: Evaluation, features: Tensor) -> Change:
        """To first order, what a change of the features ``(n_features, n)`` does."""
        change, inputs, sums = features, [features], []
        for weight, slope in zip(self.weights[:-1], at.slopes, strict=True):
            sums.append(weight @ change)
            change = sums[-1] * slope
            inputs.append(change)
        logit = self.weights[-1] @ change
        for row, factor, _ in self.direct:
            logit += features[row] * factor
        return Change(at, inputs, sums, logit)

    def zeros(self) -> list[Tensor]:
        """An empty sum of gradients: weight and bias of every layer, in the order of the model's parameters."""
        layers = zip(self.weights, self.biases, strict=True)
        return [torch.zeros(tensor.shape) for layer in layers for tensor in layer]

    def add_gradient(
        self,
        total: list[Tensor],
        at: Evaluation,
        slope: Tensor,
        change: Change | None = None,
        change_slope: Tensor | None = None,
    ) -> None:
        """Add the gradient with respect to the parameters of a function of the logit, and perhaps of its change.

        Parameters
        ----------
        total : list of Tensor
            As :meth:`zeros` makes it.
        at : Evaluation
        slope : Tensor, shape (1, n)
            Derivative with respect to the logit.
        change : Change, optional
            At the first m columns.
        change_slope : Tensor, shape (1, m), optional
            Derivative with respect to ``change.logit``.
        """
        for layer in reversed(range(len(self.weights))):
            if layer < len(at.sigmoids):  # from the outputs of a hidden layer to its weighted sums
                slope = slope * at.slopes[layer]
                if change is not None:
                    bent = (change_slope * change.sums[layer]).mul_(change.at.curvature(layer))
                    slope[:, : bent.shape[1]] += bent
                    change_slope = change_slope * change.at.slopes[layer]
            total[2 * layer].addmm_(slope, at.inputs[layer].T)
            total[2 * layer + 1] += slope.sum(1, keepdim=True)
            if change is not None:
                total[2 * layer].addmm_(change_slope, change.inputs[layer].T)
            if layer > 0:
                slope = self.weights[layer].T @ slope
                change_slope = None if change is None else self.weights[layer].T @ change_slope

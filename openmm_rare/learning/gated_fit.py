r"""How a committor is fitted to outcomes: with a gate for each input, and then with those inputs alone whose gates stayed open.

A committor often depends on few of many inputs, and shots are few: a network that may use every input fits their noise with
all of them, and decay of all weights makes it forget the right ones as well. So a model is fitted twice. First each input has
a gate, a factor that decays together with the weights behind it, which closes the gates of needless inputs: the sum of both
squares is least where it is twice the length of their product, a group lasso (Yuan & Lin 2006). Then the inputs whose gates
stayed open are fitted alone, with little decay, from several starts: only some of them find how inputs act together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..committor.networks import has_dropout, input_layers
from ..errors import InputError
from .adam import Adam
from .losses import multinomial_loss

__all__ = ["TRIES", "FitOptions", "GatedFit", "two_logits"]

_HOLD = 10.0  # times the decay of weights towards those of a prior
_CLOSED = 1e-3  # gate times weights of an input that is not used
_FASTEST, _STEPS_WITH_DROPOUT = 1e-2, 2  # learning rate; steps of Adam instead of one of L-BFGS

TRIES: int = 3
"""Random networks with which inputs that say something are looked for."""


@dataclass(frozen=True)
class FitOptions:
    r"""How a model is fitted.

    Attributes
    ----------
    gate_strength : float
        Decay of gates and weights while inputs are chosen, in units of :math:`\sqrt{2 n \ln p}/4`: with 1, the most that any
        of p inputs that say nothing correlates with n even shots by chance (the universal threshold of Donoho & Johnstone
        1994). 0: all inputs stay.
    weight_decay : float
        This over the number of shots times the sum of squared weights is added to the loss per shot in the end; ten times as
        much of the squared differences from a prior.
    prior_shots : float
        Shots that a prior counts for.
    passage_weight : float
        Part of a shot that a frame counts for which a shot passed (:class:`~openmm_rare.learning.passages.Passages`). The
        frames of one shot have the same outcome: where each counts as a shot, more of the inputs that say nothing seem to say
        something.
    least_input : float
        An input is dropped when gate times weights are shorter than this part of the longest.
    iterations : int
        Most steps of the minimizer each time: L-BFGS; with dropout, twice as many of Adam.
    starts : int
        Random weights that the last fit starts from; the best result is taken.
    """

    gate_strength: float = 0.6
    weight_decay: float = 0.3
    prior_shots: float = 30.0
    passage_weight: float = 0.3
    least_input: float = 0.1
    iterations: int = 300
    starts: int = 1

    def __post_init__(self) -> None:
        if min(self.gate_strength, self.weight_decay, self.prior_shots, self.passage_weight) < 0.0:
            raise InputError(f"gate_strength, weight_decay, prior_shots and passage_weight must not be negative: {self}")
        if not 0.0 <= self.least_input < 1.0 or min(self.iterations, self.starts) < 1:
            raise InputError(f"least_input must be a part of 1, iterations and starts at least 1: {self}")

    def gate_decay(self, n_shots: float, n_inputs: int) -> float:
        """Decay of gates and weights, as `weight_decay` is meant."""
        return self.gate_strength * 0.25 * math.sqrt(2.0 * n_shots * math.log(n_inputs))


def two_logits(outputs: Tensor) -> Tensor:
    """Logits ``(n, n_states)`` of what a network gives: its single output is the logit of B against A."""
    return outputs if outputs.shape[1] > 1 else torch.cat([torch.zeros_like(outputs), outputs], dim=1)


class GatedFit:
    """Fits of a network in place.

    Parameters
    ----------
    network : torch.nn.Sequential
        From features to one logit, or to those of all states.
    features : Tensor, shape (n, n_features)
        Standardized.
    offset : Tensor, shape (n, n_states)
        What is added to the logits.
    counts : Tensor, shape (n, n_states)
        How often each state was reached from there.
    options : FitOptions
    """

    def __init__(self, network: nn.Sequential, features: Tensor, offset: Tensor, counts: Tensor, options: FitOptions) -> None:
        self.network, self.options = network, options
        self.features, self.offset, self.counts = features, offset, counts

    def anew(self, others: Sequence[nn.Sequential], guess: nn.Sequential | None) -> None:
        """Choose inputs; then fit the network, and others with other weights, to these; the best is taken."""
        random = [self.network, *others]
        kept = self._inputs(random)
        starts = [*random[: self.options.starts], *([] if guess is None else [guess])]
        starts = [_narrow(copy.deepcopy(each), kept) for each in starts]
        features = self.features[:, kept]
        losses = [self._minimize(each, features, self.options.weight_decay) for each in starts]
        self._take(starts[int(np.argmin(losses))], kept)

    def from_prior(self) -> None:
        """Fit the network from what it knows."""
        network = copy.deepcopy(self.network)
        self._minimize(network, self.features, _HOLD * self.options.weight_decay, towards=self.network)
        self._take(network, torch.arange(self.features.shape[1]))

    def _inputs(self, starts: Sequence[nn.Sequential]) -> Tensor:
        """The inputs that the shots speak for.

        No gate open at all is a minimum too, and one fit in ten falls into it: then it is tried from other weights.
        """
        n_inputs = self.features.shape[1]
        strength = self.options.gate_decay(float(self.counts.sum()), n_inputs)
        if not strength > 0.0:
            return torch.arange(n_inputs)
        kept = torch.arange(0)
        for start in starts[:TRIES]:
            network, gates = copy.deepcopy(start), torch.ones(n_inputs, requires_grad=True)
            self._minimize(network, self.features, strength, gates)
            with torch.no_grad():
                length = gates.abs() * torch.cat([layer.weight for layer in input_layers(network)]).norm(dim=0)
            kept = torch.nonzero(length > torch.clamp(self.options.least_input * length.max(), min=_CLOSED))[:, 0]
            if len(kept):
                break
        return kept

    @torch.no_grad()
    def _take(self, network: nn.Sequential, kept: Tensor) -> None:
        """What was fitted with some of the inputs; the weights of the others are 0."""
        for mine, fitted in zip(input_layers(self.network), input_layers(network), strict=True):
            fitted.weight = nn.Parameter(torch.zeros_like(mine.weight).index_copy(1, kept, fitted.weight))
        for mine, fitted in zip(self.network.parameters(), network.parameters(), strict=True):
            mine.copy_(fitted)

    def _minimize(
        self,
        network: nn.Sequential,
        features: Tensor,
        decay: float,
        gates: Tensor | None = None,
        towards: nn.Sequential | None = None,
    ) -> float:
        """Fit a network, and gates of its inputs; returns the loss with the decay."""
        parameters = [*network.parameters(), *([] if gates is None else [gates])]
        homes = [torch.zeros_like(each) for each in parameters] if towards is None else list(towards.parameters())
        decayed = [pair for pair in zip(parameters, homes, strict=True) if pair[0].ndim > 1 or pair[0] is gates]
        decay /= float(self.counts.sum())

        def loss() -> Tensor:
            inputs = features if gates is None else features * gates
            value = multinomial_loss(two_logits(network(inputs)) + self.offset, self.counts)
            value = value + decay * sum((each - home).square().sum() for each, home in decayed)
            if not torch.isfinite(value):
                raise InputError(
                    "the loss over the shots is not finite: the descriptor is not, or the weights have grown too large"
                )
            return value

        if has_dropout(network):
            network.train()
            self._descend(parameters, loss)
            network.eval()
        else:
            self._descend_to_the_bottom(parameters, loss)
        return loss().item()

    def _descend(self, parameters: list[Tensor], loss: Any) -> None:
        """Adam with a falling learning rate: with dropout the loss is another at each step."""
        optimizer, steps = Adam(parameters), _STEPS_WITH_DROPOUT * self.options.iterations
        for step in range(steps):
            gradient = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss(), parameters)])
            optimizer.step(gradient, _FASTEST * (1.0 - step / steps))

    def _descend_to_the_bottom(self, parameters: list[Tensor], loss: Any) -> None:
        """L-BFGS."""
        from scipy.optimize import minimize  # of 16 MB, which a run does without until it fits

        sizes = [each.numel() for each in parameters]

        def put(values: np.ndarray) -> None:
            with torch.no_grad():
                for each, part in zip(parameters, torch.as_tensor(values, dtype=torch.float32).split(sizes), strict=True):
                    each.copy_(part.view_as(each))

        def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
            put(values)
            value = loss()
            gradient = torch.autograd.grad(value, parameters)
            return value.item(), torch.cat([part.reshape(-1) for part in gradient]).double().numpy()

        first = torch.cat([each.detach().reshape(-1) for each in parameters]).double().numpy()
        put(minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": self.options.iterations}).x)


def _narrow(network: nn.Sequential, kept: Tensor) -> nn.Sequential:
    """A network, changed in place, that takes some of its inputs only."""
    for layer in input_layers(network):
        layer.weight = nn.Parameter(layer.weight.detach()[:, kept])
    return network

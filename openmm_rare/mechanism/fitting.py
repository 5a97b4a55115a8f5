"""Models fitted to given shots: few inputs with large weights rather than all with small ones.

A committor often depends on few of many inputs, and shots are few: a network that may use every input fits their noise with
all of them, and decay of all weights makes it forget the right ones as well. So a model is fitted twice. First each input has
a gate, a factor that decays together with the weights behind it, which closes the gates of needless inputs: the sum of both
squares is least where it is twice the length of their product, a group lasso (Yuan & Lin 2006). Then the inputs whose gates
stayed open are fitted alone, with little decay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from ..architectures import input_weights
from ..committor import CommittorModel
from ..ensemble import CommittorEnsemble
from ..losses import binomial_loss
from ..shots import Shots
from .table import Committor, ShotTable, logit_function

__all__ = ["CrossFit", "FitOptions", "cross_fit", "fit_model"]


_HIDDEN = (16, 16)
_CLOSED = 1e-3  # gate times weights of an input that is not used


@dataclass(frozen=True)
class FitOptions:
    """How a model is fitted.

    Attributes
    ----------
    gate_decay : float
        Decay of gates and weights while inputs are chosen: this over the number of shots times the sum of their squares is
        added to the loss per shot. 0: all inputs stay.
    weight_decay : float
        The same for the weights in the end.
    least_input : float
        An input is dropped when gate times weights are shorter than this part of the longest.
    iterations : int
        Most steps of the minimizer (L-BFGS), each time.
    """

    gate_decay: float = 12.0
    weight_decay: float = 0.3
    least_input: float = 0.1
    iterations: int = 300

    def __post_init__(self) -> None:
        if self.gate_decay < 0.0 or self.weight_decay < 0.0 or not 0.0 <= self.least_input < 1.0 or self.iterations < 1:
            raise ValueError(f"decays must not be negative, least_input below 1, iterations at least 1: {self}")


def fit_model(
    template: Committor, shots: Shots, rows: np.ndarray, seed: int, options: FitOptions | None = None
) -> CommittorModel:
    """A new model with the descriptor of another, fitted to the shots of some points.

    Its network is residual: a linear logit and what has to be added to it. Of a few hundred shots it learns more than plain
    layers do.

    Parameters
    ----------
    template : CommittorModel or CommittorEnsemble
        Of an ensemble the first member is taken. A residual network keeps its widths; others are replaced by a small one.
    shots : Shots
    rows : ndarray of int
        Points to fit to.
    seed : int
        For the random weights that it starts with.
    options : FitOptions, optional

    Raises
    ------
    ValueError
        If there are no shots, or the loss is not finite.
    """
    template = template if isinstance(template, CommittorModel) else template.members[0]
    chosen = template.options()
    if chosen["network"]["kind"] != "residual":
        chosen |= {"hidden": _HIDDEN, "network": {"kind": "residual"}}
    arrays = {name: value[rows] for name, value in shots.arrays().items()}
    if not len(rows):
        raise ValueError("there are no shots to learn from")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CommittorModel(**chosen)
    model.standardize(arrays["positions"])
    n_a, n_b = (torch.as_tensor(arrays[name], dtype=torch.float32) for name in ("n_a", "n_b"))
    with torch.no_grad():  # it starts from the mean outcome
        mean = float((n_b.sum() + 0.5) / (n_a.sum() + n_b.sum() + 1.0))
        model.network[-1].bias.fill_(np.log(mean / (1.0 - mean)))
        features = model.features(torch.as_tensor(arrays["positions"], dtype=torch.float32))
    _fit(model, features, n_a, n_b, options or FitOptions())
    return model


def _fit(model: CommittorModel, features: Tensor, n_a: Tensor, n_b: Tensor, options: FitOptions) -> None:
    """Both stages, in double precision."""
    network = copy.deepcopy(model.network).double()
    features, n_a, n_b = features.double(), n_a.double(), n_b.double()
    direct = model.logit_of_features(features.float()).detach().double() - model.network(features.float())[:, 0].detach()
    kept = torch.ones(features.shape[1], dtype=torch.float64)
    if options.gate_decay > 0.0:
        gates = torch.ones_like(kept).requires_grad_(True)
        start = copy.deepcopy(network)
        _minimize(network, gates, features, direct, n_a, n_b, options.gate_decay, options.iterations)
        length = gates.detach().abs() * torch.cat(input_weights(network)).detach().norm(dim=0)
        kept = (length > torch.clamp(options.least_input * length.max(), min=_CLOSED)).double()
        network = start
    _minimize(network, kept, features, direct, n_a, n_b, options.weight_decay, options.iterations)
    with torch.no_grad():
        for weight in input_weights(network):
            weight.mul_(kept)
        for mine, fitted in zip(model.network.parameters(), network.parameters(), strict=True):
            mine.copy_(fitted)


def _minimize(
    network: nn.Sequential,
    gates: Tensor,
    features: Tensor,
    direct: Tensor,
    n_a: Tensor,
    n_b: Tensor,
    decay: float,
    iterations: int,
) -> None:
    """Fit network and gates, those that want a gradient, to the shots."""
    parameters = [*network.parameters(), *([gates] if gates.requires_grad else [])]
    decayed = [each for each in parameters if each.ndim > 1 or each is gates]
    sizes, n_shots = [each.numel() for each in parameters], float(n_a.sum() + n_b.sum())

    def put(values: np.ndarray) -> None:
        with torch.no_grad():
            for each, part in zip(parameters, torch.as_tensor(values).split(sizes), strict=True):
                each.copy_(part.view_as(each))

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        put(values)
        loss = binomial_loss(network(features * gates)[:, 0] + direct, n_a, n_b)
        loss = loss + decay / n_shots * sum(each.square().sum() for each in decayed)
        if not torch.isfinite(loss):
            raise ValueError("the loss over the shots is not finite: look for NaN in the positions of shooting points")
        gradient = torch.autograd.grad(loss, parameters)
        return loss.item(), torch.cat([part.reshape(-1) for part in gradient]).numpy()

    start = torch.cat([each.detach().reshape(-1) for each in parameters]).numpy()
    put(minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Models that were each fitted without one part of the shots: a logit of all of them that has seen none.

    Attributes
    ----------
    models : list of CommittorModel
        One for every part.
    parts : list of ndarray of int
        Rows of the table of shots.
    options : FitOptions
    loss : float
        Held-out loss per shot.
    """

    models: list[CommittorModel]
    parts: list[np.ndarray]
    options: FitOptions
    loss: float = float("nan")

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Logits ``(n,)`` of inputs ``(n, n_inputs)`` in the rows of the shots."""
        result = np.empty(len(inputs))
        for model, part in zip(self.models, self.parts, strict=True):
            result[part] = logit_function(model)(inputs[part])
        return result

    def ensemble(self) -> CommittorEnsemble:
        """All models together: each shot taught all of them but one."""
        return CommittorEnsemble(self.models)


def cross_fit(
    template: Committor,
    shots: Shots,
    parts: Sequence[np.ndarray],
    seed: int,
    candidates: Sequence[FitOptions] = (FitOptions(),),
    on_fit: Callable[[], None] = lambda: None,
) -> CrossFit:
    """Models fitted without each part of the shots, with those of several options that predict the left-out shots best.

    Parameters
    ----------
    template, shots, seed
        See :func:`fit_model`.
    parts : sequence of ndarray of int
        The rows of the shots, divided.
    candidates : sequence of FitOptions
    on_fit : callable
        Called after each model.
    """
    table, everything, found = ShotTable.of(template, shots), np.arange(len(shots)), []
    for options in candidates:
        models = []
        for number, part in enumerate(parts):
            models.append(fit_model(template, shots, np.setdiff1d(everything, part), seed + number, options))
            on_fit()
        fit = CrossFit(models, list(parts), options)
        found.append(replace(fit, loss=table.loss(fit(table.inputs))))
    return min(found, key=lambda fit: fit.loss)

"""Fitting a committor to the outcomes of shots ("Path sampling" in docs/theory.md; Jung, Covino & Hummer 2019, eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..committor.base import Committor
from ..committor.ensemble import CommittorEnsemble
from ..committor.model import CommittorModel, FeatureModel
from ..errors import InputError
from ..parallel.threads import one_torch_thread
from .gated_fit import TRIES, FitOptions, GatedFit, two_logits
from .passages import Passages, weights_without_drift
from .shots import Shots

__all__ = ["fit_model"]

Model = TypeVar("Model", bound=Committor)

_STEP = 1e-2  # of standardized features, for rates of the logit


def fit_model(
    template: Model,
    shots: Shots,
    seed: int,
    options: FitOptions | None = None,
    prior: Model | None = None,
    guess: Model | None = None,
) -> Model:
    """A new model like another, fitted to shots.

    Members of an ensemble see each shot as often as a Poisson number of mean 1 says, drawn once and for all: a bootstrap that
    can grow.

    Parameters
    ----------
    template : CommittorModel, MultiStateModel or CommittorEnsemble
        Only its architecture counts.
    shots : Shots
    seed : int
        For the random weights that it starts with.
    options : FitOptions, optional
    prior : like the template, optional
        A model that knows something already: the fit starts from it, what it expects at the shooting points counts as some
        shots, weights decay towards its weights, and no input is dropped.
    guess : like the template, optional
        A model whose weights are one more start.

    Raises
    ------
    ValueError
        If there are no shots, or the loss is not finite.
    """
    options = options or FitOptions()
    if not len(shots):
        raise InputError("there are no shots to learn from yet")
    if not np.isfinite(shots.positions).all():
        raise InputError("positions of shooting points are not finite: look for NaN in them")
    if not isinstance(template, CommittorEnsemble):
        return _fit_one(template, _Outcomes.of(template, shots, options), seed, options, prior, guess)
    members, everything = [], _Outcomes.of(template.members[0], shots, options)
    for number, member in enumerate(template.members):
        times = np.random.default_rng(number).poisson(size=len(shots))  # of a shot always the same
        times = times if times.any() else np.ones_like(times)
        known, guessed = (None if model is None else model.members[number] for model in (prior, guess))
        members.append(_fit_one(member, everything.repeated(times), seed + number, options, known, guessed))
    return CommittorEnsemble(members)


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """Features as the descriptor gives them, and how often each state was reached from there: shots, and then passages.

    Attributes
    ----------
    features : Tensor, shape (n + n_passed, n_features)
    counts : Tensor, shape (n + n_passed, n_states)
    rates : Tensor, shape (n_passed, n_features)
    trial : ndarray of int, shape (n + n_passed,)
        The trial that each belongs to.
    n_shots : int
    """

    features: Tensor
    counts: Tensor
    rates: Tensor
    trial: np.ndarray
    n_shots: int

    @classmethod
    def of(cls, template: FeatureModel, shots: Shots, options: FitOptions) -> _Outcomes:
        """Of shots, as the descriptor of a model sees them."""
        reached = torch.as_tensor(np.array(shots.reached), dtype=torch.float32)
        with torch.no_grad():
            features = template.descriptor(torch.as_tensor(np.array(shots.positions), dtype=torch.float32))
        passed, trial = Passages.join(shots.passages), np.arange(len(shots))
        if not len(passed) or not options.passage_weight > 0.0:
            return cls(features, reached, torch.zeros(0, features.shape[1]), trial, len(shots))
        counts = options.passage_weight * torch.eye(reached.shape[1])[torch.as_tensor(passed.state)]
        return cls(
            torch.cat([features, torch.as_tensor(passed.features)]),
            torch.cat([reached, counts]),
            torch.as_tensor(passed.rates),
            np.concatenate([trial, np.repeat(trial, [len(each) for each in shots.passages])]),
            len(shots),
        )

    def repeated(self, times: np.ndarray) -> _Outcomes:
        """With every trial so many times."""
        return replace(self, counts=self.counts * torch.as_tensor(times[self.trial, None], dtype=torch.float32))

    @property
    def moving(self) -> bool:
        """Whether passages have velocities, which are not those of equilibrium."""
        return bool(self.rates.any())

    def without_drift(self, model: FeatureModel) -> _Outcomes:
        """With passages weighted so that the logit of a model does not drift; without them for more than two states."""
        if isinstance(model, CommittorModel):
            weights = weights_without_drift(*_logit_and_rate(model, self.features[self.n_shots :], self.rates))
        else:
            weights = np.zeros(len(self.rates))
        factors = torch.as_tensor(np.concatenate([np.ones(self.n_shots), weights]), dtype=torch.float32)
        return replace(self, counts=self.counts * factors[:, None], rates=torch.zeros_like(self.rates))


def _logit_and_rate(model: CommittorModel, features: Tensor, rates: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logit, and its change per time, of features that change at some rates."""
    time = _STEP / (rates / model.feature_scale).square().mean().sqrt()
    with torch.no_grad():
        logit, ahead, behind = (model.logit_of_features(features + sign * time * rates) for sign in (0.0, 1.0, -1.0))
    return logit.double().numpy(), ((ahead - behind) / (2.0 * time)).double().numpy()


def _fit_one(
    template: FeatureModel,
    data: _Outcomes,
    seed: int,
    options: FitOptions,
    prior: FeatureModel | None,
    guess: FeatureModel | None,
) -> FeatureModel:
    if data.moving:
        known = (
            prior or guess or _fit_one(template, replace(data, rates=torch.zeros_like(data.rates)), seed, options, None, None)
        )
        data = data.without_drift(known)
    with torch.random.fork_rng(devices=[]), one_torch_thread():
        torch.manual_seed(seed)
        model, *others = (type(template)(**template.options()) for _ in range(max(options.starts, TRIES)))
        counts = data.counts.clone()
        if prior is None:
            model.standardize_features(data.features)
            share = torch.log(counts.sum(0) + 0.5)
            with torch.no_grad():  # fits start from the mean outcome
                for each in (model, *others):
                    each.network[-1].bias.copy_(share[1:] - share[:1] if isinstance(model, CommittorModel) else share)
        else:
            model.set_tensors(prior.tensors())
            with torch.no_grad():
                logits = prior.state_logits(prior.standardized(data.features[: data.n_shots]))
            counts[: data.n_shots] += options.prior_shots / data.n_shots * torch.softmax(logits, dim=1)
        with torch.no_grad():
            features = model.standardized(data.features)
            offset = model.state_logits(features) - two_logits(model.network(features))
        fit = GatedFit(model.network, features, offset, counts, options)
        if prior is None:
            fit.anew([each.network for each in others], None if guess is None else guess.network)
        else:
            fit.from_prior()
    return model

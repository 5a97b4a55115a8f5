"""New models of the same kind, fitted to some of the shots: what held-out losses are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..committor import CommittorModel
from ..shots import Shots, ShotTrainer
from .table import Committor, Logit, logit_function

__all__ = ["cross_fit", "fit_model"]


def fit_model(
    template: Committor,
    shots: Shots,
    rows: np.ndarray,
    seed: int,
    updates: int = 500,
    learning_rate: float = 3e-3,
    weight_decay: float = 1.0,
) -> CommittorModel:
    """A new model with the descriptor and network of another, fitted to the shots of some points.

    Parameters
    ----------
    template : CommittorModel or CommittorEnsemble
        Of an ensemble the first member is taken.
    shots : Shots
    rows : ndarray of int
    seed : int
        For the random weights that it starts with.
    updates, learning_rate, weight_decay
        Of :class:`~openmm_rare.shots.ShotTrainer`.
    """
    template = template if isinstance(template, CommittorModel) else template.members[0]
    arrays = {name: value[rows] for name, value in shots.arrays().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CommittorModel(**template.options())
        model.standardize(arrays["positions"])
        with torch.no_grad():  # it starts from the mean outcome
            mean = (arrays["n_b"].sum() + 0.5) / ((arrays["n_a"] + arrays["n_b"]).sum() + 1.0)
            model.network[-1].bias.fill_(float(np.log(mean / (1.0 - mean))))
        trainer = ShotTrainer(model, learning_rate, weight_decay)
        with model.learning():
            trainer.fit(Shots.from_arrays(arrays), updates)
    return model


def cross_fit(template: Committor, shots: Shots, parts: Sequence[np.ndarray], seed: int, **options: float) -> list[Logit]:
    """For each part of the shots a model that was fitted to all others, as a function of its inputs.

    Parameters
    ----------
    template, shots, seed
        See :func:`fit_model`.
    parts : sequence of ndarray of int
    **options
        Of :func:`fit_model`.
    """
    everything = np.arange(len(shots))
    return [
        logit_function(fit_model(template, shots, np.setdiff1d(everything, part), seed + number, **options))
        for number, part in enumerate(parts)
    ]

"""Fitting a committor to the outcomes of shots (THEORY: section 7; Jung, Covino & Hummer 2019, eq. 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .adam import Adam, set_training_state, training_state
from .architectures import input_weights
from .committor import CommittorModel
from .losses import binomial_loss

__all__ = ["Shots", "ShotTrainer", "require_same_model", "training_effort", "yields"]

_SMALL = 1e-6  # makes the length of a vector smooth at 0


@dataclass
class Shots:
    """Shooting points with their outcomes, in the order of the trials.

    Attributes
    ----------
    cycle : list of int
        Number of the Monte Carlo step.
    positions : list of ndarray, shape (n_atoms, 3), nm
    n_a, n_b : list of int
        Shots from each point that reached A and B.
    expected : list of float
        Probability 2 p (1 - p) of a transition path that the model of that time gave to each trial.
    """

    cycle: list[int] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    n_a: list[int] = field(default_factory=list)
    n_b: list[int] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.positions)

    def add(self, cycle: int, positions: np.ndarray, n_a: int, n_b: int, expected: float) -> None:
        """One more trial."""
        self.cycle.append(int(cycle))
        self.positions.append(np.asarray(positions, dtype=np.float64))
        self.n_a.append(int(n_a))
        self.n_b.append(int(n_b))
        self.expected.append(float(expected))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, positions of shape ``(n, n_atoms, 3)``."""
        return {
            "cycle": np.array(self.cycle, dtype=np.int64),
            "positions": np.array(self.positions),
            "n_a": np.array(self.n_a, dtype=np.int64),
            "n_b": np.array(self.n_b, dtype=np.int64),
            "expected": np.array(self.expected),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Shots:
        """Inverse of :meth:`arrays`."""
        cycle, n_a, n_b, expected = (np.asarray(arrays[name]).tolist() for name in ("cycle", "n_a", "n_b", "expected"))
        return cls(cycle, list(arrays["positions"]), n_a, n_b, expected)


def yields(shots: Shots, window: int) -> tuple[float, float]:
    """Numbers of transition paths among the last trials, seen and expected by the models of their time."""
    recent = slice(-window, None)
    both = [a > 0 and b > 0 for a, b in zip(shots.n_a[recent], shots.n_b[recent], strict=True)]
    return float(sum(both)), float(sum(shots.expected[recent]))


def training_effort(shots: Shots, window: int) -> float:
    r"""Part of the learning rate to train with now: :math:`\min[1, (1 - n_\mathrm{seen}/n_\mathrm{expected})^2]` (Jung et al.).

    It is 1 for fewer than 10 trials.
    """
    seen, expected = yields(shots, window)
    return 1.0 if len(shots) < 10 else min(1.0, (1.0 - seen / max(expected, 1e-12)) ** 2)


def require_same_model(path: str | Path, theirs: Mapping[str, Any], model: CommittorModel) -> None:
    """Refuse a checkpoint, with this metadata of its model, for another model.

    Raises
    ------
    ValueError
        If descriptor, number of atoms, layers or fingerprint differ.
    """
    mine = model.metadata()
    different = [key for key in ("descriptor", "n_atoms", "hidden", "fingerprint") if theirs[key] != mine[key]]
    if different:
        raise ValueError(
            f"{path} holds a model with another {' and '.join(different)}: use the model that it was made with, or another file"
        )


class ShotTrainer:
    r"""Fits a model to shots by full-batch Adam with weight decay; its whole state is a dictionary of arrays.

    Parameters
    ----------
    model : CommittorModel
        Trained in place.
    learning_rate : float
    weight_decay : float
        Decoupled, on all parameters of the network.
    input_penalty : float
        :math:`c` in :math:`c \sqrt{\ln p/n} \sum_j |W_j|`, which is added to the loss per shot: :math:`W_j` are the weights
        that the input j of p enters by, n the number of shots. This group lasso (Yuan & Lin 2006) leaves out the inputs that
        the shots say nothing about, which is what keeps a model honest on a few hundred of them.
    """

    def __init__(
        self, model: CommittorModel, learning_rate: float = 1e-3, weight_decay: float = 1.0, input_penalty: float = 1.0
    ) -> None:
        self.model, self.learning_rate, self.input_penalty = model, learning_rate, input_penalty
        self.optimizer = Adam(list(model.parameters()), weight_decay)

    def fit(self, shots: Shots, updates: int, slow_down: float = 1.0) -> float:
        """Gradient steps on all shots, with a part of the learning rate; returns the loss per shot before the last.

        Raises
        ------
        ValueError
            If there are no shots, or the loss becomes NaN.
        """
        if not len(shots):
            raise ValueError("there are no shots to learn from yet")
        arrays = shots.arrays()
        with torch.no_grad():
            features = self.model.features(torch.as_tensor(arrays["positions"], dtype=torch.float32))
        n_a, n_b = (torch.as_tensor(arrays[name], dtype=torch.float32) for name in ("n_a", "n_b"))
        loss, parameters = torch.tensor(float("nan")), list(self.model.parameters())
        penalty = self.input_penalty * (math.log(features.shape[1]) / float(n_a.sum() + n_b.sum())) ** 0.5
        for _ in range(updates):
            loss = binomial_loss(self.model.logit_of_features(features), n_a, n_b)
            if not torch.isfinite(loss):
                raise ValueError("the loss over the shots is not finite: look for NaN in the positions of shooting points")
            objective = loss + penalty * self._input_norms().sum()
            gradient = torch.cat([part.reshape(-1) for part in torch.autograd.grad(objective, parameters)])
            self.optimizer.step(gradient, slow_down * self.learning_rate)
        return loss.item()

    def _input_norms(self) -> torch.Tensor:
        """Length of the weights of each input, shape ``(n_features,)``."""
        squares = sum(weight.square().sum(0) for weight in input_weights(self.model.network))
        return torch.sqrt(squares + _SMALL)

    def state(self) -> dict[str, np.ndarray]:
        """Model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
        return training_state(self.model, self.optimizer)

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        set_training_state(self.model, self.optimizer, arrays)

"""Adam (Kingma & Ba 2015) for a few small tensors at once: torch's own loads a compiler first, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ..committor.model import CommittorModel

__all__ = ["Adam", "set_training_state", "training_state"]

_MEAN_DECAY, _SQUARE_DECAY, _SMALL = 0.9, 0.999, 1e-8
_LONGEST = 1.0  # gradient: longer ones are shortened to this


class Adam:
    """Gradient steps with adaptive sizes.

    Parameters
    ----------
    parameters : sequence of Tensor
        Changed in place.
    weight_decay : float
        Fraction of the parameters that a step of learning rate 1 takes away (decoupled: Loshchilov & Hutter 2019).
    """

    def __init__(self, parameters: Sequence[Tensor], weight_decay: float = 0.0) -> None:
        self.weight_decay = weight_decay
        self.parameters = [parameter.detach() for parameter in parameters]
        self.mean, self.square = (torch.cat([torch.zeros_like(each).reshape(-1) for each in self.parameters]) for _ in range(2))
        self.steps = 0

    def step(self, gradient: Tensor, learning_rate: float) -> None:
        """One step against a gradient: all parameters, one after the other, as one vector."""
        gradient = gradient * min(1.0, _LONGEST / (gradient.norm().item() + 1e-6))
        self.steps += 1
        self.mean.lerp_(gradient, 1.0 - _MEAN_DECAY)
        self.square.mul_(_SQUARE_DECAY).addcmul_(gradient, gradient, value=1.0 - _SQUARE_DECAY)
        size = learning_rate / (1.0 - _MEAN_DECAY**self.steps)
        scale = (self.square / (1.0 - _SQUARE_DECAY**self.steps)).sqrt_().add_(_SMALL)
        for parameter, change in zip(self.parameters, self._pieces(self.mean / scale), strict=True):
            if self.weight_decay:
                parameter.mul_(1.0 - learning_rate * self.weight_decay)
            parameter.sub_(change, alpha=size)

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        pieces = vector.split([parameter.numel() for parameter in self.parameters])
        return [piece.view_as(parameter) for piece, parameter in zip(pieces, self.parameters, strict=True)]

    def state(self) -> dict[str, np.ndarray]:
        """The moments of every parameter and the number of steps, with torch's names; nothing before the first step."""
        arrays: dict[str, np.ndarray] = {}
        for index, moments in enumerate(zip(self._pieces(self.mean), self._pieces(self.square), strict=True)):
            if self.steps:
                mean, square = (moment.numpy().copy() for moment in moments)
                arrays |= {f"{index}/step": np.float32(self.steps), f"{index}/exp_avg": mean, f"{index}/exp_avg_sq": square}
        return arrays

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        self.steps = int(arrays.get("0/step", 0))
        for name, vector in (("exp_avg", self.mean), ("exp_avg_sq", self.square)):
            for index, piece in enumerate(self._pieces(vector)):
                piece.copy_(torch.as_tensor(np.asarray(arrays[f"{index}/{name}"])) if self.steps else torch.zeros(()))


def training_state(model: CommittorModel, optimizer: Adam) -> dict[str, np.ndarray]:
    """The whole state of a training: model tensors and optimizer moments, named ``model/...`` and ``adam/...``."""
    arrays = {f"model/{name}": value for name, value in model.tensors().items()}
    return arrays | {f"adam/{name}": value for name, value in optimizer.state().items()}


def set_training_state(model: CommittorModel, optimizer: Adam, arrays: Mapping[str, np.ndarray]) -> None:
    """Restore what :func:`training_state` returned."""
    parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "adam": {}}
    for key, value in arrays.items():
        part, _, name = key.partition("/")
        if part in parts and name:
            parts[part][name] = value
    model.set_tensors(parts["model"])
    optimizer.set_state(parts["adam"])

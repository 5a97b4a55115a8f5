"""Adam (Kingma & Ba 2015) for a few small tensors at once: torch's own loads a compiler first, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["Adam"]

_MEAN_DECAY, _SQUARE_DECAY, _SMALL = 0.9, 0.999, 1e-8
_LONGEST = 1.0  # gradient: longer ones are shortened to this


class Adam:
    """Gradient steps with adaptive sizes.

    Parameters
    ----------
    parameters : sequence of Tensor
        Changed in place.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = [parameter.detach() for parameter in parameters]
        self.mean, self.square = (torch.zeros(sum(map(Tensor.numel, self.parameters))) for _ in range(2))
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

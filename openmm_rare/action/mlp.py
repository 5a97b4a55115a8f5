"""Small networks with two hidden layers of tanh, evaluated without autograd and trained with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..io.tasks import Progress
from ..learning.adam import Adam

__all__ = ["Mlp", "Training", "forward", "slopes", "train"]

_WARM_UP, _FIRST, _LAST = 0.15, 0.1, 1e-3  # share of the steps, and of the learning rate


@dataclass(frozen=True, eq=False)
class Mlp:
    """Weights of a network from n inputs to m outputs, as arrays.

    Attributes
    ----------
    w1, b1, w2, b2, w3 : ndarray
        Of shape (width, n), (width,), (width, width), (width,) and (m, width).
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: np.ndarray
    w3: np.ndarray

    @classmethod
    def random(cls, n: int, width: int, m: int, seed: int, last: float = 0.1) -> Mlp:
        """Weights of order one, but for those of the outputs."""
        rng = np.random.default_rng(seed)
        w1, w2 = rng.normal(size=(width, n)) / np.sqrt(n), rng.normal(size=(width, width)) / np.sqrt(width)
        b1, b2 = 0.3 * rng.normal(size=(2, width))
        return cls(w1, b1, w2, b2, last * rng.normal(size=(m, width)) / np.sqrt(width))

    def tensors(self) -> list[Tensor]:
        """Copies of the weights that can be trained."""
        return [torch.tensor(getattr(self, name), requires_grad=True) for name in self.__dataclass_fields__]

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor]) -> Mlp:
        """Inverse of :meth:`tensors`."""
        return cls(*(each.detach().numpy().copy() for each in tensors))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Outputs, shape (..., m)."""
        return np.tanh(np.tanh(x @ self.w1.T + self.b1) @ self.w2.T + self.b2) @ self.w3.T

    def slopes(self, x: np.ndarray) -> np.ndarray:
        """Gradient of the only output by the inputs, shape (..., n)."""
        one = np.tanh(x @ self.w1.T + self.b1)
        two = np.tanh(one @ self.w2.T + self.b2)
        return (((1.0 - two * two) * self.w3[0]) @ self.w2 * (1.0 - one * one)) @ self.w1


def forward(tensors: Sequence[Tensor], x: Tensor) -> Tensor:
    """What :class:`Mlp` gives."""
    w1, b1, w2, b2, w3 = tensors
    return torch.tanh(torch.tanh(x @ w1.T + b1) @ w2.T + b2) @ w3.T


def slopes(tensors: Sequence[Tensor], x: Tensor) -> Tensor:
    """What :meth:`Mlp.slopes` gives, in closed form: one backward pass is enough to train it."""
    w1, b1, w2, b2, w3 = tensors
    one = torch.tanh(x @ w1.T + b1)
    two = torch.tanh(one @ w2.T + b2)
    return (((1.0 - two * two) * w3[0]) @ w2 * (1.0 - one * one)) @ w1


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Attributes
    ----------
    steps : int
        Of the optimizer.
    batch : int
        Rows in each.
    learning_rate : float
        The largest; it grows first, and falls along a cosine.
    seed : int
    """

    steps: int = 2000
    batch: int = 64
    learning_rate: float = 5e-3
    seed: int = 1


def train(
    network: Mlp, loss: Callable[[Sequence[Tensor], Tensor], Tensor], rows: np.ndarray, how: Training, progress: Progress
) -> Mlp:
    """Minimize a loss of some rows, drawn anew for each step.

    Parameters
    ----------
    network : Mlp
        Where to begin.
    loss : callable
        Of weights and the numbers of rows.
    rows : ndarray of int
        All that there are.
    how : Training
    progress : Progress
        Told of every step.
    """
    tensors, rng = network.tensors(), np.random.default_rng(how.seed)
    adam, warm = Adam(tensors), max(int(_WARM_UP * how.steps), 1)
    for step in range(how.steps):
        chosen = torch.as_tensor(rng.choice(rows, min(how.batch, len(rows)), replace=False))
        gradients = torch.autograd.grad(loss(tensors, chosen), tensors)
        if step < warm:
            rate = _FIRST + (1.0 - _FIRST) * step / warm
        else:
            done = (step - warm) / max(how.steps - warm, 1)
            rate = _LAST + (1.0 - _LAST) * 0.5 * (1.0 + np.cos(np.pi * done))
        adam.step(torch.cat([each.reshape(-1) for each in gradients]), how.learning_rate * rate)
        progress.update(1.0)
    return Mlp.of_tensors(tensors)

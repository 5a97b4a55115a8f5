"""Importance functions: ln I of a trained model and its gradient, by hand or by autograd, for whatever biases with it.

Torch trains; in a simulation the same network is evaluated at every step, for few or for thousands of walkers, and there the
bookkeeping of autograd costs several times more than the arithmetic. :class:`FastImportance` evaluates plain networks by hand,
with descriptors of pair distances and linear ones, in float32; any other descriptor goes through autograd, and only the network
is evaluated by hand. Walkers are the last axis of all arrays inside, so that what is done to one feature of many walkers is
done to contiguous memory. :class:`TorchImportance` takes any torch module; :func:`importance_of` chooses.
"""

from __future__ import annotations

import copy
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..committor.base import Committor
from ..committor.mlp import Evaluation, Network
from ..committor.model import CommittorModel
from ..committor.networks import MLP
from ..descriptors.by_hand import BLOCK, make_features
from ..descriptors.pair_features import PairFeatures
from ..errors import InputError

__all__ = ["FastImportance", "ImportanceFunction", "TorchImportance", "importance_of"]


class ImportanceFunction(Protocol):
    """What the bias, the branching and the root selection need of an importance function."""

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """ln I, shape ``(n,)``, of positions ``(n, n_atoms, 3)`` in nm and, where the dynamics has some, velocities in nm/ps.

        Functions of positions alone take no notice of the velocities.
        """

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""


class FastImportance:
    """A frozen copy of a model for simulations; an :class:`ImportanceFunction`.

    Parameters
    ----------
    model : CommittorModel
        Its present weights are copied: later training does not change this object.
    num_dimensions : int
        Walkers move in the first so many dimensions; descriptors made of pair distances leave the others out, in values and
        gradient.
    """

    def __init__(self, model: CommittorModel, num_dimensions: int = 3) -> None:
        frozen = model.copy()
        self.descriptor, self.num_dimensions = frozen.descriptor, num_dimensions
        self.features, self.model = make_features(self.descriptor, num_dimensions), frozen
        self.in_logit = self.descriptor.in_logit
        network = Network.of_model(frozen)
        self.weights, self.biases = ([tensor.clone() for tensor in tensors] for tensors in (network.weights, network.biases))
        # the scaling of the features is folded into the first layer
        self.weights[0] /= frozen.feature_scale
        self.biases[0] -= self.weights[0] @ frozen.feature_mean[:, None]
        self.network = Network(self.weights, self.biases, [(row, 1.0, 0.0) for row in self.in_logit])

    @property
    def features_dimensions(self) -> int:
        """Only so many first coordinates of every atom enter the features."""
        return self.num_dimensions if isinstance(self.features, PairFeatures) else 3

    def by_autograd(self) -> TorchImportance:
        """The same function by autograd in double precision."""
        return TorchImportance(self.model, self.features_dimensions)

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm, whatever the velocities."""
        value = np.empty(len(positions))
        for start in range(0, len(positions), BLOCK):
            value[start : start + BLOCK] = self._evaluate(positions[start : start + BLOCK], last=True).log_importance().numpy()
        return value

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""
        value, gradient = np.empty(len(positions)), np.zeros(positions.shape)
        for start in range(0, len(positions), BLOCK):
            at = self._evaluate(positions[start : start + BLOCK])
            value[start : start + BLOCK] = at.log_importance().numpy()
            self.features.backward(self.network.gradient(at).numpy(), gradient[start : start + BLOCK])
        return value, gradient

    def _evaluate(self, positions: np.ndarray, last: bool = False) -> Evaluation:
        # Memory of torch is aligned: of other memory its products could differ from run to run in the last bit.
        features = torch.empty(self.weights[0].shape[1], len(positions))
        self.features.forward(positions, features.numpy(), last)
        return self.network.forward(features)


class TorchImportance(torch.nn.Module):
    """Any torch module as an :class:`ImportanceFunction`, by autograd in double precision.

    Parameters
    ----------
    module : torch.nn.Module
        A committor, or another module that returns ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm, of every walker by
        itself. It is copied.
    num_dimensions : int
        The others of the coordinates are zero.

    Raises
    ------
    ValueError
        If it is no module.
    """

    def __init__(self, module: torch.nn.Module, num_dimensions: int = 3) -> None:
        super().__init__()
        if not isinstance(module, torch.nn.Module):
            raise InputError(
                f"a force of openmmtorch needs a torch module that returns ln I, or a FastImportance, not "
                f"{type(module).__name__}; choose the force python for it"
            )
        self.module = copy.deepcopy(module).double().eval().requires_grad_(False)
        self.register_buffer("counts", (torch.arange(3) < num_dimensions).double())

    def forward(self, positions: Tensor) -> Tensor:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in double precision."""
        return self.module(positions * self.counts)

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm, whatever the velocities."""
        with torch.no_grad():
            return self(torch.as_tensor(positions, dtype=torch.float64)).numpy()

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""
        x = torch.tensor(positions, dtype=torch.float64, requires_grad=True)
        value = self(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach().numpy(), gradient.numpy()

    def try_out(self, positions: np.ndarray) -> None:
        """Refuse a module that cannot be used, having tried it at positions ``(n, n_atoms, 3)`` in nm.

        Raises
        ------
        ValueError
            If it cannot take them, or returns something else than ln I of every walker by itself.
        """
        x = torch.as_tensor(positions, dtype=torch.float64)
        try:
            value, alone = self(x), self(x[:1])
        except (RuntimeError, IndexError) as error:
            raise InputError(
                f"the module does not take positions of shape {tuple(x.shape)} in double precision: {error}"
            ) from error
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        if shape != (len(x),):
            raise InputError(f"the module must return ln I of shape ({len(x)},) for as many walkers; it returned {shape}")
        if not torch.allclose(value[:1], alone, rtol=1e-9, equal_nan=True):
            raise InputError("the module must return ln I of every walker by itself; with others around, a walker has another")


def importance_of(model: Committor, num_dimensions: int = 3) -> FastImportance | TorchImportance:
    """A learned committor as an importance function: by hand for plain layers, by autograd for other networks and ensembles.

    Parameters
    ----------
    model : Committor
        Between two states. It is copied.
    num_dimensions : int
        Walkers move in the first so many dimensions; by hand, descriptors made of pair distances leave the others out.
    """
    plain = isinstance(model, CommittorModel) and model.architecture == MLP
    return FastImportance(model, num_dimensions) if plain else TorchImportance(model)

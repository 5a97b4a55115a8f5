"""Fast evaluation of a trained committor model: ln I and its gradient, without autograd.

Torch trains; in a simulation the same network is evaluated at every step, for few or for thousands of walkers, and there the
bookkeeping of autograd costs several times more than the arithmetic. Descriptors of pair distances and linear
descriptors are evaluated here by hand-written forward and backward passes in float32; any other descriptor goes through
autograd, and only the network is evaluated here. Walkers are the last axis of all arrays inside, so that what is
done to one feature of many walkers is done to contiguous memory.
"""

from __future__ import annotations

import numpy as np
import torch

from ..committor.mlp import Evaluation, Network
from ..committor.model import CommittorModel
from ..descriptors.by_hand import BLOCK, PairFeatures, make_features

__all__ = ["FastImportance"]


class FastImportance:
    """A frozen copy of a model for simulations; an :class:`openmm_rare.bias.python_force.ImportanceFunction`.

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

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm."""
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

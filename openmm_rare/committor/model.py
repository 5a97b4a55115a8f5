"""The committor model: descriptor, network and logit; saved as plain tensors and JSON, never pickled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..descriptors.build import build_descriptor
from ..errors import InputError
from .base import SavedModel
from .networks import MLP, architecture_spec, build_network

__all__ = ["CommittorModel", "FeatureModel", "in_batches"]

_FIRST_LOGIT = -3.0  # an untrained model says that B is unlikely, everywhere alike
_FORMAT = "openmm_rare committor model 1"
_FORMAT_OTHER_NETWORKS = "openmm_rare committor model 2"  # versions that know plain layers only must not misread these
_BATCH = 8192


def in_batches(function: Callable[[Tensor], Tensor], positions: np.ndarray) -> np.ndarray:
    """A function of positions, ``(n, n_atoms, 3)`` to ``(n, ...)``, without gradients and with bounded memory; float64."""
    parts = []
    with torch.no_grad():
        for start in range(0, max(len(positions), 1), _BATCH):
            block = torch.as_tensor(positions[start : start + _BATCH], dtype=torch.float32)
            parts.append(function(block).numpy().astype(np.float64))
    return np.concatenate(parts)


class FeatureModel(SavedModel):
    """A network of standardized features of a descriptor.

    Dropout, where the network has it, acts only while the model is fitted.

    Parameters
    ----------
    descriptor : dict
        Specification for :func:`openmm_rare.descriptors.build.build_descriptor`.
    n_atoms : int
        Atoms of one walker.
    hidden : sequence of int
        Widths of the hidden layers.
    temperature : float
        Temperature in K at which the model is (being) trained.
    fingerprint : str
        Fingerprint of the system and its states; a model refuses to be loaded for another.
    network : mapping, optional
        Specification for :func:`openmm_rare.committor.networks.build_network`.
    n_outputs : int
    """

    def __init__(
        self,
        descriptor: Mapping,
        n_atoms: int,
        hidden: tuple[int, ...],
        temperature: float,
        fingerprint: str,
        network: Mapping | None,
        n_outputs: int,
    ) -> None:
        super().__init__()
        self.spec, self.architecture = dict(descriptor), architecture_spec(network)
        self.n_atoms, self.hidden = int(n_atoms), tuple(int(width) for width in hidden)
        self.temperature, self.fingerprint = float(temperature), fingerprint
        self.descriptor = build_descriptor(self.spec, self.n_atoms)
        width = self.descriptor.n_features
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_scale", torch.ones(width))
        self.network = build_network(self.architecture, width, self.hidden, n_outputs)
        self.eval()

    def standardize(self, positions: np.ndarray) -> None:
        """Set the scaling of the features from sample positions ``(n, n_atoms, 3)`` in nm."""
        with torch.no_grad():
            self.standardize_features(self.descriptor(torch.as_tensor(positions, dtype=torch.float32)))

    def standardize_features(self, features: Tensor) -> None:
        """Set the scaling of the features from a sample ``(n, n_features)`` of what the descriptor gives."""
        with torch.no_grad():
            self.feature_mean.copy_(features.mean(0))
            # a feature that hardly varies in the sample must not be blown up later
            floor = 1e-3 * features.abs().mean(0) + 1e-6
            spread = features.std(0) if len(features) > 1 else torch.zeros_like(floor)
            self.feature_scale.copy_(torch.maximum(spread, floor))

    def features(self, positions: Tensor) -> Tensor:
        """Standardized features ``(n, n_features)`` of positions ``(n, n_atoms, 3)`` in nm."""
        return self.standardized(self.descriptor(positions))

    def standardized(self, features: Tensor) -> Tensor:
        """Features ``(n, n_features)`` of the descriptor, with mean 0 and standard deviation 1 over a typical sample."""
        return (features - self.feature_mean) / self.feature_scale

    def options(self) -> dict[str, Any]:
        """What the constructor needs to make a model like this one."""
        return {
            "descriptor": self.spec,
            "n_atoms": self.n_atoms,
            "hidden": self.hidden,
            "temperature": self.temperature,
            "fingerprint": self.fingerprint,
            "network": self.architecture,
        }


class CommittorModel(FeatureModel):
    r"""A learned committor :math:`I(x)`: the probability to reach B before A.

    The network returns the logit q; :math:`\ln I = -\mathrm{softplus}(-q)` stays finite for every q.

    Parameters
    ----------
    descriptor : dict
        Specification for :func:`openmm_rare.descriptors.build.build_descriptor`.
    n_atoms : int
        Atoms of one walker.
    hidden : sequence of int
        Widths of the hidden layers.
    temperature : float
        Temperature in K at which the model is (being) trained.
    fingerprint : str
        Fingerprint of the system and its states; a model refuses to be loaded for another.
    network : mapping, optional
        See :func:`openmm_rare.committor.networks.architecture_spec`; rate calculations and the native force take the default
        only.
    """

    def __init__(
        self,
        descriptor: Mapping,
        n_atoms: int,
        hidden: tuple[int, ...] = (64, 64, 64),
        temperature: float = 300.0,
        fingerprint: str = "",
        network: Mapping | None = None,
    ) -> None:
        super().__init__(descriptor, n_atoms, hidden, temperature, fingerprint, network, 1)
        nn.init.constant_(self.network[-1].bias, _FIRST_LOGIT)

    def cool(self, temperature: float) -> None:
        """Carry the model to another temperature in K: the logit, an energy over kT, is scaled by the ratio."""
        with torch.no_grad():
            for parameter in self.network[-1].parameters():
                parameter.mul_(self.temperature / temperature)
        self.temperature = float(temperature)

    def logit(self, positions: Tensor) -> Tensor:
        """Logit q of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return self.logit_of_features(self.features(positions))

    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit q, shape ``(n,)``, of standardized features."""
        logit = self.network(features)[:, 0]
        for column in self.descriptor.in_logit:
            logit = logit + self.feature_mean[column] + self.feature_scale[column] * features[:, column]
        return logit

    def logits_of_features(self, features: Tensor) -> Tensor:
        """0 and q, the logits of A and B, shape ``(n, 2)``, of standardized features."""
        logit = self.logit_of_features(features)
        return torch.stack([torch.zeros_like(logit), logit], dim=1)

    def logit_of_raw_features(self, features: Tensor) -> Tensor:
        """Logit q, shape ``(n,)``, of features as the descriptor gives them."""
        return self.logit_of_features(self.standardized(features))

    def from_features(self, features: Tensor) -> Tensor:
        """ln I, shape ``(n,)``, of standardized features."""
        return nn.functional.logsigmoid(self.logit_of_features(features))

    def forward(self, positions: Tensor) -> Tensor:
        """Return ln I of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return nn.functional.logsigmoid(self.logit(positions))

    def logits(self, positions: np.ndarray) -> np.ndarray:
        """Logit q of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n,)``."""
        return in_batches(self.logit, positions)

    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln(1 - I) and ln I of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, 2)``."""
        logit = self.logits(positions)
        return -np.logaddexp(0.0, np.stack([logit, -logit], axis=1))

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n,)``."""
        return in_batches(self, positions)

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I and its gradient in 1/nm for positions ``(n, n_atoms, 3)``: arrays ``(n,)`` and ``(n, n_atoms, 3)``."""
        x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        value = self(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach().numpy().astype(np.float64), gradient.numpy().astype(np.float64)

    def metadata(self) -> dict:
        """Everything but the tensors, JSON-able."""
        common = {
            "format": _FORMAT if self.architecture == MLP else _FORMAT_OTHER_NETWORKS,
            "version": __version__,
            "descriptor": self.spec,
            "n_atoms": self.n_atoms,
            "hidden": list(self.hidden),
            "temperature_k": self.temperature,
            "fingerprint": self.fingerprint,
        }
        return common if self.architecture == MLP else common | {"network": self.architecture}

    @classmethod
    def from_metadata(cls, metadata: Mapping) -> CommittorModel:
        """An untrained model as :meth:`metadata` says; ValueError if it is of another format."""
        known = (_FORMAT, _FORMAT_OTHER_NETWORKS)
        if metadata["format"] not in known:
            raise InputError(f"format {metadata['format']!r}, this class reads {' and '.join(map(repr, known))}")
        return cls(
            metadata["descriptor"],
            metadata["n_atoms"],
            tuple(metadata["hidden"]),
            metadata["temperature_k"],
            metadata["fingerprint"],
            metadata.get("network"),
        )

    def copy(self, temperature: float | None = None) -> CommittorModel:
        """An independent copy, optionally labelled with another temperature in K."""
        twin = CommittorModel(**self.options() | {"temperature": temperature or self.temperature})
        twin.set_tensors(self.tensors())
        return twin

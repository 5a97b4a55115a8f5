"""The committor model: descriptor, network and logit; saved as plain tensors and JSON, never pickled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..descriptors.build import build_descriptor
from ..errors import InputError
from .base import Committor
from .networks import MLP, architecture_spec, build_network

__all__ = ["CommittorModel", "FeatureModel"]

_FIRST_LOGIT = -3.0  # an untrained model says that B is unlikely, everywhere alike
_FORMAT = "openmm_rare committor model 1"
_FORMAT_OTHER_NETWORKS = "openmm_rare committor model 2"  # versions that know plain layers only must not misread these


class FeatureModel(Committor):
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
    check_interval : int, optional
        Steps between two tests of the states.
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
        check_interval: int | None,
    ) -> None:
        super().__init__()
        self.spec, self.architecture = dict(descriptor), architecture_spec(network)
        self.n_atoms, self.hidden = int(n_atoms), tuple(int(width) for width in hidden)
        self.temperature, self.fingerprint, self.check_interval = float(temperature), fingerprint, check_interval
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

    def standardized(self, features: Tensor) -> Tensor:
        """Features ``(n, n_features)`` of the descriptor, with mean 0 and standard deviation 1 over a typical sample."""
        return (features - self.feature_mean) / self.feature_scale

    @abstractmethod
    def state_logits(self, inputs: Tensor) -> Tensor:
        """Logits of all states, shape ``(n, n_states)``, of standardized features: what is fitted to outcomes of shots."""

    def options(self) -> dict[str, Any]:
        """What the constructor needs to make a model like this one."""
        return {
            "descriptor": self.spec,
            "n_atoms": self.n_atoms,
            "hidden": self.hidden,
            "temperature": self.temperature,
            "fingerprint": self.fingerprint,
            "network": self.architecture,
            "check_interval": self.check_interval,
        }

    def _labelled(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Metadata with the check interval, where that is known."""
        return metadata | ({} if self.check_interval is None else {"check_interval": self.check_interval})


class CommittorModel(FeatureModel):
    r"""A learned committor :math:`I(x)`: the probability to reach B before A.

    The network returns the logit q; :math:`\ln I = -\mathrm{softplus}(-q)` stays finite for every q.

    Parameters
    ----------
    descriptor, n_atoms, hidden, temperature, fingerprint
        As for :class:`FeatureModel`.
    network : mapping, optional
        See :func:`openmm_rare.committor.networks.architecture_spec`; rate calculations and the native force take the default
        only.
    check_interval
        As for :class:`FeatureModel`.
    """

    def __init__(
        self,
        descriptor: Mapping,
        n_atoms: int,
        hidden: tuple[int, ...] = (64, 64, 64),
        temperature: float = 300.0,
        fingerprint: str = "",
        network: Mapping | None = None,
        check_interval: int | None = None,
    ) -> None:
        super().__init__(descriptor, n_atoms, hidden, temperature, fingerprint, network, 1, check_interval)
        nn.init.constant_(self.network[-1].bias, _FIRST_LOGIT)

    def cool(self, temperature: float) -> None:
        """Carry the model to another temperature in K: the logit, an energy over kT, is scaled by the ratio."""
        with torch.no_grad():
            for parameter in self.network[-1].parameters():
                parameter.mul_(self.temperature / temperature)
        self.temperature = float(temperature)

    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit q, shape ``(n,)``, of features ``(n, n_features)`` as the descriptor gives them."""
        return self._logit(self.standardized(features))

    def _logit(self, inputs: Tensor) -> Tensor:
        logit = self.network(inputs)[:, 0]
        for column in self.descriptor.in_logit:
            logit = logit + self.feature_mean[column] + self.feature_scale[column] * inputs[:, column]
        return logit

    def state_logits(self, inputs: Tensor) -> Tensor:
        """0 and q, the logits of A and B, shape ``(n, 2)``, of standardized features."""
        logit = self._logit(inputs)
        return torch.stack([torch.zeros_like(logit), logit], dim=1)

    def forward(self, positions: Tensor) -> Tensor:
        """ln I of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return nn.functional.logsigmoid(self.logit(positions))

    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln(1 - I) and ln I of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, 2)``."""
        logit = self.logit(positions)
        return -np.logaddexp(0.0, np.stack([logit, -logit], axis=1))

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
        return self._labelled(common if self.architecture == MLP else common | {"network": self.architecture})

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
            metadata.get("check_interval"),
        )

    def copy(self, temperature: float | None = None) -> CommittorModel:
        """An independent copy, optionally labelled with another temperature in K."""
        twin = CommittorModel(**self.options() | {"temperature": temperature or self.temperature})
        twin.set_tensors(self.tensors())
        return twin

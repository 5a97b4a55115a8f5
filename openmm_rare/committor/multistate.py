"""A committor between more than two states: the probability to reach each of them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from .model import FeatureModel, in_batches

__all__ = ["MultiStateModel"]

_FORMAT = "openmm_rare multi-state committor model 1"


class MultiStateModel(FeatureModel):
    r"""Probabilities :math:`p_i(x) = \mathrm{softmax}(q(x))_i` to reach state i before every other.

    With two states, :math:`q_B - q_A` is the logit of a
    :class:`~openmm_rare.committor.model.CommittorModel`.

    Parameters
    ----------
    descriptor, n_atoms, hidden, temperature, fingerprint, network
        As for :class:`~openmm_rare.committor.model.CommittorModel`.
    state_names : sequence of str
        Two or more different names.

    Raises
    ------
    ValueError
        If there are fewer, or a name is repeated.
    """

    title = "multi-state committor model"

    def __init__(
        self,
        descriptor: Mapping,
        n_atoms: int,
        state_names: Sequence[str],
        hidden: tuple[int, ...] = (64, 64, 64),
        temperature: float = 300.0,
        fingerprint: str = "",
        network: Mapping | None = None,
    ) -> None:
        self.state_names = tuple(state_names)
        if len(self.state_names) < 2 or len(set(self.state_names)) != len(self.state_names):
            raise InputError(f"state_names = {self.state_names} must be two or more different names")
        super().__init__(descriptor, n_atoms, hidden, temperature, fingerprint, network, len(self.state_names))

    def logits_of_features(self, features: Tensor) -> Tensor:
        """Logits ``(n, n_states)`` of standardized features."""
        return self.network(features)

    def forward(self, positions: Tensor) -> Tensor:
        """ln p ``(n, n_states)`` of positions ``(n, n_atoms, 3)`` in nm."""
        return torch.nn.functional.log_softmax(self.logits_of_features(self.features(positions)), dim=1)

    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln p of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, n_states)``."""
        return in_batches(self, positions)

    def options(self) -> dict[str, Any]:
        """What the constructor needs to make a model like this one."""
        return super().options() | {"state_names": self.state_names}

    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-able."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "descriptor": self.spec,
            "n_atoms": self.n_atoms,
            "state_names": list(self.state_names),
            "hidden": list(self.hidden),
            "temperature_k": self.temperature,
            "fingerprint": self.fingerprint,
            "network": self.architecture,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping) -> MultiStateModel:
        """An untrained model as :meth:`metadata` says; ValueError if it is of another format."""
        if metadata["format"] != _FORMAT:
            raise InputError(f"format {metadata['format']!r}, this class reads {_FORMAT!r}")
        return cls(
            metadata["descriptor"],
            metadata["n_atoms"],
            metadata["state_names"],
            tuple(metadata["hidden"]),
            metadata["temperature_k"],
            metadata["fingerprint"],
            metadata["network"],
        )

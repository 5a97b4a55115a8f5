"""A committor between more than two states: the probability to reach each of them first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..errors import InputError
from .base import in_batches
from .model import FeatureModel

__all__ = ["MultiStateModel"]

_FORMAT = "openmm_rare multi-state committor model 1"


class MultiStateModel(FeatureModel):
    r"""Probabilities :math:`p_i(x) = \mathrm{softmax}(q(x))_i` to reach state i before every other.

    With two states, :math:`q_B - q_A` is the logit of a
    :class:`~openmm_rare.committor.model.CommittorModel`.

    Parameters
    ----------
    descriptor, n_atoms, hidden, temperature, fingerprint, network, check_interval
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
        check_interval: int | None = None,
    ) -> None:
        self.state_names = tuple(state_names)
        if len(self.state_names) < 2 or len(set(self.state_names)) != len(self.state_names):
            raise InputError(f"state_names = {self.state_names} must be two or more different names")
        self.n_states = len(self.state_names)
        n_outputs = len(self.state_names)
        super().__init__(descriptor, n_atoms, hidden, temperature, fingerprint, network, n_outputs, check_interval)

    def state_logits(self, inputs: Tensor) -> Tensor:
        """Logits ``(n, n_states)`` of standardized features."""
        return self.network(inputs)

    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln p of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, n_states)``."""
        return in_batches(self._log_p, positions)

    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit of the second of two states, shape ``(n,)``, of features as the descriptor gives them.

        Raises
        ------
        ValueError
            If there are more states.
        """
        self._require_two("logit")
        to_a, to_b = self.state_logits(self.standardized(features)).unbind(1)
        return to_b - to_a

    def forward(self, positions: Tensor) -> Tensor:
        """ln of the probability of the second of two states, shape ``(n,)``, of positions ``(n, n_atoms, 3)`` in nm.

        Raises
        ------
        ValueError
            If there are more states.
        """
        self._require_two("importance")
        return self._log_p(positions)[:, 1]

    def _log_p(self, positions: Tensor) -> Tensor:
        inputs = self.standardized(self.descriptor(positions))
        return torch.nn.functional.log_softmax(self.state_logits(inputs), dim=1)

    def _require_two(self, what: str) -> None:
        if self.n_states != 2:
            raise InputError(f"a committor between {self.n_states} states has no single {what}: ask for log_probabilities")

    def options(self) -> dict[str, Any]:
        """What the constructor needs to make a model like this one."""
        return super().options() | {"state_names": self.state_names}

    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-able."""
        return self._labelled(
            {
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
        )

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
            metadata.get("check_interval"),
        )

"""Several committor models that learned from resampled shots: their mean, and how much they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..errors import InputError
from .base import Committor, in_batches
from .model import CommittorModel

__all__ = ["CommittorEnsemble"]

_FORMAT = "openmm_rare committor ensemble 1"


class CommittorEnsemble(Committor):
    r"""Committor models of one system whose probabilities are averaged: :math:`p_B = \langle p_k \rangle_k`.

    It answers what a :class:`~openmm_rare.committor.model.CommittorModel` is asked in path sampling and in the analysis of a
    mechanism. The spread of the members is the uncertainty that more shots would remove.

    Parameters
    ----------
    members : sequence of CommittorModel
        Two or more with the same descriptor, for the same system.

    Raises
    ------
    ValueError
        If there are fewer, or they are of different descriptors, systems or temperatures.
    """

    title = "committor ensemble"

    def __init__(self, members: Sequence[CommittorModel]) -> None:
        super().__init__()
        if len(members) < 2:
            raise InputError(f"an ensemble needs two or more members, not {len(members)}; one model needs no ensemble")
        first = members[0]
        for member in members[1:]:
            for name in ("spec", "n_atoms", "fingerprint", "temperature", "check_interval"):
                if getattr(member, name) != getattr(first, name):
                    raise InputError(
                        f"members of an ensemble differ in {name}: {getattr(first, name)} and {getattr(member, name)}"
                    )
        self.members = nn.ModuleList(members)

    @classmethod
    def of(cls, n_members: int, *arguments: Any, seed: int = 1, **options: Any) -> CommittorEnsemble:
        """`n_members` untrained models with different random weights; the other arguments are those of one model."""
        members = []
        for child in np.random.SeedSequence(seed).spawn(n_members):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(child.generate_state(1)[0]))
                members.append(CommittorModel(*arguments, **options))
        return cls(members)

    def __getattr__(self, name: str) -> Any:
        if name in ("spec", "n_atoms", "fingerprint", "temperature", "check_interval", "descriptor"):  # those of every member
            return getattr(self.members[0], name)
        return super().__getattr__(name)

    def standardize(self, positions: np.ndarray) -> None:
        """Set the scaling of the features of every member from sample positions ``(n, n_atoms, 3)`` in nm."""
        for member in self.members:
            member.standardize(positions)

    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln(1 - p) and ln p of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, 2)``."""
        return in_batches(lambda block: torch.stack(self._average(self.descriptor(block)), dim=1), positions)

    def _average(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """ln(1 - p) and ln p, averaged over the members, each of shape ``(n,)``."""
        logits = torch.stack([member.logit_of_features(features) for member in self.members])
        less = np.log(len(self.members))
        return tuple(torch.logsumexp(nn.functional.logsigmoid(sign * logits), dim=0) - less for sign in (-1.0, 1.0))

    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit of the mean probability, shape ``(n,)``, of features as the descriptor gives them."""
        to_a, to_b = self._average(features)
        return to_b - to_a

    def forward(self, positions: Tensor) -> Tensor:
        """ln I, the logarithm of the mean probability, of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return self._average(self.descriptor(positions))[1]

    def spread(self, positions: np.ndarray) -> np.ndarray:
        """Standard deviation of the members' probabilities to reach B; float64, shape ``(n,)``."""
        p = np.stack([1.0 / (1.0 + np.exp(-member.logit(positions))) for member in self.members])
        return p.std(0, ddof=1)

    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-able."""
        return {"format": _FORMAT, "version": __version__, "members": [member.metadata() for member in self.members]}

    @classmethod
    def from_metadata(cls, metadata: Mapping) -> CommittorEnsemble:
        """An untrained ensemble as :meth:`metadata` says; ValueError if it is of another format."""
        if metadata["format"] != _FORMAT:
            raise InputError(f"format {metadata['format']!r}, this class reads {_FORMAT!r}")
        return cls([CommittorModel.from_metadata(each) for each in metadata["members"]])

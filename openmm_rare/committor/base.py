"""What a committor is asked, and how it is saved: as plain arrays and one JSON string, never pickled."""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..descriptors.base import Descriptor
from ..errors import InputError
from ..io.files import require_whole_npz, write_npz
from .model_file import read_model_file, require_bounded, require_tensors

__all__ = ["Committor", "in_batches", "naming_model"]

Self = TypeVar("Self", bound="Committor")
Positions = TypeVar("Positions", np.ndarray, Tensor)

_BATCH = 8192


@contextmanager
def naming_model(path: str | Path | BinaryIO, title: str) -> Iterator[None]:
    """Say of whatever is wrong with a file which one it is.

    Raises
    ------
    ValueError
        For all errors but that of a missing file, and lack of memory.
    """
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # somebody's file may hold anything
        said = " ".join(str(error).split()) if not isinstance(error, KeyError) else f"it lacks {error}"
        raise InputError(f"{path} is not a readable {title} ({said}); train a new one") from error


def _kept(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a model must have in common with a checkpoint; members of an ensemble are all alike."""
    members = metadata.get("members", [metadata])
    free = ("version", "temperature_k")
    return {"format": metadata["format"], "members": len(members)} | {k: v for k, v in members[0].items() if k not in free}


def _apart(log_p: np.ndarray) -> np.ndarray:
    """Probability that two shots end in different states, of ln p ``(n, n_states)``."""
    p = np.exp(log_p)
    return (p * (p @ (1.0 - np.eye(p.shape[1])))).sum(1)  # 1 - p as a sum: exact where p is almost 1


def in_batches(function: Callable[[Tensor], Tensor], positions: np.ndarray) -> np.ndarray:
    """A function of positions, ``(n, n_atoms, 3)`` to ``(n, ...)``, without gradients and with bounded memory; float64."""
    parts = []
    with torch.no_grad():
        for start in range(0, max(len(positions), 1), _BATCH):
            block = torch.as_tensor(positions[start : start + _BATCH], dtype=torch.float32)
            parts.append(function(block).numpy().astype(np.float64))
    return np.concatenate(parts)


class Committor(nn.Module, ABC):
    r"""Probabilities to reach each of some states before the others, learned as a function of the features of a descriptor.

    It is asked five questions about positions ``(n, n_atoms, 3)`` in nm: :meth:`log_probabilities`, :meth:`logit` and
    :meth:`log_importance`; and what shooting goes by, :meth:`transition_probability` and :meth:`transition_distance`. As a
    torch module it is :math:`\ln I` of a tensor of positions. Kinds of committors are final.

    Attributes
    ----------
    title : str
        What it is, in messages.
    n_states : int
        A, B and perhaps others; logit and importance are those of two.
    spec : dict
        Of the descriptor.
    descriptor : Descriptor
    n_atoms : int
        Of one walker.
    fingerprint : str
        Fingerprint of the system and its states that it belongs to.
    temperature : float
        K.
    check_interval : int or None
        Steps between two tests of the states that it belongs to; None in models of versions that did not keep it.
    """

    title = "committor model"
    n_states = 2
    spec: dict[str, Any]
    descriptor: Descriptor
    n_atoms: int
    fingerprint: str
    temperature: float
    check_interval: int | None

    @abstractmethod
    def log_probabilities(self, positions: np.ndarray) -> np.ndarray:
        """ln p of each state for an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n, n_states)``."""

    @abstractmethod
    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit q between two states, shape ``(n,)``, of features ``(n, n_features)`` as the descriptor gives them."""

    @abstractmethod
    def forward(self, positions: Tensor) -> Tensor:
        """ln I, the logarithm of the probability to reach B, of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-able."""

    @classmethod
    @abstractmethod
    def from_metadata(cls: type[Self], metadata: Mapping[str, Any]) -> Self:
        """An untrained model of this kind; ValueError if the metadata are of something else."""

    def logit(self, positions: Positions) -> Positions:
        r"""Logit :math:`q = \ln p_B - \ln p_A` between two states.

        Parameters
        ----------
        positions : ndarray or Tensor, shape (n, n_atoms, 3), nm

        Returns
        -------
        ndarray of float64, or Tensor with its gradient, as the positions are; shape (n,)
        """
        if isinstance(positions, Tensor):
            return self.logit_of_features(self.descriptor(positions))
        return in_batches(self.logit, positions)

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """ln I of an array of positions ``(n, n_atoms, 3)`` in nm, whatever the velocities; float64, shape ``(n,)``."""
        return in_batches(self, positions)

    def transition_probability(self, positions: np.ndarray) -> np.ndarray:
        r"""Probability that two shots end in different states, :math:`\sum_i p_i (1 - p_i)`.

        Parameters
        ----------
        positions : ndarray, shape (n, n_atoms, 3), nm

        Returns
        -------
        ndarray, shape (n,)
        """
        return _apart(self.log_probabilities(positions))

    def transition_distance(self, positions: np.ndarray) -> np.ndarray:
        r"""Zero where all states are equally likely: what a selector of shooting points goes by.

        The :math:`|q|` of two states for which two shots end in different ones as large a part of the best as here.

        Returns
        -------
        ndarray, shape (n,)
        """
        log_p = self.log_probabilities(positions)
        share = np.clip(_apart(log_p) / (1.0 - 1.0 / log_p.shape[1]), 1e-300, 1.0)
        return 2.0 * np.arccosh(1.0 / np.sqrt(share))

    def require_same(self, path: str | Path, metadata: Mapping[str, Any]) -> None:
        """Refuse a checkpoint, with this metadata of its model, if that is another one.

        Raises
        ------
        ValueError
            If descriptor, number of atoms, states, network, members or fingerprint differ.
        """
        mine, theirs = _kept(self.metadata()), _kept(metadata)
        different = [key for key in sorted(mine | theirs) if mine.get(key) != theirs.get(key)]
        if different:
            raise InputError(
                f"{path} holds a model with another {' and '.join(different)}: use the model that it was made with, or another "
                "file"
            )

    def tensors(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Load what :meth:`tensors` returned."""
        self.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in tensors.items()})

    def save(self, path: str | Path) -> None:
        """Write the model to an ``.npz`` file of plain arrays and one JSON string, atomically."""
        write_npz(path, self._archive())

    def to_bytes(self) -> bytes:
        """What :meth:`save` writes; :meth:`load` reads it from an ``io.BytesIO``."""
        buffer = io.BytesIO()
        np.savez(buffer, **self._archive())
        return buffer.getvalue()

    def digest(self) -> str:
        """Tells models from each other: of all that one consists of, SHA-256 in short."""
        found = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            found.update(name.encode() + np.ascontiguousarray(tensor).tobytes())
        return found.hexdigest()[:16]

    def _archive(self) -> dict[str, np.ndarray]:
        return {"metadata": np.array(json.dumps(self.metadata())), **self.tensors()}

    @classmethod
    def load(cls: type[Self], path: str | Path | BinaryIO, fingerprint: str | None = None) -> Self:
        """Read a model.

        Parameters
        ----------
        path : path or binary stream
            What :meth:`save` wrote.
        fingerprint : str, optional
            Fingerprint of the system that the model is wanted for.

        Raises
        ------
        ValueError
            If the file is no model, is damaged, or belongs to another system or other states.
        """
        with naming_model(path, cls.title):
            if isinstance(path, str | Path):
                require_whole_npz(path)
            content = read_model_file(path)
        return cls.from_file(path, *content, fingerprint)

    @classmethod
    def from_file(
        cls: type[Self],
        path: str | Path | BinaryIO,
        metadata: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        fingerprint: str | None = None,
    ) -> Self:
        """The model that was read from a file.

        Parameters
        ----------
        path : path or binary stream
            For messages.
        metadata : mapping
        tensors : mapping of ndarray
        fingerprint : str, optional
            As for :meth:`load`.

        Raises
        ------
        ValueError
            If it is no such model, cannot be right, or belongs to another system or other states.
        """
        with naming_model(path, cls.title):
            require_bounded(metadata, tensors)
            model = cls.from_metadata(metadata)
            require_tensors(tensors, model.tensors())
            model.set_tensors(tensors)
        if fingerprint is not None and fingerprint != model.fingerprint:
            raise InputError(
                f"{path} was trained for another system or other states (fingerprint {model.fingerprint[:12]}, "
                f"this system has {fingerprint[:12]}); train a new model, or rebuild the system it belongs to"
            )
        return model

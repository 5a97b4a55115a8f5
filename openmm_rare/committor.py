"""The committor model: descriptor, network and logit; saved as plain tensors and JSON, never pickled."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from . import __version__
from .descriptors import build_descriptor
from .files import write_npz

__all__ = ["CommittorModel"]

_FIRST_LOGIT = -3.0  # an untrained model says that B is unlikely, everywhere alike
_FORMAT = "openmm_rare committor model 1"
_BATCH = 8192


def _in_batches(function: Callable[[Tensor], Tensor], positions: np.ndarray) -> np.ndarray:
    """A function of positions, ``(n, n_atoms, 3)`` to ``(n,)``, without gradients and with bounded memory."""
    result = np.empty(len(positions))
    with torch.no_grad():
        for start in range(0, len(positions), _BATCH):
            block = torch.as_tensor(positions[start : start + _BATCH], dtype=torch.float32)
            result[start : start + _BATCH] = function(block).numpy()
    return result


class CommittorModel(nn.Module):
    r"""A learned committor :math:`I(x)`: the probability to reach B before A.

    The network returns the logit q; :math:`\ln I = -\mathrm{softplus}(-q)` stays finite for every q.

    Parameters
    ----------
    descriptor : dict
        Specification for :func:`openmm_rare.descriptors.build_descriptor`.
    n_atoms : int
        Atoms of one walker.
    hidden : sequence of int
        Widths of the hidden layers (SiLU).
    temperature : float
        Temperature in K at which the model is (being) trained.
    fingerprint : str
        Fingerprint of the system and its states; a model refuses to be loaded for another.
    """

    def __init__(
        self,
        descriptor: Mapping,
        n_atoms: int,
        hidden: tuple[int, ...] = (64, 64, 64),
        temperature: float = 300.0,
        fingerprint: str = "",
    ) -> None:
        super().__init__()
        self.spec = dict(descriptor)
        self.n_atoms, self.hidden = int(n_atoms), tuple(int(width) for width in hidden)
        self.temperature, self.fingerprint = float(temperature), fingerprint
        self.descriptor = build_descriptor(self.spec, self.n_atoms)
        width = self.descriptor.n_features
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_scale", torch.ones(width))
        layers: list[nn.Module] = []
        for size in self.hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        self.network = nn.Sequential(*layers, nn.Linear(width, 1))
        nn.init.constant_(self.network[-1].bias, _FIRST_LOGIT)

    def cool(self, temperature: float) -> None:
        """Carry the model to another temperature in K: the logit, an energy over kT, is scaled by the ratio."""
        with torch.no_grad():
            for parameter in self.network[-1].parameters():
                parameter.mul_(self.temperature / temperature)
        self.temperature = float(temperature)

    def standardize(self, positions: np.ndarray) -> None:
        """Set the scaling of the features from sample positions ``(n, n_atoms, 3)`` in nm."""
        with torch.no_grad():
            features = self.descriptor(torch.as_tensor(positions, dtype=torch.float32))
            self.feature_mean.copy_(features.mean(0))
            # a feature that hardly varies in the sample must not be blown up later
            floor = 1e-3 * features.abs().mean(0) + 1e-6
            self.feature_scale.copy_(torch.maximum(features.std(0), floor))

    def logit(self, positions: Tensor) -> Tensor:
        """Logit q of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return self.logit_of_features(self.features(positions))

    def logit_of_features(self, features: Tensor) -> Tensor:
        """Logit q, shape ``(n,)``, of standardized features."""
        logit = self.network(features)[:, 0]
        for column in self.descriptor.in_logit:
            logit = logit + self.feature_mean[column] + self.feature_scale[column] * features[:, column]
        return logit

    def features(self, positions: Tensor) -> Tensor:
        """Standardized features ``(n, n_features)`` of positions ``(n, n_atoms, 3)`` in nm."""
        return self.standardized(self.descriptor(positions))

    def standardized(self, features: Tensor) -> Tensor:
        """Features ``(n, n_features)`` of the descriptor, with mean 0 and standard deviation 1 over a typical sample."""
        return (features - self.feature_mean) / self.feature_scale

    def from_features(self, features: Tensor) -> Tensor:
        """ln I, shape ``(n,)``, of standardized features."""
        return nn.functional.logsigmoid(self.logit_of_features(features))

    def forward(self, positions: Tensor) -> Tensor:
        """Return ln I of positions ``(n, n_atoms, 3)`` in nm; shape ``(n,)``."""
        return nn.functional.logsigmoid(self.logit(positions))

    def logits(self, positions: np.ndarray) -> np.ndarray:
        """Logit q of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n,)``."""
        return _in_batches(self.logit, positions)

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I of an array of positions ``(n, n_atoms, 3)`` in nm; float64, shape ``(n,)``."""
        return _in_batches(self, positions)

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I and its gradient in 1/nm for positions ``(n, n_atoms, 3)``: arrays ``(n,)`` and ``(n, n_atoms, 3)``."""
        x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        value = self(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach().numpy().astype(np.float64), gradient.numpy().astype(np.float64)

    def metadata(self) -> dict:
        """Everything but the tensors, JSON-able."""
        return {
            "format": _FORMAT,
            "version": __version__,
            "descriptor": self.spec,
            "n_atoms": self.n_atoms,
            "hidden": list(self.hidden),
            "temperature_k": self.temperature,
            "fingerprint": self.fingerprint,
        }

    def tensors(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.state_dict().items()}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Load what :meth:`tensors` returned."""
        self.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in tensors.items()})

    def copy(self, temperature: float | None = None) -> CommittorModel:
        """An independent copy, optionally labelled with another temperature in K."""
        twin = CommittorModel(self.spec, self.n_atoms, self.hidden, temperature or self.temperature, self.fingerprint)
        twin.set_tensors(self.tensors())
        return twin

    def save(self, path: str | Path) -> None:
        """Write the model to an ``.npz`` file of plain arrays and one JSON string, atomically."""
        write_npz(path, self._archive())

    def to_bytes(self) -> bytes:
        """What :meth:`save` writes; :meth:`load` reads it from an ``io.BytesIO``."""
        buffer = io.BytesIO()
        np.savez(buffer, **self._archive())
        return buffer.getvalue()

    def _archive(self) -> dict[str, np.ndarray]:
        return {"metadata": np.array(json.dumps(self.metadata())), **self.tensors()}

    @classmethod
    def load(cls, path: str | Path | BinaryIO, fingerprint: str | None = None) -> CommittorModel:
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
        try:
            with np.load(path, allow_pickle=False) as archive:
                metadata = json.loads(str(archive["metadata"]))
                tensors = {name: archive[name] for name in archive.files if name != "metadata"}
            if metadata["format"] != _FORMAT:
                raise ValueError(f"format {metadata['format']!r}, this version reads {_FORMAT!r}")
            model = cls(
                metadata["descriptor"],
                metadata["n_atoms"],
                tuple(metadata["hidden"]),
                metadata["temperature_k"],
                metadata["fingerprint"],
            )
            model.set_tensors(tensors)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ValueError(f"{path} is not a readable committor model ({error}); train a new one") from error
        if fingerprint is not None and fingerprint != model.fingerprint:
            raise ValueError(
                f"{path} was trained for another system or other states (fingerprint {model.fingerprint[:12]}, "
                f"this system has {fingerprint[:12]}); train a new model, or rebuild the system it belongs to"
            )
        return model

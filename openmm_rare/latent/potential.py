r"""The free energy of latent coordinates: a network of the scalar V, of which A and the density follow.

In the latent Hamiltonian :math:`\tfrac12 P^T G(Q) P + V(Q)` (arXiv:2510.25773) the potential is
:math:`V = A - \tfrac12 kT \ln\det G`, with :math:`A = -kT\ln\rho` the potential of mean force: V is a scalar, whatever the
coordinates, and A is not. See "Latent Langevin" in docs/theory.md for the power of the determinant.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..committor.base import naming_model
from ..committor.model_file import read_model_file, require_bounded, require_tensors
from ..committor.networks import MLP, build_network
from ..errors import InputError
from ..io.files import require_whole_npz, write_npz
from ..units import KB
from .embedding import Embedding
from .metric import Metric, metric_from_metadata
from .orbits import log_inertia

__all__ = ["LatentPotential"]

_FORMAT = "openmm_rare latent potential 1"
_SAME_TEMPERATURE = 1e-6  # relative
_FAR = 1e9  # no bound


class LatentPotential(nn.Module):
    """V, A and the density of latent coordinates ``(n, n_coordinates)`` in float64, at one temperature.

    Parameters
    ----------
    embedding : Embedding
    metric : Metric
    temperature_k : float
        Free energies are of one temperature only.
    fingerprint : str
        Of the system.
    hidden : sequence of int
        Widths of the network.
    n_starts : int
        Number of frames that it keeps for dynamics to start from.

    Attributes
    ----------
    starts : Tensor, shape (n_starts, n_coordinates)
        These, of equilibrium.
    lower, upper : Tensor, shape (n_coordinates,)
        Range of the frames that it was fitted to.
    """

    title = "latent potential"

    def __init__(
        self,
        embedding: Embedding,
        metric: Metric,
        temperature_k: float,
        fingerprint: str = "",
        hidden: Sequence[int] = (48, 48),
        n_starts: int = 0,
    ) -> None:
        super().__init__()
        self.embedding, self.metric = embedding, metric
        self.temperature_k, self.fingerprint = float(temperature_k), fingerprint
        self.hidden = tuple(int(width) for width in hidden)
        n = embedding.n_coordinates
        self.network = build_network(MLP, n, self.hidden, 1).double().requires_grad_(False)
        self.register_buffer("lower", torch.full((n,), -_FAR, dtype=torch.float64))
        self.register_buffer("starts", torch.zeros(int(n_starts), n, dtype=torch.float64))
        self.register_buffer("upper", torch.full((n,), _FAR, dtype=torch.float64))

    @property
    def kt(self) -> float:
        """Thermal energy, kJ/mol."""
        return KB * self.temperature_k

    def known_part(self, coordinates: Tensor) -> Tensor:
        """What of V is known, kJ/mol: for all distances of few sites the volume of the orbit of rotations."""
        if not self.embedding.sees_all_distances:
            return torch.zeros_like(coordinates[:, 0])
        return -0.5 * self.kt * log_inertia(coordinates, self.embedding.site_masses, self.embedding.dimensions)

    def potential(self, coordinates: Tensor) -> Tensor:
        """V, kJ/mol, shape ``(n,)``."""
        learned = self.network(self.embedding.standardized(coordinates))[:, 0]
        return self.kt * learned + self.known_part(coordinates)

    def free_energy(self, coordinates: Tensor) -> Tensor:
        """A = V + kT/2 ln det G, kJ/mol, shape ``(n,)``."""
        return self.potential(coordinates) + 0.5 * self.kt * self.metric.log_det(coordinates)

    def log_density(self, coordinates: Tensor) -> Tensor:
        """Logarithm of the density of Q, but for a constant; shape ``(n,)``."""
        return -self.free_energy(coordinates) / self.kt

    def forward(self, coordinates: Tensor) -> Tensor:
        """V."""
        return self.potential(coordinates)

    def inside(self, coordinates: Tensor) -> Tensor:
        """Whether there are such positions, within the range of the frames; shape ``(n,)``."""
        within = ((coordinates >= self.lower) & (coordinates <= self.upper)).all(1)
        return within & self.metric.inside(coordinates)

    def set_range(self, coordinates: Tensor) -> None:
        """Take the range of a sample, wider by a tenth on each side, and frames spread over it to start from."""
        self.starts.copy_(coordinates[torch.linspace(0, len(coordinates) - 1, len(self.starts)).long()])
        low, high = coordinates.amin(0), coordinates.amax(0)
        self.lower.copy_(low - 0.1 * (high - low))
        self.upper.copy_(high + 0.1 * (high - low))

    def require_temperature(self, temperature_k: float) -> None:
        """Refuse another temperature than that of the free energy.

        Raises
        ------
        ValueError
        """
        if abs(temperature_k - self.temperature_k) > _SAME_TEMPERATURE * self.temperature_k:
            raise InputError(
                f"this {self.title} is a free energy at {self.temperature_k:g} K and says nothing at {temperature_k:g} K: fit "
                "another one with openmm-rare latent fit"
            )

    def metadata(self) -> dict[str, Any]:
        """Everything but the tensors, JSON-able."""
        return {
            "format": _FORMAT,
            "version": __version__,
            **self.embedding.metadata(),
            "metric": self.metric.metadata(),
            "hidden": list(self.hidden),
            "n_starts": len(self.starts),
            "temperature_k": self.temperature_k,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> LatentPotential:
        """An untrained potential as :meth:`metadata` says; ValueError if it is of another format."""
        if metadata["format"] != _FORMAT:
            raise InputError(f"format {metadata['format']!r}, this class reads {_FORMAT!r}")
        return cls(
            Embedding.from_metadata(metadata),
            metric_from_metadata(metadata["metric"]),
            metadata["temperature_k"],
            metadata["fingerprint"],
            metadata["hidden"],
            metadata["n_starts"],
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Copies of parameters and buffers by name."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.state_dict().items()}

    def digest(self) -> str:
        """Tells potentials from each other: SHA-256 of all that one consists of, in short."""
        found = hashlib.sha256(json.dumps(self.metadata(), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            found.update(name.encode() + tensor.tobytes())
        return found.hexdigest()[:16]

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file of plain arrays and one JSON string, atomically."""
        write_npz(path, {"metadata": np.array(json.dumps(self.metadata())), **self.tensors()})

    @classmethod
    def load(
        cls, path: str | Path | BinaryIO, temperature_k: float | None = None, fingerprint: str | None = None
    ) -> LatentPotential:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path : path or binary stream
        temperature_k : float, optional
            At which it is wanted.
        fingerprint : str, optional
            Of the system that it is wanted for.

        Raises
        ------
        ValueError
            If the file is none, is damaged, or belongs to another temperature or system.
        """
        with naming_model(path, cls.title):
            if not isinstance(path, io.IOBase):
                require_whole_npz(path)
            metadata, tensors = read_model_file(path)
            _require_small(metadata, tensors)
            made = cls.from_metadata(metadata)
            require_tensors(tensors, made.tensors())
            made.load_state_dict({name: torch.as_tensor(value) for name, value in tensors.items()})
        if temperature_k is not None:
            made.require_temperature(temperature_k)
        if fingerprint is not None and fingerprint != made.fingerprint:
            raise InputError(
                f"{path} was fitted to another system (fingerprint {made.fingerprint[:12]}, this one has {fingerprint[:12]})"
            )
        return made


def _require_small(metadata: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> None:
    """Refuse metadata of something larger than its tensors, before it is built."""
    require_bounded(metadata, {name.removeprefix("embedding."): value for name, value in tensors.items()})
    masses, metric = metadata["masses"], metadata["metric"]
    if not isinstance(masses, list) or len(masses) != metadata["n_atoms"] or not isinstance(metric, dict):
        raise ValueError("its masses or its metric are none")
    most = sum(each.size for each in tensors.values())
    widths = [
        *metadata["encoder_hidden"],
        metadata["latents"],
        *metric.get("hidden", ()),
        metric.get("n", 0),
        metadata["n_starts"],
    ]
    if not all(type(width) is int and 0 <= width <= most for width in widths):
        raise ValueError("its networks are larger than its tensors")

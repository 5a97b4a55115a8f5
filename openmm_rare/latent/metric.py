r"""Metrics: the inverse mass :math:`G(Q)` as a function of the latent coordinates alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..committor.networks import MLP, build_network
from ..errors import InputError
from ..settings.latent import METRICS
from .embedding import Embedding
from .orbits import is_shape, pairs_of

__all__ = [
    "ConstantMetric",
    "LearnedMetric",
    "Metric",
    "PairDistanceMetric",
    "metric_from_metadata",
    "metric_of",
    "require_metric",
]


_SMALLEST = 1e-2  # diagonal of the learned factor, beside 1


class Metric(nn.Module, ABC):
    """G as a function of Q, for coordinates ``(n, n_coordinates)`` in float64."""

    kind = ""

    @abstractmethod
    def inverse_mass(self, coordinates: Tensor) -> Tensor:
        """G, shape ``(n, n_coordinates, n_coordinates)``, 1/Da for coordinates in nm."""

    @abstractmethod
    def gradient(self, coordinates: Tensor) -> Tensor:
        """Derivatives of G, shape ``(n, n_coordinates, n_coordinates, n_coordinates)``; the last index is that of Q."""

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """What :func:`metric_from_metadata` needs, beside the tensors."""

    def log_det(self, coordinates: Tensor) -> Tensor:
        """ln det G, shape ``(n,)``; with its gradient, if the coordinates want one."""
        return torch.logdet(self.inverse_mass(coordinates))

    def inside(self, coordinates: Tensor) -> Tensor:
        """Whether there are positions with these coordinates, as far as is known; shape ``(n,)``."""
        return torch.isfinite(coordinates).all(1)


class ConstantMetric(Metric):
    """The same G everywhere: then V is A. Exact for linear coordinates, one distance, mass-weighted Rg and RMSD.

    Parameters
    ----------
    matrix : array_like, shape (n_coordinates, n_coordinates)
    """

    kind = "constant"

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.as_tensor(matrix, dtype=torch.float64).clone())

    def inverse_mass(self, coordinates: Tensor) -> Tensor:
        """G of each row."""
        return self.matrix.expand(len(coordinates), -1, -1)

    def gradient(self, coordinates: Tensor) -> Tensor:
        """Zeros."""
        n = coordinates.shape[1]
        return torch.zeros(len(coordinates), n, n, n, dtype=coordinates.dtype)

    def log_det(self, coordinates: Tensor) -> Tensor:
        """The same number everywhere."""
        return torch.logdet(self.matrix).expand(len(coordinates))

    def metadata(self) -> dict[str, Any]:
        """How many coordinates."""
        return {"kind": self.kind, "n": len(self.matrix)}


class PairDistanceMetric(Metric):
    """All pair distances of 2 to 4 sites: products of unit vectors that share a site, by the law of cosines.

    Parameters
    ----------
    masses : sequence of float
        Of the sites, Da.
    """

    kind = "pair_distances"

    def __init__(self, masses: Sequence[float]) -> None:
        super().__init__()
        self.masses = [float(mass) for mass in masses]
        if not 2 <= len(self.masses) <= 4:
            raise InputError(f"all distances of {len(self.masses)} sites have no metric of their own: take 2, 3 or 4 sites")
        self._pairs = pairs_of(len(self.masses))
        column = {pair: number for number, pair in enumerate(self._pairs)}
        self._angles = []  # two distances that share a site, the distance between their other ends, and the mass of that site
        for a, one in enumerate(self._pairs):
            for b, other in enumerate(self._pairs[:a]):
                shared = set(one) & set(other)
                if shared:
                    ends = tuple(sorted(set(one) ^ set(other)))
                    self._angles.append((a, b, column[ends], 1.0 / self.masses[shared.pop()]))

    def inverse_mass(self, coordinates: Tensor) -> Tensor:
        """G of each row."""
        n = len(self._pairs)
        rows = [[torch.zeros_like(coordinates[:, 0]) for _ in range(n)] for _ in range(n)]
        for a, (i, j) in enumerate(self._pairs):
            rows[a][a] = torch.full_like(coordinates[:, 0], 1.0 / self.masses[i] + 1.0 / self.masses[j])
        for a, b, c, per_mass in self._angles:
            rows[a][b] = rows[b][a] = per_mass * _cosine(coordinates[:, a], coordinates[:, b], coordinates[:, c])
        return torch.stack([torch.stack(row, 1) for row in rows], 1)

    def gradient(self, coordinates: Tensor) -> Tensor:
        """Derivatives of each row."""
        n = len(self._pairs)
        gradient = torch.zeros(len(coordinates), n, n, n, dtype=coordinates.dtype)
        for a, b, c, per_mass in self._angles:
            one, other, across = coordinates[:, a], coordinates[:, b], coordinates[:, c]
            cosine = _cosine(one, other, across)
            for column, slope in ((a, 1 / other - cosine / one), (b, 1 / one - cosine / other), (c, -across / (one * other))):
                gradient[:, a, b, column] = gradient[:, b, a, column] = per_mass * slope
        return gradient

    def inside(self, coordinates: Tensor) -> Tensor:
        """Whether the sites can have these distances."""
        return super().inside(coordinates) & is_shape(coordinates, len(self.masses))

    def metadata(self) -> dict[str, Any]:
        """The masses."""
        return {"kind": self.kind, "masses": self.masses}


class LearnedMetric(Metric):
    """A network of the coordinates that gives a Cholesky factor: G is positive wherever it is asked.

    Parameters
    ----------
    n_coordinates : int
    hidden : sequence of int
    """

    kind = "learned"

    def __init__(self, n_coordinates: int, hidden: Sequence[int] = (24, 24)) -> None:
        super().__init__()
        self.n, self.hidden = int(n_coordinates), tuple(int(width) for width in hidden)
        self.network = build_network(MLP, self.n, self.hidden, self.n * (self.n + 1) // 2).double().requires_grad_(False)
        self.register_buffer("mean", torch.zeros(self.n, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(self.n, dtype=torch.float64))
        self.register_buffer("outer", torch.eye(self.n, dtype=torch.float64))

    def standardize(self, coordinates: Tensor, matrices: Tensor) -> None:
        """Set the scaling from coordinates of a sample, and what G is there on average."""
        self.mean.copy_(coordinates.mean(0))
        self.spread.copy_(coordinates.std(0).clamp(min=1e-12))
        self.outer.copy_(torch.linalg.cholesky(matrices.mean(0)))

    def factor(self, coordinates: Tensor) -> Tensor:
        """L with G = L L^T, lower triangular, shape ``(n, n_coordinates, n_coordinates)``."""
        outputs = self.network((coordinates - self.mean) / self.spread)
        rows, columns = torch.tril_indices(self.n, self.n)
        lower = torch.zeros(len(outputs), self.n, self.n, dtype=outputs.dtype)
        lower = lower.index_put((torch.arange(len(outputs))[:, None], rows, columns), outputs)
        diagonal = nn.functional.softplus(lower.diagonal(dim1=1, dim2=2)) + _SMALLEST
        return self.outer @ (lower.tril(-1) + torch.diag_embed(diagonal))

    def inverse_mass(self, coordinates: Tensor) -> Tensor:
        """G of each row."""
        factor = self.factor(coordinates)
        return factor @ factor.mT

    def log_det(self, coordinates: Tensor) -> Tensor:
        """From the factor."""
        return 2.0 * self.factor(coordinates).diagonal(dim1=1, dim2=2).log().sum(1)

    def gradient(self, coordinates: Tensor) -> Tensor:
        """Derivatives of each row, entry by entry."""
        at = coordinates.detach().requires_grad_(True)
        matrices = self.inverse_mass(at)
        gradient = torch.zeros(*matrices.shape, self.n, dtype=matrices.dtype)
        for a in range(self.n):
            for b in range(a + 1):
                (slope,) = torch.autograd.grad(matrices[:, a, b].sum(), at, retain_graph=True)
                gradient[:, a, b] = gradient[:, b, a] = slope
        return gradient

    def metadata(self) -> dict[str, Any]:
        """Widths of the network."""
        return {"kind": self.kind, "n": self.n, "hidden": list(self.hidden)}


def metric_of(embedding: Embedding, wanted: str, matrices: Tensor) -> Metric:
    """A metric for an embedding; a learned one is still untrained.

    Parameters
    ----------
    embedding : Embedding
    wanted : str
        One of :data:`METRICS`. "auto" is "exact" where there is a closed form, "learned" for latents, else "constant".
    matrices : Tensor, shape (n, n_coordinates, n_coordinates)
        G of a sample.

    Raises
    ------
    ValueError
        If there is no closed form.
    """
    require_metric(embedding, wanted)
    if wanted in ("auto", "exact") and embedding.sees_all_distances:
        return PairDistanceMetric(embedding.site_masses.tolist())
    if wanted == "learned" or (wanted == "auto" and embedding.latents):
        return LearnedMetric(embedding.n_coordinates)
    return ConstantMetric(matrices.mean(0))


def require_metric(embedding: Embedding, wanted: str) -> None:
    """Refuse a metric that is none, or has no closed form for an embedding.

    Raises
    ------
    ValueError
    """
    if wanted not in METRICS:
        raise InputError(f"metric = {wanted!r} must be one of {', '.join(METRICS)}")
    if wanted == "exact" and not embedding.sees_all_distances:
        raise InputError(
            'metric = "exact" is known for all distances of 2 to 4 sites without a box only: take "constant", which is exact '
            'for the free energy, or "learned"'
        )


def metric_from_metadata(metadata: Mapping[str, Any]) -> Metric:
    """A metric without its tensors, as :meth:`Metric.metadata` says."""
    kind = metadata["kind"]
    if kind == PairDistanceMetric.kind:
        return PairDistanceMetric(metadata["masses"])
    if kind == LearnedMetric.kind:
        return LearnedMetric(metadata["n"], metadata["hidden"])
    if kind == ConstantMetric.kind:
        return ConstantMetric(torch.eye(metadata["n"], dtype=torch.float64))
    raise InputError(f"metric kind {kind!r} is unknown")


def _cosine(one: Tensor, other: Tensor, across: Tensor) -> Tensor:
    """Cosine of the angle between two sides, from the side across it."""
    return (one**2 + other**2 - across**2) / (2.0 * one * other)

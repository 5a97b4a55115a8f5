"""Descriptors of pair distances: the distances themselves, coordination numbers and their moments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import InputError
from .base import Descriptor, box_of, labels_of, nearest_images, require_possible
from .sorting import sorted_rows

__all__ = [
    "Coordination",
    "CoordinationMoments",
    "CoordinationNumbers",
    "DiscGap",
    "Distances",
    "PairDescriptor",
    "PairDistances",
    "SortedDistances",
]

_DENSE = 2e7
"""Numbers in a matrix of pairs times atoms up to which a product with it is taken."""
_MOST_PAIRS = 5e6
_BLOCK = 4e6
"""Pairs of all frames that are looked at together where there is no such matrix."""


class PairDescriptor(Descriptor, abstract=True):
    """A descriptor of the squared pair distances alone; several of one box share one evaluation of the distances.

    Parameters
    ----------
    n_atoms : int
    box : array_like of shape (3,) or (3, 3), or "none", optional
        Edges or vectors of a periodic box, nm, whose nearest images count.

    Attributes
    ----------
    difference : Tensor of shape (n_pairs, n_atoms), or None
        +1 and -1 for the first and the second atom of each pair; None where it would be too large.
    box_key : tuple of float
        Equal for descriptors that can share the distances.
    """

    lengths = ("box",)

    def __init__(self, n_atoms: int, box: Any) -> None:
        super().__init__()
        self.n_atoms, self.n_pairs = n_atoms, n_atoms * (n_atoms - 1) // 2
        if self.n_pairs > _MOST_PAIRS:
            raise InputError(
                f"{n_atoms} atoms have {self.n_pairs} pairs, {1.2e-8 * self.n_pairs:.2g} GB for each frame, and at most "
                f"{_MOST_PAIRS:.0f} are possible: describe fewer atoms, with a descriptor of the kind subset"
            )
        first, second = torch.triu_indices(n_atoms, n_atoms, 1)
        difference, self.is_dense = None, self.n_pairs * n_atoms <= _DENSE
        if self.is_dense:
            difference = torch.zeros(len(first), n_atoms)
            rows = torch.arange(len(first))
            difference[rows, first], difference[rows, second] = 1.0, -1.0
        self.register_buffer("difference", difference, persistent=False)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.register_buffer("box", box_of(box), persistent=False)
        self.box_key = () if self.box is None else tuple(self.box.flatten().tolist())

    @classmethod
    def most_numbers(cls, spec: Mapping[str, Any], n_atoms: int) -> float:
        """The matrix of pairs times atoms where it is kept, else the atoms of all pairs."""
        n_pairs = 0.5 * n_atoms * (n_atoms - 1)
        return n_pairs * n_atoms if n_pairs * n_atoms <= _DENSE else 2.0 * n_pairs

    @classmethod
    def combined_atoms(cls, spec: Mapping[str, Any], n_atoms: int) -> list[Sequence[int]]:
        """All of them."""
        return [range(n_atoms)]

    def squared_distances(self, positions: Tensor) -> Tensor:
        """Squared pair distances, shape ``(n_walkers, n_pairs)``, nm^2, in the order of ``numpy.triu_indices``."""
        if not self.is_dense:
            between = nearest_images(positions[:, self.first] - positions[:, self.second], self.box)
            return between.square().sum(-1)
        # a product with the +1/-1 matrix: its backward pass is another product, much cheaper than indexed gathers
        between = [column @ self.difference.T for column in positions.unbind(-1)]
        if self.box is not None:
            between = nearest_images(torch.stack(between, -1), self.box).unbind(-1)
        total = None
        for column in between:
            total = column**2 if total is None else total + column**2
        return total

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Features of squared pair distances ``(n_walkers, n_pairs)``."""
        raise TypeError(f"{type(self).__name__} does not define from_squared_distances()")

    def forward(self, positions: Tensor) -> Tensor:
        """Features of positions ``(n_walkers, n_atoms, 3)`` in nm."""
        if self.is_dense:
            return self.from_squared_distances(self.squared_distances(positions))
        blocks = positions.split(max(1, int(_BLOCK / self.n_pairs)))
        return torch.cat([self.from_squared_distances(self.squared_distances(block)) for block in blocks])


class Distances(PairDescriptor, abstract=True):
    """All pair distances in nm; whether they are sorted is up to the kind."""

    sort: ClassVar[bool]

    def __init__(self, n_atoms: int, box: Any) -> None:
        require_possible(self.kind, n_atoms, n_atoms * (n_atoms - 1) // 2)
        super().__init__(n_atoms, box)
        self.n_features = self.n_pairs

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Distances ``(n_walkers, n_pairs)`` in nm."""
        distances = torch.sqrt(r2)
        return sorted_rows(distances) if self.sort else distances


class PairDistances(Distances):
    """All pair distances in nm, in the order of the atoms."""

    sort = False

    def __init__(self, n_atoms: int, labels: Sequence[str] | None = None, box: Any = None) -> None:
        super().__init__(n_atoms, box)
        self.labels = labels_of(labels, [str(atom) for atom in range(n_atoms)], "atom")

    @property
    def names(self) -> tuple[str, ...]:
        """Distances by their atoms."""
        return tuple(f"r {one}-{other}" for one, other in combinations(self.labels, 2))


class SortedDistances(Distances):
    """All pair distances in nm in ascending order, which permutations of like atoms do not change."""

    sort = True

    def __init__(self, n_atoms: int, box: Any = None) -> None:
        super().__init__(n_atoms, box)

    @property
    def names(self) -> tuple[str, ...]:
        """Distances by their rank."""
        return tuple(f"r ranked {rank + 1}" for rank in range(self.n_pairs))


class CoordinationNumbers(PairDescriptor, abstract=True):
    r"""Something made of the coordination numbers :math:`c_i = \sum_{j\neq i} 1/(1+(r_{ij}/r_0)^8)`.

    Parameters
    ----------
    n_atoms : int
    radius : float
        :math:`r_0`, nm.
    box : array_like, optional
        As for :class:`PairDescriptor`.
    """

    lengths = ("radius", "box")

    def __init__(self, n_atoms: int, radius: float, box: Any) -> None:
        super().__init__(n_atoms, box)
        self.radius = float(radius)
        if not 0.0 < self.radius < math.inf:
            raise InputError(f"radius = {self.radius} nm must be positive")
        self.register_buffer("incidence", self.difference.abs() if self.is_dense else None, persistent=False)

    def coordination(self, r2: Tensor) -> Tensor:
        """Coordination numbers ``(n_walkers, n_atoms)`` in the order of the atoms."""
        fourth = (r2 / self.radius**2).square().square()  # far cheaper than a power
        near = torch.reciprocal(1.0 + fourth)
        if self.is_dense:
            return near @ self.incidence
        nothing = near.new_zeros(len(near), self.n_atoms)
        return nothing.index_add(1, self.first, near).index_add(1, self.second, near)

    def moments(self, r2: Tensor) -> Tensor:
        """Their second and third central moments, divided by the number of atoms, ``(n_walkers, 2)``."""
        coordination = self.coordination(r2)
        deviation = coordination - coordination.mean(1, keepdim=True)
        return torch.stack([(deviation**2).mean(1), (deviation**3).mean(1)], 1)


class Coordination(CoordinationNumbers):
    """Coordination numbers in the order of the atoms, or sorted."""

    def __init__(
        self, n_atoms: int, radius: float, sorted: bool = False, labels: Sequence[str] | None = None, box: Any = None
    ) -> None:
        super().__init__(n_atoms, radius, box)
        self.sort, self.n_features = bool(sorted), n_atoms
        self.labels = labels_of(labels, [str(atom) for atom in range(n_atoms)], "atom")

    @property
    def names(self) -> tuple[str, ...]:
        """Coordination numbers by their atoms, or by their rank."""
        return tuple(f"c ranked {rank + 1}" if self.sort else f"c {label}" for rank, label in enumerate(self.labels))

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Coordination numbers ``(n_walkers, n_atoms)``."""
        coordination = self.coordination(r2)
        return sorted_rows(coordination) if self.sort else coordination


class CoordinationMoments(CoordinationNumbers):
    """Second and third central moments of the coordination numbers (divided by the number of atoms)."""

    def __init__(self, n_atoms: int, radius: float, box: Any = None) -> None:
        super().__init__(n_atoms, radius, box)
        self.n_features = 2

    @property
    def names(self) -> tuple[str, ...]:
        """The two moments."""
        return ("mu2", "mu3")

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Moments ``(n_walkers, 2)``."""
        return self.moments(r2)


class DiscGap(CoordinationNumbers):
    r"""How far the two moments of :class:`CoordinationMoments` lie outside a disc: :math:`\ln[\max(\rho - R, 0) + \delta]`.

    For a disc that is state A. Next to A the committor grows like the distance from it (in discrete time like the distance
    plus about 0.6 of a step), so that its logarithm is steeper there than a network makes it from smooth features. A model
    adds this one to its logit: the rest that it has to learn is smooth.

    Parameters
    ----------
    n_atoms : int
    radius : float
        Of the coordination numbers, nm.
    center : sequence of two float
    disc_radius, offset : float
        R and :math:`\delta`, in the unit of the moments.
    box : array_like, optional
        As for :class:`PairDescriptor`.
    """

    def __init__(
        self, n_atoms: int, radius: float, center: Sequence[float], disc_radius: float, offset: float, box: Any = None
    ) -> None:
        super().__init__(n_atoms, radius, box)
        self.center, self.disc_radius, self.offset = tuple(map(float, center)), float(disc_radius), float(offset)
        finite = all(map(math.isfinite, (*self.center, self.disc_radius, self.offset)))
        if len(self.center) != 2 or not finite or self.offset <= 0.0:
            raise InputError(f"a disc gap needs a center of two numbers and a positive offset, not {center} and {offset}")
        self.n_features, self.in_logit = 1, (0,)

    @property
    def names(self) -> tuple[str, ...]:
        """The gap."""
        return ("ln gap",)

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Logarithm of the distance ``(n_walkers, 1)``."""
        moments = self.moments(r2).unbind(1)
        away = torch.stack([moment - value for moment, value in zip(moments, self.center, strict=True)], 1)
        gap = torch.linalg.vector_norm(away, dim=1, keepdim=True) - self.disc_radius
        return torch.log(gap.clamp(min=0.0) + self.offset)

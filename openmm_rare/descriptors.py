"""Descriptors: torch modules that turn positions into smooth features for the committor network.

Every descriptor is built from a JSON-able specification, so that a saved model can be rebuilt without pickle.
Positions have shape ``(n_walkers, n_atoms, 3)`` in nm; features have shape ``(n_walkers, n_features)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from .descriptor_base import Descriptor, labels_of
from .errors import InputError
from .internal_features import Dihedrals, InternalCoordinates
from .symmetry_functions import SymmetryFunctions

__all__ = ["Descriptor", "build_descriptor"]


class _PairDescriptor(Descriptor):
    """A descriptor of the squared pair distances alone; several of them share one evaluation of the distances."""

    def __init__(self, n_atoms: int) -> None:
        super().__init__()
        first, second = torch.triu_indices(n_atoms, n_atoms, 1)
        difference = torch.zeros(len(first), n_atoms)
        rows = torch.arange(len(first))
        difference[rows, first], difference[rows, second] = 1.0, -1.0
        self.register_buffer("difference", difference, persistent=False)
        self.n_pairs = len(first)

    def squared_distances(self, positions: Tensor) -> Tensor:
        """Squared pair distances, shape ``(n_walkers, n_pairs)``, nm^2, in the order of ``numpy.triu_indices``."""
        # a product with the +1/-1 matrix: its backward pass is another product, much cheaper than indexed gathers
        total = None
        for column in positions.unbind(-1):
            term = (column @ self.difference.T) ** 2
            total = term if total is None else total + term
        return total

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Features of squared pair distances ``(n_walkers, n_pairs)``."""
        raise TypeError(f"{type(self).__name__} does not define from_squared_distances()")

    def forward(self, positions: Tensor) -> Tensor:
        """Features of positions ``(n_walkers, n_atoms, 3)`` in nm."""
        return self.from_squared_distances(self.squared_distances(positions))


class PairDistances(_PairDescriptor):
    """All pair distances in nm, in the order of the atoms, or sorted (invariant to permutations of like atoms)."""

    def __init__(self, n_atoms: int, sort: bool, labels: Sequence[str] | None = None) -> None:
        super().__init__(n_atoms)
        self.sort, self.n_features = sort, self.n_pairs
        self.labels = labels_of(labels, [str(atom) for atom in range(n_atoms)], "atom")

    @property
    def names(self) -> tuple[str, ...]:
        """Distances by their atoms, or by their rank."""
        if self.sort:
            return tuple(f"r ranked {rank + 1}" for rank in range(self.n_pairs))
        return tuple(f"r {one}-{other}" for one, other in combinations(self.labels, 2))

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Distances ``(n_walkers, n_pairs)`` in nm."""
        distances = torch.sqrt(r2)
        return torch.sort(distances, dim=1)[0] if self.sort else distances


class Coordination(_PairDescriptor):
    r"""Coordination numbers :math:`c_i = \sum_{j\neq i} 1/(1+(r_{ij}/r_0)^8)`, in the order of the atoms or sorted."""

    def __init__(self, n_atoms: int, radius: float, sort: bool, labels: Sequence[str] | None = None) -> None:
        super().__init__(n_atoms)
        self.radius, self.sort, self.n_features = float(radius), sort, n_atoms
        self.labels = labels_of(labels, [str(atom) for atom in range(n_atoms)], "atom")
        self.register_buffer("incidence", self.difference.abs(), persistent=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Coordination numbers by their atoms, or by their rank."""
        return tuple(f"c ranked {rank + 1}" if self.sort else f"c {label}" for rank, label in enumerate(self.labels))

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Coordination numbers ``(n_walkers, n_atoms)``."""
        fourth = (r2 / self.radius**2).square().square()  # far cheaper than a power
        coordination = torch.reciprocal(1.0 + fourth) @ self.incidence
        return torch.sort(coordination, dim=1)[0] if self.sort else coordination


class CoordinationMoments(Coordination):
    """Second and third central moments of the coordination numbers (divided by the number of atoms)."""

    def __init__(self, n_atoms: int, radius: float) -> None:
        super().__init__(n_atoms, radius, sort=False)
        self.n_features = 2

    @property
    def names(self) -> tuple[str, ...]:
        """The two moments."""
        return ("mu2", "mu3")

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Moments ``(n_walkers, 2)``."""
        coordination = super().from_squared_distances(r2)
        deviation = coordination - coordination.mean(1, keepdim=True)
        return torch.stack([(deviation**2).mean(1), (deviation**3).mean(1)], 1)


class DiscGap(CoordinationMoments):
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
    """

    def __init__(self, n_atoms: int, radius: float, center: Sequence[float], disc_radius: float, offset: float) -> None:
        super().__init__(n_atoms, radius)
        self.center, self.disc_radius, self.offset = tuple(map(float, center)), float(disc_radius), float(offset)
        if len(self.center) != 2 or self.offset <= 0.0:
            raise InputError(f"a disc gap needs a center of two numbers and a positive offset, not {center} and {offset}")
        self.n_features, self.in_logit = 1, (0,)

    @property
    def names(self) -> tuple[str, ...]:
        """The gap."""
        return ("ln gap",)

    def from_squared_distances(self, r2: Tensor) -> Tensor:
        """Logarithm of the distance ``(n_walkers, 1)``."""
        moments = super().from_squared_distances(r2).unbind(1)
        away = torch.stack([moment - value for moment, value in zip(moments, self.center, strict=True)], 1)
        gap = torch.linalg.vector_norm(away, dim=1, keepdim=True) - self.disc_radius
        return torch.log(gap.clamp(min=0.0) + self.offset)


class Coordinates(Descriptor):
    """Chosen Cartesian coordinates divided by a scale, optionally multiplied by a fixed matrix."""

    def __init__(
        self,
        columns: Sequence[int],
        scale: float,
        matrix: Sequence[Sequence[float]] | None,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.scale = float(scale)
        self.register_buffer("columns", torch.as_tensor(list(columns), dtype=torch.long), persistent=False)
        self.register_buffer("matrix", None if matrix is None else torch.tensor(matrix, dtype=torch.float32), persistent=False)
        self.n_features = len(columns) if matrix is None else len(matrix)
        default = [f"{'xyz'[column % 3]}{column // 3}" for column in columns]
        if matrix is not None:
            default = [f"combination {row + 1}" for row in range(len(matrix))]
        self.labels = labels_of(labels, default, "feature")

    @property
    def names(self) -> tuple[str, ...]:
        """Axis and atom of every coordinate, or the combinations in their order."""
        return self.labels

    def forward(self, positions: Tensor) -> Tensor:
        """Coordinates ``(n_walkers, n_features)`` in units of the scale."""
        values = positions.flatten(1)[:, self.columns] / self.scale
        return values if self.matrix is None else values @ self.matrix.T.to(values.dtype)


class Concatenate(Descriptor):
    """Several descriptors side by side; those of pair distances share one evaluation of the distances."""

    def __init__(self, parts: Sequence[Descriptor]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        first = [sum(part.n_features for part in parts[:index]) for index in range(len(parts) + 1)]
        self.n_features = first[-1]
        self.in_logit = tuple(start + column for start, part in zip(first, parts, strict=False) for column in part.in_logit)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of all parts, in their order."""
        return tuple(name for part in self.parts for name in part.names)

    def forward(self, positions: Tensor) -> Tensor:
        """Features of all parts, in their order."""
        r2, columns = None, []
        for part in self.parts:
            if isinstance(part, _PairDescriptor):
                r2 = part.squared_distances(positions) if r2 is None else r2
                columns.append(part.from_squared_distances(r2))
            else:
                columns.append(part(positions))
        return torch.cat(columns, 1)


class Subset(Descriptor):
    """A descriptor of some of the atoms, which knows nothing of the others."""

    def __init__(self, atoms: Sequence[int], part: Mapping, n_atoms: int) -> None:
        super().__init__()
        if not len(atoms) or len(set(atoms)) != len(atoms) or min(atoms) < 0 or max(atoms) >= n_atoms:
            raise InputError(f"atoms of a subset must be different indices from 0 to {n_atoms - 1}, not {list(atoms)}")
        self.register_buffer("atoms", torch.as_tensor(list(atoms)), persistent=False)
        self.part = build_descriptor(part, len(atoms))
        self.n_features, self.in_logit = self.part.n_features, self.part.in_logit

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the part: without labels of their own, its atoms count from 0."""
        return self.part.names

    def forward(self, positions: Tensor) -> Tensor:
        """Features of the atoms of the subset."""
        return self.part(positions[:, self.atoms])


_SYMMETRY = {"centers", "species", "box", "shells", "cutoff"}
_SYMMETRY_OPTIONS = {"eta_radial", "eta_angular", "zetas", "alpha", "labels"}


def _symmetry_functions(n: int, spec: Mapping) -> SymmetryFunctions:
    required = {key: spec[key] for key in sorted(_SYMMETRY)}
    return SymmetryFunctions(**required, n_atoms=n, **{key: spec[key] for key in _SYMMETRY_OPTIONS & set(spec)})


_KINDS = {
    "pair_distances": (lambda n, spec: PairDistances(n, False, spec.get("labels")), {"labels"}),
    "sorted_distances": (lambda n, spec: PairDistances(n, sort=True), set()),
    "coordination": (
        lambda n, spec: Coordination(n, spec["radius"], bool(spec.get("sorted", False)), spec.get("labels")),
        {"radius", "sorted", "labels"},
    ),
    "coordination_moments": (lambda n, spec: CoordinationMoments(n, spec["radius"]), {"radius"}),
    "disc_gap": (
        lambda n, spec: DiscGap(n, spec["radius"], spec["center"], spec["disc_radius"], spec["offset"]),
        {"radius", "center", "disc_radius", "offset"},
    ),
    "coordinates": (
        lambda n, spec: Coordinates(
            spec.get("columns", range(3 * n)), spec.get("scale", 1.0), spec.get("matrix"), spec.get("labels")
        ),
        {"columns", "scale", "matrix", "labels"},
    ),
    "dihedrals": (lambda n, spec: Dihedrals(spec["atoms"], n, spec.get("labels")), {"atoms", "labels"}),
    "internal_coordinates": (lambda n, spec: InternalCoordinates(spec, n), {"bonds", "angles", "dihedrals", "labels"}),
    "symmetry_functions": (_symmetry_functions, _SYMMETRY | _SYMMETRY_OPTIONS),
    "subset": (lambda n, spec: Subset(spec["atoms"], spec["part"], n), {"atoms", "part"}),
    "concatenate": (
        lambda n, spec: Concatenate([build_descriptor(part, n) for part in spec["parts"]]),
        {"parts"},
    ),
}


def build_descriptor(spec: Mapping, n_atoms: int) -> Descriptor:
    """Build a descriptor from its specification.

    Parameters
    ----------
    spec : dict
        ``{"kind": ...}`` and the keys of that kind: ``pair_distances``; ``sorted_distances``; ``coordination``
        (``radius`` in nm, ``sorted``); ``coordination_moments`` (``radius``); ``disc_gap`` (``radius``, and
        ``center``, ``disc_radius`` and ``offset`` in the plane of the moments); ``coordinates`` (``columns`` of the
        flattened positions, ``scale`` in nm, ``matrix``); ``dihedrals`` (``atoms``, lists of four indices);
        ``internal_coordinates`` (see :class:`~openmm_rare.internal_features.InternalCoordinates`); ``symmetry_functions``
        (the arguments of :class:`~openmm_rare.symmetry_functions.SymmetryFunctions`); ``subset`` (``atoms``, and ``part``, the
        specification for them alone); ``concatenate`` (``parts``, a list of specifications). ``labels`` names what a kind
        lists: atoms, columns, angles or centers.
    n_atoms : int
        Number of atoms of one walker.

    Raises
    ------
    ValueError
        For an unknown kind, an unknown key or a missing one.
    """
    kind = spec.get("kind")
    if kind not in _KINDS:
        raise InputError(f"descriptor kind {kind!r} is unknown; choose one of {', '.join(sorted(_KINDS))}")
    make, keys = _KINDS[kind]
    unknown = set(spec) - keys - {"kind"}
    if unknown:
        raise InputError(f"descriptor {kind!r} has unknown keys {sorted(unknown)}; it takes {sorted(keys) or 'none'}")
    try:
        return make(n_atoms, spec)
    except KeyError as missing:
        raise InputError(f"descriptor {kind!r} needs the key {missing}") from None

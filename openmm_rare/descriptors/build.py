"""Descriptors: torch modules that turn positions into smooth features for the committor network.

Every descriptor is built from a JSON-able specification, so that a saved model can be rebuilt without pickle.
Positions have shape ``(n_walkers, n_atoms, 3)`` in nm; features have shape ``(n_walkers, n_features)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..io.toml import nearest
from .base import Descriptor, labels_of, require_possible
from .internal_features import Dihedrals, InternalCoordinates
from .pairs import Coordination, CoordinationMoments, DiscGap, PairDescriptor, PairDistances, numbers_of_pairs
from .symmetry_functions import SymmetryFunctions

__all__ = ["Descriptor", "build_descriptor", "most_numbers"]


class Coordinates(Descriptor):
    """Chosen Cartesian coordinates divided by a scale, optionally multiplied by a fixed matrix."""

    def __init__(
        self,
        columns: Sequence[int],
        scale: float,
        matrix: Sequence[Sequence[float]] | None,
        labels: Sequence[str] | None,
        n_atoms: int,
    ) -> None:
        super().__init__()
        self.scale = float(scale)
        if not 0.0 < self.scale < math.inf:
            raise InputError(f"scale = {scale} nm must be positive")
        require_possible("coordinates", n_atoms, len(columns) if matrix is None else len(matrix))
        rows = None if matrix is None else np.asarray(matrix, dtype=np.float64)
        if rows is not None and (rows.shape != (len(matrix), len(columns)) or not np.isfinite(rows).all()):
            raise InputError(f"matrix must be rows of {len(columns)} finite numbers, one for each column")
        if len(columns) > 3 * n_atoms or not all(0 <= column < 3 * n_atoms for column in columns):
            raise InputError(f"columns must be from 0 to {3 * n_atoms - 1}: three coordinates for each of {n_atoms} atoms")
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
        shared: dict[tuple[float, ...], Tensor] = {}
        columns = []
        for part in self.parts:
            if isinstance(part, PairDescriptor) and part.is_dense:
                if part.box_key not in shared:
                    shared[part.box_key] = part.squared_distances(positions)
                columns.append(part.from_squared_distances(shared[part.box_key]))
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


_OF_PAIRS = {"pair_distances", "sorted_distances", "coordination", "coordination_moments", "disc_gap"}
_SYMMETRY = {"centers", "species", "box", "shells", "cutoff"}
_SYMMETRY_OPTIONS = {"eta_radial", "eta_angular", "zetas", "alpha", "labels"}


def _symmetry_functions(n: int, spec: Mapping) -> SymmetryFunctions:
    required = {key: spec[key] for key in sorted(_SYMMETRY)}
    return SymmetryFunctions(**required, n_atoms=n, **{key: spec[key] for key in _SYMMETRY_OPTIONS & set(spec)})


_KINDS = {
    "pair_distances": (lambda n, spec: PairDistances(n, False, spec.get("labels"), spec.get("box")), {"labels", "box"}),
    "sorted_distances": (lambda n, spec: PairDistances(n, sort=True, box=spec.get("box")), {"box"}),
    "coordination": (
        lambda n, spec: Coordination(n, spec["radius"], bool(spec.get("sorted", False)), spec.get("labels"), spec.get("box")),
        {"radius", "sorted", "labels", "box"},
    ),
    "coordination_moments": (lambda n, spec: CoordinationMoments(n, spec["radius"], spec.get("box")), {"radius", "box"}),
    "disc_gap": (
        lambda n, spec: DiscGap(n, spec["radius"], spec["center"], spec["disc_radius"], spec["offset"], spec.get("box")),
        {"radius", "center", "disc_radius", "offset", "box"},
    ),
    "coordinates": (
        lambda n, spec: Coordinates(
            spec.get("columns", range(3 * n)), spec.get("scale", 1.0), spec.get("matrix"), spec.get("labels"), n
        ),
        {"columns", "scale", "matrix", "labels"},
    ),
    "dihedrals": (lambda n, spec: Dihedrals(spec["atoms"], n, spec.get("labels"), spec.get("box")), {"atoms", "labels", "box"}),
    "internal_coordinates": (
        lambda n, spec: InternalCoordinates(spec, n),
        {"bonds", "angles", "dihedrals", "labels", "box"},
    ),
    "symmetry_functions": (_symmetry_functions, _SYMMETRY | _SYMMETRY_OPTIONS),
    "subset": (lambda n, spec: Subset(spec["atoms"], spec["part"], n), {"atoms", "part"}),
    "concatenate": (
        lambda n, spec: Concatenate([build_descriptor(part, n) for part in spec["parts"]]),
        {"parts"},
    ),
}


def most_numbers(spec: Mapping, n_atoms: int) -> float:
    """How many numbers a descriptor keeps at most for the pairs of its atoms, known before it is built."""
    if "parts" in spec:
        return sum(most_numbers(part, n_atoms) for part in spec["parts"])
    if "part" in spec:
        return most_numbers(spec["part"], len(spec["atoms"]))
    return numbers_of_pairs(n_atoms) if spec.get("kind") in _OF_PAIRS else 0.0


def build_descriptor(spec: Mapping, n_atoms: int) -> Descriptor:
    """Build a descriptor from its specification.

    Parameters
    ----------
    spec : dict
        ``{"kind": ...}`` and the keys of that kind: ``pair_distances``; ``sorted_distances``; ``coordination``
        (``radius`` in nm, ``sorted``); ``coordination_moments`` (``radius``); ``disc_gap`` (``radius``, and
        ``center``, ``disc_radius`` and ``offset`` in the plane of the moments); ``coordinates`` (``columns`` of the
        flattened positions, ``scale`` in nm, ``matrix``); ``dihedrals`` (``atoms``, lists of four indices);
        ``internal_coordinates`` (see :class:`~openmm_rare.descriptors.internal_features.InternalCoordinates`);
        ``symmetry_functions`` (the arguments of :class:`~openmm_rare.descriptors.symmetry_functions.SymmetryFunctions`);
        ``subset`` (``atoms``, and ``part``, the specification for them alone); ``concatenate`` (``parts``, a list of
        specifications). ``labels`` names what a kind lists: atoms, columns, angles or centers. ``box``, of all kinds that
        measure between atoms: edges or vectors of a periodic box in nm, whose nearest images count, or ``"none"``; a problem
        fills in that of its System, see :func:`openmm_rare.descriptors.completed.completed`.
    n_atoms : int
        Number of atoms of one walker.

    Raises
    ------
    ValueError
        For an unknown kind, an unknown key or a missing one, values that are not possible, and more features than possible.
    """
    kind = spec.get("kind")
    if kind not in _KINDS:
        hint = f"; did you mean {nearest(kind, _KINDS)!r}?" if isinstance(kind, str) else ""
        raise InputError(f"descriptor kind {kind!r} is unknown; choose one of {', '.join(sorted(_KINDS))}{hint}")
    make, keys = _KINDS[kind]
    unknown = sorted(set(spec) - keys - {"kind"})
    if unknown:
        hint = f"; did you mean {nearest(unknown[0], keys)!r}?" if keys else ""
        raise InputError(f"descriptor {kind!r} has unknown keys {unknown}; it takes {', '.join(sorted(keys)) or 'none'}{hint}")
    try:
        made = make(n_atoms, spec)
    except KeyError as missing:
        raise InputError(f"descriptor {kind!r} needs the key {missing}") from None
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:  # text for a number, a number for a list
        raise InputError(f"descriptor {kind!r} has a value of the wrong kind ({' '.join(str(error).split())})") from error
    require_possible(kind, n_atoms, made.n_features)
    return made

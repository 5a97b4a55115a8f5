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
from . import internal_features, symmetry_functions  # noqa: F401  which hold kinds
from .base import DESCRIPTOR_KINDS, Descriptor, labels_of, require_possible
from .group_centers import center_weights
from .pairs import PairDescriptor

__all__ = ["Descriptor", "build_descriptor", "most_numbers"]


class Coordinates(Descriptor):
    """Chosen Cartesian coordinates divided by a scale, optionally multiplied by a fixed matrix."""

    lengths = ("scale",)

    def __init__(
        self,
        n_atoms: int,
        columns: Sequence[int] | None = None,
        scale: float = 1.0,
        matrix: Sequence[Sequence[float]] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        columns = range(3 * n_atoms) if columns is None else columns
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

    def __init__(self, n_atoms: int, parts: Sequence[Mapping]) -> None:
        super().__init__()
        parts = [build_descriptor(part, n_atoms) for part in parts]
        self.parts = nn.ModuleList(parts)
        first = [sum(part.n_features for part in parts[:index]) for index in range(len(parts) + 1)]
        self.n_features = first[-1]
        self.in_logit = tuple(start + column for start, part in zip(first, parts, strict=False) for column in part.in_logit)

    @classmethod
    def most_numbers(cls, spec: Mapping, n_atoms: int) -> float:
        """Those of all parts."""
        return sum(most_numbers(part, n_atoms) for part in spec.get("parts", ()))

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

    def __init__(self, n_atoms: int, atoms: Sequence[int], part: Mapping) -> None:
        super().__init__()
        if not len(atoms) or len(set(atoms)) != len(atoms) or min(atoms) < 0 or max(atoms) >= n_atoms:
            raise InputError(f"atoms of a subset must be different indices from 0 to {n_atoms - 1}, not {list(atoms)}")
        self.register_buffer("atoms", torch.as_tensor(list(atoms)), persistent=False)
        self.part = build_descriptor(part, len(atoms))
        self.n_features, self.in_logit = self.part.n_features, self.part.in_logit

    @classmethod
    def most_numbers(cls, spec: Mapping, n_atoms: int) -> float:
        """Those of the part."""
        return most_numbers(spec["part"], len(spec["atoms"])) if "part" in spec else 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the part: without labels of their own, its atoms count from 0."""
        return self.part.names

    def forward(self, positions: Tensor) -> Tensor:
        """Features of the atoms of the subset."""
        return self.part(positions[:, self.atoms])


class GroupCenters(Descriptor):
    """A descriptor of the centers of mass of groups of atoms, which takes each of them for an atom.

    Molecules must be whole, as OpenMM keeps them; a box that the part has is that between centers.

    Parameters
    ----------
    n_atoms : int
        Of one walker.
    groups : sequence of sequence of int
        Atoms of each group; no atom is in two.
    masses : sequence of sequence of float
        Of these atoms, Da; a problem fills in those of its System.
    part : mapping
        The specification of a descriptor of as many atoms as there are groups.
    """

    def __init__(self, n_atoms: int, groups: Sequence[Sequence[int]], masses: Sequence[Sequence[float]], part: Mapping) -> None:
        super().__init__()
        weights = center_weights(groups, masses, n_atoms)
        atoms = [atom for group in groups for atom in group]
        self.register_buffer("atoms", torch.as_tensor(atoms), persistent=False)
        self.register_buffer("weights", torch.as_tensor(weights[:, atoms]), persistent=False)
        self.part = build_descriptor(part, len(groups))
        self.n_features, self.in_logit = self.part.n_features, self.part.in_logit

    @classmethod
    def most_numbers(cls, spec: Mapping, n_atoms: int) -> float:
        """The weights, and what the part keeps."""
        groups = spec.get("groups", ())
        n_members = sum(len(group) for group in groups)
        return len(groups) * n_members + (most_numbers(spec["part"], len(groups)) if "part" in spec else 0.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Those of the part: without labels of their own, groups count from 0."""
        return self.part.names

    def centers(self, positions: Tensor) -> Tensor:
        """Centers of mass ``(n_walkers, n_groups, 3)`` in nm."""
        return torch.matmul(self.weights.to(positions.dtype), positions[:, self.atoms])

    def forward(self, positions: Tensor) -> Tensor:
        """Features of the centers."""
        return self.part(self.centers(positions))


def most_numbers(spec: Mapping, n_atoms: int) -> float:
    """How many numbers a descriptor keeps at most for the pairs of its atoms, known before it is built."""
    kind = DESCRIPTOR_KINDS.get(spec.get("kind"))
    return 0.0 if kind is None else kind.most_numbers(spec, n_atoms)


def build_descriptor(spec: Mapping, n_atoms: int) -> Descriptor:
    """Build a descriptor from its specification.

    Parameters
    ----------
    spec : dict
        ``{"kind": ...}`` and the keys of that kind, one of
        :data:`~openmm_rare.descriptors.base.DESCRIPTOR_KINDS`: ``pair_distances``; ``sorted_distances``; ``coordination``
        (``radius`` in nm, ``sorted``); ``coordination_moments`` (``radius``); ``disc_gap`` (``radius``, and
        ``center``, ``disc_radius`` and ``offset`` in the plane of the moments); ``coordinates`` (``columns`` of the
        flattened positions, ``scale`` in nm, ``matrix``); ``dihedrals`` (``atoms``, lists of four indices);
        ``internal_coordinates`` (see :class:`~openmm_rare.descriptors.internal_features.InternalCoordinates`);
        ``symmetry_functions`` (the arguments of :class:`~openmm_rare.descriptors.symmetry_functions.SymmetryFunctions`);
        ``subset`` (``atoms``, and ``part``, the specification for them alone); ``group_centers`` (``groups``, lists of atoms,
        ``masses`` of these in Da, and ``part``, the specification for the centers of mass); ``concatenate`` (``parts``, a
        list of specifications). ``labels`` names what a kind lists: atoms, columns, angles or centers. ``box``, of all kinds
        that measure between atoms: edges or vectors of a periodic box in nm, whose nearest images count, or ``"none"``; a
        problem fills in that of its System, see :func:`openmm_rare.descriptors.completed.completed`.
    n_atoms : int
        Number of atoms of one walker.

    Raises
    ------
    ValueError
        For an unknown kind, an unknown key or a missing one, values that are not possible, and more features than possible.
    """
    kind = spec.get("kind")
    if kind not in DESCRIPTOR_KINDS:
        hint = f"; did you mean {nearest(kind, DESCRIPTOR_KINDS)!r}?" if isinstance(kind, str) else ""
        raise InputError(f"descriptor kind {kind!r} is unknown; choose one of {', '.join(sorted(DESCRIPTOR_KINDS))}{hint}")
    cls = DESCRIPTOR_KINDS[kind]
    keys, given = cls.keys(), {key: value for key, value in spec.items() if key != "kind"}
    unknown = sorted(set(given) - set(keys))
    if unknown:
        hint = f"; did you mean {nearest(unknown[0], keys)!r}?" if keys else ""
        raise InputError(f"descriptor {kind!r} has unknown keys {unknown}; it takes {', '.join(sorted(keys)) or 'none'}{hint}")
    missing = [key for key, is_needed in keys.items() if is_needed and key not in given]
    if missing:
        raise InputError(f"descriptor {kind!r} needs the key {missing[0]!r}")
    try:
        made = cls(n_atoms, **given)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:  # text for a number, a number for a list
        raise InputError(f"descriptor {kind!r} has a value of the wrong kind ({' '.join(str(error).split())})") from error
    require_possible(kind, n_atoms, made.n_features)
    return made

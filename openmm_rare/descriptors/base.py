"""What all descriptors have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..states.kinds import Kinds
from ..structure.nearest_image import box_vectors

__all__ = [
    "DESCRIPTOR_KINDS",
    "MOST_INPUTS",
    "Descriptor",
    "atom_rows",
    "box_of",
    "labels_of",
    "nearest_images",
    "require_possible",
]

MOST_INPUTS = 50_000
"""Of a network: for more, a round of training takes gigabytes."""


DESCRIPTOR_KINDS = Kinds("kind")
"""Every kind of descriptor that there is, by its ``kind``: those of modules that are imported."""


class Descriptor(nn.Module):
    """A differentiable map from positions to features.

    A kind of descriptor is a class that derives from this one and defines :meth:`forward`. That is all: what its constructor
    takes beside the number of atoms, its first argument, are the keys of its specification, of plain numbers, texts and lists.
    A kind is final.

    Attributes
    ----------
    n_features : int
        Number of columns that :meth:`forward` returns.
    in_logit : tuple of int
        Columns that a model adds to its logit as they are, because they are known to be part of it.
    kind : str
        What a specification calls this kind; by default the name of the class in lower case, as ``coordination_moments``.
    lengths : tuple of str
        Keys that hold lengths, in numbers or lists, which users may write as "0.3 nm".
    atoms_in_rows : mapping of str to int
        Keys that list atoms in rows of so many, each of which makes a feature: users may write selections.
    atom_lists : tuple of str
        Other keys that list atoms, or name lists of them.
    """

    n_features: int
    in_logit: tuple[int, ...] = ()

    kind: ClassVar[str] = ""
    lengths: ClassVar[tuple[str, ...]] = ()
    atoms_in_rows: ClassVar[Mapping[str, int]] = {}
    atom_lists: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        DESCRIPTOR_KINDS.add(cls, abstract)

    @classmethod
    def keys(cls) -> dict[str, bool]:
        """Keys of a specification, and whether they are needed."""
        _, *parameters = inspect.signature(cls).parameters.values()
        return {each.name: each.default is each.empty for each in parameters}

    @classmethod
    def most_numbers(cls, spec: Mapping[str, Any], n_atoms: int) -> float:
        """How many numbers it keeps at most for the pairs of its atoms, known before it is built."""
        return 0.0

    @classmethod
    def combined_atoms(cls, spec: Mapping[str, Any], n_atoms: int) -> list[Sequence[int]]:
        """Atoms of which several enter one feature by what lies between them, and may be of different molecules."""
        return [row for key in cls.atoms_in_rows if isinstance(spec.get(key), Sequence) for row in spec[key]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order of the columns."""
        return tuple(f"feature {column + 1}" for column in range(self.n_features))

    def forward(self, positions: Tensor) -> Tensor:
        """Return the features, shape ``(n_walkers, n_features)``, of positions ``(n_walkers, n_atoms, 3)`` in nm."""
        raise TypeError(f"{type(self).__name__} does not define forward()")


def atom_rows(name: str, rows: Sequence[Sequence[int]], width: int, n_atoms: int) -> np.ndarray:
    """Lists of `width` atoms each as an array ``(n, width)``.

    Raises
    ------
    ValueError
        If a row is too short or too long, repeats an atom, or names one that does not exist.
    """
    for row in rows:
        if len(row) != width or len(set(row)) != width or min(row) < 0 or max(row) >= n_atoms:
            raise InputError(f"{name} must list {width} different atoms each, from 0 to {n_atoms - 1}; {list(row)} does not")
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def labels_of(labels: Sequence[str] | None, default: Sequence[str], of_what: str) -> tuple[str, ...]:
    """The labels that a specification gives, or the default.

    Raises
    ------
    ValueError
        If there are too few or too many, or one is there twice.
    """
    if labels is None:
        return tuple(default)
    labels = tuple(str(label) for label in labels)
    if len(labels) != len(default) or len(set(labels)) != len(labels):
        raise InputError(f"labels must be {len(default)} different texts, one for each {of_what}, not {list(labels)}")
    return labels


def box_of(box: Any) -> Tensor | None:
    """The vectors of a box, shape (3, 3), nm, in double precision; None for none, and for "none", where that is on purpose.

    Raises
    ------
    ValueError
        If it is something else than three edges or three vectors in OpenMM's reduced form.
    """
    return None if box is None or isinstance(box, str) and box == "none" else torch.as_tensor(box_vectors(box, "box"))


def nearest_images(vectors: Tensor, box: Tensor | None) -> Tensor:
    """The nearest images of vectors, shape (..., 3), by the rule of :func:`openmm_rare.structure.nearest_image.nearest_image`.

    The gradient is that of the vectors: it does not see which image was taken.
    """
    if box is None:
        return vectors
    box = box.to(vectors.dtype)
    for axis in (2, 1, 0):
        turns = torch.round(vectors[..., axis, None].detach() / box[axis, axis])
        vectors = vectors - turns * box[axis]
    return vectors


def require_possible(kind: str, n_atoms: int, n_inputs: int) -> None:
    """Refuse a descriptor with more than :data:`MOST_INPUTS` features, before anything is allocated.

    Raises
    ------
    ValueError
        With the numbers, and what to write instead.
    """
    if n_inputs > MOST_INPUTS:
        raise InputError(
            f"descriptor {kind!r} of {n_atoms} atoms has {n_inputs} inputs, {4e-6 * n_inputs:.2g} GB for every 1000 frames; "
            f'at most {MOST_INPUTS} are possible: describe fewer atoms, e.g. [system.descriptor] with kind = "subset", '
            'atoms = [0, 1] and part = { kind = "pair_distances" }'
        )

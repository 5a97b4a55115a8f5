"""Collective variables that are made of vectors between atoms, which are those of nearest images in a periodic System."""

from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import InputError
from ..structure.nearest_image import box_in_words, box_vectors, nearest_image, same_box
from .coordination import mean_and_deviations
from .variable_base import CollectiveVariable, Length, require_atoms

__all__ = ["BOXES", "BOX_CHOICES", "Angle", "BoxVariable", "CoordinationMoment", "Dihedral", "Distance"]

BOXES: tuple[str, ...] = ("system", "none")
"""Boxes of a variable in words: that of the System, or none although the System has one."""
BOX_CHOICES: str = '"system", "none", three edges or three box vectors'
"""What a box may be, for messages."""
_EQUAL = 1e-6
"""Most by which the vectors of equal boxes differ, nm."""


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products, shape (n, 3), for a single pair several times as fast as ``numpy.cross``."""
    (a_x, a_y, a_z), (b_x, b_y, b_z) = a.T, b.T
    return np.array((a_y * b_z - a_z * b_y, a_z * b_x - a_x * b_z, a_x * b_y - a_y * b_x)).T


@dataclass(frozen=True, eq=False)
class BoxVariable(CollectiveVariable, abstract=True):
    """One that is made of vectors between atoms, in a periodic System of their nearest images.

    Parameters
    ----------
    box : {"system", "none"}, array_like of shape (3,) or (3, 3), or Quantity, optional (keyword)
        ``"system"``, the default: a :class:`~openmm_rare.problem.RareEventSystem` of a periodic System gives its
        variables the box of the System; elsewhere, and before there is one, the vectors are taken as they are. ``"none"``
        leaves them as they are in a periodic System, too. Edges or vectors, nm: this box, which must be that of the System.
        The box is fixed: for dynamics at constant volume.

    Attributes
    ----------
    periodic_box : ndarray of shape (3, 3) or None
        Vectors of the box whose nearest images count, nm; None: the vectors between atoms as they are.
    """

    box: Any = field(default=None, kw_only=True)
    periodic_box: np.ndarray | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.box, str) and self.box not in BOXES:
            raise InputError(f"variable {self.name!r}: box = {self.box!r} must be {BOX_CHOICES}")
        if self.box is not None and not isinstance(self.box, str):
            object.__setattr__(self, "box", box_vectors(self.box, f"variable {self.name!r}: box"))
            object.__setattr__(self, "periodic_box", self.box)

    @property
    def follows_system(self) -> bool:
        """Whether the System decides about the box."""
        return self.box is None or (isinstance(self.box, str) and self.box == "system")

    @property
    def is_plain(self) -> bool:
        """Whether vectors are meant as they are in every System."""
        return isinstance(self.box, str) and self.box == "none"

    def in_box(self, box: np.ndarray | None) -> "BoxVariable":
        """The variable in a System with this box, shape (3, 3), nm; None: in one without periodic boundaries.

        Raises
        ------
        ValueError
            If it has another box.
        """
        if box is None and not (self.box is None or self.is_plain):
            raise InputError(f"variable {self.name!r} has a box, but the System has no periodic boundaries: remove it")
        if self.is_plain or (not self.follows_system and np.allclose(self.periodic_box, box, rtol=1e-6, atol=1e-6)):
            return self
        if not self.follows_system and not same_box(self.periodic_box, box, _EQUAL):
            raise InputError(
                f"variable {self.name!r} has the box {box_in_words(self.periodic_box)}, the System {box_in_words(box)}: give "
                "it system.getDefaultPeriodicBoxVectors(), or leave its box out to take that of the System"
            )
        if np.array_equal(self.periodic_box, box):  # also where both are None
            return self
        made = copy(self)
        object.__setattr__(made, "periodic_box", box)
        return made

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, with the box that is used."""
        used = {} if self.periodic_box is None else {"box": self.periodic_box.tolist()}
        return super().describe() | used

    def _between(self, positions: np.ndarray, i: int, j: int) -> np.ndarray:
        """Vectors from atom i to atom j, shape (n, 3)."""
        return nearest_image(positions[:, j] - positions[:, i], self.periodic_box)


@dataclass(frozen=True, eq=False)
class Distance(BoxVariable):
    """Distance between two atoms, in nm, to the nearest image in a periodic System."""

    atoms: tuple[int, int]

    unit = "nm"
    mirror = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_atoms(self.atoms, 2, self.name)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.linalg.norm(self._between(positions, *self.atoms), axis=1)

    @property
    def limits(self) -> tuple[float, float]:
        """Zero, and half a diagonal of the box, farther than which no nearest image is."""
        return 0.0, np.inf if self.periodic_box is None else 0.5 * float(np.linalg.norm(np.diag(self.periodic_box)))


@dataclass(frozen=True, eq=False)
class Angle(BoxVariable):
    """Angle at the second of three atoms, in radians, 0 to pi; between nearest images in a periodic System."""

    atoms: tuple[int, int, int]

    unit = "rad"
    limits = (0.0, np.pi)
    mirror = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_atoms(self.atoms, 3, self.name)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        i, j, k = self.atoms
        a, b = self._between(positions, j, i), self._between(positions, j, k)
        # arctan2 keeps its precision at 0 and pi, where arccos of the normalized product loses it.
        return np.arctan2(np.linalg.norm(_cross(a, b), axis=1), np.sum(a * b, axis=1))


@dataclass(frozen=True, eq=False)
class Dihedral(BoxVariable):
    """Dihedral angle of four atoms, in radians, -pi to pi, periodic; IUPAC sign (0 is cis).

    In a periodic System it is that of nearest images.
    """

    atoms: tuple[int, int, int, int]

    unit = "rad"
    mirror = -1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_atoms(self.atoms, 4, self.name)
        object.__setattr__(self, "period", 2 * np.pi)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        i, j, k, m = self.atoms
        b1, b2, b3 = (self._between(positions, p, q) for p, q in ((i, j), (j, k), (k, m)))
        n1, n2 = _cross(b1, b2), _cross(b2, b3)
        y = np.linalg.norm(b2, axis=1) * np.sum(b1 * n2, axis=1)
        return np.arctan2(y, np.sum(n1 * n2, axis=1))


@dataclass(frozen=True, eq=False)
class CoordinationMoment(BoxVariable):
    """Mean (order 1) or central moment (order 2 or 3) of the coordination numbers of all atoms, dimensionless.

    See :func:`openmm_rare.states.coordination.coordination_numbers`; moments are divided by the number of atoms. In a
    periodic System nearest images count.
    """

    order: int
    radius: Length

    unit = ""
    mirror = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in (1, 2, 3):
            raise InputError(f"variable {self.name!r}: order must be 1, 2 or 3, not {self.order}")
        if not 0 < self.radius < np.inf:
            raise InputError(f"variable {self.name!r}: radius must be a positive length in nm, not {self.radius}")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return self.of(*self.mean_and_deviations(positions))

    def mean_and_deviations(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:func:`openmm_rare.states.coordination.mean_and_deviations` with the radius and the box of this variable."""
        return mean_and_deviations(positions, self.radius, self.periodic_box)

    def of(self, mean: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        """Values, shape (n,), from :func:`openmm_rare.states.coordination.mean_and_deviations`."""
        if self.order == 1:
            return mean
        power = deviations * deviations
        if self.order == 3:
            power *= deviations
        return power.sum(axis=0) / len(power)

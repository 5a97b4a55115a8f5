"""How many atoms of one group are around those of another, as a smooth number."""

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..structure.nearest_image import nearest_image
from .box_variables import BoxVariable
from .variable_base import Length, require_atoms

__all__ = ["Coordination"]

_BLOCK = 100_000
"""Pairs that are looked at together."""
_MOST_POWER = 24
"""Of single precision, in which forces may be: beyond it atoms far away overflow."""


@dataclass(frozen=True, eq=False)
class Coordination(BoxVariable):
    r"""Number of `neighbors` around `atoms`, dimensionless: sum over pairs of (1-(r/radius)^power)/(1-(r/radius)^(2 power)).

    The quotient equals 1/(1+(r/radius)^power), which is ½ at the radius. In a periodic System each pair counts once, at its
    nearest images. Divide by the number of `atoms` for the mean of one of them.

    Parameters
    ----------
    name : str
    atoms, neighbors : sequence of int
        Two groups that share no atom.
    radius : float
        nm; where the first shell ends.
    power : int
        Even, 2 to 24: how steeply a pair stops to count.

    Raises
    ------
    ValueError
        If an atom is in both groups, or a number is out of range.
    """

    atoms: tuple[int, ...]
    neighbors: tuple[int, ...]
    radius: Length
    power: int = 8

    unit = ""
    mirror = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for group in ("atoms", "neighbors"):
            if not len(getattr(self, group)):
                raise InputError(f"variable {self.name!r}: {group} must be at least one atom")
            require_atoms(getattr(self, group), len(getattr(self, group)), self.name)
        both = sorted(set(self.atoms) & set(self.neighbors))
        if both:
            raise InputError(f"variable {self.name!r}: atom {both[0]} is in both atoms and neighbors: leave it out of one")
        if not 0 < self.radius < np.inf:
            raise InputError(f"variable {self.name!r}: radius must be a positive length in nm, not {self.radius}")
        if self.power % 2 or not 2 <= self.power <= _MOST_POWER:
            raise InputError(f"variable {self.name!r}: power must be an even number from 2 to {_MOST_POWER}, not {self.power}")

    @property
    def named_atoms(self) -> tuple[int, ...]:
        """The atoms of both groups."""
        return tuple(int(atom) for atom in (*self.atoms, *self.neighbors))

    @property
    def limits(self) -> tuple[float, float]:
        """None, and every pair."""
        return 0.0, float(len(self.atoms) * len(self.neighbors))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        others, frames = np.asarray(self.neighbors), max(1, _BLOCK // len(self.neighbors))
        values = np.zeros(len(positions))
        for start in range(0, len(positions), frames):
            block = positions[start : start + frames]
            around = block[:, others]
            for atom in self.atoms:
                away = nearest_image(around - block[:, atom, None], self.periodic_box)
                squared = np.einsum("nij,nij->ni", away, away) / self.radius**2
                values[start : start + frames] += (1.0 / (1.0 + squared ** (self.power // 2))).sum(axis=1)
        return values

"""What every collective variable has: a name, values of positions, a description, and a place in the table of kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, get_origin, get_type_hints

import numpy as np

from ..errors import InputError
from ..trust.named_functions import Function, function_label, function_of_label
from .kinds import Kinds

__all__ = ["VARIABLE_KINDS", "Atom", "CollectiveVariable", "Length", "Radians", "require_atoms"]

Atom = Annotated[int, "atom"]
"""Type of a field that holds the number of an atom: TOML takes selections for it."""
Length = Annotated[float, "nm"]
"""Type of a field that holds a length in nm: TOML takes quantities for it."""
Radians = Annotated[float, "rad"]
"""Type of a field that holds an angle in radians: TOML takes quantities for it."""

VARIABLE_KINDS = Kinds("type_name")
"""Every kind of variable that there is, by its ``type_name``: those of modules that are imported."""


def require_atoms(atoms: Sequence[int], count: int, name: str) -> None:
    """Refuse anything but so many different atoms."""
    if len(atoms) != count or len(set(atoms)) != count or min(atoms) < 0:
        raise InputError(f"variable {name!r}: atoms must be {count} different indices >= 0, not {tuple(atoms)}")


@dataclass(frozen=True, eq=False)
class CollectiveVariable:
    """One scalar function of the positions.

    A kind of variable is a frozen dataclass that derives from this one, or from
    :class:`~openmm_rare.states.box_variables.BoxVariable`, and defines ``__call__``. That is all: its fields are its keys in a
    configuration and in records, and what others need to know about it are attributes of the class. A kind is final.

    Parameters
    ----------
    name : str
        Name under which regions refer to it.

    Attributes
    ----------
    period : float or None
        Period of a periodic variable (the unit of the variable).
    type_name : str
        What a configuration calls this kind; by default the name of the class in lower case, as ``coordination_moment``.
    unit : str or None
        "nm", "rad", "" for plain numbers; None for a kind whose values may be anything.
    limits : tuple of float
        The lowest and highest value of one that is not periodic.
    mirror : int or None
        What becomes of the value in a mirror: 1, it stays; -1, it changes its sign; None: something else.
    is_of_places : bool
        Whether it is made of coordinates as such, and not of what lies between atoms.
    """

    name: str
    period: float | None = field(default=None, init=False, repr=False)

    type_name: ClassVar[str] = ""
    unit: ClassVar[str | None] = None
    limits: ClassVar[tuple[float, float]] = (-np.inf, np.inf)
    mirror: ClassVar[int | None] = None
    is_of_places: ClassVar[bool] = False

    def __init_subclass__(cls, abstract: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.unit not in ("nm", "rad", "", None):
            raise TypeError(f"unit = {cls.unit!r} of {cls.__name__} must be 'nm', 'rad', '' for plain numbers, or None")
        VARIABLE_KINDS.add(cls, abstract)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n,), of positions of shape (n, n_atoms, 3) in nm."""
        raise NotImplementedError

    @property
    def named_atoms(self) -> tuple[int, ...] | None:
        """The atoms that it depends on; None if these may be all."""
        atoms = (self.atom,) if hasattr(self, "atom") else getattr(self, "atoms", None)
        return None if atoms is None else tuple(int(atom) for atom in atoms)

    def require_fit(self, n_atoms: int) -> None:
        """Refuse a System with so many atoms, if some are missing.

        Raises
        ------
        ValueError
        """
        missing = [atom for atom in self.named_atoms or () if atom >= n_atoms]
        if missing:
            raise InputError(
                f"variable {self.name!r} names an atom that does not exist: the system has {n_atoms} atoms, numbered from "
                f"0, not {missing[0]}"
            )

    def in_box(self, box: np.ndarray | None) -> "CollectiveVariable":
        """The variable in a System with this box, shape (3, 3), nm; None: in one without periodic boundaries."""
        return self

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process: as a configuration has them under the name of the variable."""
        parameters = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.init and f.name != "name"}
        return {"type": self.type_name, **{key: value for key, value in parameters.items() if value is not None}}

    @staticmethod
    def from_description(name: str, description: Mapping[str, Any]) -> "CollectiveVariable":
        """Inverse of :meth:`describe`; functions may be given by name, or as they are.

        Raises
        ------
        ValueError
            For a type that does not exist, parameters that it does not have, or a function that cannot be imported.
        """
        kind = VARIABLE_KINDS.get(description["type"])
        if kind is None:
            raise InputError(
                f"collective variables of the type {description['type']!r} cannot be read back; use "
                f"{', '.join(VARIABLE_KINDS)}, or import the module that defines it"
            )
        hints = get_type_hints(kind)
        parameters = {key: value for key, value in description.items() if key != "type"}
        for key, value in parameters.items():
            if hints.get(key) == Function and isinstance(value, str):
                parameters[key] = function_of_label(value)
            elif get_origin(hints.get(key)) is tuple:
                parameters[key] = tuple(value)
        return kind(name, **parameters)


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, which JSON knows, and functions by their names."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if callable(value):
        return function_label(value, "function")
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value

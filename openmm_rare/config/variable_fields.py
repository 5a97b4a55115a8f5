"""A collective variable in a configuration: what its type takes, by the fields of its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import numpy as np
from openmm import unit as u

from ..errors import InputError
from ..io.toml import Section, nearest
from ..states.box_variables import BOX_CHOICES, BOXES, BoxVariable
from ..states.variable_base import VARIABLE_KINDS, Atom, CollectiveVariable, Length, Radians
from ..structure.atom_selection import atoms_of
from ..trust.named_functions import Function
from ..trust.policy import Trust
from ..trust.user_modules import import_function

if TYPE_CHECKING:
    from openmm import app

__all__ = ["UNITS", "build_variable", "read_variable", "with_boxes"]

UNITS: dict[str | None, u.Unit | None] = {"nm": u.nanometer, "rad": u.radian, "": None, None: None}
"""Those that quantities may have in which values are given, by the unit of a variable."""

_OTHER_WORDS = {
    "torsion": "dihedral",
    "dihedral_angle": "dihedral",
    "phi": "dihedral",
    "psi": "dihedral",
    "bond": "distance",
    "bond_length": "distance",
    "dist": "distance",
    "bond_angle": "angle",
    "position": "coordinate",
    "x": "coordinate",
    "y": "coordinate",
    "z": "coordinate",
    "coordination_number": "coordination",
    "coordnum": "coordination",
    "linear": "linear_combination",
    "custom": "function",
    "python": "function",
}
"""What other programs call the types of variables."""


def read_variable(section: Section) -> dict[str, Any]:
    """From ``[variables.NAME]``: the same with lengths in nm and angles in radians; atoms may still be selections.

    Raises
    ------
    ValueError
        For a type that does not exist, a key that it does not have, or a value that it cannot have.
    """
    type_name, kinds = section.text("type", ""), VARIABLE_KINDS
    if type_name not in kinds:
        hint = ""
        if type_name:
            hint = f"; did you mean {_OTHER_WORDS.get(type_name.lower()) or nearest(type_name, kinds)!r}?"
        raise InputError(f"{section.where('type')} = {type_name!r} must be one of {', '.join(kinds)}{hint}")
    hints = _types(kinds[type_name])
    needed = {f.name for f in fields(kinds[type_name]) if f.default is MISSING and f.default_factory is MISSING}
    section.check(("type", *(key for key in hints if key in needed)), [key for key in hints if key not in needed])
    return {"type": type_name, **{key: _value(section, key, hints[key]) for key in hints if key in section}}


def with_boxes(variables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The same variables in a periodic System, with what says which box they use spelled out."""
    of_boxes = {name for name, kind in VARIABLE_KINDS.items() if issubclass(kind, BoxVariable)}
    added = {
        name: {"box": "system"} if each["type"] in of_boxes and "box" not in each else {} for name, each in variables.items()
    }
    return {name: {**each, **added[name]} for name, each in variables.items()}


def build_variable(
    name: str, description: Mapping[str, Any], folder: str, topology: app.Topology | None, trust: Trust
) -> CollectiveVariable:
    """The collective variable of this name that :func:`read_variable` read.

    Raises
    ------
    ValueError
        If a function cannot be imported, or a selection has no or too many atoms.
    """
    parameters = dict(description)
    for key, kind in _types(VARIABLE_KINDS[description["type"]]).items():
        if key not in parameters:
            continue
        where = f"variables.{name}.{key}"
        if kind == Atom:
            (parameters[key],) = atoms_of([parameters[key]], topology, where, 1)
        elif _count_of_atoms(kind) is not None:
            parameters[key] = atoms_of(parameters[key], topology, where, _count_of_atoms(kind) or None)
        elif kind == Function:
            parameters[key] = import_function(parameters[key], folder, where, trust)
    return CollectiveVariable.from_description(name, parameters)


def _types(kind: type[CollectiveVariable]) -> dict[str, Any]:
    """Types of all fields that a configuration gives."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in sorted(fields(kind), key=lambda f: f.kw_only) if f.init and f.name != "name"}


def _count_of_atoms(kind: Any) -> int | None:
    """How many atoms a field of this type holds, 0 for any number; None if it holds none."""
    if get_origin(kind) is not tuple or get_args(kind)[0] not in (int, Atom):
        return None
    return 0 if get_args(kind)[-1] is Ellipsis else len(get_args(kind))


def _value(section: Section, key: str, kind: Any) -> Any:
    """What a setting says, for a field of this type."""
    if key == "box":
        return _box(section)
    if kind == Atom:
        return section.text(key) if isinstance(section.raw[key], str) else section.count(key, least=0)
    if _count_of_atoms(kind) is not None:
        return _atoms(section, key)
    if kind in (float, Length, Radians):
        return section.number(key, _unit_of(kind), positive=False)
    if get_origin(kind) is tuple and get_args(kind)[0] in (float, Length, Radians):
        return list(section.numbers(key, _unit_of(get_args(kind)[0]), positive=False))
    if kind is np.ndarray:
        return _rows(section, key)
    if kind is int:
        return section.count(key, least=0)
    if kind is bool:
        return section.flag(key, False)
    if kind in (str, Function):
        return section.text(key)
    raise InputError(f"{section.where(key)} cannot be given in TOML, which knows no {kind}: build the system with a function")


def _unit_of(kind: Any) -> u.Unit | None:
    return {float: None, Length: u.nanometer, Radians: u.radian}[kind]


def _box(section: Section) -> str | list[list[float]] | list[float]:
    """A box in words, or its edges or vectors in nm."""
    if isinstance(section.raw["box"], str):
        if section.raw["box"] not in BOXES:
            raise InputError(f"{section.where('box')} = {section.raw['box']!r} must be {BOX_CHOICES}")
        return section.raw["box"]
    if isinstance(section.raw["box"], list) and section.raw["box"] and isinstance(section.raw["box"][0], list):
        return _rows(section, "box")
    return list(section.numbers("box", u.nanometer))


def _atoms(section: Section, key: str) -> str | list[int | str]:
    """A selection, or a list of numbers and selections."""
    given = section.raw[key]
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        return list(section.counts(key, least=0))  # raises
    names = {number: each for number, each in enumerate(given) if isinstance(each, str)}
    numbers = Section({key: [0 if number in names else each for number, each in enumerate(given)]}, section.name)
    return [names.get(number, atom) for number, atom in enumerate(numbers.counts(key, least=0))]


def _rows(section: Section, key: str) -> list[list[float]]:
    rows = section.raw[key]
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        raise InputError(f"{section.where(key)} must be a list of [x, y, z]")
    return [list(Section({key: row}, section.name).numbers(key, None, positive=False)) for row in rows]

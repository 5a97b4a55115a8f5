"""Quantity or float to md units, once, at the door.

Inside the package every number is a plain float in OpenMM's md units: nm, ps, kJ/mol, Da, K.
"""

import math
import operator
import re
from typing import Any

import numpy as np
from openmm import unit as u

from .errors import InputError

KB: float = 0.00831446261815324
"""Boltzmann constant in kJ/mol/K (CODATA 2018, exact)."""

_ELECTRONVOLT_PER_MOLE = 96.48533212331 * u.kilojoule_per_mole

# Every spelling that `parse_quantity` accepts. Explicit, because evaluating text is unsafe and guessing units is worse.
_UNITS = {
    "K": u.kelvin,
    "fs": u.femtosecond,
    "ps": u.picosecond,
    "ns": u.nanosecond,
    "us": u.microsecond,
    "nm": u.nanometer,
    "A": u.angstrom,
    "angstrom": u.angstrom,
    "kJ/mol": u.kilojoule_per_mole,
    "kcal/mol": u.kilocalorie_per_mole,
    "eV": _ELECTRONVOLT_PER_MOLE,
    "meV": 0.001 * _ELECTRONVOLT_PER_MOLE,
    "Da": u.dalton,
    "amu": u.dalton,
    "e": u.elementary_charge,
    "deg": u.degree,
    "rad": u.radian,
    "1/fs": u.femtosecond**-1,
    "1/ps": u.picosecond**-1,
    "1/ns": u.nanosecond**-1,
    "1/us": u.microsecond**-1,
    "1/s": u.second**-1,
    "bar": u.bar,
    "atm": u.atmosphere,
}
# What OpenMM and people call them; and "femtoseconds", "5/ps", "ps^-1", "kilojoule/mole".
_NAMES = {
    "kelvin": "K",
    "femtosecond": "fs",
    "picosecond": "ps",
    "nanosecond": "ns",
    "microsecond": "us",
    "\u00b5s": "us",
    "\u03bcs": "us",
    "second": "s",
    "nanometer": "nm",
    "nanometre": "nm",
    "\u00c5": "A",
    "\u212b": "A",
    "kilojoule": "kJ",
    "kilocalorie": "kcal",
    "mole": "mol",
    "electronvolt": "eV",
    "dalton": "Da",
    "degree": "deg",
    "\u00b0": "deg",
    "radian": "rad",
    "atmosphere": "atm",
}
_LONG = {"angstrom", "bar"}
_INVERSE = re.compile(r"(?:1\s*/|/|per\s)\s*(\S+)|(\S+?)(?:\^|\*\*)?\(?[-\u2212]1\)?")
_RATIO = re.compile(r"(\S+?)\s*(?:/|_per_|\sper\s)\s*(\S+)")
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(\S.*?)?\s*")


def in_md_units(value: Any, unit: u.Unit, name: str) -> float:
    """A number in the given unit, from an OpenMM quantity or a bare number already in it.

    Parameters
    ----------
    value : openmm.unit.Quantity or number
        One scalar.
    unit : openmm.unit.Unit
        The unit of the returned float, e.g. ``openmm.unit.picosecond``.
    name : str
        Name of the argument, for the message.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ValueError
        If the dimensions differ, or the value is not one finite number.
    """
    expected = f"expected a finite number in {unit.get_name()} or an openmm.unit.Quantity convertible to it"
    number = value
    if u.is_quantity(value):
        if not value.unit.is_compatible(unit):
            raise InputError(f"{name} = {value} has the wrong unit; {expected}")
        number = value.value_in_unit(unit)
    try:
        if isinstance(number, (bool, str)):
            raise TypeError
        result = float(number)
    except (TypeError, ValueError):
        raise InputError(f"{name} = {value!r} is not a number; {expected}") from None
    except OverflowError:  # of whole numbers, which have no end
        result = math.inf
    if not math.isfinite(result):
        raise InputError(f"{name} = {value} is not finite; {expected}")
    return result


def lengths_in_nm(values: Any, name: str) -> np.ndarray:
    """Lengths in nm of any shape, from a quantity, from nested lists with quantities in them, or from numbers in nm.

    Raises
    ------
    ValueError
        If they are no lengths, or no numbers.
    """

    def plain(value: Any) -> Any:
        if u.is_quantity(value):
            return value.value_in_unit(u.nanometer)
        return [plain(each) for each in value] if isinstance(value, list | tuple) and not hasattr(value, "x") else value

    try:
        return np.array(plain(values), dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must be lengths: numbers in nm, or quantities of openmm.unit ({error})") from error


def whole_number(value: Any, name: str, of: str) -> int:
    """A whole number of at least 1, from any type of them.

    Raises
    ------
    ValueError
        If it is none; the message says `of` what.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise InputError(f"{name} = {value} must be a whole number of {of}, at least 1")
    return number


def parse_quantity(text: str | float, unit: u.Unit, name: str) -> float:
    """A number in the given unit, from text such as ``"600 K"``, ``"2 fs"`` or ``"0.1 nm"``, or from a bare number.

    Energies are molar; ``eV`` and ``meV`` mean per particle and are converted with 96.4853 kJ/mol.

    Parameters
    ----------
    text : str or number
        A number, optionally followed by a unit. Without unit, the number is taken to be in `unit`.
    unit : openmm.unit.Unit
        The unit of the returned float.
    name : str
        Name of the setting, for the message.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    ValueError
        If the text is not a number with an optional unit, or the unit is unknown or of another dimension.
    """
    if not isinstance(text, str):
        return in_md_units(text, unit, name)
    allowed = [spelling for spelling, known in _UNITS.items() if _dimension(known).is_compatible(unit)]
    example = f"allowed: a bare number in {unit.get_name()}"
    if allowed:
        example = (
            f'allowed: a number with one of the units {", ".join(allowed)}, e.g. "2 {allowed[0]}", or a bare number in '
            f"{unit.get_name()}"
        )
    elif unit == u.dimensionless:
        example = "allowed: a number without unit"
    match = _QUANTITY.fullmatch(text.replace("\u2212", "-"))
    if match is None:
        raise InputError(f"{name} = {text!r} is not a number with a unit; {example}")
    number, spelling = float(match[1]), match[2]
    if spelling is None:
        return in_md_units(number, unit, name)
    spelling = _spelled(spelling)
    if spelling not in allowed:
        problem = "a unit of another dimension" if spelling in _UNITS else "an unknown unit"
        raise InputError(f"{name} = {text!r} has {problem}, {spelling!r}; {example}")
    return in_md_units(number * _UNITS[spelling], unit, name)


def _spelled(unit: str) -> str:
    """The spelling in the table of a unit that is written in another way; one that is unknown as it is."""
    inverse, ratio = _INVERSE.fullmatch(unit), _RATIO.fullmatch(unit)
    if unit in _UNITS:
        return unit
    if inverse:
        return f"1/{_word(inverse[1] or inverse[2])}"
    return f"{_word(ratio[1])}/{_word(ratio[2])}" if ratio else _word(unit)


def _word(unit: str) -> str:
    """A single unit: its name in any case, one or many."""
    names = (unit, unit.lower(), unit.lower().removesuffix("s"))
    return unit if unit in _UNITS else next((_NAMES.get(name, name) for name in names if name in _NAMES or name in _LONG), unit)


def _dimension(known: u.Unit | u.Quantity) -> u.Unit:
    """The unit behind an entry of the table, which may be a multiple of a unit."""
    return known.unit if u.is_quantity(known) else known

"""Numbers out of quantities, for modules that know arrays only: lengths in nm, angles in radians, others plain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import InputError

__all__ = ["number_and_unit", "numbers"]

_EXPECTED = "a number, or a quantity of openmm.unit that is an angle or a length"


def number_and_unit(value: Any, name: str) -> tuple[float, str | None]:
    """A number, and the unit that it was given in: "nm", "rad", "" for a quantity without dimension, None for a bare number.

    Parameters
    ----------
    value : number or openmm.unit.Quantity
    name : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If it is neither, or a quantity of something else.
    """
    unit: str | None = None
    number = value
    if hasattr(value, "value_in_unit"):
        from openmm import unit as u

        natural = {"nm": u.nanometer, "rad": u.radian, "": u.dimensionless}
        unit = next((key for key, each in natural.items() if value.unit.is_compatible(each)), None)
        if unit is None:
            raise InputError(f"{name} = {value} must be {_EXPECTED}")
        number = value.value_in_unit(natural[unit])
    try:
        if isinstance(number, (bool, str)) and str(number).lstrip("+-") != "inf":  # JSON knows no infinity
            raise TypeError
        return float(number), unit
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} = {value!r} must be {_EXPECTED}") from None


def numbers(values: Any, count: int, name: str) -> list[tuple[float, str | None]]:
    """As :func:`number_and_unit` for each of `count` values, or for one quantity of as many.

    Raises
    ------
    ValueError
        As :func:`number_and_unit`, and if there are more or fewer.
    """
    is_several = isinstance(values, Iterable) and not isinstance(values, str | dict)
    try:
        listed = list(values) if is_several else []
    except TypeError:  # a quantity with one number
        listed = []
    if len(listed) != count:
        raise InputError(f"{name} = {values!r} must be {count} numbers, or quantities of openmm.unit")
    return [number_and_unit(value, name) for value in listed]

"""Values of collective variables with their units, and numbers that look like those of another unit (NumPy only)."""

import numpy as np

from ..errors import InputError
from .variable_base import CollectiveVariable

__all__ = ["require_angle", "require_unit", "value_text"]

_TURN = 2 * np.pi * (1 + 1e-6)


def value_text(value: float, unit: str | None) -> str:
    """A value with its unit.

    Parameters
    ----------
    value : float
    unit : str or None
        "nm", "rad", which is shown in degrees, or none.
    """
    if unit == "rad":
        return f"{np.degrees(value):.6g} deg"
    return f"{value:.6g}{f' {unit}' if unit else ''}"


def require_unit(variable: CollectiveVariable, given: str | None) -> None:
    """Refuse a quantity that is not of the kind of the variable.

    Raises
    ------
    ValueError
    """
    unit, words = variable.unit, {"nm": "a length", "rad": "an angle", "": "a plain number"}
    if given is not None and unit is not None and given != unit:
        raise InputError(f"{variable.name!r} is {words[unit]}, but {words[given]} is given")


def require_angle(variable: CollectiveVariable, start: float, *others: float) -> None:
    """Refuse numbers that look like degrees where radians are meant; others may be one turn farther than the start.

    Raises
    ------
    ValueError
        With what to write.
    """
    given = (start, *others)
    far = [abs(value) > _TURN * (1 if number == 0 or variable.period is None else 2) for number, value in enumerate(given)]
    if variable.unit != "rad" or not any(far) or not np.isfinite(given).all():
        return
    if all(map(_is_in_degrees, given)):
        turns = " to ".join(f"{np.degrees(value):g} deg" for value in given)
        raise InputError(f"{variable.name!r} is an angle, and {turns} goes beyond a turn: write it between -180 and 180 deg")
    written = " to ".join(f"{value:g}" for value in given)
    meant = (f"{np.degrees(value) if _is_in_degrees(value) else value:g}" for value in given)
    quoted = ", ".join(f'"{value} deg"' for value in meant)
    raise InputError(
        f"{variable.name!r} is an angle in radians, and {written} goes beyond a turn; did you mean degrees? Write "
        f"{quoted if len(given) == 1 else f'[{quoted}]'} in TOML, and quantities of openmm.unit.degrees in Python"
    )


def _is_in_degrees(value: float) -> bool:
    """Whether a number in radians was written as whole degrees: 6.98132 was 400 deg, while 150 is no such angle."""
    return value != round(value) and abs(np.degrees(value) - round(np.degrees(value))) < 1e-9

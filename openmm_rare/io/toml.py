"""TOML: checked reading, where every error names the setting and what is allowed, and writing."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import tomli_w
from openmm import unit as u

from ..errors import InputError
from ..units import parse_quantity

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

__all__ = ["Section", "nearest", "read_toml", "toml_text", "write_toml"]

_DEEPEST = 50  # lists and tables within each other
_TOO_DEEP = "this is no configuration: its lists and tables lie too deep within each other"
_LARGEST = 1 << 63  # whole numbers have 64 bits in TOML


def nearest(word: str, known: Iterable[str]) -> str:
    """The most similar of the known words."""
    return difflib.get_close_matches(word, list(known), n=1, cutoff=0.0)[0]


def read_toml(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises
    ------
    ValueError
        If it is no TOML, or has tables that lie too deep within each other, as dotted keys make them, or larger whole numbers.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"this is not valid TOML: {error}") from error
    except RecursionError:
        raise InputError(_TOO_DEEP) from None
    entries: list[Any] = [values]
    for _ in range(_DEEPEST):
        if any(isinstance(each, int) and not -_LARGEST <= each < _LARGEST for each in entries):
            raise InputError("this is not valid TOML: it has a whole number of more than 64 bits")
        entries = [
            entry
            for each in entries
            if isinstance(each, dict | list)
            for entry in (each.values() if isinstance(each, dict) else each)
        ]
    if entries:
        raise InputError(_TOO_DEEP)
    return values


class Section:
    """One table of a TOML file.

    Every method raises ValueError, with the full name of the setting, for a value of the wrong kind; a missing key
    gives the default.

    Parameters
    ----------
    raw : dict
        As parsed.
    name : str
        Dotted name; empty for the whole file.
    """

    def __init__(self, raw: Mapping[str, Any], name: str = "") -> None:
        self.raw, self.name = raw, name

    def __contains__(self, key: str) -> bool:
        return key in self.raw

    def where(self, key: str) -> str:
        """Full name of a key."""
        return f"{self.name}.{key}" if self.name else key

    def check(self, required: Iterable[str] = (), optional: Iterable[str] = (), noun: str = "key") -> None:
        """Refuse unknown keys, naming the most similar known one, and missing required ones."""
        required = tuple(required)
        known = [*required, *optional]
        place = f"section [{self.name}]" if self.name else "the configuration"
        for key in self.raw:
            if not known:
                raise InputError(f"unknown {noun} {key!r} in {place}: none is defined")
            if key not in known:
                similar = known if len(known) <= 12 else difflib.get_close_matches(key, known, n=5, cutoff=0.0)
                listed = f"{'Allowed' if len(known) <= 12 else 'Similar ones'}: {', '.join(similar)}"
                raise InputError(f"unknown {noun} {key!r} in {place}; did you mean {nearest(key, known)!r}? {listed}")
        missing = [key for key in required if key not in self.raw]
        if missing:
            raise InputError(f"{place} lacks {', '.join(missing)}")

    def text(self, key: str, default: Any = None) -> Any:
        """Text."""
        value = self.raw.get(key, default)
        if key in self.raw and not isinstance(value, str):
            raise InputError(f"{self.where(key)} = {value!r} must be text in quotes")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.raw.get(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{self.where(key)} = {value!r} must be true or false")
        return value

    def section(self, key: str) -> Section:
        """A table; an empty one when the key is missing."""
        value = self.raw.get(key, {})
        if not isinstance(value, dict):
            raise InputError(f"{self.where(key)} = {value!r} must be a table")
        return Section(value, self.where(key))

    def tables(self, key: str) -> tuple[Section, ...]:
        """A list of tables, each named by its number; an empty one when the key is missing."""
        values = self._list(key) if key in self.raw else []
        if not all(isinstance(value, dict) for value in values):
            raise InputError(f"{self.where(key)} = {values!r} must be tables, each headed [[{self.where(key)}]]")
        return tuple(Section(value, f"{self.where(key)}[{number}]") for number, value in enumerate(values))

    def count(self, key: str, default: int | None = None, least: int = 1) -> int | None:
        """A whole number."""
        return self._count(self.raw[key], key, least) if key in self.raw else default

    def counts(self, key: str, default: tuple[int, ...] = (), least: int = 1) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(self._count(v, key, least) for v in self._list(key)) if key in self.raw else default

    def number(self, key: str, unit: u.Unit | None, default: float | None = None, positive: bool = True) -> float | None:
        """A number in `unit`, from a quantity such as "2 fs"; `unit` None: a plain number."""
        return self._number(self.raw[key], unit, key, positive) if key in self.raw else default

    def numbers(
        self, key: str, unit: u.Unit | None, default: tuple[float, ...] = (), positive: bool = True
    ) -> tuple[float, ...]:
        """A list of such numbers."""
        return tuple(self._number(v, unit, key, positive) for v in self._list(key)) if key in self.raw else default

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self._list(key)
        if not all(isinstance(value, str) for value in values):
            raise InputError(f"{self.where(key)} = {values!r} must be a list of texts in quotes")
        return tuple(values)

    def _list(self, key: str) -> list:
        value = self.raw[key]
        if not isinstance(value, list):
            raise InputError(f"{self.where(key)} = {value!r} must be a list in brackets")
        return value

    def _count(self, value: Any, key: str, least: int) -> int:
        if isinstance(value, float) and value.is_integer():  # 1e9 is a float in TOML
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"{self.where(key)} = {value!r} must be a whole number of at least {least}")
        return value

    def _number(self, value: Any, unit: u.Unit | None, key: str, positive: bool) -> float:
        name = self.where(key)
        if isinstance(value, float) and math.isinf(value) and not positive:
            return value
        if unit is not None:
            number = parse_quantity(value, unit, name)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            number = float(value)
        else:
            raise InputError(f"{name} = {value!r} must be a plain finite number, without a unit")
        if positive and number < 0.0:
            raise InputError(f"{name} = {value!r} must not be negative")
        return number


def write_toml(data: Mapping[str, Any]) -> str:
    """TOML text of nested mappings of text, numbers, bool and lists; what :func:`read_toml` reads as the same.

    Sections of the top level that hold nothing are left out.

    Raises
    ------
    TypeError
        For values that TOML does not have.
    """
    return tomli_w.dumps({key: value for key, value in data.items() if value != {}})


def toml_text(text: str) -> str:
    """A text as TOML writes it, in quotes."""
    return tomli_w.dumps({"text": text}).removeprefix("text = ").rstrip("\n")

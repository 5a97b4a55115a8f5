"""Dataclasses of settings from their section of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from openmm import unit as u

from ..io.toml import Section

__all__ = ["read_settings"]


def read_settings(settings: type, section: Section, units: Mapping[str, u.Unit] | None = None) -> dict[str, Any]:
    """What a section says of the fields of a dataclass, each read as its annotation says; the dataclass knows its own limits.

    One text may stand where a list of texts is meant.

    Parameters
    ----------
    settings : type
        A dataclass whose annotations are text.
    section : Section
    units : mapping of str to Unit, optional
        Of numbers that may be quantities; others are plain.
    """
    units = units or {}
    readers: dict[str, Callable[[str], Any]] = {
        "str": section.text,
        "int": lambda key: section.count(key, least=0),
        "float": lambda key: section.number(key, units.get(key)),
        "bool": lambda key: section.flag(key, False),
        "tuple[int, ...]": section.counts,
        "tuple[float, ...]": lambda key: section.numbers(key, units.get(key)),
        "tuple[str, ...]": lambda key: section.texts(key) if isinstance(section.raw[key], list) else (section.text(key),),
        "Mapping[str, Any]": lambda key: section.section(key).raw,
        "Mapping[str, Any] | None": lambda key: section.section(key).raw,
    }
    return {field.name: readers[field.type](field.name) for field in fields(settings) if field.name in section}

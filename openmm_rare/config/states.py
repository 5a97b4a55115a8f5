"""States and channels of a configuration: its tables with numbers for quantities, as states describe themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from openmm import unit as u

from ..errors import InputError
from ..io.toml import Section
from ..states.regions import REGION_TYPES, Region, region_from
from ..states.states import Channels, CollectiveVariables, States
from ..states.variable_base import VARIABLE_KINDS
from ..trust.policy import Trust
from ..trust.user_modules import import_function
from .variable_fields import UNITS, build_variable, read_variable

if TYPE_CHECKING:
    from openmm import app

__all__ = ["build_states", "read_states"]


def read_states(top: Section, later: bool = False) -> tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any] | None]:
    """From ``[variables]``, ``[states]`` and ``[channels]``, None where there are none; what was read is read as it is.

    With `later`, sections with variables of unknown types are left as they are: modules may be imported that define them.

    Raises
    ------
    ValueError
        If something is missing or unknown, or a value is not possible.
    """
    named, states, channels = (top.section(name) for name in ("variables", "states", "channels"))
    if later and not all(each.get("type") in VARIABLE_KINDS for each in named.raw.values() if isinstance(each, dict)):
        return dict(named.raw), dict(states.raw) or None, dict(channels.raw) or None
    variables = {name: read_variable(named.section(name)) for name in named.raw}
    units = {name: UNITS[VARIABLE_KINDS[each["type"]].unit] for name, each in variables.items()}
    regions = None
    if states.raw:
        states.check(("a", "b"))
        regions = {name: _read_region(states.section(name), units) for name in ("a", "b")}
    return variables, regions, _read_channels(channels, units) if channels.raw else None


def _read_region(section: Section, units: Mapping[str, u.Unit | None]) -> dict[str, Any]:
    """From ``[states.a]``, say; `units` are those of the variables.

    Raises
    ------
    ValueError
        If it is no region, or a value is not possible.
    """
    section.check((), REGION_TYPES)
    if len(section.raw) != 1:
        raise InputError(
            f'[{section.name}] must hold one of: range = {{ phi = ["-180 deg", "0 deg"] }}, '
            'disc = { center = { x = "0.1 nm" }, radius = "0.05 nm" }, function = "module:function"'
        )
    (kind,) = section.raw
    if kind == "function":
        return {kind: section.text("function")}
    table = section.section(kind)
    if kind == "range":
        table.check((), units, "variable")
        bounds = {name: list(table.numbers(name, units[name], positive=False)) for name in table.raw}
        for name, pair in bounds.items():
            if len(pair) != 2:
                raise InputError(f"{table.where(name)} = {table.raw[name]!r} must be [lowest, highest]")
        return {kind: bounds}
    table.check(("center", "radius"))
    center = table.section("center")
    center.check((), units, "variable")
    middle = {name: center.number(name, units[name], positive=False) for name in center.raw}
    unit = units[next(iter(middle))] if middle else None
    return {kind: {"center": middle, "radius": table.number("radius", unit)}}


def _read_channels(section: Section, units: Mapping[str, u.Unit | None]) -> dict[str, Any]:
    """From ``[channels]``: names, and what there is of a function that refines labels in B, and of rules.

    Raises
    ------
    ValueError
        If something is missing or unknown, or a value is not possible.
    """
    section.check(("names",), ("rules", "arrival"))
    rules = [_read_rule(table, units) for table in section.tables("rules")]
    arrival = {"arrival": section.text("arrival")} if "arrival" in section else {}
    return {"names": list(section.texts("names")), **arrival, "rules": rules}


def _read_rule(section: Section, units: Mapping[str, u.Unit | None]) -> dict[str, Any]:
    section.check(("to",), ("after", *REGION_TYPES))
    region = {key: value for key, value in section.raw.items() if key in REGION_TYPES}
    after = {"after": section.text("after")} if "after" in section else {}
    return {"to": section.text("to"), **after, **_read_region(Section(region, section.name), units)}


def build_states(
    variables: Mapping[str, Mapping[str, Any]],
    regions: Mapping[str, Mapping[str, Any]],
    channels: Mapping[str, Any] | None,
    folder: str,
    trust: Trust,
    topology: app.Topology | None = None,
) -> States:
    """States A and B (keys "a" and "b") with their variables and channels; modules are looked up in `folder` first.

    The topology is for selections of atoms, and `trust` says which modules may be imported.

    Raises
    ------
    ValueError
        If a function cannot be imported, a selection has no or too many atoms, or the states are not possible.
    """
    collective = CollectiveVariables([build_variable(name, each, folder, topology, trust) for name, each in variables.items()])
    built, paths = {}, None
    for name in ("a", "b"):
        with _named(f"states.{name}"):
            built[name] = _region(regions[name], f"states.{name}", folder, trust)
            built[name].check(collective)
    if channels is not None:
        with _named("channels"):
            paths = _channels(channels, folder, trust)
            for rule in paths.rules:
                rule.region.check(collective)
    with _named("states.a", "states.b"):
        return States(collective, built["a"], built["b"], paths)


def _region(description: Mapping[str, Any], where: str, folder: str, trust: Trust) -> Region:
    return region_from(_with_functions(description, where, folder, trust))


def _channels(description: Mapping[str, Any], folder: str, trust: Trust) -> Channels:
    rules = [
        _with_functions(rule, f"channels.rules[{number}]", folder, trust) for number, rule in enumerate(description["rules"])
    ]
    return Channels.from_description(_with_functions({**description, "rules": rules}, "channels", folder, trust))


def _with_functions(description: Mapping[str, Any], where: str, folder: str, trust: Trust) -> dict[str, Any]:
    """A description with the functions that it names, of which `trust` says whether they may be imported."""
    named = {key: description[key] for key in ("function", "arrival") if key in description}
    found = {key: import_function(name, folder, f"{where}.{key}", trust) for key, name in named.items()}
    return {**description, **found}


@contextmanager
def _named(*sections: str) -> Iterator[None]:
    """Say of errors which sections of the configuration they are about, unless they do."""
    try:
        yield
    except InputError as error:
        place = " and ".join(f"[{section}]" for section in sections)
        raise type(error)(str(error) if sections[0] in str(error) else f"{place}: {error}") from error

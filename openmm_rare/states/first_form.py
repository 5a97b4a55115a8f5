"""Descriptions of states as the first versions wrote them: their records are read, and fingerprints are made of this form.

A variable was ``{"kind": "Dihedral", "name": "phi", ...}`` in a list, a region ``{"kind": "Range", "bounds": ...}``: the kinds
are the names of the classes. What is written today is what stands in a configuration.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import InputError
from .box_variables import BoxVariable
from .variable_base import VARIABLE_KINDS

__all__ = ["fingerprint_form", "region_from_first_form", "variables_from_first_form"]

_REGIONS = {
    "Range": ("range", ("bounds",)),
    "Disc": ("disc", ("center", "radius")),
    "FunctionRegion": ("function", ("function",)),
}
"""Names of the classes: what they are called today, and their keys."""


def variables_from_first_form(description: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Descriptions of variables by name; those of today are left as they are.

    Raises
    ------
    ValueError
        For a kind that does not exist.
    """
    if isinstance(description, Mapping):
        return description
    types, found = {kind.__name__: type_name for type_name, kind in VARIABLE_KINDS.items()}, {}
    for each in description:
        if each["kind"] not in types:
            raise InputError(f"collective variables of the kind {each['kind']!r} cannot be read back; use {', '.join(types)}")
        found[each["name"]] = {"type": types[each["kind"]], **_without(each, "kind", "name")}
    return found


def region_from_first_form(description: Mapping[str, Any]) -> Mapping[str, Any]:
    """The description of a region; one of today is left as it is.

    Raises
    ------
    ValueError
        For a kind that does not exist.
    """
    if "kind" not in description:
        return description
    if description["kind"] not in _REGIONS:
        raise InputError(f"regions of the kind {description['kind']!r} cannot be read back; use {', '.join(_REGIONS)}")
    name, keys = _REGIONS[description["kind"]]
    return {name: description[keys[0]] if len(keys) == 1 else {key: description[key] for key in keys}}


def fingerprint_form(states: Any, periodic: bool) -> dict[str, Any]:
    """States as fingerprints are made of them: in the first form, without the boxes that the System decides about.

    Parameters
    ----------
    states : States
    periodic : bool
        Whether the System is.
    """
    description = states.describe()
    for variable in states.variables.variables:
        if isinstance(variable, BoxVariable) and (variable.follows_system or not periodic):
            description["variables"][variable.name].pop("box", None)
    return _first_form(description)


def _first_form(description: Mapping[str, Any]) -> dict[str, Any]:
    """What the first versions wrote for states that describe themselves so."""
    kinds, channels = VARIABLE_KINDS, description.get("channels")
    variables = [
        {"kind": kinds[each["type"]].__name__, "name": name, **_without(each, "type")}
        for name, each in description["variables"].items()
    ]
    if channels is not None:
        rules = [
            {"region": _first_region(_without(rule, "to", "after")), "to": rule["to"], "after": rule.get("after")}
            for rule in channels["rules"]
        ]
        channels = {"names": channels["names"], "rules": rules, "arrival": channels.get("arrival")}
    regions = {name: _first_region(region) for name, region in description["states"].items()}
    return {"variables": variables, **regions, "channels": channels}


def _first_region(description: Mapping[str, Any]) -> dict[str, Any]:
    for kind, (name, keys) in _REGIONS.items():
        if description.keys() == {name}:
            given = description[name]
            return {"kind": kind, **({keys[0]: given} if len(keys) == 1 else given)}
    return dict(description)  # one of a user's own


def _without(description: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in description.items() if key not in keys}

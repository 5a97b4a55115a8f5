"""States as the native plugin knows them: variables, the regions A and B, and the rules of channels, as XML."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from xml.etree import ElementTree as xml

import numpy as np

from ..errors import InputError
from ..states.regions import Disc, Range, Region
from ..states.states import States
from ..states.variables import (
    Angle,
    CollectiveVariable,
    CollectiveVariables,
    Coordinate,
    CoordinationMoment,
    Dihedral,
    Distance,
    LinearCombination,
)

__all__ = ["add_states", "has_native_states"]

_ANY_LABEL = -1


def has_native_states(states: States) -> bool:
    """Whether the native integrator can tell A and B by itself, and label paths; Python functions it cannot call."""
    rules = () if states.channels is None else states.channels.rules
    regions = {type(region) for region in (states.a, states.b, *(rule.region for rule in rules))}
    return all(map(_is_native, states.variables.variables)) and regions <= {Range, Disc}


def add_states(root: xml.Element, states: States) -> None:
    """Add variables, A and B as regions that absorb, and the rules of channels to the XML of an integrator.

    Raises
    ------
    ValueError
        If they are made of Python functions, or of variables that the plugin does not know.
    """
    if not has_native_states(states):
        raise InputError(
            "A, B and the regions of channels must be ranges or discs of built-in variables: the native integrator cannot "
            "call Python functions; test such states from Python"
        )
    variables = xml.SubElement(root, "Variables")
    for variable in states.variables.variables:
        _add_variable(variables, variable)
    regions = xml.SubElement(root, "AbsorbingRegions")
    for region in (states.a, states.b):
        _add_region(xml.SubElement(regions, "Region"), region, states.variables)
    if states.channels is not None:
        rules = xml.SubElement(root, "LabelRules")
        for rule in states.channels.rules:
            labels = [_ANY_LABEL if name is None else states.channels.label(name) for name in (rule.after, rule.to)]
            node = xml.SubElement(rules, "Region", {key: str(label) for key, label in zip(("from", "to"), labels, strict=True)})
            _add_region(node, rule.region, states.variables)


def _add_variable(parent: xml.Element, variable: CollectiveVariable) -> None:
    number, indices, values = _native_variable(variable)
    node = xml.SubElement(parent, "Variable", kind=str(number), period=repr(float(variable.period or 0.0)))
    box = getattr(variable, "periodic_box", None)
    values = [*values, *([] if box is None else box[np.tril_indices(3)].tolist())]
    for index in indices:
        xml.SubElement(node, "Index", i=str(index))
    for value in values:
        xml.SubElement(node, "Value", v=repr(float(value)))


@singledispatch
def _native_variable(variable: CollectiveVariable) -> tuple[int, Sequence[int], Sequence[float]]:
    """Number of a kind of variable in the plugin, and its indices and values, but for the box."""
    raise InputError(
        f"variable {variable.name!r} is a {type(variable).__name__}, which the native integrator does not know: use the "
        "backend python"
    )


def _is_native(variable: CollectiveVariable) -> bool:
    """Whether the plugin knows a kind of variable."""
    return _native_variable.dispatch(type(variable)) is not _native_variable.dispatch(object)


@_native_variable.register
def _(variable: Coordinate) -> tuple[int, Sequence[int], Sequence[float]]:
    return 0, (variable.atom, variable.axis), ()


@_native_variable.register
def _(variable: Distance) -> tuple[int, Sequence[int], Sequence[float]]:
    return 1, variable.atoms, ()


@_native_variable.register
def _(variable: Angle) -> tuple[int, Sequence[int], Sequence[float]]:
    return 2, variable.atoms, ()


@_native_variable.register
def _(variable: Dihedral) -> tuple[int, Sequence[int], Sequence[float]]:
    return 3, variable.atoms, ()


@_native_variable.register
def _(variable: CoordinationMoment) -> tuple[int, Sequence[int], Sequence[float]]:
    return 4, (variable.order,), (variable.radius,)


@_native_variable.register
def _(variable: LinearCombination) -> tuple[int, Sequence[int], Sequence[float]]:
    return 5, (), variable.coefficients.ravel().tolist()


def _add_region(node: xml.Element, region: Region, variables: CollectiveVariables) -> None:
    if isinstance(region, Range):
        for name, (lower, upper) in region.bounds.items():
            column = str(variables.index(name))
            xml.SubElement(node, "Range", variable=column, lower=repr(lower), upper=repr(upper))
    else:
        disc = xml.SubElement(node, "Disc", radius=repr(region.radius))
        for name, value in region.center.items():
            xml.SubElement(disc, "Center", variable=str(variables.index(name)), value=repr(value))

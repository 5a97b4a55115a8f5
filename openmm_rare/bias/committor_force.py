"""The bias of a trained model as a native force: no Python and no torch while a simulation runs."""

from __future__ import annotations

import ctypes
from functools import singledispatch
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import openmm
from openmm import unit

from ..descriptors.build import Concatenate, Coordinates, Descriptor
from ..descriptors.pairs import Coordination, CoordinationMoments, DiscGap, PairDistances, SortedDistances
from ..dynamics import native
from ..errors import InputError
from ..units import in_md_units
from .importance import FastImportance

__all__ = ["CommittorForce", "has_native_features"]


def has_native_features(importance: FastImportance) -> bool:
    """Whether the native force can compute all features of this importance function."""
    return all(_is_native(part) and not _has_box(part) for part in _parts(importance.descriptor))


class CommittorForce(openmm.Force):
    """The energy ``scale`` times the sum of ln I over all walkers of a replicated System, by the native plugin.

    It is what :class:`~openmm_rare.bias.python_force.PythonBias` computes with the same importance function, in the same
    precision.

    Parameters
    ----------
    importance : FastImportance
        Its weights are copied.
    n_walkers : int
        Copies in the System.
    scale : Quantity or float
        kJ/mol; -2 kT makes the bias of overdamped dynamics.

    Raises
    ------
    ValueError
        For a unit or a type that does not fit, or a descriptor that the plugin does not know; see :func:`has_native_features`.
    openmm.OpenMMException
        If a number is out of range.
    RuntimeError
        If there is no plugin.
    """

    def __init__(self, importance: FastImportance, n_walkers: int, scale: Any) -> None:
        self._shape = _shape(importance)
        root = xml.Element("Force", type="CommittorForce", version="1", name="CommittorForce", forceGroup="0")
        root.attrib.update(
            numWalkers=str(native.whole_number(n_walkers, "n_walkers")),
            numDimensions=str(importance.num_dimensions),
            scale=repr(float(in_md_units(scale, unit.kilojoule_per_mole, "scale"))),
            activation="0",
            inLogit=_text(importance.in_logit),
            widths=_text([weight.shape[1] for weight in importance.weights] + [1]),
            parameters=_text(_parameters(importance)),
        )
        root.append(xml.fromstring(self._shape[0]))
        self.this = native.make(xml.tostring(root, encoding="unicode")).this  # the pointer, and the ownership with it

    def update(self, context: openmm.Context, importance: FastImportance) -> None:
        """Give this force and a Context of it the weights of another model of the same shape.

        Parameters
        ----------
        context : openmm.Context
            Of a System that holds this force.
        importance : FastImportance

        Raises
        ------
        ValueError
            If its features or the widths of its network are others, or an argument is of another type.
        openmm.OpenMMException
            If the Context does not hold this force, or a weight is not finite.
        """
        if not isinstance(context, openmm.Context):
            raise InputError(f"context must be an openmm.Context, not {type(context).__name__}")
        if _shape(importance) != self._shape:
            raise InputError("the importance function has other features or another network than this force: make a new force")
        values = _parameters(importance)
        pointer = values.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        native.call("rare_committor_update", self, ctypes.c_void_p(int(context.this)), pointer, len(values))


def _parts(descriptor: Descriptor) -> list[Descriptor]:
    if isinstance(descriptor, Concatenate):
        return [inner for part in descriptor.parts for inner in _parts(part)]
    return [descriptor]


def _has_box(part: Descriptor) -> bool:
    """Whether nearest images count, of which the plugin's features know nothing."""
    return getattr(part, "box", None) is not None


def _parameters(importance: FastImportance) -> np.ndarray:
    """For every layer the weights, row by row, and then the biases."""
    layers = zip(importance.weights, importance.biases, strict=True)
    return np.concatenate([tensor.numpy().ravel() for layer in layers for tensor in layer]).astype(np.float64)


def _shape(importance: FastImportance) -> tuple:
    """What cannot change in a Context; the first item is the XML of the features."""
    if not isinstance(importance, FastImportance):
        raise InputError(f"importance must be a FastImportance, as FastImportance(model) is, not {type(importance).__name__}")
    node = xml.Element("Features")
    for part in _parts(importance.descriptor):
        _add_feature(node, part)
    widths = tuple(weight.shape[1] for weight in importance.weights)
    return xml.tostring(node, encoding="unicode"), widths, tuple(importance.in_logit), importance.num_dimensions


def _add_feature(parent: xml.Element, part: Descriptor) -> None:
    attributes = {"sorted": False, "radius": 0.0, "values": (), "columns": (), **_native_feature(part)}
    if _has_box(part):
        raise InputError(
            "the native force knows no nearest images: use openmm_rare.bias.python_force.PythonBias for a descriptor with a box"
        )
    texts = {
        "kind": str(attributes["kind"]),
        "sorted": str(int(attributes["sorted"])),
        "radius": repr(float(attributes["radius"])),
        "values": _text(attributes["values"]),
        "columns": _text(attributes["columns"]),
    }
    xml.SubElement(parent, "Feature", texts)


@singledispatch
def _native_feature(part: Descriptor) -> dict[str, Any]:
    """Number of a kind of descriptor in the plugin, and what there is of options."""
    known = ", ".join(kind.__name__ for kind in _native_feature.registry if kind is not object)
    raise InputError(
        f"the native force does not know the descriptor {type(part).__name__}, only {known}; "
        "use openmm_rare.bias.python_force.PythonBias for it"
    )


def _is_native(part: Descriptor) -> bool:
    """Whether the plugin knows a kind of descriptor."""
    return _native_feature.dispatch(type(part)) is not _native_feature.dispatch(object)


@_native_feature.register
def _(part: PairDistances) -> dict[str, Any]:
    return {"kind": 0}


@_native_feature.register
def _(part: SortedDistances) -> dict[str, Any]:
    return {"kind": 0, "sorted": True}


@_native_feature.register
def _(part: Coordination) -> dict[str, Any]:
    return {"kind": 1, "radius": part.radius, "sorted": part.sort}


@_native_feature.register
def _(part: CoordinationMoments) -> dict[str, Any]:
    return {"kind": 2, "radius": part.radius}


@_native_feature.register
def _(part: DiscGap) -> dict[str, Any]:
    return {"kind": 3, "radius": part.radius, "values": [*part.center, part.disc_radius, part.offset]}


@_native_feature.register
def _(part: Coordinates) -> dict[str, Any]:
    columns = part.columns.tolist()
    matrix = np.eye(len(columns)) if part.matrix is None else part.matrix.numpy().astype(np.float64)
    return {"kind": 4, "columns": columns, "values": (matrix / part.scale).ravel()}


def _text(numbers: Any) -> str:
    """Numbers as the plugin reads them, with all their digits."""
    return " ".join(map(repr, np.asarray(numbers).tolist()))

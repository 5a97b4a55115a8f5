"""The native overdamped integrator: many walkers, their weights, states and labels, without Python in the loop."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import singledispatch
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import openmm
from openmm import unit

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
from ..units import in_md_units
from . import native
from .overdamped import MAX_SHIFT

__all__ = ["IDLE", "NativeOverdampedLangevinIntegrator", "has_native_states"]

IDLE: int = -1
"""State of a walker that is held where it is."""

_ANY_LABEL = -1
_RECEIVE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_double), ctypes.c_int)


def has_native_states(states: States) -> bool:
    """Whether the native integrator can tell A and B by itself, and label paths; Python functions it cannot call."""
    rules = () if states.channels is None else states.channels.rules
    regions = {type(region) for region in (states.a, states.b, *(rule.region for rule in rules))}
    return all(map(_is_native, states.variables.variables)) and regions <= {Range, Disc}


class NativeOverdampedLangevinIntegrator(openmm.Integrator):
    """Unbiased and biased overdamped Langevin dynamics of many walkers in one System, by the native plugin.

    It samples what :class:`~openmm_rare.dynamics.overdamped.BiasedOverdampedLangevinIntegrator` samples, step by step. In
    addition it keeps one log weight for each walker, and looks walkers up in the states A and B: one that has arrived is held
    there, and its weight does not change any more. Constraints of the System are applied, if there are any; then num_dimensions
    must be 3.

    Parameters
    ----------
    temperature : Quantity or float
        K.
    friction : Quantity or float
        1/ps.
    timestep : Quantity or float
        ps.
    num_dimensions : int
        Only the first so many coordinates of each particle move.
    n_walkers : int
        Copies in the System.
    seed : int
        For the noise; 0: one that nobody knows.
    bias_group : int, optional
        Force group of the bias; None: unbiased.
    strength, max_shift : float
        Factor on the shift of the noise, and bound on it.
    bias_interval : int
        Steps for which the forces of the bias are kept.
    states : States, optional
        Where walkers are held; see :func:`has_native_states`.
    check_interval : int
        Steps between looks at the states.

    Raises
    ------
    ValueError
        For a unit that does not fit, a number that is not whole, or states that are Python functions.
    openmm.OpenMMException
        If a number is out of range, or the plugin is not there.
    """

    def __init__(
        self,
        temperature: Any,
        friction: Any,
        timestep: Any,
        num_dimensions: int = 3,
        n_walkers: int = 1,
        seed: int = 0,
        bias_group: int | None = None,
        strength: float = 1.0,
        max_shift: float = MAX_SHIFT,
        bias_interval: int = 1,
        states: States | None = None,
        check_interval: int = 1,
    ) -> None:
        if bias_group is not None and bias_group not in range(32):
            raise InputError(f"bias_group = {bias_group!r} must be a force group, 0 to 31, or None")
        whole = {
            "numDimensions": (num_dimensions, "num_dimensions"),
            "numWalkers": (n_walkers, "n_walkers"),
            "randomSeed": (seed, "seed"),
            "biasInterval": (bias_interval, "bias_interval"),
            "checkInterval": (check_interval, "check_interval"),
        }
        numbers = {
            "temperature": in_md_units(temperature, unit.kelvin, "temperature"),
            "friction": in_md_units(friction, unit.picosecond**-1, "friction"),
            "stepSize": in_md_units(timestep, unit.picosecond, "timestep"),
            "biasForceGroups": 0 if bias_group is None else int(np.int32(np.uint32(1 << bias_group))),
            "biasStrength": float(strength),
            "maxShift": float(max_shift),
            **{key: native.whole_number(*argument) for key, argument in whole.items()},
        }
        root = xml.Element("Integrator", type="BiasedOverdampedLangevinIntegrator", version="1")
        root.attrib.update({key: repr(value) for key, value in numbers.items()})
        if states is not None:
            _add_states(root, states)
        made = native.make(xml.tostring(root, encoding="unicode"))
        self.this = made.this  # the pointer, and the ownership with it
        self._n = n_walkers

    def log_weights(self) -> np.ndarray:
        """ln w of every walker, shape ``(n_walkers,)``."""
        return self._get("log_weights", ctypes.c_double)

    def set_log_weights(self, values: np.ndarray) -> None:
        """Continue from these log weights."""
        self._set("set_log_weights", values, ctypes.c_double)

    def states(self) -> np.ndarray:
        """0 while a walker moves, 1 in A, 2 in B, :data:`IDLE` if it is held; int32 of shape ``(n_walkers,)``."""
        return self._get("states", ctypes.c_int)

    def set_states(self, values: np.ndarray) -> None:
        """Release walkers (0) or hold them; the steps of all of them count from here."""
        self._set("set_states", values, ctypes.c_int)

    def labels(self) -> np.ndarray:
        """Channel labels, int32 of shape ``(n_walkers,)``."""
        return self._get("labels", ctypes.c_int)

    def set_labels(self, values: np.ndarray) -> None:
        """Continue from these channel labels."""
        self._set("set_labels", values, ctypes.c_int)

    def hold(self, walkers: np.ndarray) -> None:
        """Stop these walkers; also while a step is under way, from a force."""
        self._set("hold", walkers, ctypes.c_int)

    def steps(self) -> np.ndarray:
        """Steps that each walker has moved since :meth:`set_states`, int32 of shape ``(n_walkers,)``."""
        return self._get("steps", ctypes.c_int)

    def resample(self, parents: np.ndarray) -> None:
        """Make walker w a copy of walker ``parents[w]``, in everything but its noise to come."""
        self._set("resample", parents, ctypes.c_int)

    def watch(self, regions: np.ndarray) -> None:
        """Hold no walker in A or B, but note where it goes, until :meth:`set_states`; Reference and CPU only.

        Parameters
        ----------
        regions : ndarray of int, shape (n_walkers,)
            Where each walker is: 1 in A, 2 in B, 0 elsewhere.
        """
        self._set("watch", regions, ctypes.c_int)

    def take_changes(self, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`watch` has noted since the last call.

        Returns
        -------
        changes : ndarray of int32, shape (n, 5)
            In order of time: walker, steps since :meth:`watch`, regions before and after, and channel label on arrival.
        positions : ndarray, shape (n, n_atoms, 3), nm
            Of the walker at the change.
        """
        taken = []

        def receive(changes: Any, positions: Any, number: int) -> None:
            taken.append((np.zeros((number, 5), dtype=np.int32), np.zeros((number, n_atoms, 3))))
            if number:
                taken[0][0][:] = np.ctypeslib.as_array(changes, (number, 5))
                taken[0][1][:] = np.ctypeslib.as_array(positions, (number, n_atoms, 3))

        native.call("rare_integrator_take_changes", self, _RECEIVE(receive))
        return taken[0]  # missing where memory was: ctypes does not hand on what its callbacks raise

    def _get(self, name: str, kind: type) -> np.ndarray:
        values = np.empty(self._n, dtype=kind)
        native.call(f"rare_integrator_get_{name}", self, values.ctypes.data_as(ctypes.POINTER(kind)), len(values))
        return values

    def _set(self, name: str, values: np.ndarray, kind: type) -> None:
        array = _array(values, kind, name)
        native.call(f"rare_integrator_{name}", self, array.ctypes.data_as(ctypes.POINTER(kind)), len(array))


def _array(values: np.ndarray, kind: type, method: str) -> np.ndarray:
    """The same numbers as the plugin takes them: none is cut off or rounded."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise InputError(f"{method} needs one list of numbers, not an array of {given.dtype} of shape {given.shape}")
    with np.errstate(invalid="ignore"):
        array = np.ascontiguousarray(given, dtype=kind)
    wrong = given[array != given] if kind is ctypes.c_int else ()
    if len(wrong) > 0:
        raise InputError(f"{method} needs whole numbers of 32 bits, not {wrong[0]}")
    return array


def _add_states(root: xml.Element, states: States) -> None:
    """Variables, A and B as regions that absorb, and the rules of channels."""
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

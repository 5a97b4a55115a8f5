"""The native overdamped integrator: many walkers, their weights, states and labels, without Python in the loop."""

from __future__ import annotations

import ctypes
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import openmm
from openmm import unit

from ..errors import InputError
from ..states.states import States
from ..units import in_md_units
from . import native
from .native_states import add_states
from .overdamped import MAX_SHIFT

__all__ = ["IDLE", "BiasedOverdampedLangevinIntegrator"]

IDLE: int = -1
"""State of a walker that is held where it is."""

_RECEIVE = ctypes.CFUNCTYPE(None, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_double), ctypes.c_int)


class BiasedOverdampedLangevinIntegrator(openmm.Integrator):
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
        Where walkers are held; see :func:`openmm_rare.dynamics.native_states.has_native_states`.
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
            add_states(root, states)
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

"""Variables, states and the user's functions at the initial structure, before any dynamics runs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import InputError, UserCodeError
from .frame_values import one_per_frame
from .region_text import region_text, values_text
from .regions import FunctionRegion
from .states import IN_A, IN_B, Channels, States
from .variables import CollectiveVariables, FunctionVariable

__all__ = ["require_atoms_exist", "require_in_a", "try_functions"]

_STEP, _STRETCH = 0.005, 1.02
_SHARE, _ROUNDING = 0.1, 1e-4
"""Of the spread and of the size of values: the most by which those of a batch may differ from those of single frames."""


def require_atoms_exist(variables: CollectiveVariables, n_atoms: int) -> None:
    """Refuse variables of other atoms than the System has.

    Raises
    ------
    ValueError
        Naming the variable.
    """
    for variable in variables.variables:
        variable.require_fit(n_atoms)


def require_in_a(states: States, positions: np.ndarray, name: str = "positions") -> None:
    """Refuse initial structures, shape (n, n_atoms, 3), nm, that do not lie in A alone; `name` may hold {} for their number.

    Raises
    ------
    ValueError
        Saying where the first lies.
    """
    for number in np.flatnonzero(states.classify(positions) != IN_A)[:1] if len(positions) else ():
        frame = positions[number : number + 1]
        where = "in B" if states.classify(frame)[0] == IN_B else "in neither state"
        values = values_text(states.variables, states.variables(frame)[0])
        region = region_text(states.a, states.variables)
        raise InputError(f"{name.format(number)} must lie in A, but are {where}: {values}; A is {region}")


def try_functions(states: States, positions: np.ndarray, num_dimensions: int) -> None:
    """Call every function of the user's with several frames near a structure.

    Parameters
    ----------
    states : States
    positions : ndarray, shape (n_atoms, 3), nm
    num_dimensions : int
        The other coordinates never change.

    Raises
    ------
    ValueError
        If a function fails at the structure, does not return one value for each frame, gives a frame in a batch another value
        than alone, or changes the positions.
    """
    frames = _frames_near(positions, num_dimensions)
    for variable in states.variables.variables:
        if isinstance(variable, FunctionVariable):
            _try(variable, f"variable {variable.name!r}: {variable.describe()['function']}", frames)
    rules = () if states.channels is None else states.channels.rules
    for region in (states.a, states.b, *(rule.region for rule in rules)):
        if isinstance(region, FunctionRegion):
            _try(lambda batch, region=region: region.contains(batch, np.empty(0), states.variables), region.label, frames)
    if states.channels is not None and states.channels.arrival is not None:
        _try_arrival(states.channels, states.variables, frames)


def _frames_near(positions: np.ndarray, num_dimensions: int) -> np.ndarray:
    """The structure and three others, shape (4, n_atoms, 3), one of them stretched."""
    frames = np.repeat(positions[None], 4, axis=0)
    moving = frames[1:, :, :num_dimensions]
    moving[1] *= _STRETCH
    moving += np.random.default_rng(0).uniform(-_STEP, _STEP, moving.shape)
    return frames


def _try(function: Callable[[np.ndarray], np.ndarray], name: str, frames: np.ndarray) -> None:
    start, others = frames[0], frames[1:]
    copies = np.repeat(start[None], len(others), axis=0)
    given = copies.copy()
    function(given)
    if not np.array_equal(given, copies):
        raise InputError(f"{name} changes the positions that it is given: let it work on a copy, positions.copy()")
    try:
        together = function(others.copy())
        alone = np.concatenate([function(frame[None].copy()) for frame in others])
    except UserCodeError:  # it need not know what to do with structures that are made up
        return
    values = np.stack([together, alone]).astype(np.float64)
    if not np.isfinite(values).all():
        return
    difference, spread = np.abs(values[0] - values[1]).max(), np.ptp(values)
    if difference > _SHARE * spread + _ROUNDING * np.abs(values).max():
        raise InputError(
            f"{name} gives frames in a batch of three the values {_rounded(values[0])}, but alone {_rounded(values[1])}: each "
            "value must depend on its own frame, positions[i]"
        )


def _try_arrival(channels: Channels, variables: CollectiveVariables, frames: np.ndarray) -> None:
    """Only the shape: the frames are not in B, and the function need not know what to do with them."""
    frames = np.repeat(frames[:1], 3, axis=0)
    values, labels = variables(frames), np.zeros(len(frames), dtype=np.int64)
    try:
        returned = channels.arrival(frames.copy(), values, labels)
    except Exception:
        return
    one_per_frame(returned, len(frames), channels.describe()["arrival"], "iu")


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]

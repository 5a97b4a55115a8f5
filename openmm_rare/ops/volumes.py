"""States of openmm_rare as volumes of OpenPathSampling, which both of its storages bring back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import openpathsampling as paths

from ..dynamics.frames import Frames
from ..errors import InputError
from ..states.region_text import values_text
from ..states.regions import Region, region_from
from ..states.states import States
from ..states.variables import CollectiveVariables
from .snapshots import trajectory_of

__all__ = ["StateVolume", "number_in", "state_volumes", "which_state"]


class StateVolume(paths.Volume):
    """One state: a region in collective variables, asked for a frame or for many at once.

    Storage keeps its definition as text, so that a process that knows only the storage gets the same volume; regions and
    variables that are functions need their module on the import path there.

    Parameters
    ----------
    variables : CollectiveVariables
        Everything that the region refers to.
    region : Region
    """

    def __init__(self, variables: CollectiveVariables, region: Region) -> None:
        super().__init__()
        region.check(variables)
        self._variables, self._region = variables, region

    def to_dict(self) -> dict[str, Any]:
        """What storage keeps."""
        definition = {"variables": self._variables.describe(), "region": self._region.describe()}
        return {"definition": json.dumps(definition)}

    @classmethod
    def from_dict(cls, dct: dict[str, Any]) -> StateVolume:
        """Rebuild from storage."""
        definition = json.loads(dct["definition"])
        return cls(CollectiveVariables.from_description(definition["variables"]), region_from(definition["region"]))

    def __call__(self, snapshot: Any) -> bool:
        """Whether a frame lies in the state."""
        return bool(self.contains(np.asarray(snapshot.statics.coordinates._value)[None])[0])

    def where(self, positions: np.ndarray) -> str:
        """Values of the variables at positions ``(n_atoms, 3)``, in words."""
        return values_text(self._variables, self._variables(positions[None])[0])

    def contains(self, positions: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Whether each frame lies in the state.

        Parameters
        ----------
        positions : ndarray, shape (n, n_atoms, 3), nm
        values : ndarray, shape (n, n_variables), optional
            :meth:`values` of these positions, if they are known.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        return self._region.contains(positions, self.values(positions) if values is None else values, self._variables)

    def shares_variables(self, other: StateVolume) -> bool:
        """Whether another volume is defined in the very same variables."""
        return self._variables is other._variables

    def values(self, positions: np.ndarray) -> np.ndarray:
        """Values of the variables, shape ``(n, n_variables)``."""
        return self._variables(positions)

    def __str__(self) -> str:
        return f"{self.name}: {self._region.describe()}"


def state_volumes(states: States) -> tuple[StateVolume, StateVolume]:
    """A and B."""
    return tuple(StateVolume(states.variables, region).named(name) for name, region in (("A", states.a), ("B", states.b)))


def number_in(states: Sequence[paths.Volume], state: paths.Volume) -> int:
    """Where a state is among others; -1 if it is not. Two with one definition are the same state."""

    def same(other: paths.Volume) -> bool:
        both = isinstance(state, StateVolume) and isinstance(other, StateVolume)
        return state is other or state.__uuid__ == other.__uuid__ or (both and state.to_dict() == other.to_dict())

    return next((number for number, other in enumerate(states) if same(other)), -1)


def which_state(volumes: Sequence[paths.Volume], frames: Frames, engine: Any) -> np.ndarray:
    """Number of the state that each frame lies in, -1 for none; shape ``(n,)``.

    Parameters
    ----------
    volumes : sequence of Volume
        A :class:`StateVolume` is asked for all frames at once, any other volume of OpenPathSampling one by one.
    frames : Frames
    engine : RareEventEngine
        What the frames belong to.

    Raises
    ------
    ValueError
        If a frame lies in two states, or a variable is not finite.
    """
    found = np.full(len(frames), -1)
    for number, mine in enumerate(_inside(volumes, frames, engine)):
        both = mine & (found >= 0)
        if both.any():
            first, second = volumes[found[np.argmax(both)]], volumes[number]
            positions = frames.positions[np.argmax(both)]
            place = f"where {first.where(positions)}" if isinstance(first, StateVolume) else f"(nm) {positions[:10].tolist()}"
            raise InputError(
                f"states overlap: a frame lies in both {first.name} and {second.name}, at positions {place}; make them smaller "
                "or move them apart"
            )
        found[mine] = number
    return found


def _inside(volumes: Sequence[paths.Volume], frames: Frames, engine: Any) -> list[np.ndarray]:
    if not all(isinstance(volume, StateVolume) for volume in volumes):
        snapshots = list(trajectory_of(frames, engine))
        return [np.array([bool(volume(snapshot)) for snapshot in snapshots], dtype=bool) for volume in volumes]
    first = volumes[0]
    values = first.values(frames.positions)  # once for all of them
    return [volume.contains(frames.positions, values if volume.shares_variables(first) else None) for volume in volumes]

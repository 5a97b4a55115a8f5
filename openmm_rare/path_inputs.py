"""Numbers that tell frames of paths apart: the variables of the states, and what the network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .bonds import bonded_pairs
from .committor import in_batches
from .particles import masses_of
from .variable_units import unit_of, value_text

if TYPE_CHECKING:
    from .descriptor_base import Descriptor
    from .systems.base import RareEventSystem

__all__ = ["PathInputs"]

_CHANGED = 1e-4  # of the size of a feature, by which it changes where equivalent atoms change places


class PathInputs:
    """The variables of the states and the features of a descriptor, of frames.

    Features that change where equivalent atoms change places are left out, as the angle by which a methyl group has turned:
    paths that differ in nothing else are no different ways. Atoms are equivalent here if they have the same mass and are bound
    to the same single atom.

    Parameters
    ----------
    system : RareEventSystem
    descriptor : Descriptor

    Attributes
    ----------
    names : tuple of str
        Of the columns.
    """

    def __init__(self, system: RareEventSystem, descriptor: Descriptor) -> None:
        self._variables, self._descriptor = system.states.variables, descriptor
        shuffled = _shuffled(system)
        features = [in_batches(descriptor, each[None])[0] for each in (system.positions, system.positions[shuffled])]
        self._kept = np.flatnonzero(np.abs(features[0] - features[1]) <= _CHANGED * (1.0 + np.abs(features[0])))
        labels = [f"input {descriptor.names[column]}" for column in self._kept]
        self.names = (*self._variables.names, *labels)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n_frames, n_inputs), of positions (n_frames, n_atoms, 3) in nm."""
        positions = np.asarray(positions, dtype=np.float64)
        return np.hstack([self._variables(positions), in_batches(self._descriptor, positions)[:, self._kept]])

    def unwrapped(self, values: np.ndarray) -> np.ndarray:
        """The same values (n, n_inputs), those of periodic variables within half a period of their circular mean."""
        values = values.copy()
        for column, variable in enumerate(self._variables.variables):
            if variable.period is not None and len(values):
                turn = 2.0 * np.pi / variable.period
                mean = np.angle(np.exp(1j * turn * values[:, column]).mean()) / turn
                off = values[:, column] - mean
                values[:, column] = mean + off - variable.period * np.round(off / variable.period)
        return values

    def text(self, column: int, value: float) -> str:
        """A value with its unit."""
        if column >= len(self._variables.variables):
            return f"{value:.3g}"
        variable = self._variables.variables[column]
        if variable.period is not None:
            value -= variable.period * np.round(value / variable.period)
        return value_text(float(f"{value:.3g}"), unit_of(variable))


def _shuffled(system: RareEventSystem) -> np.ndarray:
    """Atoms in another order, in which equivalent ones have changed places."""
    order, masses = np.arange(len(system.positions)), masses_of(system.system)
    partners: dict[int, list[int]] = {}
    for pair in bonded_pairs(system.system, system.topology).tolist():
        for one, other in (pair, pair[::-1]):
            partners.setdefault(one, []).append(other)
    groups: dict[tuple[int, float], list[int]] = {}
    for atom, bound in partners.items():
        if len(bound) == 1:
            groups.setdefault((bound[0], float(masses[atom])), []).append(atom)
    for group in groups.values():
        order[group] = np.roll(group, 1)
    return order

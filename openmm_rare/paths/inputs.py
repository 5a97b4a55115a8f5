"""Numbers that tell frames of paths apart: the variables of the states, and what the network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..committor.base import in_batches
from ..states.variable_units import value_text
from .mirror_images import equivalent_atoms, is_its_mirror_image, mirrored

if TYPE_CHECKING:
    from ..descriptors.base import Descriptor
    from ..problem import RareEventSystem

__all__ = ["PathInputs"]

_CHANGED = 1e-4  # of the size of a feature, by which it changes where equivalent atoms change places


class PathInputs:
    """The variables of the states and the features of a descriptor, of frames.

    Features that change where equivalent atoms change places are left out, as the angle by which a methyl group has turned:
    paths that differ in nothing else are no different ways. Atoms are equivalent here if they have the same mass and are bound
    to the same single atom. Of a system that is its own mirror image, one of the two images of a frame counts for both.

    Parameters
    ----------
    problem : RareEventSystem
    descriptor : Descriptor

    Attributes
    ----------
    names : tuple of str
        Of the columns.
    """

    def __init__(self, problem: RareEventSystem, descriptor: Descriptor) -> None:
        self._variables, self._descriptor = problem.states.variables, descriptor
        shuffled = _shuffled(problem)
        features = [in_batches(descriptor, each[None])[0] for each in (problem.positions, problem.positions[shuffled])]
        self._kept = np.flatnonzero(np.abs(features[0] - features[1]) <= _CHANGED * (1.0 + np.abs(features[0])))
        labels = [f"input {descriptor.names[column]}" for column in self._kept]
        self._folded = is_its_mirror_image(problem)
        self.names = (*self._variables.names, *labels)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape (n_frames, n_inputs), of positions (n_frames, n_atoms, 3) in nm."""
        positions = np.asarray(positions, dtype=np.float64)
        values = self._of(positions)
        if self._folded and len(positions):
            images = self._of(mirrored(positions))
            odd = np.flatnonzero((np.abs(values - images) > _CHANGED * (1.0 + np.abs(values))).any(axis=0))
            if len(odd):  # the image in which the first input with a sign is positive
                values = np.where((values[:, odd[:1]] < 0.0), images, values)
        return values

    def _of(self, positions: np.ndarray) -> np.ndarray:
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
        """A value with its unit, in three digits."""
        if column >= len(self._variables.variables):
            return f"{value:.3g}"
        variable = self._variables.variables[column]
        if variable.period is not None:
            value -= variable.period * np.round(value / variable.period)
        number, *unit = value_text(float(value), variable.unit).split()
        return " ".join([f"{float(number):.3g}", *unit])


def _shuffled(problem: RareEventSystem) -> np.ndarray:
    """Atoms in another order, in which equivalent ones have changed places."""
    order = np.arange(len(problem.positions))
    for group in equivalent_atoms(problem):
        order[group] = np.roll(group, 1)
    return order

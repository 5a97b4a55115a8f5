"""Constraints: whether the distances that a System keeps fixed have been kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from openmm import unit

from .errors import DynamicsError

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["KeptDistances"]

_TOLERANCE = 1e-3


class KeptDistances:
    """The constraints of a system, and a look at whether they hold.

    OpenMM says nothing if it cannot satisfy them, as after a step that is too large.

    Parameters
    ----------
    target : RareEventSystem
    """

    def __init__(self, target: RareEventSystem) -> None:
        constraints = [target.system.getConstraintParameters(i) for i in range(target.system.getNumConstraints())]
        self._target = target
        self._pairs = np.array([pair for *pair, _ in constraints], dtype=np.int64).reshape(-1, 2)
        self._distances = np.array([distance.value_in_unit(unit.nanometer) for *_, distance in constraints])

    def require(self, positions: np.ndarray) -> None:
        """Look at walkers after a stretch of steps.

        Parameters
        ----------
        positions : ndarray, shape (n, n_atoms, 3), nm
            Those that are not finite are somebody else's matter.

        Raises
        ------
        FloatingPointError
            If a distance is off by more than a thousandth.
        """
        if len(self._pairs) == 0:
            return
        first, second = positions[:, self._pairs[:, 0]], positions[:, self._pairs[:, 1]]
        error = np.abs(np.linalg.norm(second - first, axis=2) / self._distances - 1.0)
        if (error > _TOLERANCE).any():
            walker, index = np.argwhere(error > _TOLERANCE)[0]
            pair = self._pairs[index].tolist()
            raise DynamicsError(
                f"the constraint between particles {pair[0]} and {pair[1]} of {self._target.name} is off by "
                f"{100 * error[walker, index]:.2g} % at a time step of {self._target.timestep:g} ps: use a smaller time step"
            )

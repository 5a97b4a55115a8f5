"""Constraints: whether the distances that a System keeps fixed have been kept."""

from __future__ import annotations

import numpy as np
import openmm

from ..errors import DynamicsError
from .particles import require_particles

__all__ = ["KeptDistances", "constraints_of"]

_TOLERANCE = 1e-3


def constraints_of(system: openmm.System) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of particles, shape (n, 2), and the distances that they keep, shape (n,), nm."""
    constraints = [system.getConstraintParameters(index) for index in range(system.getNumConstraints())]
    pairs = np.array([constraint[:2] for constraint in constraints], dtype=np.int64).reshape(-1, 2)
    require_particles(pairs, system, "a constraint")
    return pairs, np.array([constraint[2]._value for constraint in constraints], dtype=np.float64)


class KeptDistances:
    """The constraints of a System, and a look at whether they hold.

    OpenMM says nothing if it cannot satisfy them, as after a step that is too large.

    Parameters
    ----------
    system : openmm.System
    name : str
        For messages.
    timestep : float
        ps, for messages.
    """

    def __init__(self, system: openmm.System, name: str, timestep: float) -> None:
        self._name, self._timestep = name, timestep
        self._pairs, self._distances = constraints_of(system)

    def first_broken(self, positions: np.ndarray) -> tuple[int, str] | None:
        """The first frame of positions ``(n, n_atoms, 3)``, nm, in which a distance is off by more than a thousandth.

        Returns
        -------
        (int, str) or None
            Its index, and a sentence about it. Frames that are not finite are somebody else's matter.
        """
        if len(self._pairs) == 0:
            return None
        first, second = positions[:, self._pairs[:, 0]], positions[:, self._pairs[:, 1]]
        error = np.abs(np.linalg.norm(second - first, axis=2) / self._distances - 1.0)
        if not (error > _TOLERANCE).any():
            return None
        frame, index = np.argwhere(error > _TOLERANCE)[0].tolist()
        one, other = self._pairs[index].tolist()
        return frame, (
            f"the constraint between particles {one} and {other} of {self._name} is off by {100 * error[frame, index]:.2g} % "
            f"at a time step of {self._timestep:g} ps: use a smaller time step"
        )

    def require(self, positions: np.ndarray) -> None:
        """Look at walkers ``(n, n_atoms, 3)`` after a stretch of steps.

        Raises
        ------
        FloatingPointError
            If a distance is off by more than a thousandth.
        """
        broken = self.first_broken(positions)
        if broken is not None:
            raise DynamicsError(broken[1])

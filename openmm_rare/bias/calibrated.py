"""Importance from a direction whose scale was measured, with a look ahead along the momenta."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from .directions import Direction, ScaledDirection, has_gradient
from .level_table import LevelTable

__all__ = ["CalibratedImportance", "with_look_ahead"]


def with_look_ahead(
    direction: Direction, positions: np.ndarray, velocities: np.ndarray | None, tau: float, step: float
) -> tuple[np.ndarray, np.ndarray]:
    r"""Levels :math:`s + \tau \dot s` and the :math:`\dot s = v\cdot\nabla s` in them, each ``(n,)``.

    The derivative is the central difference along the velocities, over a displacement as of half a step to either side.

    Parameters
    ----------
    direction : Direction
    positions, velocities : ndarray, shape (n, n_atoms, 3)
        nm and nm/ps; velocities may be None where tau is 0.
    tau : float
        ps.
    step : float
        Time step, ps.

    Raises
    ------
    ValueError
        If there are no velocities to look along.
    """
    if velocities is None:
        if tau != 0.0:
            raise InputError(f"a look ahead of {tau:g} ps needs velocities, and these frames have none")
        level = direction(positions)
        return level, np.zeros_like(level)
    x, shift = np.asarray(positions, dtype=np.float64), 0.5 * step * np.asarray(velocities, dtype=np.float64)
    level, ahead, behind = direction(np.concatenate([x, x + shift, x - shift])).reshape(3, len(x))
    speed = (ahead - behind) / step
    return level + tau * speed, speed


@dataclass(frozen=True, eq=False)
class CalibratedImportance:
    r"""ln I of the level :math:`s + \tau\,v\cdot\nabla s`; an :class:`~openmm_rare.bias.importance.ImportanceFunction`.

    A committor that was learned near the barrier knows the order of configurations far below it better than their scale, which
    splitting lives by. The direction is therefore the committor's, and the scale is measured. Where momenta are remembered,
    two frames of one place differ in them by more than in anything else: tau is how long.

    Attributes
    ----------
    direction : Direction
    table : LevelTable
    tau : float
        ps; 0 looks at positions alone.
    step : float
        Time step of the dynamics, ps.
    places : ndarray, shape (n_places,), or None
        Where the direction is a scaled one: levels of the direction itself, at which it is counted how far paths come; None:
        the levels of the table are.
    """

    direction: Direction
    table: LevelTable
    tau: float
    step: float
    places: np.ndarray | None = None

    def counting(self, places: np.ndarray) -> CalibratedImportance:
        """The same, which counts by positions alone how far paths come along the direction that its own one scales."""
        if not isinstance(self.direction, ScaledDirection):
            raise InputError(f"{self.direction.name} scales no other direction")
        return replace(self, places=places)

    @property
    def counted(self) -> tuple[Direction, np.ndarray]:
        """Along what, and at which of its levels, it is counted how far paths come."""
        if self.places is None:
            return self.direction, self.table.levels
        return self.direction.direction, self.places

    def levels(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`level`, and the levels ``(n,)`` that are counted."""
        level = self.level(positions, velocities)
        return level, level if self.places is None or not len(level) else self.direction.direction(positions)

    def level(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """Levels ``(n,)`` of positions and velocities ``(n, n_atoms, 3)``."""
        if len(positions) == 0:
            return np.zeros(0)
        given = None if self.tau == 0.0 else velocities
        return with_look_ahead(self.direction, positions, given, self.tau, self.step)[0]

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """ln I ``(n,)`` of positions and velocities ``(n, n_atoms, 3)``, up to a constant."""
        return self.table(self.level(positions, velocities))

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)``, without the look ahead, and its gradient ``(n, n_atoms, 3)`` in 1/nm: a bias knows positions alone.

        Raises
        ------
        ValueError
            If the direction has no gradient.
        """
        if not has_gradient(self.direction):
            raise InputError(f"{self.direction.name} has no gradient to bias along: take a model, or the bias strength 0")
        level, gradient = self.direction.gradient(positions)
        return self.table(level), self.table.slope(level)[:, None, None] * gradient

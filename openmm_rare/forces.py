"""Importance function to OpenMM force: the bias energy -2 kT ln I(x), batched over walkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import openmm

__all__ = ["BIAS_GROUP", "ImportanceFunction", "Observer", "PythonBias"]

BIAS_GROUP = 1
"""Force group of the bias; the physical forces are group 0."""

Observer = Callable[[np.ndarray], np.ndarray]


class ImportanceFunction(Protocol):
    """What the bias, the branching and the root selection need of an importance function."""

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        """ln I, shape ``(n,)``, of positions ``(n, n_atoms, 3)`` in nm."""

    def log_importance_gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ln I ``(n,)`` and its gradient ``(n, n_atoms, 3)`` in 1/nm."""


class PythonBias:
    """The callable behind ``openmm.PythonForce``: bias energy and forces of all walkers of a replicated System.

    Parameters
    ----------
    importance : ImportanceFunction or None
        None computes no bias at all; the observer is still called.
    kt : float
        kT in kJ/mol.
    n_walkers : int
        Copies in the System.
    observer : callable, optional
        Called with the positions ``(n_walkers, n_atoms, 3)`` of every step, before the walkers move; returns the indices
        of the walkers that are to be biased. Walkers left out feel no bias, so their log weight does not change.
    interval : int
        Steps for which a gradient is kept. The weight is exact for any bias that is known before the noise is drawn, and a
        walker moves little in a few steps: an old gradient costs a little efficiency and saves most of the network's work.

    Raises
    ------
    ValueError
        For an interval below 1.
    """

    def __init__(
        self,
        importance: ImportanceFunction | None,
        kt: float,
        n_walkers: int,
        observer: Observer | None = None,
        interval: int = 1,
    ) -> None:
        if interval < 1:
            raise ValueError(f"interval = {interval} must be at least 1 step")
        self.importance, self.kt, self.n_walkers, self.observer = importance, kt, n_walkers, observer
        self.interval, self._age = interval, 0

    def refresh(self) -> None:
        """Forget the kept gradient: positions were set from outside."""
        self._age = 0

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Return the bias energy in kJ/mol and the forces ``(n_particles, 3)`` in kJ/mol/nm."""
        flat = state.getPositions(asNumpy=True)._value
        positions = flat.reshape(self.n_walkers, -1, 3)
        active = np.arange(self.n_walkers) if self.observer is None else self.observer(positions)
        if self.importance is None or len(active) == 0:
            return 0.0, np.zeros_like(flat)
        if self._age % self.interval == 0:
            self._evaluate(positions, active)
            forces = self._forces
        else:  # some may have arrived since
            forces = self._of_all(active, self._forces[active])
        self._age += 1
        return float(self._energies[active].sum()), forces.reshape(-1, 3)

    def _evaluate(self, positions: np.ndarray, active: np.ndarray) -> None:
        everyone = len(active) == self.n_walkers
        value, gradient = self.importance.log_importance_gradient(positions if everyone else positions[active])
        if not np.isfinite(gradient).all():  # some platforms would turn NaN into a finite number
            walker = int(active[np.argmax(~np.isfinite(gradient).all(axis=(1, 2)))])
            raise FloatingPointError(f"the gradient of ln I is not finite for walker {walker}: train the model again")
        self._energies = self._of_all(active, -2.0 * self.kt * value)
        self._forces = self._of_all(active, 2.0 * self.kt * gradient)

    def _of_all(self, active: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Rows of the active walkers, and zeros for the others."""
        if len(active) == self.n_walkers:
            return values
        result = np.zeros((self.n_walkers, *values.shape[1:]))
        result[active] = values
        return result

    def __getstate__(self) -> dict:
        # the observer belongs to a running simulation and does not travel with a serialized System
        return {**self.__dict__, "observer": None, "_age": 0}

"""Importance function to OpenMM force: the bias energy -2 kT ln I(x), batched over walkers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import openmm

from ..errors import DynamicsError, InputError
from .importance import ImportanceFunction

__all__ = ["BIAS_GROUP", "MASK_GROUP", "Observer", "PythonBias", "python_force"]

BIAS_GROUP = 1
"""Force group of the bias; the physical forces are group 0."""

MASK_GROUP = 2
"""Force group of the ones and zeros that switch the bias on and off, where it cannot do that itself."""

Observer = Callable[[np.ndarray], np.ndarray]


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
        of the walkers that are to be biased. Walkers left out feel no bias, so their log weight does not change; they stay
        out until :meth:`refresh`.
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
            raise InputError(f"interval = {interval} must be at least 1 step")
        self.importance, self.kt, self.n_walkers, self.observer = importance, kt, n_walkers, observer
        self.interval = interval
        self._everyone = np.arange(n_walkers)
        self.refresh()

    def refresh(self) -> None:
        """Forget the kept gradient: positions were set from outside."""
        self._age, self._biased = 0, self._everyone[:0]

    def update(self, positions: np.ndarray) -> np.ndarray | slice:
        """Show all walkers to the observer, and evaluate the importance function if it is time.

        Parameters
        ----------
        positions : ndarray, shape (n_walkers, n_atoms, 3), nm

        Returns
        -------
        ndarray of int, or slice
            The rows of ``value`` and ``gradient``, ln I and its gradient in 1/nm, that are others than before; both are zero
            for walkers without a bias.
        """
        active = self._everyone if self.observer is None else self.observer(positions)
        if self.importance is None:
            return active[:0]
        if self._age % self.interval == 0 and len(active) > 0:
            self._evaluate(positions, active)
            self._age, self._biased = self._age + 1, active
            return slice(None)
        self._age += 1
        if len(active) == len(self._biased):
            return active[:0]
        stopped = np.setdiff1d(self._biased, active, assume_unique=True)
        self.value[stopped], self.gradient[stopped], self._biased = 0.0, 0.0, active
        return stopped

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Return the bias energy in kJ/mol and the forces ``(n_particles, 3)`` in kJ/mol/nm."""
        flat = state.getPositions(asNumpy=True)._value
        self.update(flat.reshape(self.n_walkers, -1, 3))
        if len(self._biased) == 0:
            return 0.0, np.zeros_like(flat)
        return float(-2.0 * self.kt * self.value.sum()), 2.0 * self.kt * self.gradient.reshape(-1, 3)

    def _evaluate(self, positions: np.ndarray, active: np.ndarray) -> None:
        everyone = len(active) == self.n_walkers
        value, gradient = self.importance.log_importance_gradient(positions if everyone else positions[active])
        if not np.isfinite(gradient).all():  # some platforms would turn NaN into a finite number
            walker = int(active[np.argmax(~np.isfinite(gradient).all(axis=(1, 2)))])
            if not np.isfinite(positions[walker]).all():
                raise DynamicsError(
                    f"the positions of walker {walker} are not finite: use a smaller time step, or check the forces at the "
                    "initial structure"
                )
            raise DynamicsError(f"the gradient of ln I is not finite for walker {walker}: train the model again")
        if everyone:
            self.value, self.gradient = value, gradient
        else:
            self.value, self.gradient = np.zeros(self.n_walkers), np.zeros(positions.shape)
            self.value[active], self.gradient[active] = value, gradient

    def __getstate__(self) -> dict:
        # the observer belongs to a running simulation and does not travel with a serialized System
        return {**self.__dict__, "observer": None, "_age": 0, "_biased": self._everyone[:0]}


def python_force(function: Callable[[openmm.State], tuple[float, np.ndarray]], group: int) -> openmm.PythonForce:
    """A force from a function, by way of a lambda: of what can be pickled OpenMM keeps a pickled copy, and never frees it."""
    force = openmm.PythonForce(lambda state: function(state))
    force.setForceGroup(group)
    return force

"""Importance function to OpenMM force: the bias energy -2 kT ln I(x), batched over walkers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import openmm

__all__ = ["BACKENDS", "BIAS_GROUP", "ImportanceFunction", "PythonBias", "bias_force"]

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
    """

    def __init__(
        self, importance: ImportanceFunction | None, kt: float, n_walkers: int, observer: Observer | None = None
    ) -> None:
        self.importance, self.kt, self.n_walkers, self.observer = importance, kt, n_walkers, observer

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Return the bias energy in kJ/mol and the forces ``(n_particles, 3)`` in kJ/mol/nm."""
        flat = state.getPositions(asNumpy=True)._value
        positions = flat.reshape(self.n_walkers, -1, 3)
        active = np.arange(self.n_walkers) if self.observer is None else self.observer(positions)
        forces = np.zeros_like(positions)
        if self.importance is None or len(active) == 0:
            return 0.0, forces.reshape(-1, 3)
        everyone = len(active) == self.n_walkers
        value, gradient = self.importance.log_importance_gradient(positions if everyone else positions[active])
        if not np.isfinite(gradient).all():  # some platforms would turn NaN into a finite number
            walker = int(active[np.argmax(~np.isfinite(gradient).all(axis=(1, 2)))])
            raise FloatingPointError(f"the gradient of ln I is not finite for walker {walker}: train the model again")
        forces[active] = 2.0 * self.kt * gradient
        return -2.0 * self.kt * float(value.sum()), forces.reshape(-1, 3)

    def __getstate__(self) -> dict:
        # the observer belongs to a running simulation and does not travel with a serialized System
        return {**self.__dict__, "observer": None}


def _python_backend(
    importance: ImportanceFunction | None, kt: float, n_walkers: int, observer: Observer | None
) -> openmm.Force:
    return openmm.PythonForce(PythonBias(importance, kt, n_walkers, observer))


BACKENDS: dict[str, Callable[..., openmm.Force]] = {"python": _python_backend}
"""Ways to turn an importance function into a force: name to factory(importance, kt, n_walkers, observer)."""


def bias_force(
    importance: ImportanceFunction | None,
    kt: float,
    n_walkers: int,
    observer: Observer | None = None,
    backend: str = "python",
) -> openmm.Force:
    """Make the bias force -2 kT ln I of ``n_walkers`` walkers, in its own force group.

    Parameters
    ----------
    importance : ImportanceFunction or None
    kt : float
        kT in kJ/mol.
    n_walkers : int
        Copies in the System that the force is added to.
    observer : callable, optional
        See :class:`PythonBias`.
    backend : str
        A key of :data:`BACKENDS`.

    Raises
    ------
    ValueError
        For an unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
    force = BACKENDS[backend](importance, kt, n_walkers, observer)
    force.setForceGroup(BIAS_GROUP)
    force.setName("ImportanceBias")
    return force

"""Biased dynamics of many walkers in one Context: what evaluates the bias, draws the noise and keeps the path weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openmm
from openmm import unit

from .forces import BIAS_GROUP, ImportanceFunction, Observer, PythonBias
from .integrators import MAX_SHIFT, BiasedOverdampedLangevinIntegrator, DriftIntegrator, log_weights

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["BACKENDS", "BiasedDynamics", "CustomIntegratorDynamics", "HostNoiseDynamics", "biased_dynamics", "mobility"]


def mobility(target: RareEventSystem) -> np.ndarray:
    """Displacement per force of one step, dt/(friction m), shape (n_atoms, 3), nm/(kJ/mol/nm); 0 where nothing moves."""
    system = target.system
    masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())])
    per_mass = np.divide(1.0, masses, out=np.zeros_like(masses), where=masses > 0.0)
    moves = np.arange(3) < target.num_dimensions
    return target.timestep / target.friction * per_mass[:, None] * moves


class BiasedDynamics(Protocol):
    """Biased dynamics of the walkers of one Context.

    Attributes
    ----------
    force : openmm.Force
        Added to the System, in the force group of the bias.
    integrator : openmm.Integrator
    """

    force: openmm.Force
    integrator: openmm.Integrator

    def restart(self, context: openmm.Context) -> None:
        """Positions were set from outside: all weights become 1, and kept gradients are forgotten."""

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """ln w of every walker since the last restart, shape (n_walkers,)."""


class HostNoiseDynamics:
    r"""The shifted noise of every step is drawn by NumPy and enters as a force of an integrator that only drifts.

    The displacement :math:`s\,(\xi + u)` of a step (see :mod:`openmm_rare.integrators`) is that of a force
    :math:`s\,(\xi + u)\,\gamma m/\Delta t`. The integrator then needs one pass instead of three, each of which costs OpenMM
    as much as the forces of a small system. OpenMM must call the force exactly once a step, which it does.

    Parameters
    ----------
    target : RareEventSystem
    n_walkers : int
    seed : int
        For the noise.
    importance : ImportanceFunction
    strength : float
        Factor on the bias.
    observer, interval : callable, int
        See :class:`openmm_rare.forces.PythonBias`.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_walkers: int,
        seed: int,
        importance: ImportanceFunction,
        strength: float = 1.0,
        observer: Observer | None = None,
        interval: int = 1,
    ) -> None:
        self.integrator = DriftIntegrator(target.friction, target.timestep, target.num_dimensions)
        self._bias = PythonBias(importance, target.kt, n_walkers, observer, interval)
        # a lambda cannot be pickled: of what can be, OpenMM keeps a pickled copy, and never frees it
        self.force = openmm.PythonForce(lambda state: self._kick(state))
        step = mobility(target)[:, : target.num_dimensions]
        self._to_shift = strength * np.sqrt(step / (2.0 * target.kt))
        self._to_force = np.sqrt(2.0 * target.kt * np.divide(1.0, step, out=np.zeros_like(step), where=step > 0.0))
        self._noise = np.random.Generator(np.random.SFC64(seed))
        self._log_weights = np.zeros(n_walkers)
        self._shape = (n_walkers, *step.shape)
        self._kicks = np.zeros((n_walkers, len(step), 3))

    def _kick(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """The force of the next step's noise; its weight is counted here."""
        _, force = self._bias(state)
        shift = force.reshape(self._kicks.shape)[..., : self._shape[2]] * self._to_shift
        np.clip(shift, -MAX_SHIFT, MAX_SHIFT, out=shift)
        noise = self._noise.standard_normal(self._shape)
        self._log_weights -= np.einsum("wad,wad->w", shift, noise + 0.5 * shift)
        noise += shift
        np.multiply(noise, self._to_force, out=self._kicks[..., : self._shape[2]])
        return 0.0, self._kicks.reshape(-1, 3)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`BiasedDynamics.restart`."""
        self._bias.refresh()
        self._log_weights[:] = 0.0

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`BiasedDynamics.log_weights`."""
        return self._log_weights.copy()


class CustomIntegratorDynamics:
    """The bias is a force, and :class:`~openmm_rare.integrators.BiasedOverdampedLangevinIntegrator` does the rest.

    The parameters are those of :class:`HostNoiseDynamics`.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_walkers: int,
        seed: int,
        importance: ImportanceFunction,
        strength: float = 1.0,
        observer: Observer | None = None,
        interval: int = 1,
    ) -> None:
        dynamics = (target.temperature, target.friction, target.timestep, target.num_dimensions)
        self.integrator = BiasedOverdampedLangevinIntegrator(*dynamics, bias_group=BIAS_GROUP, strength=strength)
        self.integrator.setRandomNumberSeed(seed)
        self._bias = PythonBias(importance, target.kt, n_walkers, observer, interval)
        self.force = openmm.PythonForce(lambda state: self._bias(state))  # not pickled, see above
        self._n_walkers = n_walkers

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`BiasedDynamics.restart`."""
        self._bias.refresh()
        context.setVelocities(np.zeros((context.getSystem().getNumParticles(), 3)))

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`BiasedDynamics.log_weights`."""
        return log_weights(context, self._n_walkers)


BACKENDS: dict[str, Callable[..., BiasedDynamics]] = {
    "python": HostNoiseDynamics,
    "custom_integrator": CustomIntegratorDynamics,
}
"""Ways to run biased dynamics, fastest first; the arguments are those of :class:`HostNoiseDynamics`."""


def biased_dynamics(backend: str, *arguments, **options) -> BiasedDynamics:
    """Make the dynamics of a backend, its force in the group of the bias.

    Parameters
    ----------
    backend : str
        A key of :data:`BACKENDS`.
    *arguments, **options
        See :class:`HostNoiseDynamics`.

    Raises
    ------
    ValueError
        For an unknown backend, or an interval below 1.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
    dynamics = BACKENDS[backend](*arguments, **options)
    dynamics.force.setForceGroup(BIAS_GROUP)
    dynamics.force.setName("ImportanceBias")
    return dynamics

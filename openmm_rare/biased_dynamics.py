"""Biased dynamics of many walkers in one Context: what evaluates the bias, draws the noise and keeps the path weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openmm
from openmm import unit

from .forces import BIAS_GROUP, ImportanceFunction, Observer, PythonBias
from .integrators import MAX_SHIFT, BiasedOverdampedLangevinIntegrator, DriftIntegrator, log_weights

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = [
    "BACKENDS",
    "Bias",
    "BiasedDynamics",
    "CustomIntegratorDynamics",
    "HostNoiseDynamics",
    "biased_dynamics",
    "mobility",
]


def mobility(target: RareEventSystem) -> np.ndarray:
    """Displacement per force of one step, dt/(friction m), shape (n_atoms, 3), nm/(kJ/mol/nm); 0 where nothing moves."""
    system = target.system
    masses = np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())])
    per_mass = np.divide(1.0, masses, out=np.zeros_like(masses), where=masses > 0.0)
    moves = np.arange(3) < target.num_dimensions
    return target.timestep / target.friction * per_mass[:, None] * moves


@dataclass(frozen=True)
class Bias:
    """How walkers are biased: dynamics along the gradient of ln I.

    Attributes
    ----------
    importance : ImportanceFunction
        I, which the walkers climb.
    strength : float
        Factor on the bias, 0 to 1; with 0 the dynamics is unbiased.
    interval : int
        Steps for which a gradient of ln I is kept, at least 1; see :class:`openmm_rare.forces.PythonBias`.
    backend : str
        A key of :data:`BACKENDS`.
    """

    importance: ImportanceFunction
    strength: float = 1.0
    interval: int = 1
    backend: str = "python"


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
    bias : Bias
    observer : callable, optional
        See :class:`openmm_rare.forces.PythonBias`.
    """

    def __init__(
        self, target: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        self.integrator = DriftIntegrator(target.friction, target.timestep, target.num_dimensions)
        self._python_bias = PythonBias(bias.importance, target.kt, n_walkers, observer, bias.interval)
        # a lambda cannot be pickled: of what can be, OpenMM keeps a pickled copy, and never frees it
        self.force = openmm.PythonForce(lambda state: (0.0, self._kick(state)))
        # axes first: what is done to one axis of all particles is then done to contiguous memory
        self._shape = (target.num_dimensions, n_walkers, target.system.getNumParticles())
        step = np.broadcast_to(mobility(target).T[: self._shape[0], None], self._shape)
        self._to_shift = bias.strength * np.sqrt(2.0 * target.kt * step)
        self._to_force = np.sqrt(2.0 * target.kt * np.divide(1.0, step, out=np.zeros(self._shape), where=step > 0.0))
        self._shift, self._cost = np.zeros(self._shape), np.zeros(n_walkers)
        self._noise, self._random = np.zeros(self._shape), np.random.Generator(np.random.SFC64(seed))
        self._kicks = np.zeros((*self._shape[1:], 3))
        self._log_weights = np.zeros(n_walkers)

    def _kick(self, state: openmm.State) -> np.ndarray:
        """The force of the next step's noise; its weight is counted here."""
        changed = self._python_bias.update(state.getPositions(asNumpy=True)._value.reshape(self._kicks.shape))
        if isinstance(changed, slice) or len(changed) > 0:
            self._set_shift(changed)
        noise = self._random.standard_normal(out=self._noise)
        self._log_weights -= np.einsum("dwa,dwa->w", self._shift, noise)
        self._log_weights -= self._cost
        noise += self._shift
        for axis, displacement in enumerate(noise):
            np.multiply(displacement, self._to_force[axis], out=self._kicks[:, :, axis])
        return self._kicks.reshape(-1, 3)

    def _set_shift(self, rows: np.ndarray | slice) -> None:
        """Follow a change of the gradient in these rows."""
        for axis, shift in enumerate(self._shift):
            wanted = self._python_bias.gradient[rows, :, axis] * self._to_shift[axis, rows]
            shift[rows] = np.clip(wanted, -MAX_SHIFT, MAX_SHIFT)
        shift = self._shift[:, rows]
        self._cost[rows] = 0.5 * np.einsum("dwa,dwa->w", shift, shift)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`BiasedDynamics.restart`."""
        self._python_bias.refresh()
        for kept in (self._shift, self._cost, self._log_weights):
            kept[:] = 0.0

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`BiasedDynamics.log_weights`."""
        return self._log_weights.copy()


class CustomIntegratorDynamics:
    """The bias is a force, and :class:`~openmm_rare.integrators.BiasedOverdampedLangevinIntegrator` does the rest.

    The parameters are those of :class:`HostNoiseDynamics`.
    """

    def __init__(
        self, target: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        dynamics = (target.temperature, target.friction, target.timestep, target.num_dimensions)
        self.integrator = BiasedOverdampedLangevinIntegrator(*dynamics, bias_group=BIAS_GROUP, strength=bias.strength)
        self.integrator.setRandomNumberSeed(seed)
        self._python_bias = PythonBias(bias.importance, target.kt, n_walkers, observer, bias.interval)
        self.force = openmm.PythonForce(lambda state: self._python_bias(state))  # not pickled, see above
        self._n_walkers = n_walkers

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`BiasedDynamics.restart`."""
        self._python_bias.refresh()
        context.setVelocities(np.zeros((context.getSystem().getNumParticles(), 3)))

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`BiasedDynamics.log_weights`."""
        return log_weights(context, self._n_walkers)


BACKENDS: dict[str, Callable[..., BiasedDynamics]] = {
    "python": HostNoiseDynamics,
    "custom_integrator": CustomIntegratorDynamics,
}
"""Ways to run biased dynamics, fastest first; the arguments are those of :class:`HostNoiseDynamics`."""


def biased_dynamics(
    target: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
) -> BiasedDynamics:
    """Make the dynamics of the backend of a bias, its force in the group of the bias.

    The parameters are those of :class:`HostNoiseDynamics`.

    Raises
    ------
    ValueError
        For an unknown backend, or an interval below 1.
    """
    if bias.backend not in BACKENDS:
        raise ValueError(f"backend {bias.backend!r} is unknown; choose one of {', '.join(BACKENDS)}")
    dynamics = BACKENDS[bias.backend](target, n_walkers, seed, bias, observer)
    dynamics.force.setForceGroup(BIAS_GROUP)
    dynamics.force.setName("ImportanceBias")
    return dynamics

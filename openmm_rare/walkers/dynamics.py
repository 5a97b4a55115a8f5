"""Dynamics of many walkers in one Context: what moves them, evaluates their bias, and keeps their path weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.force import make_bias_force
from ..bias.python_force import BIAS_GROUP, MASK_GROUP, Observer, PythonBias, python_force
from ..dynamics.native_integrator import NativeOverdampedLangevinIntegrator
from ..dynamics.overdamped import MAX_SHIFT, BiasedOverdampedLangevinIntegrator, log_weights
from ..dynamics.unbiased import unbiased_integrator
from ..errors import RunError
from ..structure.openmm_errors import naming_system
from ..structure.particles import masses_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..states.states import States

__all__ = [
    "Bias",
    "CustomIntegratorDynamics",
    "Dynamics",
    "HostNoiseDynamics",
    "NativeDynamics",
    "UnbiasedDynamics",
    "has_forces_on_held_axes",
    "mobility",
    "native_parts",
]


def mobility(target: RareEventSystem) -> np.ndarray:
    """Displacement per force of one step, dt/(friction m), shape (n_atoms, 3), nm/(kJ/mol/nm); 0 where nothing moves."""
    masses = masses_of(target.system)
    per_mass = np.divide(1.0, masses, out=np.zeros_like(masses), where=masses > 0.0)
    moves = np.arange(3) < target.num_dimensions
    return target.timestep / target.friction * per_mass[:, None] * moves


class Dynamics(Protocol):
    """Dynamics of the walkers of one Context.

    Attributes
    ----------
    integrator : openmm.Integrator
    forces : sequence of openmm.Force
        Belong into the System, beside the physical forces.
    """

    integrator: openmm.Integrator
    forces: Sequence[openmm.Force]

    def restart(self, context: openmm.Context) -> None:
        """Positions were set from outside: all walkers run, all weights become 1, and kept gradients are forgotten."""

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """ln w of every walker since the last restart, shape (n_walkers,)."""


def has_forces_on_held_axes(target: RareEventSystem) -> bool:
    """Whether physical forces act along the axes on which nothing moves, at a few places near the initial positions."""
    if target.num_dimensions == 3:
        return False
    with naming_system(target.name, "Reference"):
        context = openmm.Context(target.system, openmm.VerletIntegrator(1.0), openmm.Platform.getPlatformByName("Reference"))
        spread, random = np.sqrt(2.0 * target.kt * mobility(target)), np.random.default_rng(0)
        for steps in (0.0, 3.0, 10.0, 30.0):
            context.setPositions(target.positions + steps * spread * random.standard_normal(spread.shape))
            forces = context.getState(forces=True).getForces(asNumpy=True)._value
            if forces[:, target.num_dimensions :].any():
                return True
    return False


def _compact(values: np.ndarray) -> np.ndarray:
    """The same array in the memory of one number if all are equal: what is read at every step stays in cache."""
    return np.broadcast_to(values.flat[0], values.shape) if (values == values.flat[0]).all() else values


class UnbiasedDynamics:
    """:class:`~openmm_rare.dynamics.overdamped.OverdampedLangevinIntegrator`.

    The parameters are those of :class:`HostNoiseDynamics`.
    """

    def __init__(self, target: RareEventSystem, n_walkers: int, seed: int, observer: Observer | None = None) -> None:
        self.integrator = unbiased_integrator(target)
        self.integrator.setRandomNumberSeed(seed)
        look = PythonBias(None, target.kt, n_walkers, observer)
        self.forces = () if observer is None else (python_force(look, 0),)
        self._n_walkers = n_walkers

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`Dynamics.restart`."""

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """Zeros."""
        return np.zeros(self._n_walkers)


class HostNoiseDynamics:
    r"""The shifted noise of every step is drawn by NumPy and enters as a force of an integrator that costs next to nothing.

    OpenMM's VerletIntegrator with the step :math:`h = \sqrt{\Delta t/\gamma}` moves by :math:`h^2 f_0/m`, the drift, and by
    :math:`x_n - x_{n-1}`, what it moved before. The force :math:`m\,[s\,(\xi + u) - (x_n - x_{n-1})]/h^2` takes that back and
    adds the displacement of the noise (see :mod:`openmm_rare.dynamics.overdamped`). OpenMM must call the force exactly once a
    step, which it does.

    Parameters
    ----------
    target : RareEventSystem
        Without constraints, and without forces along the axes on which nothing moves; see :func:`has_forces_on_held_axes`.
    n_walkers : int
    seed : int
        For the noise.
    bias : Bias
    observer : callable, optional
        See :class:`openmm_rare.bias.python_force.PythonBias`.
    """

    def __init__(
        self, target: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        self.integrator = openmm.VerletIntegrator(np.sqrt(target.timestep / target.friction))
        self._python_bias = PythonBias(bias.importance, target.kt, n_walkers, observer, bias.interval)
        self.forces = (python_force(self._kick, BIAS_GROUP),)
        # axes first: what is done to one axis of all particles is then done to contiguous memory
        self._shape = (target.num_dimensions, n_walkers, target.system.getNumParticles())
        step = np.broadcast_to(mobility(target).T[: self._shape[0], None], self._shape)
        spread = np.sqrt(2.0 * target.kt * step)
        self._spread, self._to_shift = _compact(spread), _compact(bias.strength * spread)
        self._to_force = _compact(np.divide(1.0, step, out=np.zeros(self._shape), where=step > 0.0))
        self._shift, self._cost = np.zeros(self._shape), np.zeros(n_walkers)
        self._noise, self._random = np.zeros(self._shape), np.random.Generator(np.random.SFC64(seed))
        self._kicks, self._back = np.zeros((2, *self._shape[1:], 3))
        self._last = None
        self._log_weights = np.zeros(n_walkers)

    def _kick(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """The force of the next step's noise; its weight is counted here."""
        positions = state.getPositions(asNumpy=True)._value.reshape(self._kicks.shape)
        changed = self._python_bias.update(positions)
        if isinstance(changed, slice) or len(changed) > 0:
            self._set_shift(changed)
        noise = self._random.standard_normal(out=self._noise)
        self._log_weights -= np.einsum("dwa,dwa->w", self._shift, noise)
        self._log_weights -= self._cost
        noise += self._shift
        noise *= self._spread
        back = np.subtract(positions if self._last is None else self._last, positions, out=self._back)
        if back[:, :, len(noise) :].any() and np.isfinite(positions).all():
            raise RunError(
                f"a force pushes walkers out of the {len(noise)} dimensions in which they move: "
                "remove it, or choose the backend custom_integrator"
            )
        for axis, displacement in enumerate(noise):
            displacement += back[:, :, axis]
            np.multiply(displacement, self._to_force[axis], out=self._kicks[:, :, axis])
        self._last = positions
        return 0.0, self._kicks.reshape(-1, 3)

    def _set_shift(self, rows: np.ndarray | slice) -> None:
        """Follow a change of the gradient in these rows."""
        for axis, shift in enumerate(self._shift):
            wanted = self._python_bias.gradient[rows, :, axis] * self._to_shift[axis, rows]
            shift[rows] = np.clip(wanted, -MAX_SHIFT, MAX_SHIFT)
        shift = self._shift[:, rows]
        self._cost[rows] = 0.5 * np.einsum("dwa,dwa->w", shift, shift)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`Dynamics.restart`."""
        self._python_bias.refresh()
        context.setVelocities(np.zeros((context.getSystem().getNumParticles(), 3)))
        self._last = None
        for kept in (self._shift, self._cost, self._log_weights):
            kept[:] = 0.0

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`Dynamics.log_weights`."""
        return self._log_weights.copy()


class CustomIntegratorDynamics:
    """The bias is a force, and :class:`~openmm_rare.dynamics.overdamped.BiasedOverdampedLangevinIntegrator` does the rest.

    The parameters are those of :class:`HostNoiseDynamics`. A bias force other than Python's is evaluated at every step.
    """

    def __init__(
        self, target: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        self._n_walkers, self._observer, self._python_bias = n_walkers, observer, None
        masked = observer is not None and not bias.in_python
        if bias.in_python:
            self._python_bias = PythonBias(bias.importance, target.kt, n_walkers, observer, bias.interval)
            self.forces = (python_force(self._python_bias, BIAS_GROUP),)
        else:
            self.forces = (make_bias_force(bias.force, bias.importance, target.positions, n_walkers, target.kt),)
        if masked:
            self.forces += (python_force(self._mask, MASK_GROUP),)
        self.integrator = BiasedOverdampedLangevinIntegrator(
            *(target.temperature, target.friction, target.timestep, target.num_dimensions),
            bias_group=BIAS_GROUP,
            strength=bias.strength,
            mask_group=MASK_GROUP if masked else None,
            constrained=target.system.getNumConstraints() > 0,
        )
        self.integrator.setRandomNumberSeed(seed)

    def _mask(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Show the walkers to the observer; ones for those that it wants biased."""
        walkers = state.getPositions(asNumpy=True)._value.reshape(self._n_walkers, -1, 3)
        mask = np.zeros_like(walkers)
        mask[self._observer(walkers)] = 1.0
        return 0.0, mask.reshape(-1, 3)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`Dynamics.restart`."""
        if self._python_bias is not None:
            self._python_bias.refresh()
        context.setVelocities(np.zeros((context.getSystem().getNumParticles(), 3)))

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`Dynamics.log_weights`."""
        return log_weights(context, self._n_walkers)


class NativeDynamics:
    """The native integrator, with the native force where the plugin knows the importance function, and Python's elsewhere.

    The parameters are those of :class:`HostNoiseDynamics`; without a bias the dynamics is unbiased.
    """

    def __init__(
        self, target: RareEventSystem, n_walkers: int, seed: int, bias: Bias | None = None, observer: Observer | None = None
    ) -> None:
        self.integrator, self.forces = native_parts(target, n_walkers, seed, bias)
        self._n_walkers, self._observer, self._biased = n_walkers, observer, bias is not None
        if observer is not None:
            self.forces += (python_force(self._look, 0),)

    def _look(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Show the walkers to the observer, and hold those that are to be biased no more."""
        flat = state.getPositions(asNumpy=True)._value
        running = self._observer(flat.reshape(self._n_walkers, -1, 3))
        if self._biased and len(running) < self._n_running:
            stopped = np.ones(self._n_walkers, dtype=bool)
            stopped[running] = False
            self.integrator.hold(np.flatnonzero(stopped))
            self._n_running = len(running)
        return 0.0, np.zeros_like(flat)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`Dynamics.restart`."""
        self.integrator.set_states(np.zeros(self._n_walkers))
        self.integrator.set_log_weights(np.zeros(self._n_walkers))
        self._n_running = self._n_walkers

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`Dynamics.log_weights`."""
        return self.integrator.log_weights()


def native_parts(
    target: RareEventSystem, n_walkers: int, seed: int, bias: Bias | None, states: States | None = None
) -> tuple[NativeOverdampedLangevinIntegrator, tuple[openmm.Force, ...]]:
    """The native integrator, which looks walkers up in ``states``, and the bias as a force for it, if there is a bias."""
    dynamics = (target.temperature, target.friction, target.timestep, target.num_dimensions)
    # as for OpenMM's integrators, a seed of 0 would be one that nobody knows
    options = {"n_walkers": n_walkers, "seed": seed or 1, "states": states, "check_interval": target.check_interval}
    if bias is None:
        return NativeOverdampedLangevinIntegrator(*dynamics, **options), ()
    options |= {"bias_group": BIAS_GROUP, "strength": bias.strength, "bias_interval": bias.interval}
    integrator = NativeOverdampedLangevinIntegrator(*dynamics, **options)
    force = make_bias_force(
        bias.force,
        bias.importance,
        target.positions,
        n_walkers,
        target.kt,
        lambda positions: np.flatnonzero(integrator.states() == 0),
    )
    return integrator, (force,)

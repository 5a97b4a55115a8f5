"""Biased walkers whose noise NumPy draws: the fastest way where the bias is evaluated in Python anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.python_force import BIAS_GROUP, Observer, PythonBias, python_force
from ..dynamics.overdamped import MAX_SHIFT
from ..dynamics.unbiased import mobility
from ..errors import RunError
from ..structure.openmm_errors import naming_system

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["HostNoiseDynamics", "has_forces_on_held_axes"]


def has_forces_on_held_axes(problem: RareEventSystem) -> bool:
    """Whether physical forces act along the axes on which nothing moves, at a few places near the initial positions."""
    if problem.num_dimensions == 3:
        return False
    with naming_system(problem.name, "Reference"):
        context = openmm.Context(problem.system, openmm.VerletIntegrator(1.0), openmm.Platform.getPlatformByName("Reference"))
        spread, random = np.sqrt(2.0 * problem.kt * mobility(problem)), np.random.default_rng(0)
        for steps in (0.0, 3.0, 10.0, 30.0):
            context.setPositions(problem.positions + steps * spread * random.standard_normal(spread.shape))
            forces = context.getState(forces=True).getForces(asNumpy=True)._value
            if forces[:, problem.num_dimensions :].any():
                return True
    return False


def _compact(values: np.ndarray) -> np.ndarray:
    """The same array in the memory of one number if all are equal: what is read at every step stays in cache."""
    return np.broadcast_to(values.flat[0], values.shape) if (values == values.flat[0]).all() else values


class HostNoiseDynamics:
    r"""The shifted noise of every step is drawn by NumPy and enters as a force of an integrator that costs next to nothing.

    OpenMM's VerletIntegrator with the step :math:`h = \sqrt{\Delta t/\gamma}` moves by :math:`h^2 f_0/m`, the drift, and by
    :math:`x_n - x_{n-1}`, what it moved before. The force :math:`m\,[s\,(\xi + u) - (x_n - x_{n-1})]/h^2` takes that back and
    adds the displacement of the noise (see :mod:`openmm_rare.dynamics.overdamped`). OpenMM must call the force exactly once a
    step, which it does.

    Parameters
    ----------
    problem : RareEventSystem
        Without constraints, and without forces along the axes on which nothing moves; see :func:`has_forces_on_held_axes`.
    n_walkers : int
    seed : int
        For the noise.
    bias : Bias
    observer : callable, optional
        See :class:`openmm_rare.bias.python_force.PythonBias`.
    """

    def __init__(
        self, problem: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        self.integrator = openmm.VerletIntegrator(np.sqrt(problem.timestep / problem.friction))
        self._python_bias = PythonBias(bias.importance, problem.kt, n_walkers, observer, bias.interval)
        self.forces = (python_force(self._kick, BIAS_GROUP),)
        # axes first: what is done to one axis of all particles is then done to contiguous memory
        self._shape = (problem.num_dimensions, n_walkers, problem.system.getNumParticles())
        step = np.broadcast_to(mobility(problem).T[: self._shape[0], None], self._shape)
        spread = np.sqrt(2.0 * problem.kt * step)
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
        """As :meth:`openmm_rare.walkers.backends.Dynamics.restart`."""
        self._python_bias.refresh()
        context.setVelocities(np.zeros((context.getSystem().getNumParticles(), 3)))
        self._last = None
        for kept in (self._shift, self._cost, self._log_weights):
            kept[:] = 0.0

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`openmm_rare.walkers.backends.Dynamics.log_weights`."""
        return self._log_weights.copy()

"""Walkers moved by the native integrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.force import make_bias_force
from ..bias.python_force import BIAS_GROUP, Observer, python_force
from ..dynamics.native_integrator import BiasedOverdampedLangevinIntegrator

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..states.states import States

__all__ = ["NativeDynamics", "native_parts"]


class NativeDynamics:
    """The native integrator, with the native force where the plugin knows the importance function, and Python's elsewhere.

    The parameters are those of :class:`~openmm_rare.walkers.host_noise.HostNoiseDynamics`; without a bias the dynamics is
    unbiased.
    """

    def __init__(
        self, problem: RareEventSystem, n_walkers: int, seed: int, bias: Bias | None = None, observer: Observer | None = None
    ) -> None:
        self.integrator, self.forces = native_parts(problem, n_walkers, seed, bias)
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
        """As :meth:`openmm_rare.walkers.backends.Dynamics.restart`."""
        self.integrator.set_states(np.zeros(self._n_walkers))
        self.integrator.set_log_weights(np.zeros(self._n_walkers))
        self._n_running = self._n_walkers

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`openmm_rare.walkers.backends.Dynamics.log_weights`."""
        return self.integrator.log_weights()


def native_parts(
    problem: RareEventSystem, n_walkers: int, seed: int, bias: Bias | None, states: States | None = None
) -> tuple[BiasedOverdampedLangevinIntegrator, tuple[openmm.Force, ...]]:
    """The native integrator, which looks walkers up in ``states``, and the bias as a force for it, if there is a bias."""
    dynamics = (problem.temperature, problem.friction, problem.timestep, problem.num_dimensions)
    # as for OpenMM's integrators, a seed of 0 would be one that nobody knows
    options = {"n_walkers": n_walkers, "seed": seed or 1, "states": states, "check_interval": problem.check_interval}
    if bias is None:
        return BiasedOverdampedLangevinIntegrator(*dynamics, **options), ()
    options |= {"bias_group": BIAS_GROUP, "strength": bias.strength, "bias_interval": bias.interval}
    integrator = BiasedOverdampedLangevinIntegrator(*dynamics, **options)
    force = make_bias_force(
        bias.force,
        bias.importance,
        problem.positions,
        n_walkers,
        problem.kt,
        lambda positions: np.flatnonzero(integrator.states() == 0),
    )
    return integrator, (force,)

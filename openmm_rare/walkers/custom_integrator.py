"""Walkers moved by OpenMM's CustomIntegrator, without a bias and with one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.force import make_bias_force
from ..bias.python_force import BIAS_GROUP, MASK_GROUP, Observer, PythonBias, python_force
from ..dynamics.biased_langevin import BiasedLangevinIntegrator
from ..dynamics.overdamped import BiasedOverdampedLangevinIntegrator
from ..dynamics.path_weights import log_weights, restart_weights
from ..dynamics.unbiased import CONSTRAINT_TOLERANCE, unbiased_integrator
from ..structure.particles import sites_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["CustomIntegratorDynamics", "UnbiasedDynamics"]


class UnbiasedDynamics:
    """The dynamics of the problem itself: see :func:`openmm_rare.dynamics.unbiased.unbiased_integrator`.

    The parameters are those of :class:`~openmm_rare.walkers.host_noise.HostNoiseDynamics`.
    """

    def __init__(self, problem: RareEventSystem, n_walkers: int, seed: int, observer: Observer | None = None) -> None:
        self.integrator = unbiased_integrator(problem)
        self.integrator.setRandomNumberSeed(seed)
        look = PythonBias(None, problem.kt, n_walkers, observer)
        self.forces = () if observer is None else (python_force(look, 0),)
        self._n_walkers = n_walkers

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`openmm_rare.walkers.backends.Dynamics.restart`."""

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """Zeros."""
        return np.zeros(self._n_walkers)


class CustomIntegratorDynamics:
    """The bias is a force, and an integrator that shifts the noise does the rest:
    :class:`~openmm_rare.dynamics.overdamped.BiasedOverdampedLangevinIntegrator`, or, with momenta,
    :class:`~openmm_rare.dynamics.biased_langevin.BiasedLangevinIntegrator`.

    The parameters are those of :class:`~openmm_rare.walkers.host_noise.HostNoiseDynamics`. A bias force other than Python's is
    evaluated at every step; an observer then has no walkers with momenta to choose from.
    """

    def __init__(
        self, problem: RareEventSystem, n_walkers: int, seed: int, bias: Bias, observer: Observer | None = None
    ) -> None:
        self._n_walkers, self._observer, self._python_bias = n_walkers, observer, None
        masked = observer is not None and not bias.in_python and not problem.inertial
        if bias.in_python:
            self._python_bias = PythonBias(bias.importance, problem.kt, n_walkers, observer, bias.interval)
            self.forces = (python_force(self._python_bias, BIAS_GROUP),)
        else:
            self.forces = (make_bias_force(bias.force, bias.importance, problem.positions, n_walkers, problem.kt),)
        if masked:
            self.forces += (python_force(self._mask, MASK_GROUP),)
        self.integrator = _biased_integrator(problem, bias.strength, masked)
        self.integrator.setRandomNumberSeed(seed)

    def _mask(self, state: openmm.State) -> tuple[float, np.ndarray]:
        """Show the walkers to the observer; ones for those that it wants biased."""
        walkers = state.getPositions(asNumpy=True)._value.reshape(self._n_walkers, -1, 3)
        mask = np.zeros_like(walkers)
        mask[self._observer(walkers)] = 1.0
        return 0.0, mask.reshape(-1, 3)

    def restart(self, context: openmm.Context) -> None:
        """As :meth:`openmm_rare.walkers.backends.Dynamics.restart`."""
        if self._python_bias is not None:
            self._python_bias.refresh()
        restart_weights(context)

    def log_weights(self, context: openmm.Context) -> np.ndarray:
        """As :meth:`openmm_rare.walkers.backends.Dynamics.log_weights`."""
        return log_weights(context, self._n_walkers)


def _biased_integrator(
    problem: RareEventSystem, strength: float, masked: bool
) -> BiasedLangevinIntegrator | BiasedOverdampedLangevinIntegrator:
    """The integrator of a problem's dynamics whose noise the bias shifts."""
    system = problem.system
    dynamics = (problem.temperature, problem.friction, problem.timestep, problem.num_dimensions)
    if problem.inertial:
        made = BiasedLangevinIntegrator(
            *dynamics, virtual_sites=bool(sites_of(system)), bias_group=BIAS_GROUP, strength=strength
        )
        made.setConstraintTolerance(CONSTRAINT_TOLERANCE)
        return made
    return BiasedOverdampedLangevinIntegrator(
        *dynamics,
        bias_group=BIAS_GROUP,
        strength=strength,
        mask_group=MASK_GROUP if masked else None,
        constrained=system.getNumConstraints() > 0,
    )

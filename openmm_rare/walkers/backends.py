"""Dynamics of many walkers in one Context, of the kind that a backend has for a problem and a bias."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.python_force import Observer
from .custom_integrator import CustomIntegratorDynamics, UnbiasedDynamics
from .host_noise import HostNoiseDynamics, has_forces_on_held_axes
from .native import NativeDynamics

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Dynamics", "make_dynamics"]


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


def make_dynamics(
    problem: RareEventSystem,
    n_walkers: int,
    seed: int,
    bias: Bias | None = None,
    observer: Observer | None = None,
    backend: str = "python",
) -> Dynamics:
    """Make the dynamics of some walkers.

    Parameters
    ----------
    problem, n_walkers, seed, observer
        See :class:`openmm_rare.walkers.host_noise.HostNoiseDynamics`.
    bias : Bias, optional
        Without it, or with strength 0, the dynamics is unbiased.
    backend : str
        One of :data:`openmm_rare.walkers.machine.BACKENDS`.

    Raises
    ------
    ValueError
        For an interval below 1.
    """
    if bias is not None and bias.strength == 0.0:
        bias = None
    if backend == "native":
        return NativeDynamics(problem, n_walkers, seed, bias, observer)
    if bias is None:
        return UnbiasedDynamics(problem, n_walkers, seed, observer)
    in_host = backend == "python" and bias.in_python and problem.system.getNumConstraints() == 0
    kind = HostNoiseDynamics if in_host and not has_forces_on_held_axes(problem) else CustomIntegratorDynamics
    return kind(problem, n_walkers, seed, bias, observer)

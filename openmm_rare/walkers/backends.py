"""Backends: which of the dynamics moves the walkers, by name, as far as this machine can."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.force import why_not
from ..bias.python_force import Observer
from ..dynamics import native
from ..dynamics.native_integrator import NativeOverdampedLangevinIntegrator
from ..errors import InputError
from .dynamics import (
    Bias,
    CustomIntegratorDynamics,
    Dynamics,
    HostNoiseDynamics,
    NativeDynamics,
    UnbiasedDynamics,
    has_forces_on_held_axes,
)

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["BACKENDS", "choose_backend", "make_dynamics", "native_problem"]

BACKENDS: tuple[str, ...] = ("native", "python", "custom_integrator")
"""Ways to move walkers, fastest first; "python" is "custom_integrator" where the System has constraints, where forces act on
axes along which nothing moves, or where the bias force is not Python's."""


def choose_backend(backend: str, platform: str) -> str:
    """The backend to use: the given one if it can be used on this OpenMM platform here; for "auto" the fastest that can.

    Raises
    ------
    ValueError
        If the backend does not exist or cannot be used.
    """
    if backend not in ("auto", *BACKENDS):
        raise InputError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}, or auto")
    if backend not in ("auto", "native"):
        return backend
    problem = native_problem(platform)
    if problem is None:
        return "native"
    if backend == "native":
        raise InputError(f"the native backend cannot be used on platform {platform}: {problem} Or choose the backend python.")
    return "python"


def native_problem(platform: str) -> str | None:
    """Why the native backend cannot be used on a platform, in a sentence; None if it can."""
    plugin = native.plugin()
    if platform not in plugin.platforms:
        return " ".join(plugin.problems) or f"the plugin serves {', '.join(plugin.platforms)} only."
    return _trial_step(platform) or why_not("native", platform) or None


@cache
def _trial_step(platform: str) -> str | None:
    """What goes wrong in a native step of a free particle, if anything does: kernels may be there and not run."""
    system = openmm.System()
    system.addParticle(1.0)
    integrator = NativeOverdampedLangevinIntegrator(300.0, 1.0, 0.001, n_walkers=1, seed=1)
    try:
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform))
        context.setPositions(np.zeros((1, 3)))
        integrator.step(1)
    except openmm.OpenMMException as error:
        return f"a step of one particle failed ({error})."
    return None


def make_dynamics(
    target: RareEventSystem,
    n_walkers: int,
    seed: int,
    bias: Bias | None = None,
    observer: Observer | None = None,
    backend: str = "python",
) -> Dynamics:
    """Make the dynamics of some walkers.

    Parameters
    ----------
    target, n_walkers, seed, observer
        See :class:`openmm_rare.walkers.dynamics.HostNoiseDynamics`.
    bias : Bias, optional
        Without it, or with strength 0, the dynamics is unbiased.
    backend : str
        One of :data:`BACKENDS`; see :func:`choose_backend`.

    Raises
    ------
    ValueError
        For an interval below 1.
    """
    if bias is not None and bias.strength == 0.0:
        bias = None
    if backend == "native":
        return NativeDynamics(target, n_walkers, seed, bias, observer)
    if bias is None:
        return UnbiasedDynamics(target, n_walkers, seed, observer)
    in_host = backend == "python" and bias.in_python and target.system.getNumConstraints() == 0
    kind = HostNoiseDynamics if in_host and not has_forces_on_held_axes(target) else CustomIntegratorDynamics
    return kind(target, n_walkers, seed, bias, observer)

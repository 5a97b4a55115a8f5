"""Weights of paths, unbiased over biased, as the integrators that shift the noise keep them: for each degree of freedom."""

from __future__ import annotations

import numpy as np
import openmm

from ..errors import InputError
from .biased_langevin import LOG_WEIGHT

__all__ = ["has_momenta", "log_weights", "restart_weights"]


def has_momenta(integrator: openmm.Integrator) -> bool:
    """Whether an integrator is a :class:`~openmm_rare.dynamics.biased_langevin.BiasedLangevinIntegrator`, also from XML.

    Others that shift the noise are overdamped, and keep the log weights in place of velocities.
    """
    if not isinstance(integrator, openmm.CustomIntegrator):
        return False
    return LOG_WEIGHT in map(integrator.getPerDofVariableName, range(integrator.getNumPerDofVariables()))


def restart_weights(context: openmm.Context) -> None:
    """Begin paths: the weights of all walkers become 1."""
    integrator, n_particles = context.getIntegrator(), context.getSystem().getNumParticles()
    if has_momenta(integrator):
        integrator.setPerDofVariableByName(LOG_WEIGHT, [openmm.Vec3(0.0, 0.0, 0.0)] * n_particles)
    else:
        context.setVelocities(np.zeros((n_particles, 3)))


def log_weights(context: openmm.Context, n_walkers: int) -> np.ndarray:
    """Log path weights accumulated by an integrator that shifts the noise, since :func:`restart_weights`.

    Parameters
    ----------
    context : openmm.Context
        Of such an integrator; holds `n_walkers` walkers with equally many consecutive particles each.
    n_walkers : int
        Number of walkers.

    Returns
    -------
    numpy.ndarray
        Shape (n_walkers,), float64: ln w, summed over each walker's degrees of freedom.

    Raises
    ------
    ValueError
        If the particles do not divide into so many walkers, or a log weight is not finite. (GPU platforms sum forces as
        integers, where NaN is lost; a bias force must look for it itself.)
    """
    integrator = context.getIntegrator()
    if has_momenta(integrator):
        values = np.array(integrator.getPerDofVariableByName(LOG_WEIGHT), dtype=np.float64)
    else:
        values = context.getState(velocities=True).getVelocities(asNumpy=True)._value
    if n_walkers < 1 or len(values) % n_walkers:
        raise InputError(f"n_walkers = {n_walkers} does not divide the Context's {len(values)} particles")
    result = values.reshape(n_walkers, -1).sum(axis=1)
    if not np.isfinite(result).all():
        bad = np.flatnonzero(~np.isfinite(result))
        raise InputError(
            f"the log weight of walkers {bad[:10].tolist()} ({len(bad)} in all) is not finite; the bias force or the "
            "positions became NaN: check the bias force at these walkers, or reduce the time step"
        )
    return result

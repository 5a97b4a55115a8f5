"""Velocities drawn anew for shooting, which satisfy the constraints."""

from __future__ import annotations

import numpy as np
import openmm
import openpathsampling as paths

__all__ = ["draw_velocities"]

_SEEDS = 2**31 - 1


def draw_velocities(
    context: openmm.Context, temperature: float, kept: np.ndarray, axes: np.ndarray, subset: list[int] | None = None
) -> None:
    """Give a Context velocities from the Maxwell-Boltzmann distribution, by the random numbers of OpenPathSampling.

    Parameters
    ----------
    context : openmm.Context
    temperature : float
        K.
    kept : ndarray, shape (n_atoms, 3), nm/ps
        Velocities of atoms that are not drawn.
    axes : ndarray of bool, shape (3,)
        Along which anything moves.
    subset : list of int, optional
        Atoms that get new velocities; by default all.
    """
    context.setVelocitiesToTemperature(temperature, int(paths.default_rng().integers(1, _SEEDS)))
    if subset is None and axes.all():
        return
    chosen = slice(None) if subset is None else subset
    drawn = context.getState(velocities=True).getVelocities(asNumpy=True)._value * axes
    velocities = kept.copy()
    velocities[chosen] = drawn[chosen]
    context.setVelocities(velocities)
    context.applyVelocityConstraints(1e-5)

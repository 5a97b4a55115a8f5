"""What can be seen to fail before any dynamics runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from .errors import InputError
from .openmm_errors import naming_system

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["largest_curvature", "require_runnable"]

_DISPLACEMENT = 1e-5
"""nm, of the finite difference of forces."""

_ITERATIONS = 30


def largest_curvature(target: RareEventSystem) -> float:
    r"""Largest eigenvalue of the mass-weighted Hessian at the initial structure, from below.

    By power iteration on finite differences of forces, along directions that keep the constraints: the Rayleigh quotient is
    never above the largest eigenvalue.

    Returns
    -------
    float
        :math:`\lambda`, in 1/ps^2.

    Raises
    ------
    ValueError
        If the forces there are not finite.
    """
    masses = np.array([target.system.getParticleMass(i)._value for i in range(target.system.getNumParticles())])
    moves = np.zeros((len(masses), 3))
    moves[masses > 0, : target.num_dimensions] = 1.0
    roots = np.sqrt(np.where(masses > 0, masses, 1.0))[:, None]
    with naming_system(target.name, "Reference"):
        context = openmm.Context(target.system, openmm.VerletIntegrator(0.0), openmm.Platform.getPlatformByName("Reference"))

    def forces(positions: np.ndarray) -> np.ndarray:
        context.setPositions(positions)
        return context.getState(forces=True).getForces(asNumpy=True)._value

    def allowed(direction: np.ndarray) -> np.ndarray:
        context.setPositions(target.positions)
        context.setVelocities(direction * moves / roots)
        context.applyVelocityConstraints(1e-8)
        return context.getState(velocities=True).getVelocities(asNumpy=True)._value * roots

    if not np.isfinite(forces(target.positions)).all():
        raise InputError(
            f"the forces on the initial structure of {target.name} are not finite: minimize its energy, or check the forces"
        )
    direction, largest = np.random.default_rng(0).standard_normal(target.positions.shape), 0.0
    for _ in range(_ITERATIONS):
        direction = allowed(direction)
        norm = np.linalg.norm(direction)
        if norm == 0.0:  # nothing curves, or nothing moves
            break
        direction /= norm
        step = _DISPLACEMENT * direction / roots
        product = (forces(target.positions - step) - forces(target.positions + step)) / (2.0 * _DISPLACEMENT * roots)
        largest = max(largest, float((direction * product).sum()))
        direction = product
    return largest


def require_runnable(target: RareEventSystem) -> None:
    r"""Refuse dynamics with inertia, and a time step for which the dynamics cannot stay where it starts.

    The drift of overdamped dynamics multiplies a small displacement along an eigenvector of the mass-weighted Hessian by
    :math:`1 - \lambda \Delta t / \gamma` per step: beyond :math:`\lambda \Delta t = 2 \gamma` it grows.

    Raises
    ------
    ValueError
        If the dynamics has inertia, the time step is beyond that limit, or the forces on the initial structure are not finite;
        the message says what to do.
    """
    if target.inertial:
        raise InputError(
            f"{target.name} moves with inertia, but rate constants are computed for overdamped dynamics only: sample its paths "
            "with openmm-rare tps, or set inertial=False"
        )
    limit = 2.0 * target.friction / max(largest_curvature(target), 1e-300)
    if target.timestep > limit:
        raise InputError(
            f"a time step of {target.timestep:g} ps is too large for {target.name}: from {limit:.2g} ps on, the steepest "
            f"direction at the initial structure overshoots further with every step. Use {limit / 20:.1g} ps or less, or "
            "minimize the energy of the initial structure if it is strained"
        )

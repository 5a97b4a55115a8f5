"""Whether the forces of a problem are those of an energy: only then a path is as likely as its reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ...errors import InputError
from ...walkers.machine import Machine

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["require_reversible_forces"]

_CHANGE = 0.5  # kT, of the energy in the trial
_TOLERANCE = 0.05
_NOTHING = 1e-6  # of a standard normal direction: what rounding leaves of it across the forces where all motion is along them


def require_reversible_forces(problem: RareEventSystem, machine: Machine) -> None:
    """Compare forces with differences of the energy at the first structure, along the forces and across them.

    Raises
    ------
    ValueError
        If the forces are not minus the gradient of the energy.
    """
    context = machine.one_thread.context(problem.system, openmm.VerletIntegrator(0.001), problem.name)
    positions, moves = problem.positions, np.arange(3) < problem.num_dimensions

    def energy(at: np.ndarray) -> float:
        context.setPositions(at)
        context.computeVirtualSites()
        return context.getState(energy=True).getPotentialEnergy()._value

    rng = np.random.default_rng(1)
    start = positions + 1e-3 * rng.normal(size=positions.shape) * moves
    context.setPositions(start)
    context.computeVirtualSites()
    state = context.getState(forces=True, positions=True)
    start = state.getPositions(asNumpy=True)._value
    forces = state.getForces(asNumpy=True)._value * moves
    masses = np.array([problem.system.getParticleMass(i)._value for i in range(len(positions))])
    forces = forces * (masses > 0.0)[:, None]
    size = np.linalg.norm(forces)
    if size == 0.0:
        return
    across = rng.normal(size=forces.shape) * moves * (masses > 0.0)[:, None]
    across -= forces * (across * forces).sum() / size**2
    along = forces / size
    directions = (
        [along] if np.linalg.norm(across) < _NOTHING else [along, (along + across / np.linalg.norm(across)) / np.sqrt(2.0)]
    )
    for direction in directions:
        slope = float((forces * direction).sum())
        way = min(_CHANGE * problem.kt / slope, 1e-3 * np.sqrt(len(positions)))
        change = energy(start + way * direction) - energy(start - way * direction)
        if not abs(change + 2.0 * way * slope) <= _TOLERANCE * 2.0 * way * slope + _noise(energy(start)):
            raise InputError(
                f"the forces of {problem.name} are not those of its energy (along a line it changes by {change:.4g} kJ/mol, "
                f"and forces say {-2.0 * way * slope:.4g}): its dynamics is not reversible, which the rate from the barrier "
                "needs; use another method"
            )


def _noise(energy: float) -> float:
    """What a sum in single precision may be off by, kJ/mol."""
    return 1e-6 * abs(energy)

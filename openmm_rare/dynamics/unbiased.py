"""The one place where a problem gets the integrator of its own dynamics, and how far a step of it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..structure.particles import masses_of, sites_of
from .langevin import BAOABLangevinIntegrator
from .overdamped import OverdampedLangevinIntegrator

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["CONSTRAINT_TOLERANCE", "mobility", "unbiased_integrator"]

CONSTRAINT_TOLERANCE = 1e-6
"""Relative; OpenMM's own 1e-5 is what a bond is then off by."""


def unbiased_integrator(problem: RareEventSystem) -> BAOABLangevinIntegrator | OverdampedLangevinIntegrator:
    """The integrator of a problem's own dynamics, with momenta or overdamped, which keeps its constraints."""
    system = problem.system
    dynamics = (problem.temperature, problem.friction, problem.timestep, problem.num_dimensions)
    if problem.inertial:
        integrator = BAOABLangevinIntegrator(*dynamics, virtual_sites=bool(sites_of(system)))
    else:
        integrator = OverdampedLangevinIntegrator(*dynamics, constrained=system.getNumConstraints() > 0)
    integrator.setConstraintTolerance(CONSTRAINT_TOLERANCE)
    return integrator


def mobility(problem: RareEventSystem) -> np.ndarray:
    """Displacement per force of an overdamped step, dt/(friction m), shape (n_atoms, 3), nm/(kJ/mol/nm); 0 on fixed axes."""
    masses = masses_of(problem.system)
    per_mass = np.divide(1.0, masses, out=np.zeros_like(masses), where=masses > 0.0)
    moves = np.arange(3) < problem.num_dimensions
    return problem.timestep / problem.friction * per_mass[:, None] * moves

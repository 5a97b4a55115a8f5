"""The one place where a problem gets the integrator of its own dynamics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..structure.particles import sites_of
from .langevin import BAOABLangevinIntegrator
from .overdamped import OverdampedLangevinIntegrator

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["CONSTRAINT_TOLERANCE", "unbiased_integrator"]

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

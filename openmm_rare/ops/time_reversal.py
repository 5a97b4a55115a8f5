"""Which integrators of OpenMM path sampling can use: velocities must belong to the same time as positions."""

from __future__ import annotations

import openmm

from ..errors import InputError

__all__ = ["is_overdamped", "require_reversible"]

_LEAPFROG = (
    openmm.VerletIntegrator,
    openmm.VariableVerletIntegrator,
    openmm.LangevinIntegrator,
    openmm.LangevinMiddleIntegrator,
    openmm.VariableLangevinIntegrator,
    openmm.NoseHooverIntegrator,
    openmm.QTBIntegrator,
    openmm.DPDIntegrator,
)


def is_overdamped(integrator: openmm.Integrator) -> bool:
    """Whether an integrator ignores velocities: Brownian dynamics, or a CustomIntegrator that never assigns ``v``."""
    if isinstance(integrator, openmm.BrownianIntegrator):
        return True
    if not isinstance(integrator, openmm.CustomIntegrator):
        return False
    steps = (integrator.getComputationStep(i) for i in range(integrator.getNumComputations()))
    return not any(variable == "v" for _, variable, _ in steps)


def require_reversible(integrator: openmm.Integrator) -> None:
    """Refuse integrators that go wrong when a path is continued backward from negated velocities.

    Raises
    ------
    ValueError
        For those of OpenMM that keep velocities half a step behind positions, and for compound integrators.
    """
    name = type(integrator).__name__
    if isinstance(integrator, _LEAPFROG):
        raise InputError(
            f"{name} keeps velocities half a step behind the positions (leapfrog): a path continued backward from negated "
            "velocities gains energy at every turn. Use openmm_rare.inertial.LangevinIntegrator, another integrator of "
            "velocity-Verlet type, or overdamped dynamics"
        )
    if isinstance(integrator, openmm.CompoundIntegrator):
        raise InputError("a CompoundIntegrator changes its dynamics on the way; use one of velocity-Verlet type alone")

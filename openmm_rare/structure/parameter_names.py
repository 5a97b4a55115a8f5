"""Global parameters of forces whose names mean something else to an integrator.

To the expressions of OpenMM's CustomIntegrator parameters of the Context are variables, by the same names. One called ``dt`` is
set to the time step there on the platforms Reference and CPU; on OpenCL one called ``m`` takes the place of the mass.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

import openmm

from .obstacles import Obstacle
from .special_forces import all_forces

__all__ = ["VARIABLES", "taken_names"]

_LANGUAGE = re.compile(r"x|v|m|dt|gaussian|uniform|(f|energy)\d*")
VARIABLES: frozenset[str] = frozenset(
    "active friction kT kept log_path_weight log_weight mask max_shift noise openmm_rare_half shift start strength y".split()
)
"""Of the integrators of this package."""


def taken_names(system: openmm.System, variables: Collection[str] = VARIABLES) -> list[Obstacle]:
    """Global parameters that a CustomIntegrator with these variables would take for something else.

    Parameters
    ----------
    system : openmm.System
    variables : collection of str
    """
    return [
        Obstacle(
            f"{label} has a global parameter {name!r}, which is something else to the integrator: one would be taken for the "
            "other",
            f"give it another name, such as {name + '_of_force'!r}",
        )
        for label, force in all_forces(system)
        for name in _global_parameters(force)
        if name in variables or _LANGUAGE.fullmatch(name)
    ]


def _global_parameters(force: openmm.Force) -> Iterator[str]:
    if isinstance(force, openmm.PythonForce):
        yield from force.getGlobalParameters()
    elif hasattr(force, "getNumGlobalParameters"):
        yield from map(force.getGlobalParameterName, range(force.getNumGlobalParameters()))

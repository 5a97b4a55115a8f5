"""A System of a file, tried in a process of its own: where OpenMM crashes or comes to no end with it, it does so there."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..parallel.children import ChildFailure, ask
from ..parallel.processor_plugins import import_openmm_for

if TYPE_CHECKING:
    import openmm

__all__ = ["rehearse"]

_MEMORY, _MEMORY_PER_BYTE = 1.0e9, 100
_SECONDS, _SECONDS_PER_BYTE = 10.0, 2e-6
_MOST_PARTICLES = 2000
"""Up to which a step on the platform Reference takes no time to speak of."""
_SPACING = 0.2
"""nm, between the particles, which lie on a lattice: the structure is not known yet, and need not be."""


def rehearse(xml: Path, text: str) -> None:
    """Refuse a serialized System that OpenMM cannot read and run without a crash, or not within the memory that it needs.

    Errors that OpenMM raises are left to those who read the file next. Systems of more than 2000 particles are read, not run.

    Parameters
    ----------
    xml : Path
        For messages.
    text : str
        What of the file was found to hold no program.

    Raises
    ------
    InputError
        With what happened.
    """
    size = len(text)
    limits = {"memory": _MEMORY + _MEMORY_PER_BYTE * size, "seconds": _SECONDS + _SECONDS_PER_BYTE * size}
    try:
        ask(_one_step, text, **limits)
    except ChildFailure as failure:
        raise InputError(f"system.xml: {xml} is no System that OpenMM can run ({failure}): write it again") from failure


def _one_step(text: str) -> dict[str, Any]:
    """Make a Context of the System on the platform Reference, and a step."""
    import_openmm_for("Reference")
    import openmm

    try:
        system = openmm.XmlSerializer.deserialize(text)
        if isinstance(system, openmm.System) and 0 < system.getNumParticles() <= _MOST_PARTICLES:
            _step(openmm, system)
    except openmm.OpenMMException as error:
        if "bad_alloc" in str(error):
            raise MemoryError from error
    return {}


def _step(mm: Any, system: openmm.System) -> None:
    context = mm.Context(system, mm.VerletIntegrator(1e-6), mm.Platform.getPlatformByName("Reference"))
    n_particles = system.getNumParticles()
    edge = int(np.ceil(n_particles ** (1.0 / 3.0)))
    context.setPositions(_SPACING * np.stack(np.unravel_index(np.arange(n_particles), (edge, edge, edge)), axis=1))
    with suppress(mm.OpenMMException):
        context.getState(energy=True, forces=True)
    context.getIntegrator().step(1)

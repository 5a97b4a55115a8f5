"""The periodic box of a System, which is the only one that counts, and what must agree with it."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import app, unit

from ..errors import InputError
from .nearest_image import box_in_words, box_vectors, same_box

__all__ = [
    "default_box",
    "other_box",
    "periodic_box",
    "require_cutoffs_fit",
    "require_same_box",
    "structure_box",
]

_PLACEHOLDER = 0.1001
"""Edges up to 1 angstrom, nm: files of molecules in vacuum have such a box, since their format wants one."""


def periodic_box(system: openmm.System) -> np.ndarray | None:
    """Vectors of its box, shape (3, 3), nm; None without periodic boundaries."""
    return default_box(system) if system.usesPeriodicBoundaryConditions() else None


def default_box(system: openmm.System) -> np.ndarray:
    """The box vectors of a System, shape (3, 3), nm, which it has without periodic boundaries, too."""
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([vector.value_in_unit(unit.nanometer) for vector in vectors], dtype=np.float64)


def structure_box(topology: app.Topology | None) -> np.ndarray | None:
    """Vectors of the box that a structure was read with, shape (3, 3), nm; None if it has none, or a placeholder.

    Raises
    ------
    ValueError
        If it is no box.
    """
    vectors = None if topology is None else topology.getPeriodicBoxVectors()
    if vectors is None or max(unit.norm(vector) for vector in vectors) <= _PLACEHOLDER * unit.nanometer:
        return None
    return box_vectors(vectors, "the box of the structure")


def other_box(topology: app.Topology | None, system: openmm.System) -> tuple[np.ndarray, np.ndarray] | None:
    """The boxes of structure and System, each of shape (3, 3), nm, if the System is periodic and they differ; else None."""
    own = periodic_box(system)
    theirs = None if own is None else structure_box(topology)
    return None if theirs is None or same_box(theirs, own) else (theirs, own)


def require_same_box(topology: app.Topology | None, system: openmm.System) -> None:
    """Refuse a topology with another box than the System.

    Raises
    ------
    ValueError
        If they differ by more than what files round.
    """
    boxes = other_box(topology, system)
    if boxes is not None:
        theirs, own = (box_in_words(box) for box in boxes)
        raise InputError(
            f"the topology has the box {theirs}, the System {own}: call system.setDefaultPeriodicBoxVectors("
            "*topology.getPeriodicBoxVectors()) if the structure is right, or topology.setPeriodicBoxVectors("
            "system.getDefaultPeriodicBoxVectors()) if the System is"
        )


def require_cutoffs_fit(system: openmm.System) -> None:
    """Refuse a cutoff of more than half the box, as OpenMM does when it makes a Context.

    Raises
    ------
    ValueError
        If a force has one.
    """
    box = periodic_box(system)
    for force in system.getForces() if box is not None else ():
        if not hasattr(force, "getCutoffDistance") or not force.usesPeriodicBoundaryConditions():
            continue
        cutoff, width = force.getCutoffDistance().value_in_unit(unit.nanometer), float(np.diag(box).min())
        if cutoff > 0.5 * width * (1 + 1e-6):
            raise InputError(
                f"{force.getName()} has a cutoff of {cutoff:.6g} nm, more than half of the smallest width of the periodic box "
                f"({box_in_words(box)}): make the cutoff shorter or the box larger"
            )

"""What a System and its topology must be before anything is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from openmm import app

from ..errors import InputError
from ..units import lengths_in_nm
from .particles import sites_of

__all__ = [
    "checked_positions",
    "checked_topology",
    "require_openmm",
    "require_physical_groups",
    "require_same_particles",
    "sites_in_words",
]


def require_openmm(system: Any, topology: Any) -> None:
    """Refuse what is no System, and no Topology or None.

    Raises
    ------
    ValueError
        Naming what was given instead.
    """
    if not isinstance(system, openmm.System):
        raise InputError(f"the system must be an openmm.System, not {_name_of(system)}")
    if topology is not None and not isinstance(topology, app.Topology):
        raise InputError(f"the topology must be an openmm.app.Topology or None, not {_name_of(topology)}")


def _name_of(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def require_same_particles(topology: app.Topology, system: openmm.System) -> None:
    """Refuse a topology of another number of atoms.

    Raises
    ------
    ValueError
        If the numbers differ.
    """
    n_atoms, n_particles = topology.getNumAtoms(), system.getNumParticles()
    if n_atoms != n_particles:
        raise InputError(
            f"the topology has {n_atoms} atoms, the System {n_particles} particles{sites_in_words(system)}: give the "
            "topology that the System was made of, with its extra particles, or none"
        )


def checked_topology(system: Any, topology: Any) -> app.Topology | None:
    """The topology of a System; None where it is empty, which is as good as none.

    Raises
    ------
    ValueError
        If one of them is something else, or they have different numbers of atoms.
    """
    require_openmm(system, topology)
    if topology is None or topology.getNumAtoms() == 0:
        return None
    require_same_particles(topology, system)
    return topology


def checked_positions(system: openmm.System, positions: Any, name: str) -> np.ndarray:
    """Positions in nm, shape (n_atoms, 3), that can be those of a System; `name` is the argument, for messages.

    Raises
    ------
    ValueError
        If they have another shape, or are not finite.
    """
    positions = lengths_in_nm(positions, name)
    expected = (system.getNumParticles(), 3)
    if positions.shape != expected:
        raise InputError(f"{name} must be finite numbers (nm) of shape {expected}, not of {positions.shape}")
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0, 0])
        raise InputError(f"{name} must be finite numbers (nm), but those of atom {atom} are {positions[atom].tolist()}")
    return positions


def require_physical_groups(system: openmm.System) -> None:
    """Refuse forces outside of force group 0.

    Raises
    ------
    ValueError
        Naming the first.
    """
    for force in system.getForces():
        if force.getForceGroup() != 0:
            raise InputError(
                f"{force.getName()} is in force group {force.getForceGroup()}; physical forces belong in group 0, "
                "the others are for the bias: call setForceGroup(0)"
            )


def sites_in_words(system: openmm.System) -> str:
    """How many virtual sites a System has, in parentheses; empty if none."""
    n_sites = len(sites_of(system))
    return f" ({n_sites} of them virtual sites, which structure files often lack)" if n_sites else ""

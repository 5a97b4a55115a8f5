"""Which atoms of a System hang together, and which molecules are water."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import openmm
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from .bonds import bonded_pairs

if TYPE_CHECKING:
    from openmm import app

__all__ = ["WATER_NAMES", "is_water", "members_of", "molecules_of"]

WATER_NAMES: frozenset[str] = frozenset("H2O HHO OHH HOH OH2 SOL WAT TIP TIP2 TIP3 TIP4 TIP5 T3P T4P SPC DOD SWM".split())
"""Names of residues: those of mdtraj, and some more."""
_MASS = 18.015
"""Of a water molecule in Da, wherever its mass lies: hydrogens may be heavier and oxygen lighter."""


def molecules_of(system: openmm.System, topology: app.Topology | None) -> np.ndarray:
    """The number of the molecule of each atom, shape (n_atoms,), from 0 in the order of their first atoms.

    The bonds are those of :func:`openmm_rare.structure.bonds.bonded_pairs`.
    """
    first, second = bonded_pairs(system, topology).T
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=2 * (system.getNumParticles(),))
    return connected_components(graph, directed=False)[1]


def members_of(molecule_of: np.ndarray) -> list[list[int]]:
    """Atoms of each molecule, from what :func:`molecules_of` says."""
    order = np.argsort(molecule_of, kind="stable")
    return [each.tolist() for each in np.split(order, np.flatnonzero(np.diff(molecule_of[order])) + 1)]


def is_water(atoms: Sequence[int], system: openmm.System, topology_atoms: Sequence[app.topology.Atom] | None) -> bool:
    """Whether a molecule is water: three to five particles, virtual sites included, that are H2O by elements or by name.

    Parameters
    ----------
    atoms : sequence of int
        Of the molecule.
    system : openmm.System
    topology_atoms : sequence of Atom, or None
        All atoms of the topology; without one the mass decides.
    """
    if not 3 <= len(atoms) <= 5:
        return False
    if topology_atoms is None:
        masses = [system.getParticleMass(atom)._value for atom in atoms]
        return abs(sum(masses) - _MASS) < 0.1 and sum(mass > 0.0 for mass in masses) >= 3
    members = [topology_atoms[atom] for atom in atoms]
    elements = Counter(atom.element.symbol for atom in members if atom.element is not None)
    return elements == {"O": 1, "H": 2} or {atom.residue.name for atom in members} <= WATER_NAMES

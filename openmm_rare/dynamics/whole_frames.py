"""Frames of a periodic System as people want to see them."""

from __future__ import annotations

import numpy as np

from ..problem import RareEventSystem
from ..structure.bonds import bonds_of
from ..structure.box import periodic_box
from ..structure.gathered import gathered
from ..structure.molecules import members_of, molecules_of
from ..structure.whole_molecules import WholeMolecules

__all__ = ["to_look_at"]


def to_look_at(positions: np.ndarray, problem: RareEventSystem) -> np.ndarray:
    """Frames with whole molecules around the one that the states are about; without periodic boundaries as they are.

    Parameters
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    problem : RareEventSystem
    """
    box = periodic_box(problem.system)
    if box is None:
        return positions
    bonds = bonds_of(problem.system, problem.topology, problem.positions, problem.kt)
    boxes = np.broadcast_to(box, (len(positions), 3, 3))
    whole, _ = WholeMolecules(bonds, len(problem.positions)).mend(positions, boxes)
    molecule_of = molecules_of(problem.system, problem.topology)
    named = next((each.named_atoms for each in problem.states.variables.variables if each.named_atoms), None)
    largest = int(np.argmax([len(atoms) for atoms in members_of(molecule_of)]))
    return gathered(whole, box, molecule_of, largest if named is None else int(molecule_of[named[0]]))

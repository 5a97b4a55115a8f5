"""Distances within a molecule that is longer than half of its periodic box, which nearest images make too short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..states.box_variables import Distance
from ..states.regions import Range
from ..structure.box import periodic_box
from ..structure.molecules import molecules_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["notes_on_long_molecules"]


def notes_on_long_molecules(problem: RareEventSystem) -> list[str]:
    """A sentence for each distance within a molecule whose nearest image is, or may be, that to another copy of it.

    That is so if the structure has a longer one, or a state begins beyond half of the box.
    """
    box = periodic_box(problem.system)
    if box is None:
        return []
    molecules, reach, notes = molecules_of(problem.system, problem.topology), 0.5 * float(np.diag(box).min()), []
    for variable in problem.states.variables.variables:
        if not isinstance(variable, Distance) or variable.periodic_box is None or not variable.follows_system:
            continue
        one, other = variable.atoms
        length = float(np.linalg.norm(problem.positions[other] - problem.positions[one]))
        shorter = length > variable(problem.positions[None])[0] + 1e-6
        if molecules[one] == molecules[other] and (shorter or _asked_for(problem, variable.name) > reach):
            seen = f"{length:.3g} nm in the structure, and" if shorter else "longer in a state, while"
            notes.append(
                f"Variable {variable.name!r} is a distance within one molecule, {seen} nearest images in the periodic box are "
                f'unambiguous up to {reach:.3g} nm only. Give it box = "none": OpenMM keeps molecules whole.'
            )
    return notes


def _asked_for(problem: RareEventSystem, name: str) -> float:
    """Where the farther of the states begins, nm."""
    ranges = [region.bounds for region in (problem.states.a, problem.states.b) if isinstance(region, Range)]
    return max((bounds[name][0] for bounds in ranges if name in bounds), default=0.0)

"""Distances that are longer than half of the periodic box, which nearest images make too short, or do not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..states.box_variables import Distance
from ..states.regions import Range
from ..structure.box import periodic_box
from ..structure.molecules import molecules_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["notes_on_long_distances"]


def notes_on_long_distances(problem: RareEventSystem) -> list[str]:
    """A sentence for each distance that may be longer than nearest images can tell.

    Within a molecule the nearest image is, or may be, that to another copy of it: so it is if the structure has a longer one,
    or a state begins beyond half of the box. Between molecules a state that begins or ends there depends on directions.
    """
    box = periodic_box(problem.system)
    if box is None:
        return []
    molecules, reach, notes = molecules_of(problem.system, problem.topology), 0.5 * float(np.diag(box).min()), []
    for variable in problem.states.variables.variables:
        if not isinstance(variable, Distance) or variable.periodic_box is None:
            continue
        one, other = variable.atoms
        if molecules[one] != molecules[other]:
            notes += _between_molecules(problem, variable, reach)
        elif variable.follows_system:
            notes += _within_a_molecule(problem, variable, reach)
    return notes


def _within_a_molecule(problem: RareEventSystem, variable: Distance, reach: float) -> list[str]:
    one, other = variable.atoms
    length = float(np.linalg.norm(problem.positions[other] - problem.positions[one]))
    shorter = length > variable(problem.positions[None])[0] + 1e-6
    begins = max((low for low, _ in _asked_for(problem, variable)), default=0.0)
    if not shorter and begins <= reach:
        return []
    seen = f"{length:.3g} nm in the structure, and" if shorter else "longer in a state, while"
    return [
        f"Variable {variable.name!r} is a distance within one molecule, {seen} nearest images in the periodic box are "
        f'unambiguous up to {reach:.3g} nm only. Give it box = "none": OpenMM keeps molecules whole.'
    ]


def _between_molecules(problem: RareEventSystem, variable: Distance, reach: float) -> list[str]:
    farthest = variable.limits[1]
    beyond = [bound for bounds in _asked_for(problem, variable) for bound in bounds if reach < bound < farthest]
    if not beyond:
        return []
    return [
        f"A state has a border at {variable.name} = {max(beyond):.3g} nm, but the periodic box has room for {reach:.3g} nm in "
        "all directions only: beyond that the distance of nearest images depends on the direction, and jumps where the box is "
        "not rectangular. Move the border inward, or take a larger box."
    ]


def _asked_for(problem: RareEventSystem, variable: Distance) -> list[tuple[float, float]]:
    """Between which values of a variable the states lie, nm."""
    ranges = [region.bounds for region in (problem.states.a, problem.states.b) if isinstance(region, Range)]
    return [bounds[variable.name] for bounds in ranges if variable.name in bounds]

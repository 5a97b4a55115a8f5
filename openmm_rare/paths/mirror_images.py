"""Whether a system and its states are the same in a mirror: then paths that are mirror images are no different ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..dynamics.platforms import platform_by_name
from ..states.regions import Disc, Range
from ..structure.bonds import bonded_pairs
from ..structure.particles import masses_of

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..states.regions import Region

__all__ = ["equivalent_atoms", "is_its_mirror_image", "mirrored"]

_MOST_ATOMS = 200  # whose energy is evaluated
_STIR = 0.002  # nm, off a structure that may be flat
_SAME = 1e-6  # of the energy


def mirrored(positions: np.ndarray) -> np.ndarray:
    """Positions (..., 3) in a mirror."""
    return positions * np.array([-1.0, 1.0, 1.0])


def equivalent_atoms(problem: RareEventSystem) -> list[list[int]]:
    """Groups of atoms of one mass that are bound to the same single atom."""
    masses, groups = masses_of(problem.system), {}
    for atom, bound in _partners(problem).items():
        if len(bound) == 1:
            groups.setdefault((bound[0], float(masses[atom])), []).append(atom)
    return [group for group in groups.values() if len(group) > 1]


def is_its_mirror_image(problem: RareEventSystem) -> bool:
    """Whether mirror images of all that happens in a small molecule in vacuum are as likely, and lead to the same states.

    A mirror must keep the values of all variables or change their sign, as of distances and dihedrals, and no atom may have
    four different partners: mirror images of such molecules are others. Where this cannot be seen, they count as different.
    """
    if problem.num_dimensions != 3 or len(problem.positions) > _MOST_ATOMS or problem.system.usesPeriodicBoundaryConditions():
        return False
    variables = problem.states.variables
    turning = {variable.name: variable.period for variable in variables.variables if variable.mirror == -1}
    known = all(variable.mirror is not None for variable in variables.variables)
    if not known or not all(_is_even(region, turning) for region in (problem.states.a, problem.states.b)):
        return False
    if problem.states.channels is not None:
        return False
    equivalent = {atom for group in equivalent_atoms(problem) for atom in group}
    if any(len(bound) > 3 and len(equivalent.intersection(bound)) < 2 for bound in _partners(problem).values()):
        return False
    return _has_energy_of_mirror_image(problem)


def _partners(problem: RareEventSystem) -> dict[int, list[int]]:
    partners: dict[int, list[int]] = {}
    for pair in bonded_pairs(problem.system, problem.topology).tolist():
        for one, other in (pair, pair[::-1]):
            partners.setdefault(one, []).append(other)
    return partners


def _is_even(region: Region, turning: dict[str, float | None]) -> bool:
    """Whether a region contains the same values of turning variables, given with their periods, with the other sign."""
    if isinstance(region, Range):
        sums = [(sum(bounds), turning[name]) for name, bounds in region.bounds.items() if name in turning]
    elif isinstance(region, Disc):
        sums = [(2.0 * center, turning[name]) for name, center in region.center.items() if name in turning]
    else:
        return False
    return all(abs(each if period is None else np.sin(np.pi * each / period)) < 1e-6 for each, period in sums)


def _has_energy_of_mirror_image(problem: RareEventSystem) -> bool:
    context = openmm.Context(problem.system, openmm.VerletIntegrator(0.001), platform_by_name("Reference"))
    stirred = problem.positions + _STIR * np.random.default_rng(1).normal(size=problem.positions.shape)
    energies = []
    for positions in (stirred, mirrored(stirred)):
        context.setPositions(positions)
        context.computeVirtualSites()
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    return abs(energies[0] - energies[1]) < _SAME * (1.0 + abs(energies[0]))

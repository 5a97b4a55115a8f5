"""What the bonds of an initial structure say about it: another unit, or atoms that are not where the forces want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..structure.bonds import harmonic_bonds
from ..structure.box import periodic_box
from ..structure.constraints import constraints_of
from ..structure.nearest_image import nearest_image
from ..structure.obstacles import Obstacle

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["strain_of_structure", "unit_of_structure"]

_MOST_ENERGY, _MOST_STRAIN = 100.0, 0.2  # kT in a harmonic bond, ten times what refinement leaves, and of a constraint's length
_STIFF = 0.6  # of its length: a bond that gives more for that energy is a restraint, which may begin anywhere
_TEN = 7.0, 14.0  # what counts as a factor of ten


def _stiff_bonds(problem: RareEventSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pairs, lengths (nm), how far they may be off, and how long they are in the structure."""
    system = problem.system
    pairs, lengths, stiffness, _ = harmonic_bonds(system)
    rigid_pairs, rigid_lengths = constraints_of(system)
    pairs = np.concatenate([pairs, rigid_pairs])
    slack = np.concatenate([np.sqrt(2.0 * _MOST_ENERGY * problem.kt / stiffness), _MOST_STRAIN * rigid_lengths])
    lengths = np.concatenate([lengths, rigid_lengths])
    stiff = slack < _STIFF * lengths
    pairs = pairs[stiff]
    vectors = problem.positions[pairs[:, 1]] - problem.positions[pairs[:, 0]]
    found = np.linalg.norm(nearest_image(vectors, periodic_box(system)), axis=1)
    return pairs, lengths[stiff], slack[stiff], found


def unit_of_structure(problem: RareEventSystem) -> list[Obstacle]:
    """Positions in Angstrom, or divided by ten, by the lengths of the bonds."""
    _, lengths, _, found = _stiff_bonds(problem)
    ratio = float(np.median(found / lengths)) if len(lengths) else 1.0
    if not (_TEN[0] < ratio < _TEN[1] or _TEN[0] * ratio < 1.0 < _TEN[1] * ratio):
        return []
    hint = "are the positions in Angstrom? They must be in nm" if ratio > 1.0 else "positions must be in nm"
    return [Obstacle(f"the bonds of the initial structure are {ratio:.2g} times as long as they should be", hint)]


def strain_of_structure(problem: RareEventSystem) -> list[str]:
    """A sentence about strained bonds of the initial structure, if there are any."""
    pairs, lengths, slack, found = _stiff_bonds(problem)
    off = np.abs(found - lengths)
    strained = off > slack
    if not strained.any():
        return []
    worst = int(np.argmax(off * strained))
    one, other = pairs[worst].tolist()
    return [
        f"The initial structure is strained: {int(strained.sum())} of {len(pairs)} bonds are far from their length, such as "
        f"that between atoms {one} and {other}, which is {found[worst]:.3g} nm long instead of {lengths[worst]:.3g} nm. Are "
        "its atoms in the order of the System? If so, minimize its energy."
    ]

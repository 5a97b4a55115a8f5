"""Centers of mass of groups of atoms, as weights of the atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import InputError

__all__ = ["center_weights"]


def center_weights(groups: Sequence[Sequence[int]], masses: Sequence[Sequence[float]], n_atoms: int) -> np.ndarray:
    """Share of each atom in each center, shape ``(n_groups, n_atoms)``; rows add up to 1.

    Raises
    ------
    ValueError
        If a group is empty, groups share an atom, an atom does not exist, or a mass is missing or not positive.
    """
    atoms = [atom for group in groups for atom in group]
    if not groups or not all(len(group) for group in groups):
        raise InputError(f"groups = {list(groups)} must be lists of atoms, none of them empty")
    whole = all(isinstance(atom, int | np.integer) for atom in atoms)
    if not whole or len(set(atoms)) != len(atoms) or min(atoms) < 0 or max(atoms) >= n_atoms:
        raise InputError(f"groups must list different atoms from 0 to {n_atoms - 1}, none of them twice; {list(groups)} do not")
    if [len(each) for each in masses] != [len(group) for group in groups]:
        raise InputError("masses must be lists like those of groups, one mass in Da for each atom")
    weights = np.zeros((len(groups), n_atoms))
    for row, group, own in zip(weights, groups, masses, strict=True):
        given = np.array(own, dtype=np.float64)
        if not (np.isfinite(given) & (given > 0.0)).all():
            raise InputError(f"the atoms {list(group)} of a group have the masses {list(own)} Da, which must be positive")
        row[list(group)] = given / given.sum()
    return weights

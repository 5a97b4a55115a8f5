"""Which particles, and which pairs of them, are equal to an action."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import openmm

from ...errors import InputError
from ...structure.bonds import bonded_pairs
from ...structure.particles import masses_of

__all__ = ["PairTypes"]

_FAR = 4  # bonds; pairs farther apart than that are alike
_MOST_ATOMS = 60
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class PairTypes:
    """Types of particles and pairs.

    Attributes
    ----------
    of_atom : ndarray of int, shape (n_atoms,)
    pairs : ndarray of int, shape (n_pairs, 2)
    of_pair : ndarray of int, shape (n_pairs,)
    """

    of_atom: np.ndarray
    pairs: np.ndarray
    of_pair: np.ndarray

    @cached_property
    def n_types(self) -> int:
        """Of pairs."""
        return int(self.of_pair.max()) + 1

    @property
    def n_atoms(self) -> int:
        """Particles."""
        return len(self.of_atom)

    def spec(self) -> dict[str, Any]:
        """Plain lists."""
        return {"of_atom": self.of_atom.tolist(), "pairs": self.pairs.tolist(), "of_pair": self.of_pair.tolist()}

    @classmethod
    def of_spec(cls, spec: dict[str, Any]) -> PairTypes:
        """Inverse of :meth:`spec`."""
        return cls(*(np.array(spec[name], dtype=np.int64) for name in ("of_atom", "pairs", "of_pair")))

    @classmethod
    def of_system(cls, system: openmm.System, topology: openmm.app.Topology | None = None) -> PairTypes:
        """All pairs of a System; those are alike whose particles are, and that are as many bonds apart.

        Particles are alike that have equal masses and nonbonded parameters, and the same neighbors through all bonds.

        Raises
        ------
        ValueError
            If there are too many: features are of all pairs.
        """
        masses = masses_of(system)
        if len(masses) > _MOST_ATOMS:
            raise InputError(
                f"the System has {len(masses)} particles; features of all pairs are for {_MOST_ATOMS} at most: take fewer"
            )
        bonds = bonded_pairs(system, topology)
        near = _bonds_between(len(masses), bonds)
        atoms = _numbered(_refined(_colors(system, masses), bonds))
        return cls.of_colors(atoms, masses > 0.0, near)

    @classmethod
    def of_colors(cls, of_atom: Sequence[int], moves: np.ndarray, bonds_between: np.ndarray | None = None) -> PairTypes:
        """Pairs of particles of given types, but for those of which none moves."""
        n = len(of_atom)
        pairs = [(i, j) for i, j in combinations(range(n), 2) if moves[i] or moves[j]]
        if not pairs:
            raise InputError("a single particle has no pairs: take features of its coordinates (--features coordinates)")
        near = np.zeros((n, n), dtype=int) if bonds_between is None else bonds_between
        colors = [(*sorted((int(of_atom[i]), int(of_atom[j]))), int(near[i, j])) for i, j in pairs]
        return cls(np.array(of_atom, dtype=np.int64), np.array(pairs), np.array(_numbered(colors)))


def _numbered(colors: Sequence[Hashable]) -> list[int]:
    known = {color: number for number, color in enumerate(dict.fromkeys(colors))}
    return [known[color] for color in colors]


def _colors(system: openmm.System, masses: np.ndarray) -> list[Hashable]:
    colors: list[list[Any]] = [[round(float(mass), _DIGITS)] for mass in masses]
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce | openmm.CustomNonbondedForce | openmm.CustomExternalForce):
            places = range(force.getNumParticles())
            for index in places:
                given = force.getParticleParameters(index)
                own = isinstance(force, openmm.CustomExternalForce)
                number, values = (given[0], given[1]) if own else (index, given)
                colors[number] += [round(float(getattr(each, "_value", each)), _DIGITS) for each in values]
    return [tuple(color) for color in colors]


def _refined(colors: list[Hashable], bonds: np.ndarray) -> list[Hashable]:
    """Colors that also tell particles apart whose neighbors differ (Weisfeiler & Leman 1968)."""
    neighbors: list[list[int]] = [[] for _ in colors]
    for i, j in bonds:
        neighbors[i].append(int(j))
        neighbors[j].append(int(i))
    known = _numbered(colors)
    for _ in range(len(colors)):
        finer = _numbered([(known[i], tuple(sorted(known[j] for j in near))) for i, near in enumerate(neighbors)])
        if len(set(finer)) == len(set(known)):
            break
        known = finer
    return list(known)


def _bonds_between(n: int, bonds: np.ndarray) -> np.ndarray:
    """Bonds from each particle to each other, (n, n); 4 for more, and for none at all."""
    linked = np.zeros((n, n), dtype=bool)
    if len(bonds):
        linked[bonds[:, 0], bonds[:, 1]] = linked[bonds[:, 1], bonds[:, 0]] = True
    between, reached = np.full((n, n), _FAR), np.eye(n, dtype=bool)
    for count in range(1, _FAR):
        reached = reached | (reached.astype(int) @ linked.astype(int) > 0)
        between[reached & (between == _FAR)] = count
    return between

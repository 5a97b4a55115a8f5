"""Which variables could tell A from B: dihedrals and distances of the solute, with names, atoms and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import openmm
from openmm import app

from ...states.box_variables import BoxVariable, Dihedral, Distance
from ...structure.bonds import bonded_pairs
from ...structure.box import periodic_box
from ...structure.internal_coordinates import atom_label
from ...structure.molecules import is_water, members_of, molecules_of
from ...structure.nearest_image import nearest_image

__all__ = ["Candidate", "Candidates", "find_candidates"]

_SOLVENT = 8
"""Molecules of one kind from which they are a solvent, or a salt beside something else."""
_POLAR = ("N", "O", "S", "P", "F", "Cl", "Br")
_RING = 8
"""Atoms in the largest ring whose bonds do not turn."""
_FAR = 3
"""Bonds between two atoms up to which their distance hardly changes."""
_MOST_DISTANCES = 12
_LARGE = 3000
"""Atoms of the solute from which only the dihedrals of a backbone are looked for."""


@dataclass(frozen=True)
class Candidate:
    """A variable that could tell A from B.

    Attributes
    ----------
    variable : Dihedral or Distance
    label : str
        Its atoms by name.
    rank : int
        Order in which they are shown.
    """

    variable: BoxVariable
    label: str
    rank: int

    @property
    def name(self) -> str:
        """Of the variable."""
        return self.variable.name

    @property
    def kind(self) -> str:
        """As a configuration calls it."""
        return self.variable.type_name

    @property
    def atoms(self) -> tuple[int, ...]:
        """Numbers of its atoms."""
        return self.variable.named_atoms


class Candidates(NamedTuple):
    """All that were found, the likeliest first, and what the solute is."""

    variables: tuple[Candidate, ...]
    n_solute: int
    n_waters: int

    def values(self, positions: np.ndarray) -> np.ndarray:
        """Shape (n_frames, n_variables), nm and radians, of positions of shape (n_frames, n_atoms, 3), nm."""
        columns = [each.variable(positions) for each in self.variables]
        return np.array(columns).reshape(len(columns), len(positions)).T

    def in_box(self, box: np.ndarray | None) -> Candidates:
        """The same in another box, shape (3, 3), nm, or none."""
        return self._replace(variables=tuple(replace(each, variable=each.variable.in_box(box)) for each in self.variables))

    def named(self, name: str) -> Candidate | None:
        """The one of that name."""
        return next((each for each in self.variables if each.name == name), None)


def find_candidates(system: openmm.System, topology: app.Topology, positions: np.ndarray) -> Candidates:
    """The dihedrals about bonds that turn, and distances of polar atoms, of what is not solvent; of ions where nothing else is.

    Parameters
    ----------
    system : openmm.System
    topology : openmm.app.Topology
    positions : ndarray, shape (n_atoms, 3), nm
        Near pairs come first.
    """
    atoms = list(topology.atoms())
    molecules, n_waters = _solute(system, topology, atoms)
    members = sorted(atom for each in molecules for atom in each)
    box, bound = periodic_box(system), _bonded(bonded_pairs(system, topology), atoms, members)
    found = [*_dihedrals(bound, atoms, len(members)), *_distances(bound, atoms, molecules, positions, box)]
    found.sort(key=lambda each: each.rank)
    named = _with_own_names(found)
    return Candidates(tuple(named), len(members), n_waters).in_box(box)


def _solute(system: openmm.System, topology: app.Topology, atoms: Sequence[app.topology.Atom]) -> tuple[list[list[int]], int]:
    """Atoms of each molecule that is no solvent, and the number of water molecules."""
    molecules = members_of(molecules_of(system, topology))
    dry = [each for each in molecules if not is_water(each, system, atoms)]
    kinds = Counter(tuple(atoms[atom].name for atom in each) for each in dry)
    few = [each for each in dry if kinds[tuple(atoms[atom].name for atom in each)] <= _SOLVENT]
    large = [each for each in few if len(each) > 1]
    return large or few or dry[:2], len(molecules) - len(dry)


def _bonded(pairs: np.ndarray, atoms: Sequence[app.topology.Atom], members: Sequence[int]) -> dict[int, list[int]]:
    """Heavy neighbors of each heavy atom of the solute, in ascending order, from all bonds, shape (n, 2)."""
    heavy, bound = {atom for atom in members if _is_heavy(atoms[atom])}, {}
    for one, other in pairs.tolist():
        if {one, other} <= heavy:
            bound.setdefault(one, set()).add(other)
            bound.setdefault(other, set()).add(one)
    return {atom: sorted(neighbors) for atom, neighbors in bound.items()}


def _is_heavy(atom: app.topology.Atom) -> bool:
    return atom.element is not None and atom.element.symbol != "H"


def _dihedrals(bound: dict[int, list[int]], atoms: Sequence[app.topology.Atom], n_members: int) -> Iterator[Candidate]:
    """One about each bond between heavy atoms that turns: phi, psi, chi1, others, omega."""
    for i in sorted(bound):
        for j in bound[i]:
            if j < i or len(bound[i]) < 2 or len(bound[j]) < 2:
                continue
            named = _of_backbone(atoms, bound, i, j)
            if named is None and (n_members > _LARGE or _in_ring(bound, i, j)):
                continue
            name, rank, quartet = named or (*_turn(atoms, bound, i, j), _plain(bound, i, j))
            yield Candidate(Dihedral(name, quartet), "-".join(atom_label(atoms[atom]) for atom in quartet), rank)


def _of_backbone(
    atoms: Sequence[app.topology.Atom], bound: dict[int, list[int]], i: int, j: int
) -> tuple[str, int, tuple[int, int, int, int]] | None:
    """phi, psi, omega or chi1 of an amino acid, by the names of its atoms."""
    for first, second in ((i, j), (j, i)):
        names, residue = (atoms[first].name, atoms[second].name), atoms[second].residue.id
        shape = {
            ("N", "CA"): ("phi", 0, "C", "C"),
            ("CA", "C"): ("psi", 0, "N", "N"),
            ("C", "N"): ("omega", 3, "CA", "CA"),
            ("CA", "CB"): ("chi1_", 1, "N", None),
        }.get(names)
        if shape is None:
            continue
        name, rank, before, after = shape
        left = [atom for atom in bound[first] if atom != second and atoms[atom].name == before]
        right = [atom for atom in bound[second] if atom != first and after in (None, atoms[atom].name)]
        if left and right:
            return f"{name}{residue}", rank, (left[0], first, second, right[0])
    return None


def _in_ring(bound: dict[int, list[int]], i: int, j: int) -> bool:
    """Whether a small ring goes through a bond."""
    reached, border = {i}, {i}
    for step in range(_RING - 1):
        border = {k for atom in border for k in bound[atom] if k not in reached and not (step == 0 and k == j)}
        if j in border:
            return True
        reached |= border
    return False


def _plain(bound: dict[int, list[int]], i: int, j: int) -> tuple[int, int, int, int]:
    before, after = (next(k for k in bound[atom] if k != other) for atom, other in ((i, j), (j, i)))
    return before, i, j, after


def _turn(atoms: Sequence[app.topology.Atom], bound: dict[int, list[int]], i: int, j: int) -> tuple[str, int]:
    """Name and rank of a dihedral that has none in the field; those of amides turn late."""
    amide = {atoms[i].element.symbol, atoms[j].element.symbol} == {"C", "N"} and any(
        atoms[k].element.symbol == "O" and len(bound[k]) == 1 for k in bound[i] + bound[j]
    )
    return f"turn{atoms[i].residue.id}_{atoms[i].name}_{atoms[j].name}", 3 if amide else 2


def _distances(
    bound: dict[int, list[int]],
    atoms: Sequence[app.topology.Atom],
    molecules: Sequence[Sequence[int]],
    positions: np.ndarray,
    box: np.ndarray | None,
) -> Iterator[Candidate]:
    """The nearest pairs of polar atoms that are not close by their bonds, or of ions; of any atoms where there are none."""
    number = {atom: index for index, each in enumerate(molecules) for atom in each}
    polar = [atom for atom in sorted(number) if atoms[atom].element is not None and atoms[atom].element.symbol in _POLAR]
    singles = [each[0] for each in molecules if len(each) == 1]
    places = sorted({*polar, *singles})[:400] or sorted(number)[:100]
    near = {atom: _near(bound, atom) for atom in places}
    pairs = [(i, j) for i, j in combinations(places, 2) if number[i] != number[j] or j not in near[i]]
    if not pairs:
        return
    i, j = np.array(pairs).T
    lengths = np.linalg.norm(nearest_image(positions[j] - positions[i], box), axis=1)
    for index in np.argsort(lengths, kind="stable")[:_MOST_DISTANCES]:
        one, other = pairs[index]
        name = f"r_{_short(atoms[one])}_{_short(atoms[other])}"
        yield Candidate(Distance(name, (one, other)), f"{atom_label(atoms[one])} to {atom_label(atoms[other])}", 2)


def _near(bound: dict[int, list[int]], atom: int) -> set[int]:
    """Atoms that a few bonds reach."""
    reached = {atom}
    for _ in range(_FAR):
        reached |= {k for each in reached for k in bound.get(each, ())}
    return reached


def _short(atom: app.topology.Atom) -> str:
    return f"{atom.residue.id}{atom.name}"


def _with_own_names(found: Sequence[Candidate]) -> list[Candidate]:
    """Names that TOML takes without quotes, each once: chains repeat residues."""
    taken: Counter[str] = Counter()
    named = []
    for each in found:
        name = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in each.name)
        taken[name] += 1
        name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        named.append(replace(each, variable=replace(each.variable, name=name)))
    return named

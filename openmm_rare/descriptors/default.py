"""What the network sees when nobody says: all pair distances of a small system, of a larger one what its states are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openmm

from ..errors import InputError
from ..states.states import FunctionRegion, States
from ..structure.internal_coordinates import atom_label, internal_coordinates
from ..structure.molecules import is_water, members_of, molecules_of

if TYPE_CHECKING:
    from openmm import app

__all__ = ["DefaultDescriptor", "default_descriptor"]

_MOST_PAIRS = 20_000
"""Pairs of a system without solvent up to which all of them are seen, as those of 200 atoms."""
_MOST_INPUTS = 5_000
"""That are chosen for a larger one."""
_SOLVENT = 5
"""Water molecules that make a solvent; fewer are part of what happens."""
_SHOWN = 4


@dataclass(frozen=True)
class DefaultDescriptor:
    """A specification, and a sentence that says what was chosen; None where it is everything there is."""

    spec: dict[str, Any]
    note: str | None = None


def default_descriptor(
    system: openmm.System, topology: app.Topology | None, states: States, num_dimensions: int
) -> DefaultDescriptor:
    """The descriptor of a problem that brings none.

    The coordinates of a single particle; all pair distances of a small system without solvent. Otherwise the internal
    coordinates of the molecules that the variables of the states name atoms of, the distances among the named atoms where they
    are of different molecules, and their coordinates where the states are about those. Variables that are functions name no
    atoms: then it is all that is not water, nor a single atom beside larger molecules.

    Raises
    ------
    ValueError
        If nothing with a reasonable number of inputs can be chosen; the message says how many there would be.
    """
    n_atoms = system.getNumParticles()
    if n_atoms == 1:
        return DefaultDescriptor({"kind": "coordinates", "columns": list(range(num_dimensions)), "scale": 1.0})
    chosen = _Choice(system, topology, states)
    n_pairs = n_atoms * (n_atoms - 1) // 2
    if n_pairs <= _MOST_PAIRS and chosen.n_waters < _SOLVENT:
        return DefaultDescriptor({"kind": "pair_distances"})
    for parts in chosen.attempts(num_dimensions):
        if parts and sum(map(_n_inputs, (spec for spec, _ in parts))) <= _MOST_INPUTS:
            specs = [spec for spec, _ in parts]
            spec = specs[0] if len(specs) == 1 else {"kind": "concatenate", "parts": specs}
            return DefaultDescriptor(spec, chosen.note([words for _, words in parts]))
    raise InputError(
        f"no [system.descriptor] says what the network sees of {n_atoms} atoms ({chosen.n_waters} water molecules): all "
        f"{n_pairs} pair distances take {4e-6 * n_pairs:.2g} GB for every 1000 frames, and no smaller choice follows from the "
        'states; write e.g. [system.descriptor] with kind = "subset", atoms = "protein and name CA" and part = '
        '{ kind = "pair_distances" }'
    )


Parts = list[tuple[dict[str, Any], str]]
"""Specifications and what they are in words."""


class _Choice:
    """What there is to choose from."""

    def __init__(self, system: openmm.System, topology: app.Topology | None, states: States) -> None:
        self.n_atoms = system.getNumParticles()
        fits = topology is not None and topology.getNumAtoms() == self.n_atoms
        self.topology = topology if fits else None
        self.atoms = list(topology.atoms()) if fits else None
        molecule_of = molecules_of(system, self.topology)
        self.molecule_of = molecule_of
        members = members_of(molecule_of)
        self.named, self.fixed, complete = _named_atoms(states)
        waters = [each for each in members if is_water(each, system, self.atoms) and self.named.isdisjoint(each)]
        self.n_waters = len(waters)
        water = {atom for each in waters for atom in each}
        solute = [each for each in members if water.isdisjoint(each)]
        if complete:
            solute = [each for each in solute if not self.named.isdisjoint(each)]
            solute = [each for each in solute if len(each) > 1 and not is_water(each, system, self.atoms)]
        elif any(len(each) > 1 for each in solute):
            solute = [each for each in solute if len(each) > 1 or not self.named.isdisjoint(each)]
        self.complete, self.solute = complete, solute

    def attempts(self, num_dimensions: int) -> Iterable[Parts]:
        """Choices, the best first."""
        placed = self._coordinates(num_dimensions) + self._distances()
        solute = [atom for molecule in self.solute for atom in molecule]
        if not self.complete and len(self.solute) > 1:
            yield [*self._pairs(solute, "all atoms that are not solvent"), *placed]
            return
        for hydrogen in (True, False):
            yield [part for molecule in self.solute for part in self._internal(molecule, hydrogen)] + placed
        yield placed

    def _internal(self, molecule: list[int], hydrogen: bool) -> Parts:
        """Internal coordinates of a molecule where its bonds are known, and distances where they are not."""
        bound = set() if self.topology is None else {atom.index for bond in self.topology.bonds() for atom in bond}
        atoms = [atom for atom in molecule if self._is_seen(atom, hydrogen, bound)]
        of = f"of the molecule of atom {self._names(molecule[:1])}, {len(atoms)} atoms{'' if hydrogen else ' without hydrogen'}"
        if len(atoms) > 1 and bound.issuperset(atoms):
            return [(internal_coordinates(self.topology, atoms), f"the internal coordinates {of}")]
        return self._pairs(atoms, f"the atoms {of}")

    def _is_seen(self, atom: int, hydrogen: bool, bound: set[int]) -> bool:
        """Whether an atom of the solute matters: virtual sites and Drude particles, which are no elements, follow others."""
        if self.atoms is None:
            return True
        element = self.atoms[atom].element
        return atom in bound if element is None else hydrogen or element.symbol != "H"

    def _distances(self) -> Parts:
        """Distances among named atoms of different molecules."""
        atoms = sorted(self.named)
        if self.solute and len({self.molecule_of[atom] for atom in atoms}) < 2:
            return []
        return self._pairs(atoms, f"the atoms {self._names(atoms)}, which the states name")

    def _pairs(self, atoms: list[int], words: str) -> Parts:
        if len(atoms) < 2:
            return []
        part: dict[str, Any] = {"kind": "pair_distances"}
        if self.atoms is not None:
            labels = [atom_label(self.atoms[atom]) for atom in atoms]
            part |= {"labels": labels} if len(set(labels)) == len(labels) else {}
        several = "distances among" if len(atoms) > 2 else "distance between"
        return [({"kind": "subset", "atoms": atoms, "part": part}, f"the {several} {words}")]

    def _coordinates(self, num_dimensions: int) -> Parts:
        """Coordinates of atoms that the states are about as such."""
        atoms = sorted(self.fixed)
        columns = [3 * atom + axis for atom in atoms for axis in range(num_dimensions)]
        spec = {"kind": "coordinates", "columns": columns, "scale": 1.0}
        return [(spec, f"the coordinates of the atoms {self._names(atoms)}")] if atoms else []

    def _names(self, atoms: Sequence[int]) -> str:
        """Numbers and names of a few atoms."""
        shown = [f"{atom}" if self.atoms is None else f"{atom} ({atom_label(self.atoms[atom])})" for atom in atoms[:_SHOWN]]
        return ", ".join(shown) + (", ..." if len(atoms) > _SHOWN else "")

    def note(self, words: Sequence[str]) -> str:
        """What is seen by default."""
        waters = f", {self.n_waters} water molecules among them" if self.n_waters else ""
        return (
            f"Of {self.n_atoms} atoms{waters}, the network sees {' and '.join(words)}: the default where [system.descriptor] "
            "says nothing."
        )


def _named_atoms(states: States) -> tuple[set[int], set[int], bool]:
    """Atoms that variables name, those whose coordinates they are made of, and whether the states know of no others."""
    named: set[int] = set()
    fixed: set[int] = set()
    complete = not any(isinstance(region, FunctionRegion) for region in (states.a, states.b))
    for variable in states.variables.variables:
        atoms = variable.named_atoms
        complete &= atoms is not None
        named |= set(atoms or ())
        if variable.is_of_places:
            fixed |= set(atoms or ())
    return named, fixed, complete


def _n_inputs(spec: dict[str, Any]) -> int:
    """Features of one of the specifications that are made here."""
    if spec["kind"] == "subset":
        return len(spec["atoms"]) * (len(spec["atoms"]) - 1) // 2
    if spec["kind"] == "coordinates":
        return len(spec["columns"])
    return len(spec["bonds"]) + len(spec["angles"]) + 2 * len(spec["dihedrals"])

"""Internal coordinates of a molecule from its bonds: which distances, angles and dihedrals describe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from openmm import app

__all__ = ["atom_label", "internal_coordinates"]

_BACKBONE = {("C", "N", "CA", "C"): "phi", ("N", "CA", "C", "N"): "psi"}


def atom_label(atom: app.topology.Atom) -> str:
    """Name of an atom with its residue, e.g. ALA2:CA."""
    return f"{atom.residue.name}{atom.residue.id}:{atom.name}"


def internal_coordinates(topology: app.Topology, atoms: Iterable[int] | None = None) -> dict[str, Any]:
    """Specification of a descriptor ``internal_coordinates``: every bond, and the angles and dihedrals that go with it.

    The angles at an atom are those between its main neighbor, the one with the largest branch behind it, and each of the
    others. Every bond between two atoms that are not terminal has one dihedral, to the main neighbors at both ends. A molecule
    of n atoms without rings so gets n - 1 bonds and n - 2 angles. The backbone dihedrals of a peptide are among them.

    Parameters
    ----------
    topology : openmm.app.Topology
        With its bonds.
    atoms : iterable of int, optional
        The atoms to describe, by default all; bonds to others are left out.

    Returns
    -------
    dict
        JSON-able, for :func:`openmm_rare.descriptors.build.build_descriptor`, with a label for each coordinate.

    Raises
    ------
    ValueError
        If an atom does not exist, or there is no bond between the atoms.
    """
    every = list(topology.atoms())
    chosen = set(range(len(every)) if atoms is None else atoms)
    if not chosen <= set(range(len(every))):
        raise InputError(f"atoms must be indices from 0 to {len(every) - 1}, not {sorted(chosen - set(range(len(every))))}")
    bonds = sorted({tuple(sorted((bond[0].index, bond[1].index))) for bond in topology.bonds()})
    bonds = [bond for bond in bonds if chosen.issuperset(bond)]
    if not bonds:
        raise InputError("there is no bond between the atoms: give the topology its bonds, or choose other atoms")
    bound: dict[int, list[int]] = {}
    for i, j in bonds:
        bound.setdefault(i, []).append(j)
        bound.setdefault(j, []).append(i)
    heavy = {atom.index for atom in every if atom.element is not None and atom.element.symbol != "H"}
    ranked = {center: _ranked(center, bound, heavy) for center in sorted(bound)}
    angles = [(main, center, other) for center, (main, *others) in ranked.items() for other in others]
    dihedrals = [_dihedral(i, j, ranked) for i, j in bonds if len(bound[i]) > 1 and len(bound[j]) > 1]
    return {
        "kind": "internal_coordinates",
        "bonds": [list(bond) for bond in bonds],
        "angles": [list(angle) for angle in angles],
        "dihedrals": [list(dihedral) for dihedral in dihedrals],
        "labels": _labels(every, [*bonds, *angles, *dihedrals]),
    }


def _ranked(center: int, bound: dict[int, list[int]], heavy: set[int]) -> list[int]:
    """The neighbors of an atom, that with the largest branch of heavy atoms first."""

    def rank(neighbor: int) -> tuple[int, int, int]:
        seen, todo = {center, neighbor}, [neighbor]
        while todo:
            new = set(bound[todo.pop()]) - seen
            seen |= new
            todo += new
        seen.remove(center)
        return -len(seen & heavy), -len(seen), neighbor

    return sorted(bound[center], key=rank)


def _dihedral(i: int, j: int, ranked: dict[int, list[int]]) -> tuple[int, int, int, int]:
    """The dihedral about a bond, to the main neighbors at both ends."""
    before, after = (next(n for n in ranked[a] if n != b) for a, b in ((i, j), (j, i)))
    return before, i, j, after


def _labels(every: Sequence[app.topology.Atom], coordinates: Sequence[tuple[int, ...]]) -> list[str]:
    """A name for each coordinate: phi and psi with their residue, atoms with theirs for the others."""
    labels = []
    for indices in coordinates:
        atoms = [every[index] for index in indices]
        angle = _BACKBONE.get(tuple(atom.name for atom in atoms))
        if angle is not None:
            residue = next(atom.residue for atom in atoms if atom.name == "CA")
            labels.append(f"{angle} {residue.name}{residue.id}")
        else:
            labels.append("-".join(atom_label(atom) for atom in atoms))
    times = Counter(labels)  # molecules of one kind have residues of the same name and number
    numbers = ["-".join(map(str, indices)) for indices in coordinates]
    return [one if times[one] == 1 else f"{one} ({each})" for one, each in zip(labels, numbers, strict=True)]

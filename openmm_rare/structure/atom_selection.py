"""Atoms by name: the selection language of mdtraj, as in ``"protein and name CA"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingPackageError
from .internal_coordinates import atom_label

if TYPE_CHECKING:
    from openmm import app

__all__ = ["atoms_of", "select_atoms"]

_SHOWN = 3
"""Selected atoms that a message names."""


def select_atoms(topology: app.Topology | None, selection: str) -> tuple[int, ...]:
    """Numbers of the atoms that a selection of mdtraj means, counted from 0, in the order of the topology.

    Parameters
    ----------
    topology : openmm.app.Topology
    selection : str
        E.g. ``"resname NA"``, ``"protein and name CA"``, ``"water and name O"``, ``"index 0 to 9"``.

    Raises
    ------
    ValueError
        If there is no topology, the text is no selection, or no atom is selected.
    ImportError
        If mdtraj is missing.
    """
    if topology is None:
        raise InputError(f"the selection {selection!r} needs a topology, and the system has none: give numbers of atoms")
    try:
        import mdtraj
    except ImportError as error:
        raise MissingPackageError(
            f"the selection {selection!r} needs mdtraj ({error}): pip install 'openmm-rare[ops]', or give numbers of atoms"
        ) from error
    molecules = mdtraj.Topology.from_openmm(topology)
    try:
        found = tuple(int(atom) for atom in molecules.select(selection))
    except Exception as error:  # the parser and what it calls fail in many ways
        _require_no_numbers(selection)
        raise InputError(
            f'{selection!r} is no selection of atoms for mdtraj: write it as "name CA", "resname NA" or "protein and not '
            f'element H" ({_first_words(error)})'
        ) from error
    if not found:
        _require_no_numbers(selection)
        residues = ", ".join(sorted({residue.name for residue in topology.residues()})[:12])
        raise InputError(f"the selection {selection!r} selects no atom; the residues are named {residues}")
    return found


def _require_no_numbers(selection: str) -> None:
    """Refuse numbers of atoms in quotes by what to write."""
    numbers = selection.replace(",", " ").split()
    if numbers and all(each.isdigit() for each in numbers):
        raise InputError(
            f"the selection {selection!r} holds numbers only: write [{', '.join(numbers)}] without quotes, or "
            f'"index {" ".join(numbers)}"'
        )


def _first_words(error: Exception) -> str:
    """The beginning of what a parser says, which may be pages."""
    words = " ".join(str(error).split())
    return words if len(words) <= 100 else f"{words[:100]}..."


def atoms_of(given: Any, topology: app.Topology | None, where: str, count: int | None = None) -> tuple[int, ...]:
    """Numbers of atoms from what a setting says: a selection, or a list of numbers and selections.

    Parameters
    ----------
    given : str or sequence of (int or str)
    topology : openmm.app.Topology or None
        Selections need one.
    where : str
        Name of the setting, for messages.
    count : int, optional
        How many atoms it must be; every selection in a list stands for one of them then.

    Raises
    ------
    ValueError
        If a selection is not possible, or selects another number of atoms; numbers are left to whoever uses them.
    """
    if isinstance(given, str):
        return _selected(given, topology, where, count)
    if not isinstance(given, Sequence):
        raise InputError(f"{where} = {given!r} must be a selection of atoms, or a list of numbers and selections")
    atoms: list[int] = []
    for each in given:
        one = None if count is None else 1
        atoms += _selected(each, topology, where, one) if isinstance(each, str) else [each]
    return tuple(atoms)


def _selected(selection: str, topology: app.Topology | None, where: str, count: int | None) -> tuple[int, ...]:
    try:
        atoms = select_atoms(topology, selection)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if count is not None and len(atoms) != count:
        every = list(topology.atoms())
        first = ", ".join(f"{atom} ({atom_label(every[atom])})" for atom in atoms[:_SHOWN])
        more = ", ..." if len(atoms) > _SHOWN else ""
        raise InputError(
            f"{where}: {selection!r} selects {len(atoms)} atom{'s' * (len(atoms) > 1)}, {first}{more}, where {count} "
            f"{'is' if count == 1 else 'are'} needed"
        )
    return atoms

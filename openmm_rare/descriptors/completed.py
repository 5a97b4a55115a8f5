"""The specification of a descriptor as a user writes it, made whole for a System: atoms by number, lengths in nm, a box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import unit

from ..errors import InputError
from ..structure.atom_selection import atoms_of
from ..structure.box import periodic_box
from ..structure.internal_coordinates import internal_coordinates
from ..structure.molecules import molecules_of
from ..structure.nearest_image import box_vectors
from ..structure.particles import masses_of
from ..units import parse_quantity
from .base import DESCRIPTOR_KINDS, Descriptor
from .internal_features import InternalCoordinates

if TYPE_CHECKING:
    from openmm import app

__all__ = ["completed"]

_TOLERANCE = 1e-4  # relative and in nm: edges are written with four digits


def completed(spec: Mapping[str, Any], system: openmm.System, topology: app.Topology | None) -> dict[str, Any]:
    """A specification for :func:`~openmm_rare.descriptors.build.build_descriptor` that depends on no System any more.

    * Selections of atoms become numbers, also within lists; in the ``part`` of a subset numbers count from 0 within it.
    * Groups of ``group_centers`` get the masses of their atoms.
    * ``atoms`` of the kind ``internal_coordinates`` becomes their bonds, angles and dihedrals.
    * Lengths may be text, as "0.3 nm".
    * In a periodic System ``box`` becomes that of the System where atoms of different molecules are combined, and for symmetry
      functions; OpenMM keeps a molecule whole. ``box = "system"`` wants it anyway, ``box = "none"`` keeps vectors as they are.

    What is wrong in itself is left to ``build_descriptor``.

    Raises
    ------
    ValueError
        If a selection or a length is not possible, or a box is not that of the System.
    """
    return _Completion(system, topology).of(spec, range(system.getNumParticles()), "descriptor")


class _Completion:
    def __init__(self, system: openmm.System, topology: app.Topology | None) -> None:
        self.topology = topology
        fits = topology is not None and topology.getNumAtoms() == system.getNumParticles()
        self.molecules = molecules_of(system, topology if fits else None)
        self.box = periodic_box(system)
        self.masses = masses_of(system)

    def of(self, spec: Any, atoms: Sequence[int], where: str) -> dict[str, Any]:
        """A specification whose atoms, in the numbers of the System, are these."""
        if not isinstance(spec, Mapping):
            raise InputError(f'{where} = {spec!r} must be a table with a kind, e.g. {{ kind = "pair_distances" }}')
        made, kind = dict(spec), spec.get("kind")
        if kind == "subset" and {"atoms", "part"} <= set(made):
            made["atoms"] = self._numbers(made["atoms"], atoms, f"{where}.atoms")
            inner = [atoms[atom] for atom in made["atoms"] if _is_number(atom, len(atoms))]
            return made | {"part": self.of(made["part"], inner, f"{where}.part")}
        if kind == "group_centers" and {"groups", "part"} <= set(made):
            return self._of_centers(made, atoms, where)
        if kind == "concatenate" and isinstance(made.get("parts"), Sequence):
            parts = [self.of(part, atoms, f"{where}.parts[{number}]") for number, part in enumerate(made["parts"])]
            return made | {"parts": parts}
        if kind == "internal_coordinates" and "atoms" in made:
            made = self._internal(made, atoms, where)
        known = _kind(kind)
        if known is None:
            return made
        for key, width in known.atoms_in_rows.items():
            made |= self._rows(made.get(key), atoms, f"{where}.{key}", width, key)
        for key in known.atom_lists:
            if isinstance(made.get(key), Mapping):
                named = made[key].items()
                made[key] = {name: self._numbers(each, atoms, f"{where}.{key}.{name}") for name, each in named}
            elif key in made:
                made[key] = self._numbers(made[key], atoms, f"{where}.{key}")
        made |= {key: _in_nm(made[key], f"{where}.{key}") for key in known.lengths if key in made}
        return self._with_box(known, made, atoms, where) if "box" in known.keys() else made

    def _of_centers(self, made: dict[str, Any], atoms: Sequence[int], where: str) -> dict[str, Any]:
        """Groups by number with their masses; their part is told of the first atom of each, whose molecule is theirs."""
        if isinstance(made["groups"], str) or not isinstance(made["groups"], Sequence):
            raise InputError(
                f"{where}.groups = {made['groups']!r} must be a list of groups, each a selection or a list of atoms"
            )
        groups = [self._numbers(group, atoms, f"{where}.groups[{number}]") for number, group in enumerate(made["groups"])]
        inside = [[atoms[atom] for atom in group if _is_number(atom, len(atoms))] for group in groups]
        made["groups"] = groups
        made.setdefault("masses", [[float(self.masses[atom]) for atom in group] for group in inside])
        return made | {"part": self.of(made["part"], [group[0] for group in inside if group], f"{where}.part")}

    def _rows(self, given: Any, atoms: Sequence[int], where: str, width: int, key: str) -> dict[str, Any]:
        """Rows of so many atoms under their key where there are selections among them, and nothing elsewhere."""
        if isinstance(given, str):
            return {key: [self._numbers(given, atoms, where, width)]}
        if not isinstance(given, Sequence):
            return {}
        rows = [self._numbers(row, atoms, f"{where}[{number}]", width) for number, row in enumerate(given)]
        return {key: rows} if any(new is not old for new, old in zip(rows, given, strict=True)) else {}

    def _numbers(self, given: Any, atoms: Sequence[int], where: str, count: int | None = None) -> Any:
        """Numbers within `atoms`; a list of numbers alone is left as it is."""
        given = given.tolist() if isinstance(given, np.ndarray) else given
        if not isinstance(given, Sequence):
            raise InputError(f"{where} = {given!r} must be a selection of atoms, or a list of numbers and selections")
        if not isinstance(given, str) and not any(isinstance(each, str) for each in given):
            return given
        place = {atom: number for number, atom in enumerate(atoms)}
        numbers = []
        for each in [given] if isinstance(given, str) else given:
            if not isinstance(each, str):
                numbers.append(each)
                continue
            found = atoms_of(each, self.topology, where, count if isinstance(given, str) or count is None else 1)
            outside = [atom for atom in found if atom not in place]
            if outside:
                raise InputError(f"{where}: {each!r} selects atom {outside[0]}, which is not in the subset")
            numbers += [place[atom] for atom in found]
        return numbers

    def _internal(self, spec: Mapping[str, Any], atoms: Sequence[int], where: str) -> dict[str, Any]:
        """Bonds, angles and dihedrals of atoms; where there are such already, they are refused."""
        both = sorted({"bonds", "angles", "dihedrals", "labels"} & set(spec))
        if both:
            raise InputError(f"{where} has both atoms and {both[0]}: give the atoms alone, or bonds, angles and dihedrals")
        if self.topology is None:
            raise InputError(f"{where}.atoms needs a topology with bonds, and the system has none: give bonds instead")
        numbers = self._numbers(spec["atoms"], atoms, f"{where}.atoms")
        try:
            chosen = [atoms[number] for number in numbers]
            made = internal_coordinates(self.topology, chosen)
        except InputError as error:
            raise InputError(f"{where}.atoms: {error}") from error
        except (TypeError, IndexError) as error:
            raise InputError(f"{where}.atoms = {spec['atoms']!r} must be atoms from 0 to {len(atoms) - 1}") from error
        place = {atom: number for number, atom in enumerate(atoms)}
        for key in InternalCoordinates.atoms_in_rows:
            made[key] = [[place[atom] for atom in row] for row in made[key]]
        return made | {key: value for key, value in spec.items() if key not in ("kind", "atoms")}

    def _with_box(self, kind: type[Descriptor], spec: dict[str, Any], atoms: Sequence[int], where: str) -> dict[str, Any]:
        """The box that a descriptor of this kind needs, or measures between molecules in."""
        given, is_needed = spec.get("box"), kind.keys()["box"]
        if given is None:
            wanted = is_needed or self._combines_molecules(kind, spec, atoms)
            return spec | {"box": _plain(self.box)} if wanted and self.box is not None else spec
        if isinstance(given, str) and given in ("none", "system"):
            if given == "system" and self.box is None:
                raise InputError(f'{where}.box = "system", but the System has no periodic boundaries: remove it')
            return spec if given == "none" else spec | {"box": _plain(self.box)}
        if isinstance(given, str):
            raise InputError(f'{where}.box = {given!r} must be "system", "none", or the edges or vectors of a box in nm')
        vectors = box_vectors(given, f"{where}.box")
        spec = spec if isinstance(given, list | tuple) else spec | {"box": _plain(vectors)}
        if self.box is None and not is_needed:
            raise InputError(f"{where} has a box, but the System has no periodic boundaries: remove it")
        if self.box is not None and not np.allclose(vectors, self.box, rtol=_TOLERANCE, atol=_TOLERANCE):
            raise InputError(
                f"{where} has the box {_plain(vectors)}, the System {_plain(self.box)} (nm): leave box out to take that of the "
                'System, or give box = "none" to measure without images'
            )
        return spec

    def _combines_molecules(self, kind: type[Descriptor], spec: Mapping[str, Any], atoms: Sequence[int]) -> bool:
        """Whether atoms of several molecules enter one feature."""
        rows = kind.combined_atoms(spec, len(atoms))
        valid = [row for row in rows if isinstance(row, Sequence) and all(_is_number(each, len(atoms)) for each in row)]
        return any(len({self.molecules[atoms[each]] for each in row}) > 1 for row in valid)


def _kind(name: Any) -> type[Descriptor] | None:
    return DESCRIPTOR_KINDS.get(name) if isinstance(name, str) else None


def _is_number(atom: Any, n_atoms: int) -> bool:
    return isinstance(atom, int | np.integer) and 0 <= atom < n_atoms


def _is_word(value: str) -> bool:
    """Text that is no length, as "none" for a box."""
    return value.isalpha()


def _in_nm(value: Any, where: str) -> Any:
    """Text such as "0.3 nm" as a number, also in lists; everything else, words included, as it is."""
    if isinstance(value, list | tuple):
        return [_in_nm(each, where) for each in value] if _has_text(value) else value
    return parse_quantity(value, unit.nanometer, where) if isinstance(value, str) and not _is_word(value) else value


def _has_text(values: Sequence[Any]) -> bool:
    return any(isinstance(each, str) or (isinstance(each, list | tuple) and _has_text(each)) for each in values)


def _plain(box: np.ndarray) -> list:
    """Three edges of a rectangular box, and three vectors of another."""
    return box.tolist() if np.count_nonzero(box - np.diag(np.diag(box))) else np.diag(box).tolist()

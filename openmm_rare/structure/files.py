"""Files that a System comes from: serialized XML, perhaps with forces of plugins, and a structure as PDB or mmCIF."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from ..errors import InputError
from ..io.regular_file import regular_file
from ..trust.rehearsal import rehearse
from ..trust.system_xml import checked_xml, plugin_missing
from .checks import sites_in_words

__all__ = ["read_structure", "read_system", "require_same_atoms"]

_SAME_MASS = 0.02  # Da: force fields round masses
_MMCIF = (".cif", ".mmcif")
_LARGEST = 1 << 29  # bytes of a structure: a few million atoms
_FORMATS = "structures are PDB files, or mmCIF files whose names end with .cif or .mmcif"


def read_system(xml: Path, imported: Sequence[str] = (), trusted: bool = False) -> openmm.System:
    """A serialized System.

    Parameters
    ----------
    xml : Path
    imported : sequence of str
        Modules of plugins that are there, for the message.
    trusted : bool
        Whether it may hold programs, see :func:`~openmm_rare.trust.system_xml.checked_xml`.

    Raises
    ------
    ValueError
        If the file holds something else, a program, or a force of a plugin that is not loaded.
    """
    text = checked_xml(xml, trusted=trusted)
    if not imported and not trusted:  # modules of plugins are code, which the user has named
        rehearse(xml, text)
    try:
        return openmm.XmlSerializer.deserialize(text)
    except (openmm.OpenMMException, ValueError) as error:
        missing = re.search(r"no serialization proxy registered for type '?(\w+)", str(error))
        if missing:
            raise InputError(plugin_missing(xml, missing[1], imported)) from error
        raise InputError(f"system.xml: {xml} is no serialized OpenMM object ({error})") from error


def read_structure(path: Path, setting: str = "system.pdb") -> tuple[app.Topology, unit.Quantity]:
    """Topology and positions of a structure: mmCIF where the name ends like that, PDB otherwise.

    Parameters
    ----------
    path : Path
    setting : str
        What names it, for messages.

    Raises
    ------
    ValueError
        If it cannot be read, or is too large.
    """
    if regular_file(path).stat().st_size > _LARGEST:
        raise InputError(f"{setting}: {path} has more than {_LARGEST >> 20} MB: a structure of so many atoms cannot be read")
    form, reader = ("mmCIF", app.PDBxFile) if path.suffix.lower() in _MMCIF else ("PDB", app.PDBFile)
    try:
        structure = reader(str(path))
    except Exception as error:  # the parsers fail in as many ways as there are broken files
        said = " ".join(str(error).split()) if isinstance(error, ValueError | OSError) else ""
        reason = said or "it holds no atoms, or is damaged"
        raise InputError(f"{setting}: {path} cannot be read as {form} ({reason}); {_FORMATS}") from error
    return structure.topology, structure.positions


def require_same_atoms(system: openmm.System, xml: Path, topology: app.Topology, pdb: Path) -> None:
    """Refuse a structure of another number of atoms, or of the same ones in another order, naming both files.

    Raises
    ------
    ValueError
        If the numbers differ, or the masses of the System are those of the elements in another order.
    """
    n_particles, n_atoms = system.getNumParticles(), topology.getNumAtoms()
    if n_particles != n_atoms:
        raise InputError(
            f"system.xml: {xml} has {n_particles} particles{sites_in_words(system)}, system.pdb: {pdb} has {n_atoms} atoms: "
            "give the structure that the System was made of"
        )
    elements = [atom.element for atom in topology.atoms()]
    if not all(elements):
        return
    masses = np.array([system.getParticleMass(index)._value for index in range(n_particles)])
    expected = np.array([element.mass._value for element in elements])
    other = np.abs(masses - expected) > _SAME_MASS
    if other.any() and (np.abs(np.sort(masses) - np.sort(expected)) <= _SAME_MASS).all():  # none moved on purpose, as by HMR
        first = int(np.argmax(other))
        raise InputError(
            f"system.pdb: {pdb} has the atoms of system.xml: {xml} in another order: atom {first} is "
            f"{elements[first].symbol} there, and has a mass of {masses[first]:.4g} Da in the System ({int(other.sum())} atoms "
            "differ): give the structure that the System was made of"
        )

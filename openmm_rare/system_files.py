"""Files that a System comes from: serialized XML, perhaps with forces of plugins, and a structure as PDB or mmCIF."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import openmm
from openmm import app, unit

from .errors import InputError, MissingPackageError
from .system_box import sites_in_words
from .user_code import import_own

__all__ = ["import_modules", "read_structure", "read_system", "require_same_atoms"]

_MMCIF = (".cif", ".mmcif")
_FORMATS = "structures are PDB files, or mmCIF files whose names end with .cif or .mmcif"
_MODULES = {"PlumedForce": "openmmplumed", "TorchForce": "openmmtorch", "XtbForce": "openmmxtb"}
"""Python modules of known plugins, by the type of force in XML."""


def import_modules(names: Sequence[str], folder: str | None = None) -> None:
    """Import modules whose plugins define forces.

    Parameters
    ----------
    names : sequence of str
    folder : str, optional
        Put at the head of the import path, as the folder of a script is.

    Raises
    ------
    ValueError
        If one is not installed, or fails.
    ImportError
        If one lacks another one.
    """
    if names and folder is not None and folder not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    for name in names:
        try:
            import_own(name, f"system.import = {list(names)}")
        except ModuleNotFoundError as error:
            if isinstance(error, MissingPackageError):
                raise
            raise InputError(f"system.import = {list(names)}: no module {name!r} is installed") from error


def read_system(xml: Path, imported: Sequence[str] = ()) -> openmm.System:
    """A serialized System.

    Parameters
    ----------
    xml : Path
    imported : sequence of str
        Modules of plugins that are there, for the message.

    Raises
    ------
    ValueError
        If the file holds something else, or a force of a plugin that is not loaded.
    """
    try:
        system = openmm.XmlSerializer.deserialize(xml.read_text(encoding="utf-8"))
    except (openmm.OpenMMException, ValueError) as error:
        missing = re.search(r"no serialization proxy registered for type '?(\w+)", str(error))
        if missing:
            raise InputError(_plugin_missing(xml, missing[1], imported)) from error
        raise InputError(f"system.xml: {xml} is no serialized OpenMM object ({error})") from error
    if not isinstance(system, openmm.System):
        raise InputError(f"system.xml: {xml} holds a {type(system).__name__}, not a System")
    return system


def _plugin_missing(xml: Path, kind: str, imported: Sequence[str]) -> str:
    needs = f"system.xml: {xml} needs the plugin that defines {kind!r}"
    if imported:
        return f"{needs}, which {', '.join(imported)} of system.import do not: add the Python module that does"
    return (
        f"{needs}: install it and name the Python module that loads it, e.g. [system] import = "
        f'["{_MODULES.get(kind, "module_of_the_plugin")}"]'
    )


def read_structure(path: Path) -> tuple[app.Topology, unit.Quantity]:
    """Topology and positions of a structure: mmCIF where the name ends like that, PDB otherwise.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    form, reader = ("mmCIF", app.PDBxFile) if path.suffix.lower() in _MMCIF else ("PDB", app.PDBFile)
    try:
        structure = reader(str(path))
    except Exception as error:  # the parsers fail in as many ways as there are broken files
        said = " ".join(str(error).split()) if isinstance(error, ValueError | OSError) else ""
        reason = said or "it holds no atoms, or is damaged"
        raise InputError(f"system.pdb: {path} cannot be read as {form} ({reason}); {_FORMATS}") from error
    return structure.topology, structure.positions


def require_same_atoms(system: openmm.System, xml: Path, topology: app.Topology, pdb: Path) -> None:
    """Refuse a structure of another number of atoms, naming both files.

    Raises
    ------
    ValueError
        If the numbers differ.
    """
    n_particles, n_atoms = system.getNumParticles(), topology.getNumAtoms()
    if n_particles != n_atoms:
        raise InputError(
            f"system.xml: {xml} has {n_particles} particles{sites_in_words(system)}, system.pdb: {pdb} has {n_atoms} atoms: "
            "give the structure that the System was made of"
        )

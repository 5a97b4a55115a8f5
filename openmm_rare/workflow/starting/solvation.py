"""A structure alone becomes molecules with a force field: hydrogens, water and ions are added where asked for."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openmm
from openmm import app, unit

from ...errors import InputError, UntrustedCodeError
from ...io.tasks import Progress
from ...structure.molecules import WATER_NAMES
from ...trust.policy import HOW_TO_TRUST
from ...units import lengths_in_nm
from .request import WATERS, Request
from .sources import Source, system_options

__all__ = ["parametrized"]

_PROTEIN, _WATER = "amber14-all.xml", "tip3p"
"""What a structure gets whose force field nobody names."""
_MANY = 50
"""Water molecules that make a structure solvated."""
_PROGRAMS = ("Script", "InitializationScript")
"""Elements of a force field file that OpenMM runs."""


def parametrized(source: Source, request: Request, progress: Progress) -> Source:
    """The structure with its hydrogens, in its water, and what makes its System.

    Raises
    ------
    ValueError
        If a force field cannot be read, or does not know the molecules; the message says what to do.
    """
    names = request.forcefield or (_PROTEIN, WATERS[request.water or _WATER][1])
    progress.stage(f"force field {', '.join(names)}")
    field = _force_field(names, request.trust)
    modeller = app.Modeller(source.topology, source.positions * unit.nanometer)
    with _seeded(request.seed):
        if request.add_hydrogens:
            progress.stage("hydrogens")
            with _explaining(names, request):
                modeller.addHydrogens(field, pH=request.ph, platform=openmm.Platform.getPlatformByName("Reference"))
        _add_sites(modeller, field)
        if request.water is not None:
            _require_room(source, request)
            progress.stage(f"water ({request.water})")
            with _explaining(names, request):
                _solvate(modeller, field, request, source.box)
    vectors = modeller.topology.getPeriodicBoxVectors()
    box = None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer), dtype=np.float64)
    options = system_options(request, box is not None, "structure")

    def make() -> openmm.System:
        with _explaining(names, request):
            return field.createSystem(modeller.topology, **options)

    return Source("structure", modeller.topology, lengths_in_nm(modeller.positions, "positions"), box, make)


def _force_field(names: tuple[str, ...], trust: bool) -> app.ForceField:
    """From files of OpenMM, and of the user's, which may hold programs only if these are trusted."""
    for name in names:
        path = Path(name)
        if path.is_dir():
            raise InputError(f"--forcefield {name} is a folder: give an XML file")
        if path.is_file() and not trust:
            _require_no_programs(path)
    try:
        return app.ForceField(*names)
    except Exception as error:  # what is wrong with XML has many names
        said = " ".join(str(error).split())
        missing = re.search(r'Could not locate file "(.*?)"', said)
        if missing:
            raise InputError(
                f"--forcefield {missing[1]} is neither a file here nor one of OpenMM, which has amber14-all.xml, "
                "amber14/tip3p.xml, amber19-all.xml, charmm36.xml, charmm36/water.xml, amber99sbildn.xml, tip3p.xml and others"
            ) from error
        raise InputError(f"--forcefield {', '.join(names)} cannot be read as force fields of OpenMM ({said[:200]})") from error


def _require_no_programs(path: Path) -> None:
    """Refuse a file that holds programs, or includes others that may."""
    seen, waiting = set(), [path]
    while waiting:
        each = waiting.pop()
        if each in seen or not each.is_file():
            continue
        seen.add(each)
        try:
            root = ElementTree.parse(each).getroot()
        except ElementTree.ParseError as error:
            raise InputError(f"--forcefield {each} is no force field of OpenMM, which is XML ({error})") from error
        if any(element.tag in _PROGRAMS for element in root):
            raise UntrustedCodeError(f"--forcefield {each} holds a program, which OpenMM runs: {HOW_TO_TRUST}")
        waiting += [each.parent / included.get("file", "") for included in root.iter("Include")]


def _require_room(source: Source, request: Request) -> None:
    """Refuse to put water around what is in water already."""
    n_waters = sum(residue.name in WATER_NAMES for residue in source.topology.residues())
    if n_waters > _MANY and source.box is not None:
        raise InputError(
            f"{request.structure} has {n_waters} water molecules and a box already: leave --water out, or remove the water"
        )


def _solvate(modeller: app.Modeller, field: app.ForceField, request: Request, box: np.ndarray | None) -> None:
    """Fill a box with water and ions; that of the command line, or one with the padding."""
    model, size = WATERS[request.water][0], {}
    if request.box:
        size = {"boxSize": openmm.Vec3(*request.box) * unit.nanometer}
    else:
        size = {"padding": request.padding * unit.nanometer, "boxShape": request.box_shape}
    modeller.addSolvent(field, model, ionicStrength=request.ionic_strength * unit.molar, **size)


def _add_sites(modeller: app.Modeller, field: app.ForceField) -> None:
    """Add the virtual sites of water models whose structures have none."""
    try:
        field.getMatchingTemplates(modeller.topology)
    except ValueError as error:
        if "addExtraParticles" in str(error):  # whatever else is missing is told when the System is made
            modeller.addExtraParticles(field)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """OpenMM's Modeller draws from Python's own generator, which others use as well."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


@contextmanager
def _explaining(names: tuple[str, ...], request: Request) -> Iterator[None]:
    """Say of what a force field does not know what to do about it.

    Raises
    ------
    ValueError
    """
    try:
        yield
    except (ValueError, openmm.OpenMMException, KeyError) as error:
        if isinstance(error, InputError):
            raise
        said = " ".join(str(error).split())
        found = re.search(r"No template found for residue (\d+) \((.*?)\)\.\s*(.*?)\s*(?:For more information.*)?$", said)
        if found is None:
            raise InputError(f"{', '.join(names)}: OpenMM makes no System of {request.structure} ({said[:300]})") from error
        number, residue, reason = int(found[1]) + 1, found[2], re.sub(r"\s*You may be able to.*", "", found[3])
        told = f"the force field ({', '.join(names)}) does not fit residue {number} ({residue}): {reason.rstrip('.')}"
        raise InputError(f"{told}; {_cure(residue, found[3], names, request)}") from error


def _cure(residue: str, reason: str, names: tuple[str, ...], request: Request) -> str:
    """What to do about a residue that a force field does not know."""
    if residue in WATER_NAMES or "Na" in reason or "Cl" in reason:
        return f"add a force field of water and ions, such as --forcefield {WATERS[_WATER][1]}"
    if "addHydrogens" in reason or (re.search(r"missing \d+ H atoms?\b", reason) and not request.add_hydrogens):
        return "name its atoms as in the PDB" if request.add_hydrogens else "add its hydrogens with --add-hydrogens"
    if "is missing" in reason and "terminal" not in reason and "terminated" not in reason:
        return "add the missing atoms first, e.g. with PDBFixer"
    if "terminated" in reason or "capping" in reason:
        return "give the chain its ends first (OXT, or caps ACE and NME), e.g. with PDBFixer"
    if "no bonds" in reason:
        return "give its bonds by CONECT records, or name residue and atoms as in the PDB"
    return (
        f"give the parameters of {residue} as another --forcefield, take it out of the structure, or begin with files of "
        "AMBER, GROMACS or CHARMM"
    )

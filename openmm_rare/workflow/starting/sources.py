"""Structure files of OpenMM, AMBER, GROMACS and CHARMM: what kind they are, and what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from ...errors import InputError, RareError
from ...io.regular_file import regular_file
from ...structure.box import periodic_box, structure_box
from ...structure.files import read_structure, read_system, require_same_atoms
from ...units import lengths_in_nm
from .request import Request

__all__ = ["Source", "read_source", "reading"]

_STRUCTURES = (".pdb", ".ent", ".cif", ".mmcif")
_AMBER = (".inpcrd", ".rst7", ".rst", ".ncrst", ".crd", ".restrt")
_KINDS = (
    "PDB or mmCIF (.pdb, .cif), alone or with system.xml; AMBER: .inpcrd or .rst7 with --topology FILE.prmtop; GROMACS: .gro "
    "with --topology FILE.top; CHARMM: .crd or .pdb with --topology FILE.psf and --forcefield PARAMETERS"
)
_GOES_WITH = {
    "AMBER": (*_AMBER, ".pdb"),
    "GROMACS": (".gro", ".pdb"),
    "CHARMM": (".crd", ".cor", ".pdb"),
    "system": _STRUCTURES,
}
"""Structures by what their topology is of."""
_CUTOFF, _CHARMM_CUTOFF, _SWITCH = 1.0, 1.2, 0.2
"""nm; and over what the forces of CHARMM are switched off before it."""


@dataclass(frozen=True, eq=False)
class Source:
    """What the files hold.

    Attributes
    ----------
    kind : str
        "structure", "system", "AMBER", "GROMACS" or "CHARMM".
    topology : openmm.app.Topology
    positions : ndarray, shape (n_atoms, 3), nm
    box : ndarray, shape (3, 3), nm, or None
    make : callable or None
        Makes the System; None for a structure alone, which needs a force field.
    """

    kind: str
    topology: app.Topology
    positions: np.ndarray
    box: np.ndarray | None
    make: Callable[[], openmm.System] | None = None

    def __post_init__(self) -> None:
        n_atoms = self.topology.getNumAtoms()
        if not n_atoms:
            raise InputError("the files hold no atoms: give those of a molecule")
        if self.positions.shape != (n_atoms, 3):
            raise InputError(
                f"the topology has {n_atoms} atoms, the structure {len(self.positions)}: give two files of the same molecules"
            )
        if not np.isfinite(self.positions).all():
            raise InputError("the structure has coordinates that are not finite: give one that is whole")


def read_source(request: Request) -> Source:
    """The files that a request names.

    Raises
    ------
    ValueError
        If one is missing, of another kind than it should be, or cannot be read.
    """
    kind = _kind(request)
    return {"structure": _structure, "system": _system, "AMBER": _amber, "GROMACS": _gromacs, "CHARMM": _charmm}[kind](request)


def system_options(request: Request, periodic: bool, kind: str) -> dict[str, Any]:
    """What the System is made with, whatever the files: PME in a box, bonds to hydrogen fixed, rigid water."""
    mass = None if request.hydrogen_mass is None else request.hydrogen_mass * unit.dalton
    made = {"constraints": app.HBonds, "rigidWater": True, "removeCMMotion": False, "hydrogenMass": mass}
    if not periodic:
        return made | {"nonbondedMethod": app.NoCutoff}
    cutoff = request.cutoff or (_CHARMM_CUTOFF if kind == "CHARMM" else _CUTOFF)
    made |= {"nonbondedMethod": app.PME, "nonbondedCutoff": cutoff * unit.nanometer, "ewaldErrorTolerance": 5e-4}
    if kind == "CHARMM" and cutoff > 2.0 * _SWITCH:
        made["switchDistance"] = (cutoff - _SWITCH) * unit.nanometer
    return made


@contextmanager
def reading(path: Path | str, what: str) -> Iterator[None]:
    """Turn whatever a parser of others raises into one line of ours, which names the file and what it should be.

    Raises
    ------
    ValueError
    """
    try:
        yield
    except RareError:
        raise
    except Exception as error:  # parsers fail in as many ways as there are broken files
        said = " ".join(str(error).split())[:200]
        told = type(error).__name__ if not said or isinstance(error, KeyError | IndexError) else said
        raise InputError(f"{path} cannot be read as {what} ({told}): is it one, and whole?") from error


def _kind(request: Request) -> str:
    """By the endings of the names, and the first words of a topology whose ending several programs use."""
    structure, topology = request.structure, request.topology
    for option, path in (("STRUCTURE", structure), ("--topology", topology)):
        if path is not None:
            _require_file(option, path)
    ending = structure.suffix.lower()
    if topology is None:
        if ending not in _STRUCTURES:
            known = ending in (*_AMBER, ".gro")
            hint = f"{structure} holds coordinates only: add --topology" if known else f"{structure} is no structure file"
            raise InputError(f"{hint}. Known are: {_KINDS}")
        return "structure"
    of = _kind_of_topology(topology)
    if ending not in _GOES_WITH[of]:
        words = "a System of OpenMM" if of == "system" else f"of {of}"
        raise InputError(f"{structure} does not go with {topology}, which is {words}: give {', '.join(_GOES_WITH[of])}")
    return of


def _require_file(option: str, path: Path) -> None:
    if not path.exists():
        raise InputError(f"{option} {path} does not exist: give a file that is there")
    try:
        with open(regular_file(path), "rb"):
            pass
    except OSError as error:
        raise InputError(f"{option} {path} cannot be read ({error.strerror}): look at its permissions") from error


def _kind_of_topology(path: Path) -> str:
    ending = path.suffix.lower()
    if ending == ".xml":
        return "system"
    if ending == ".psf":
        return "CHARMM"
    if ending in (".prmtop", ".parm7", ".parm", ".top"):
        with open(path, errors="replace") as stream:
            amber = stream.read(200).lstrip().startswith(("%VERSION", "%FLAG"))
        return "AMBER" if amber or ending != ".top" else "GROMACS"
    raise InputError(f"--topology {path} is none of .prmtop, .parm7, .top, .psf and .xml. Known are: {_KINDS}")


def _box(request: Request, found: Any, what: str) -> np.ndarray | None:
    """The box that counts: that of the request, or that of the files."""
    if request.box is not None:
        return np.diag(request.box) if request.box else None
    holder = app.Topology()
    holder.setPeriodicBoxVectors(found)
    try:
        return structure_box(holder)
    except ValueError as error:
        raise InputError(f'{what}: {error}; give the right one, as --box "3 nm", or --box none') from error


def _vectors(box: np.ndarray | None) -> Any:
    return None if box is None else box * unit.nanometer


def _structure(request: Request) -> Source:
    topology, positions = read_structure(request.structure, "STRUCTURE")
    box = _box(request, topology.getPeriodicBoxVectors(), str(request.structure))
    topology.setPeriodicBoxVectors(_vectors(box))
    return Source("structure", topology, lengths_in_nm(positions, "positions"), box)


def _system(request: Request) -> Source:
    """A System of the user's, as it is."""
    for option, given in (("--hydrogen-mass", request.hydrogen_mass), ("--cutoff", request.cutoff)):
        if given is not None:
            raise InputError(f"{option} is for a System that is made here: {request.topology} is taken as it is")
    source = _structure(request)
    system = read_system(request.topology, (), request.trust)
    require_same_atoms(system, request.topology, source.topology, request.structure)
    box = source.box
    if system.usesPeriodicBoundaryConditions() and box is None:
        box = periodic_box(system)
    return Source("system", source.topology, source.positions, box, lambda: system)


def _amber(request: Request) -> Source:
    with reading(request.structure, "coordinates of AMBER"):
        if request.structure.suffix.lower() == ".pdb":
            topology, positions = read_structure(request.structure, "STRUCTURE")
            vectors = topology.getPeriodicBoxVectors()
        else:
            read = app.AmberInpcrdFile(str(request.structure))
            positions, vectors = read.positions, read.boxVectors
    box = _box(request, vectors, str(request.structure))
    with reading(request.topology, "a topology of AMBER"):
        made = app.AmberPrmtopFile(str(request.topology), periodicBoxVectors=_vectors(box))
    return _ready("AMBER", request, made, positions, box)


def _gromacs(request: Request) -> Source:
    with reading(request.structure, "a structure of GROMACS"):
        reader = app.PDBFile if request.structure.suffix.lower() == ".pdb" else app.GromacsGroFile
        read = reader(str(request.structure))
        vectors = read.topology.getPeriodicBoxVectors() if reader is app.PDBFile else read.getPeriodicBoxVectors()
    box = _box(request, vectors, str(request.structure))
    folder = {} if request.include is None else {"includeDir": str(request.include)}
    hint = "" if request.include else ", with --include FOLDER where it includes files of GROMACS"
    with reading(request.topology, f"a topology of GROMACS{hint}"):
        made = app.GromacsTopFile(str(request.topology), periodicBoxVectors=_vectors(box), **folder)
    return _ready("GROMACS", request, made, read.positions, box)


def _charmm(request: Request) -> Source:
    if not request.forcefield:
        raise InputError(
            f"{request.topology} names no parameters: give CHARMM's files, as --forcefield par_all36_prot.prm --forcefield "
            "toppar_water_ions.str"
        )
    for name in request.forcefield:
        _require_file("--forcefield", Path(name))
    with reading(request.structure, "coordinates of CHARMM"):
        if request.structure.suffix.lower() == ".pdb":
            topology, positions = read_structure(request.structure, "STRUCTURE")
            vectors = topology.getPeriodicBoxVectors()
        else:
            positions, vectors = app.CharmmCrdFile(str(request.structure)).positions, None
    box = _box(request, vectors, str(request.structure))
    with reading(request.topology, "a PSF file of CHARMM"):
        made = app.CharmmPsfFile(str(request.topology), periodicBoxVectors=_vectors(box))
    with reading(", ".join(request.forcefield), "parameters of CHARMM"):
        parameters = app.CharmmParameterSet(*request.forcefield)
    return _ready("CHARMM", request, made, positions, box, parameters)


def _ready(kind: str, request: Request, made: Any, positions: Any, box: np.ndarray | None, *parameters: Any) -> Source:
    """Files that make their System themselves."""
    options = system_options(request, box is not None, kind)

    def make() -> openmm.System:
        with reading(request.topology, f"a topology of {kind} with all parameters"):
            return made.createSystem(*parameters, **options)

    return Source(kind, made.topology, lengths_in_nm(positions, "positions"), box, make)

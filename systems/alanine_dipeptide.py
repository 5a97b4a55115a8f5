"""Alanine dipeptide in water: the molecule that path sampling is tried on first.

ACE-ALA-NME in the force field ff99SB-ILDN with 543 TIP3P water molecules, as Jung, Covino & Hummer (arXiv:1901.04595) and
their code simulate it: between the extended structures (A) and the right-handed helix (B) by Langevin dynamics with inertia.
Structures in ``data`` were made by ``examples/alanine_dipeptide/build.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Dihedral, Range, States
from openmm_rare.structure.internal_coordinates import atom_label, internal_coordinates

N_SOLUTE: int = 22
N_WATERS: int = 543
BOX: float = 2.61
"""Edge of the cubic box, nm. That of the published simulations: water is stretched in it, at 1 bar the edge is 2.56 nm."""
TEMPERATURE: float = 300.0
"""K."""
FRICTION: float = 1.0
"""1/ps."""
TIMESTEP: float = 0.002
"""ps."""
STEPS_PER_FRAME: int = 10
"""Between two frames of the paths."""
PHI: tuple[int, int, int, int] = (4, 6, 8, 14)
PSI: tuple[int, int, int, int] = (6, 8, 14, 16)
PHI_RANGE: tuple[float, float] = (-180.0, 0.0)
"""Degrees, of both states."""
PSI_RANGES: dict[str, tuple[float, float]] = {"A": (120.0, 200.0), "B": (-50.0, 30.0)}
"""Degrees."""
STRUCTURE: Path = Path(__file__).parent / "data" / "alanine_dipeptide.npz"
"""Equilibrated positions in A."""
INITIAL_PATH: Path = Path(__file__).parent / "data" / "alanine_dipeptide_path.npz"
"""A path from A to B at 400 K, under the key ``positions``."""

_RESIDUES = {
    "ACE": "HH31 CH3 HH32 HH33 C O",
    "ALA": "N H CA HA CB HB1 HB2 HB3 C O",
    "NME": "N H CH3 HH31 HH32 HH33",
}
_HEAVY_BONDS = [(1, 4), (4, 5), (4, 6), (6, 8), (8, 10), (8, 14), (14, 15), (14, 16), (16, 18)]
_HYDROGENS = {1: (0, 2, 3), 6: (7,), 8: (9,), 10: (11, 12, 13), 16: (17,), 18: (19, 20, 21)}
_CUTOFF = 1.0  # nm


def topology(n_waters: int = N_WATERS) -> app.Topology:
    """The molecule, atoms in the order of the force field, and water molecules after it."""
    made = app.Topology()
    chain = made.addChain()
    for residue_name, names in _RESIDUES.items():
        residue = made.addResidue(residue_name, chain)
        for name in names.split():
            made.addAtom(name, app.Element.getBySymbol(name[0]), residue)
    atoms = list(made.atoms())
    for i, j in _HEAVY_BONDS + [(heavy, hydrogen) for heavy, bound in _HYDROGENS.items() for hydrogen in bound]:
        made.addBond(atoms[i], atoms[j])
    waters = made.addChain()
    for _ in range(n_waters):
        residue = made.addResidue("HOH", waters)
        oxygen, *hydrogens = (made.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2"))
        for hydrogen in hydrogens:
            made.addBond(oxygen, hydrogen)
    return made


def force_field() -> app.ForceField:
    """ff99SB-ILDN with TIP3P, from the files of OpenMM."""
    return app.ForceField("amber99sbildn.xml", "tip3p.xml")


def make_system(molecules: app.Topology, box: float | None) -> openmm.System:
    """Forces and constraints: rigid water, bonds to hydrogen fixed, PME in a box (nm) or no cutoff without one."""
    periodic = {} if box is None else {"nonbondedCutoff": _CUTOFF * unit.nanometer, "ewaldErrorTolerance": 5e-4}
    if box is not None:
        molecules.setPeriodicBoxVectors(np.eye(3) * box * unit.nanometer)
    return force_field().createSystem(
        molecules,
        nonbondedMethod=app.NoCutoff if box is None else app.PME,
        constraints=app.HBonds,
        rigidWater=True,
        removeCMMotion=False,  # it would change the dynamics every step, for paths of a few picoseconds
        **periodic,
    )


def make_states() -> States:
    """A and B in the angles phi and psi, which are in radians."""
    variables = CollectiveVariables([Dihedral("phi", PHI), Dihedral("psi", PSI)])
    phi = np.radians(PHI_RANGE)
    return States(variables, *(Range({"phi": phi, "psi": np.radians(PSI_RANGES[name])}) for name in "AB"))


def solvent_spec() -> dict[str, Any]:
    """Descriptor of the water: symmetry functions of its O and H around every atom of the molecule, in three shells.

    With the internal coordinates these are the 1507 inputs of the published committor.
    """
    waters = np.arange(N_SOLUTE, N_SOLUTE + 3 * N_WATERS).reshape(-1, 3)
    return {
        "kind": "symmetry_functions",
        "centers": list(range(N_SOLUTE)),
        "species": {"O": waters[:, 0].tolist(), "H": waters[:, 1:].ravel().tolist()},
        "box": [BOX] * 3,
        "shells": [0.1, 0.25, 0.4],
        "cutoff": 0.6,
        "labels": [atom_label(atom) for atom in topology(0).atoms()],
    }


def initial_path() -> np.ndarray:
    """A path from A to B at 400 K in the water, shape (n_frames, n_atoms, 3), nm; frames are STEPS_PER_FRAME steps apart."""
    with np.load(INITIAL_PATH) as archive:
        return archive["positions"].astype(np.float64)


def build(solvent: str = "water") -> RareEventSystem:
    """Alanine dipeptide at 300 K.

    Parameters
    ----------
    solvent : str
        ``"water"``, or ``"none"`` for the molecule alone: quick, and another free energy surface, on which B is no minimum.

    Raises
    ------
    ValueError
        For another solvent.
    """
    if solvent not in ("water", "none"):
        raise InputError(f'solvent = {solvent!r} must be "water" or "none"')
    wet = solvent == "water"
    molecules = topology(N_WATERS if wet else 0)
    with np.load(STRUCTURE) as archive:
        positions = archive["positions"].astype(np.float64)
    return RareEventSystem(
        name="alanine_dipeptide",
        system=make_system(molecules, BOX if wet else None),
        positions=positions if wet else positions[:N_SOLUTE],
        states=make_states(),
        temperature=TEMPERATURE,
        friction=FRICTION,
        timestep=TIMESTEP,
        inertial=True,
        descriptor=internal_coordinates(molecules, range(N_SOLUTE)),
        topology=molecules,
        initial_path=INITIAL_PATH if wet else None,
        notes=f"Jung, Covino & Hummer 2019: ACE-ALA-NME, ff99SB-ILDN, {N_WATERS if wet else 'no'} TIP3P water molecules.",
    )

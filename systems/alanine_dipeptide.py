"""Alanine dipeptide in water: the molecule that path sampling is tried on first.

ACE-ALA-NME in the force field ff99SB-ILDN with 543 TIP3P water molecules, as Jung, Covino & Hummer (arXiv:1901.04595) and
their code simulate it: between the extended structures (A) and the right-handed helix (B) by Langevin dynamics with inertia.
The slow turn of phi, to left-handed structures, is there too, and both without water. Structures in ``data`` were made by
``examples/alanine_dipeptide/build.py``.
"""

from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Dihedral, Range, States
from openmm_rare.structure.internal_coordinates import atom_label, internal_coordinates

from . import in_water

N_SOLUTE: int = 22
N_WATERS: int = 543
BOX: float = 2.61
"""Edge of the cubic box, nm. That of the published simulations: water is stretched in it, at 1 bar the edge is 2.56 nm."""
TEMPERATURE: float = 300.0
"""K."""
FRICTION: float = in_water.FRICTION
"""1/ps."""
TIMESTEP: float = in_water.TIMESTEP
"""ps."""
STEPS_PER_FRAME: int = 10
"""Between two frames of the paths, and two tests of the states."""
PHI: tuple[int, int, int, int] = (4, 6, 8, 14)
PSI: tuple[int, int, int, int] = (6, 8, 14, 16)
TRANSITIONS: tuple[str, ...] = ("psi", "phi")
"""Which angle turns from A to B."""
PHI_RANGE: tuple[float, float] = (-180.0, 0.0)
"""Degrees, of both states where psi turns."""
PSI_RANGES: dict[str, tuple[float, float]] = {"A": (120.0, 200.0), "B": (-50.0, 30.0)}
"""Degrees, where psi turns."""
PHI_RANGES: dict[str, tuple[float, float]] = {"A": (-200.0, -40.0), "B": (45.0, 90.0)}
"""Degrees, where phi turns in water, whatever psi is: extended and right-handed structures, and alpha-L with C7ax."""
C7: dict[str, dict[str, tuple[float, float]]] = {
    "A": {"phi": (-110.0, -50.0), "psi": (30.0, 110.0)},
    "B": {"phi": (45.0, 90.0), "psi": (-80.0, 0.0)},
}
"""Degrees, where phi turns without water: from C7eq to C7ax, rings that a hydrogen bond closes."""
STRUCTURE: Path = Path(__file__).parent / "data" / "alanine_dipeptide.npz"
"""Equilibrated positions in A."""
C7EQ: Path = Path(__file__).parent / "data" / "alanine_dipeptide_c7eq.npz"
"""Positions of the molecule alone in C7eq."""
INITIAL_PATH: Path = Path(__file__).parent / "data" / "alanine_dipeptide_path.npz"
"""A path from A to B at 400 K where psi turns, under the key ``positions``."""

_RESIDUES = {
    "ACE": "HH31 CH3 HH32 HH33 C O",
    "ALA": "N H CA HA CB HB1 HB2 HB3 C O",
    "NME": "N H CH3 HH31 HH32 HH33",
}
_HEAVY_BONDS = [(1, 4), (4, 5), (4, 6), (6, 8), (8, 10), (8, 14), (14, 15), (14, 16), (16, 18)]
_HYDROGENS = {1: (0, 2, 3), 6: (7,), 8: (9,), 10: (11, 12, 13), 16: (17,), 18: (19, 20, 21)}


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
    in_water.add_waters(made, n_waters)
    return made


def force_field() -> app.ForceField:
    """ff99SB-ILDN with TIP3P, from the files of OpenMM."""
    return app.ForceField("amber99sbildn.xml", "tip3p.xml")


def make_system(molecules: app.Topology, box: float | None, hydrogen_mass: float | None = None) -> openmm.System:
    """As :func:`.in_water.make_system`, with the force field of the molecule."""
    return in_water.make_system(force_field(), molecules, box, hydrogen_mass)


def make_states(transition: str = "psi", wet: bool = True) -> States:
    """A and B in the angles phi and psi, which are in radians."""
    variables = CollectiveVariables([Dihedral("phi", PHI), Dihedral("psi", PSI)])
    bounds = {name: {"phi": PHI_RANGE, "psi": PSI_RANGES[name]} for name in "AB"}
    if transition == "phi":
        bounds = {name: {"phi": PHI_RANGES[name]} for name in "AB"} if wet else C7
    regions = ({angle: tuple(np.radians(pair)) for angle, pair in bounds[name].items()} for name in "AB")
    return States(variables, *map(Range, regions))


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


def build(
    solvent: str = "water",
    transition: str = "psi",
    hydrogen_mass: Any = None,
    inputs: str = "solute",
    temperature: float = TEMPERATURE,
) -> RareEventSystem:
    """Alanine dipeptide, states tested every 20 fs.

    Parameters
    ----------
    solvent : str
        ``"water"``, or ``"none"`` for the molecule alone: quick, and another free energy surface, on which the helix is no
        minimum.
    transition : str
        ``"psi"``: from extended structures to the right-handed helix. ``"phi"``: in water from all structures with phi from
        -200 to -40 degrees, C7eq and both of those, to phi from 45 to 90, alpha-L and C7ax, which takes hundreds of times as
        long; without water from C7eq to C7ax, which brute force can count at 700 K.
    hydrogen_mass : float, str or Quantity, optional
        Of those of the molecule, 3 to 4 amu: steps of 4 fs instead of 2. OpenMM leaves rigid water as it is.
    inputs : str
        What a committor sees: ``"solute"``, the 55 internal coordinates; ``"solvent"``, the water around each atom, too: the
        1507 inputs of the published one.
    temperature : float
        K.

    Raises
    ------
    ValueError
        For another solvent, transition or inputs, and a mass out of range.
    """
    for name, value, known in (
        ("solvent", solvent, ("water", "none")),
        ("transition", transition, TRANSITIONS),
        ("inputs", inputs, ("solute", "solvent")),
    ):
        if value not in known:
            raise InputError(f'{name} = {value!r} must be "{known[0]}" or "{known[1]}"')
    wet, mass = solvent == "water", in_water.mass_in_amu(hydrogen_mass)
    if inputs == "solvent" and not wet:
        raise InputError('inputs = "solvent" needs a solvent: leave it out, or give solvent = "water"')
    molecules = topology(N_WATERS if wet else 0)
    descriptor = internal_coordinates(molecules, range(N_SOLUTE))
    with np.load(C7EQ if transition == "phi" and not wet else STRUCTURE) as archive:
        positions = archive["positions"].astype(np.float64)
    return RareEventSystem(
        name="alanine_dipeptide",
        system=make_system(molecules, BOX if wet else None, mass),
        positions=positions if wet else positions[:N_SOLUTE],
        states=make_states(transition, wet),
        temperature=temperature,
        descriptor=descriptor if inputs == "solute" else {"kind": "concatenate", "parts": [descriptor, solvent_spec()]},
        topology=molecules,
        initial_path=INITIAL_PATH if wet and transition == "psi" else None,
        parameters=in_water.chosen(solvent=solvent, transition=transition, hydrogen_mass=mass, inputs=inputs),
        notes=f"Jung, Covino & Hummer 2019: ACE-ALA-NME, ff99SB-ILDN, {N_WATERS if wet else 'no'} TIP3P water molecules.",
        **in_water.dynamics_of(mass),
    )

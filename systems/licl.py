"""An ion pair in water, LiCl or NaCl, that dissociates: the second molecular system of path sampling.

Ions of Joung and Cheatham in TIP3P water. ``full`` is the solution of Jung, Covino & Hummer (arXiv:1901.04595), 37 of each ion
in 2104 water molecules, one pair of which is labelled; ``small`` has that pair alone, in 370. Structures in ``data`` were made
by ``examples/licl/build.py``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Distance, Range, States

from . import in_water

TEMPERATURE: float = 300.0
"""K."""


@dataclass(frozen=True)
class Solution:
    """A box of ions and water.

    Attributes
    ----------
    n_pairs, n_waters : int
    box : float
        Edge, nm: that at 1 bar.
    bound, apart : float
        A is the labelled pair up to this distance, B from that on, nm.
    shells : tuple of float
        Radii of the symmetry functions, nm.
    cutoff : float
        Theirs, nm.
    """

    n_pairs: int
    n_waters: int
    box: float
    bound: float
    apart: float
    shells: tuple[float, ...]
    cutoff: float

    @property
    def n_atoms(self) -> int:
        """Ions and atoms of the water."""
        return 2 * self.n_pairs + 3 * self.n_waters

    @property
    def pair(self) -> tuple[int, int]:
        """The labelled cation and anion: the first of each."""
        return 0, self.n_pairs


_FEW, _MANY = (0.2, 0.3, 0.4, 0.5, 0.6), (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SOLUTIONS: dict[tuple[str, str], Solution] = {
    ("small", "Li"): Solution(1, 370, 2.23, 0.25, 0.48, _FEW, 0.7),
    ("small", "Na"): Solution(1, 370, 2.23, 0.31, 0.46, _FEW, 0.7),
    ("full", "Li"): Solution(37, 2104, 4.03, 0.25, 0.47, _MANY, 1.0),
}
"""By size and cation."""
INPUTS: tuple[str, ...] = ("solvent", "solute")
"""What a committor sees: the distance and what surrounds both ions, or the distance alone."""


def structure_file(size: str, cation: str) -> Path:
    """Equilibrated positions in A."""
    return Path(__file__).parent / "data" / f"{cation.lower()}cl_{size}.npz"


def path_file(size: str, cation: str) -> Path:
    """A path from A to B, under the key ``positions``; of the small boxes."""
    return Path(__file__).parent / "data" / f"{cation.lower()}cl_{size}_path.npz"


def topology(solution: Solution, cation: str) -> app.Topology:
    """Cations, anions, and water molecules after them."""
    made = app.Topology()
    chain = made.addChain()
    for name in (cation, "Cl"):
        for _ in range(solution.n_pairs):
            made.addAtom(name.upper(), app.Element.getBySymbol(name), made.addResidue(name.upper(), chain))
    in_water.add_waters(made, solution.n_waters)
    return made


def force_field() -> app.ForceField:
    """TIP3P with the ions of Joung and Cheatham for it, from the files of OpenMM."""
    return app.ForceField("amber14/tip3p.xml")


def make_states(solution: Solution) -> States:
    """A and B in the distance of the labelled pair, to the nearest image."""
    variables = CollectiveVariables([Distance("r", solution.pair)])
    return States(variables, Range({"r": (-np.inf, solution.bound)}), Range({"r": (solution.apart, np.inf)}))


def distance_spec(solution: Solution) -> dict[str, Any]:
    """Descriptor of the distance of the labelled pair, to the nearest image: one input."""
    return {"kind": "subset", "atoms": list(solution.pair), "part": {"kind": "pair_distances", "box": [solution.box] * 3}}


def solvent_spec(solution: Solution, cation: str) -> dict[str, Any]:
    """Descriptor of what surrounds both ions of the labelled pair: symmetry functions in shells.

    Of the water's O and H in the small box, 220 of them; of the other cations and anions and of O in the full one: 528, as many
    as in the publication, which does not print its radii.
    """
    first, waters = 2 * solution.n_pairs, np.arange(2 * solution.n_pairs, solution.n_atoms).reshape(-1, 3)
    species = {"O": waters[:, 0].tolist(), "H": waters[:, 1:].ravel().tolist()}
    if solution.n_pairs > 1:
        ions = {cation: list(range(1, solution.n_pairs)), "Cl": list(range(solution.n_pairs + 1, first))}
        species = {**ions, "O": species["O"]}
    return {
        "kind": "symmetry_functions",
        "centers": list(solution.pair),
        "species": species,
        "box": [solution.box] * 3,
        "shells": list(solution.shells),
        "cutoff": solution.cutoff,
        "eta_radial": 300.0,
        "eta_angular": 160.0,
        "labels": [cation, "Cl"],
    }


def build(size: str = "small", cation: str = "Li", hydrogen_mass: Any = None, inputs: str = "solvent") -> RareEventSystem:
    """An ion pair in water at 300 K, bound (A) or apart (B).

    A of LiCl reaches to 0.25 nm: the publication's 0.24 cuts the well of the bound pair in half, so that 5 times as many exits,
    or more, return at once. The states are tested every 20 fs.

    Parameters
    ----------
    size : str
        ``"small"`` or ``"full"``.
    cation : str
        ``"Li"``, or in the small box ``"Na"``, whose pair is weaker: brute force can count how often it dissociates.
    hydrogen_mass : float, str or Quantity, optional
        3 to 4 amu: steps of 4 fs instead of 2. All hydrogens are those of rigid water here, whose mass OpenMM leaves as it is.
    inputs : str
        What a committor sees: ``"solvent"``, the distance and the water (and ions) around the pair; ``"solute"``, the distance
        alone, which cannot tell how soon a pair dissociates.

    Raises
    ------
    ValueError
        For another size, cation or inputs, and a mass out of range.
    """
    if (size, cation) not in SOLUTIONS:
        known = ", ".join(f'size = "{a}" with cation = "{b}"' for a, b in SOLUTIONS)
        raise InputError(f"there is no size = {size!r} with cation = {cation!r}: there are {known}")
    if inputs not in INPUTS:
        raise InputError(f'inputs = {inputs!r} must be "solvent" or "solute"')
    solution, mass = SOLUTIONS[size, cation], in_water.mass_in_amu(hydrogen_mass)
    molecules = topology(solution, cation)
    with np.load(structure_file(size, cation)) as archive:
        positions = archive["positions"].astype(np.float64)
    parts = [distance_spec(solution), solvent_spec(solution, cation)]
    path = path_file(size, cation)
    return RareEventSystem(
        name="licl",
        system=in_water.make_system(force_field(), molecules, solution.box, mass),
        positions=positions,
        states=make_states(solution),
        temperature=TEMPERATURE,
        descriptor={"kind": "concatenate", "parts": parts} if inputs == "solvent" else parts[0],
        topology=molecules,
        initial_path=path if path.is_file() else None,
        parameters=in_water.chosen(size=size, cation=cation, hydrogen_mass=mass, inputs=inputs),
        notes=f"{solution.n_pairs} {cation}Cl in {solution.n_waters} TIP3P water molecules, ions of Joung & Cheatham 2008.",
        **in_water.dynamics_of(mass),
    )

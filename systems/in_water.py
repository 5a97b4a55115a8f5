"""What systems in TIP3P water have in common: molecules of water, forces and constraints, and how long their steps are."""

from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from openmm_rare.errors import InputError
from openmm_rare.units import parse_quantity

FRICTION: float = 1.0
"""1/ps."""
TIMESTEP: float = 0.002
"""ps, of hydrogens with their own mass."""
LONG_TIMESTEP: float = 0.004
"""ps, of heavy hydrogens."""
FRAME_TIME: float = 0.02
"""ps between two tests of the states, and two frames of paths, whatever the time step is."""
HEAVY: tuple[float, float] = (3.0, 4.0)
"""Masses of hydrogens, in amu, that allow the long time step and leave enough of the atoms that they are bound to."""
CUTOFF: float = 1.0
"""nm."""


def add_waters(molecules: app.Topology, n_waters: int) -> None:
    """Add a chain of water molecules, each O, H1, H2."""
    chain = molecules.addChain()
    for _ in range(n_waters):
        residue = molecules.addResidue("HOH", chain)
        oxygen, *hydrogens = (molecules.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2"))
        for hydrogen in hydrogens:
            molecules.addBond(oxygen, hydrogen)


def make_system(
    force_field: app.ForceField, molecules: app.Topology, box: float | None, hydrogen_mass: float | None = None
) -> openmm.System:
    """Forces and constraints: rigid water, bonds to hydrogen fixed, PME in a box (nm) or no cutoff without one.

    Heavy hydrogens (amu) take their mass from what they are bound to. Those of rigid water keep theirs: OpenMM leaves them.
    """
    options: dict[str, Any] = {} if hydrogen_mass is None else {"hydrogenMass": hydrogen_mass * unit.amu}
    if box is not None:
        molecules.setPeriodicBoxVectors(np.eye(3) * box * unit.nanometer)
        options |= {"nonbondedCutoff": CUTOFF * unit.nanometer, "ewaldErrorTolerance": 5e-4}
    return force_field.createSystem(
        molecules,
        nonbondedMethod=app.NoCutoff if box is None else app.PME,
        constraints=app.HBonds,
        rigidWater=True,
        removeCMMotion=False,  # it would change the dynamics every step, for paths of a few picoseconds
        **options,
    )


def mass_in_amu(hydrogen_mass: Any) -> float | None:
    """A mass of hydrogens as a number; None where they keep their own.

    Raises
    ------
    ValueError
        If it is no mass, or out of the range of ``HEAVY``.
    """
    if hydrogen_mass is None:
        return None
    mass = parse_quantity(hydrogen_mass, unit.amu, "hydrogen_mass")
    if not HEAVY[0] <= mass <= HEAVY[1]:
        raise InputError(
            f"hydrogen_mass = {mass:g} amu must be {HEAVY[0]:g} to {HEAVY[1]:g}, for steps of {1e3 * LONG_TIMESTEP:g} fs, or "
            f"left out, for {1e3 * TIMESTEP:g} fs"
        )
    return mass


def dynamics_of(hydrogen_mass: float | None) -> dict[str, Any]:
    """Dynamics with momenta, as :class:`~openmm_rare.problem.RareEventSystem` takes it, for a mass of hydrogens (amu)."""
    timestep = TIMESTEP if hydrogen_mass is None else LONG_TIMESTEP
    steps = round(FRAME_TIME / timestep)
    return {"friction": FRICTION, "timestep": timestep, "check_interval": steps, "inertial": True}


def chosen(**arguments: Any) -> dict[str, Any]:
    """Arguments of a builder that a run keeps with its configuration."""
    return {name: value for name, value in arguments.items() if value is not None}

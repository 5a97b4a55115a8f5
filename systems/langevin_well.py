"""One particle with momentum in a quartic double well, alone or coupled to a bath that the states do not see.

In reduced units: kT at the default temperature is 1 kJ/mol, the mass 1 Da, and so the time 1 ps and the length 1 nm.
"""

import numpy as np
import openmm
from openmm import unit

from openmm_rare.errors import InputError
from openmm_rare.problem import RareEventSystem
from openmm_rare.states.states import CollectiveVariables, Coordinate, Range, States
from openmm_rare.units import KB, parse_quantity

from .klein_kramers import PhaseSolution, solve

MASS: float = 1.0
"""Da."""
EDGE: float = 0.8
"""nm; A is x <= -EDGE, B is x >= EDGE. The minima lie at -1 and 1."""
TEMPERATURE: float = 1.0 / KB
"""K, where kT is 1 kJ/mol."""
TIMESTEP: float = 0.01
"""ps; 0.06 to 0.08 of the inverse frequency of the wells. Against tests of the states all the time and no time step at all it
changes the rate by less than 1 % (docs/systems.md)."""
BATH: float = 40.0
"""kJ/mol/nm^2; of the spring between x and y."""


def energy(x: np.ndarray, barrier: float) -> np.ndarray:
    """U(x) = barrier (x^2 - 1)^2 in kJ/mol, x in nm."""
    return barrier * (np.asarray(x) ** 2 - 1) ** 2


def force(x: np.ndarray, barrier: float) -> np.ndarray:
    """-dU/dx in kJ/mol/nm."""
    return -4 * barrier * x * (np.asarray(x) ** 2 - 1)


def build(
    barrier: float = 5.0,
    friction: float = 5.0,
    bath: bool = False,
    temperature: float = TEMPERATURE,
    timestep: float = TIMESTEP,
) -> RareEventSystem:
    """One particle with momentum that moves along x, or in the xy plane with the bath.

    Parameters
    ----------
    barrier : float
        kJ/mol; text with a unit and quantities will do for every number here.
    friction : float
        1/ps.
    bath : bool
        Add (BATH/2) (y - x)^2: the population along x stays the same, and y resists its motion with a memory.
    temperature : float
        K.
    timestep : float
        ps.

    Raises
    ------
    ValueError
        If the barrier is not positive.
    """
    height = parse_quantity(barrier, unit.kilojoule_per_mole, "barrier")
    if height <= 0:
        raise InputError(f"barrier = {barrier} must be a positive energy in kJ/mol")
    spring = f"+{BATH / 2!r}*(y-x)^2" if bath else ""
    external = openmm.CustomExternalForce(f"{height!r}*(x^2-1)^2{spring}")
    external.addParticle(0, [])
    system = openmm.System()
    system.addParticle(MASS)
    system.addForce(external)
    a, b = Range({"x": (-np.inf, -EDGE)}), Range({"x": (EDGE, np.inf)})
    return RareEventSystem(
        name="langevin_well",
        system=system,
        positions=np.array([[-1.0, -1.0 if bath else 0.0, 0.0]]),
        states=States(CollectiveVariables([Coordinate("x", 0, 0)]), a, b),
        temperature=temperature,
        friction=friction,
        timestep=timestep,
        num_dimensions=2 if bath else 1,
        inertial=True,
        descriptor={"kind": "coordinates", "columns": [0], "scale": 0.5},
        parameters={"barrier": height, "friction": parse_quantity(friction, unit.picosecond**-1, "friction"), "bath": bath},
        notes="Quartic double well with momentum; without the bath exact committor and rate by the Klein-Kramers equation.",
    )


def exact(barrier: float = 5.0, friction: float = 5.0, temperature: float = TEMPERATURE) -> PhaseSolution:
    """Committor in phase space and rate without the bath and without time-step error.

    Parameters
    ----------
    barrier, friction, temperature : float
        kJ/mol, 1/ps, K.
    """
    return solve(lambda x: energy(x, barrier), lambda x: force(x, barrier), (-EDGE, EDGE), KB * temperature, MASS, friction)

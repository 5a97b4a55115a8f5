"""A double well along x, coupled to eight harmonic modes of which the fastest sets the time step."""

from __future__ import annotations

import numpy as np
import openmm

from openmm_rare import Coordinate, Range, RareEventSystem

MASS, HALF_DISTANCE, BARRIER = 40.0, 0.5, 12.5  # Da, nm, kJ/mol: 5 kT at 300 K
FREQUENCIES = np.linspace(4.0, 25.0, 8)  # 1/ps
COUPLING = 0.25
FRICTION, FINE = 1.0, 0.005  # 1/ps, ps
EDGE = 0.4  # nm; A is x <= -EDGE, B is x >= EDGE


def problem(temperature: float = 300.0) -> RareEventSystem:
    """Nine particles, each on a line of its own."""
    system = openmm.System()
    for _ in range(9):
        system.addParticle(MASS)
    well = openmm.CustomExternalForce(f"{BARRIER}*(x^2/{HALF_DISTANCE**2}-1)^2")
    well.addParticle(0, [])
    modes = openmm.CustomCompoundBondForce(2, f"0.5*k*(x2-{COUPLING}*x1)^2")
    modes.addPerBondParameter("k")
    for number, frequency in enumerate(FREQUENCIES):
        modes.addBond([0, number + 1], [MASS * frequency**2])
    system.addForce(well)
    system.addForce(modes)
    positions = np.zeros((9, 3))
    positions[0, 0], positions[1:, 0] = -HALF_DISTANCE, -COUPLING * HALF_DISTANCE
    return RareEventSystem.from_openmm(
        system,
        positions,
        Range({"x": (-np.inf, -EDGE)}),
        Range({"x": (EDGE, np.inf)}),
        Coordinate("x", 0, 0),
        temperature,
        FRICTION,
        FINE,
        num_dimensions=1,
        inertial=True,
        name="double_well_with_modes",
    )

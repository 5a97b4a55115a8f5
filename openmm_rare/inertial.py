r"""Langevin dynamics with momenta, positions and velocities at the same time: what path sampling can turn around.

OpenMM's own Verlet and Langevin integrators hold velocities half a step behind the positions. A path that is continued
backward from negated velocities then does not retrace itself, and gains energy at every turn.
"""

from __future__ import annotations

from typing import Any

import openmm
from openmm import unit

from .errors import InputError
from .units import KB, in_md_units

__all__ = ["LangevinIntegrator"]


class LangevinIntegrator(openmm.CustomIntegrator):
    r"""Langevin dynamics by the splitting BAOAB (Leimkuhler & Matthews 2012), of velocity-Verlet type.

    A half kick, a half drift, friction and noise for a whole step, a half drift, a half kick. The System's constraints hold
    after each drift, and for the velocities after a step. Without friction it is the velocity-Verlet scheme. Settable later:
    ``kT`` (kJ/mol), ``friction`` (1/ps). Velocities are differences of positions: on a GPU use mixed precision.

    Parameters
    ----------
    temperature : Quantity or float
        In K, positive.
    friction : Quantity or float
        In 1/ps, at least 0.
    timestep : Quantity or float
        In ps, positive.

    Raises
    ------
    ValueError
        If an argument has the wrong unit, is not finite or is out of range.
    """

    def __init__(self, temperature: Any, friction: Any, timestep: Any) -> None:
        timestep = in_md_units(timestep, unit.picosecond, "timestep")
        temperature = in_md_units(temperature, unit.kelvin, "temperature")
        friction = in_md_units(friction, unit.picosecond**-1, "friction")
        if timestep <= 0 or temperature <= 0 or friction < 0:
            raise InputError(
                f"timestep = {timestep} ps and temperature = {temperature} K must be positive, friction = {friction} /ps "
                "not negative"
            )
        super().__init__(timestep)
        self.addGlobalVariable("kT", KB * temperature)
        self.addGlobalVariable("friction", friction)
        self.addGlobalVariable("kept", 0)
        self.addPerDofVariable("start", 0)
        self.addUpdateContextState()
        self.addComputeGlobal("kept", "exp(-friction*dt)")
        # On the CPU every pass over the coordinates costs alike, whatever it computes: there are as few as can be. Velocities
        # need not obey the constraints before the end: the constraints on the positions take away what leads along a bond,
        # and after a drift a velocity is the way covered over the time.
        self._drift("v+0.5*dt*f/m")
        self.addComputePerDof("v", "kept*(x-start)/(0.5*dt)+sqrt((1-kept^2)*kT/m)*gaussian")
        self._drift("v")
        self.addComputePerDof("v", "(x-start)/(0.5*dt)+0.5*dt*f/m")
        self.addConstrainVelocities()

    def _drift(self, velocity: str) -> None:
        self.addComputePerDof("start", "x")
        self.addComputePerDof("x", f"x+0.5*dt*({velocity})")
        self.addConstrainPositions()

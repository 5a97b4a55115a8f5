r"""Langevin dynamics with momenta, positions and velocities at the same time: what path sampling can turn around.

OpenMM's own Verlet and Langevin integrators hold velocities half a step behind the positions. A path that is continued
backward from negated velocities then does not retrace itself, and gains energy at every turn.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from openmm import unit

from ..errors import InputError
from ..units import KB, in_md_units

__all__ = ["KEPT_SPEED", "BAOABLangevinIntegrator", "has_half_steps", "moving_axes"]

_HALF = "openmm_rare_half"

KEPT_SPEED = "kept*(x-start)/(0.5*dt)"
"""What tells this integrator from others, also where XML has kept nothing but its expressions."""


class BAOABLangevinIntegrator(openmm.CustomIntegrator):
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
    num_dimensions : int
        1, 2 or 3 (default): only the first so many coordinates of each particle move, and the velocities of the others become
        zero. Fewer than 3 are for Systems without constraints.
    virtual_sites : bool
        For Systems with virtual sites. OpenMM places them after all that a CustomIntegrator does in a step, too late for the
        last half kick: it then belongs to a step of its own, and OpenMM counts two steps, and twice the time, for each.

    Raises
    ------
    ValueError
        If an argument has the wrong unit, is not finite or is out of range.
    """

    def __init__(
        self, temperature: Any, friction: Any, timestep: Any, num_dimensions: int = 3, virtual_sites: bool = False
    ) -> None:
        self._begin(temperature, friction, timestep, num_dimensions, virtual_sites)
        # On the CPU every pass over the coordinates costs alike, whatever it computes: there are as few as can be. Velocities
        # need not obey the constraints before the end: the constraints on the positions take away what leads along a bond,
        # and after a drift a velocity is the way covered over the time. What does not drift has no velocity either.
        self._drift("v+0.5*dt*f/m")
        self._friction_and("gaussian")
        self._drift("v")
        self._last_kick("f")

    def _begin(self, temperature: Any, friction: Any, timestep: Any, num_dimensions: int, virtual_sites: bool) -> None:
        """All that comes before the first drift, but for kicks."""
        timestep = in_md_units(timestep, unit.picosecond, "timestep")
        temperature = in_md_units(temperature, unit.kelvin, "temperature")
        friction = in_md_units(friction, unit.picosecond**-1, "friction")
        if timestep <= 0 or temperature <= 0 or friction < 0:
            raise InputError(
                f"timestep = {timestep} ps and temperature = {temperature} K must be positive, friction = {friction} /ps "
                "not negative"
            )
        if num_dimensions not in (1, 2, 3):
            raise InputError(f"num_dimensions = {num_dimensions!r}; allowed: 1, 2 or 3")
        openmm.CustomIntegrator.__init__(self, timestep)
        self._sites, self._active = virtual_sites, ""
        self.addGlobalVariable("kT", KB * temperature)
        self.addGlobalVariable("friction", friction)
        self.addGlobalVariable("kept", 0)
        self.addPerDofVariable("start", 0)
        if num_dimensions < 3:
            active = self.addPerDofVariable("active", 1.0)
            self.setPerDofVariable(active, [openmm.Vec3(*(float(axis < num_dimensions) for axis in range(3)))])
            self._active = "active*"
        if virtual_sites:
            self.addGlobalVariable(_HALF, 0)
            self.beginIfBlock(f"{_HALF}=0")
        self.addUpdateContextState()
        self.addComputeGlobal("kept", "exp(-friction*dt)")

    def _drift(self, velocity: str) -> None:
        self.addComputePerDof("start", "x")
        self.addComputePerDof("x", f"x+0.5*dt*{self._active}({velocity})")
        self.addConstrainPositions()

    def _friction_and(self, noise: str) -> None:
        self.addComputePerDof("v", f"{KEPT_SPEED}+{self._active}sqrt((1-kept^2)*kT/m)*{noise}")

    def _last_kick(self, force: str) -> None:
        if self._sites:
            # forces stay valid until positions change: this way there is still one evaluation for each step
            self.endBlock()
            self.beginIfBlock(f"{_HALF}=1")
        self.addComputePerDof("v", f"(x-start)/(0.5*dt)+0.5*dt*{self._active}{force}/m")
        self.addConstrainVelocities()
        if self._sites:
            self.endBlock()
            self.addComputeGlobal(_HALF, f"1-{_HALF}")

    def step(self, steps: int) -> None:
        """Advance by so many time steps."""
        super().step(2 * steps if self._sites else steps)


def has_half_steps(integrator: openmm.Integrator) -> bool:
    """Whether two steps of OpenMM make one: :class:`BAOABLangevinIntegrator` for virtual sites, also one restored from XML."""
    if not isinstance(integrator, openmm.CustomIntegrator):
        return False
    return _HALF in (integrator.getGlobalVariableName(i) for i in range(integrator.getNumGlobalVariables()))


def moving_axes(integrator: openmm.Integrator) -> np.ndarray:
    """Along which axes an integrator of this package moves particles, booleans ``(3,)``; all for others."""
    if isinstance(integrator, openmm.CustomIntegrator):
        names = [integrator.getPerDofVariableName(i) for i in range(integrator.getNumPerDofVariables())]
        if "active" in names:
            rows = np.array([list(row) for row in integrator.getPerDofVariableByName("active")])
            if len(rows) and (rows == rows[0]).all():
                return rows[0] != 0.0
    return np.ones(3, dtype=bool)

"""One Context for shots: copies of a small system, or a large one, each restarted with velocities of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm
from openmm import unit

from .constraints import KeptDistances
from .inertial import LangevinIntegrator
from .integrators import OverdampedLangevinIntegrator
from .openmm_errors import naming_system
from .replication import replicate
from .slots import make_context, require_finite

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["ShotDynamics", "unbiased_integrator"]

_VELOCITY_TOLERANCE = 1e-6


def unbiased_integrator(system: RareEventSystem) -> openmm.Integrator:
    """The integrator of a system's own dynamics, with momenta or overdamped."""
    if system.inertial:
        return LangevinIntegrator(system.temperature, system.friction, system.timestep)
    constrained = system.system.getNumConstraints() > 0
    dynamics = (system.temperature, system.friction, system.timestep, system.num_dimensions)
    return OverdampedLangevinIntegrator(*dynamics, constrained=constrained)


class ShotDynamics:
    """Unbiased dynamics of ``n_slots`` independent copies.

    Parameters
    ----------
    system : RareEventSystem
    n_slots : int
        With 1, the System is taken as it is, which may be periodic.
    platform : str
    rng : numpy.random.Generator
        Seeds the noise, and draws velocities.
    """

    def __init__(self, system: RareEventSystem, n_slots: int, platform: str, rng: np.random.Generator) -> None:
        self._target, self._rng, self._kept = system, rng, KeptDistances(system)
        many = system.system if n_slots == 1 else replicate(system.system, n_slots)
        self.integrator = unbiased_integrator(system)
        self.integrator.setRandomNumberSeed(int(rng.integers(1, 2**31 - 1)))
        self.context = make_context(many, self.integrator, platform, True, system.name)
        masses = np.array([system.system.getParticleMass(i)._value for i in range(len(system.positions))])
        with np.errstate(divide="ignore"):
            self._spread = np.where(masses > 0.0, np.sqrt(system.kt / masses), 0.0)[:, None]
        self._shape = (n_slots, len(system.positions), 3)
        self._slots = np.repeat(system.positions[None], n_slots, axis=0)

    @staticmethod
    def can_copy(system: RareEventSystem) -> bool:
        """Whether many copies of the system fit into one Context."""
        try:
            replicate(system.system, 2)
        except ValueError:
            return False
        return True

    def restart(self, slots: np.ndarray, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)`` into these slots, with new velocities that satisfy the constraints."""
        self._slots[slots] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        if not self._target.inertial:
            return
        velocities = self.context.getState(velocities=True).getVelocities(asNumpy=True)._value.reshape(self._shape)
        velocities[slots] = self._spread * self._rng.normal(size=positions.shape)
        self.context.setVelocities(velocities.reshape(-1, 3) * unit.nanometer / unit.picosecond)
        self.context.applyVelocityConstraints(_VELOCITY_TOLERANCE)

    def step(self, n_steps: int) -> None:
        """Advance all slots."""
        with naming_system(self._target.name, self.context.getPlatform().getName(), running=True):
            self.integrator.step(n_steps)

    def positions(self) -> np.ndarray:
        """Positions of all slots, ``(n_slots, n_atoms, 3)`` in nm.

        Raises
        ------
        FloatingPointError
            If they are not finite, or break constraints.
        """
        state = self.context.getState(positions=True)
        self._slots = state.getPositions(asNumpy=True)._value.reshape(self._shape)
        require_finite(self._slots, self._target)
        self._kept.require(self._slots)
        return self._slots

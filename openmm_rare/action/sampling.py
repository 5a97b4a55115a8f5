"""Where stretches of dynamics begin: samples of a System at a temperature, and which System that is."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import openmm

from ..dynamics.langevin import BAOABLangevinIntegrator
from ..dynamics.platforms import platform_by_name
from ..errors import DynamicsError
from .phase_space import PhaseSpace

__all__ = ["SPACING", "canonical_starts", "system_hash"]

SPACING, _EQUILIBRATION = 200, 20  # fine steps between two samples, and samples before the first
_FRICTION = 0.05  # per fine step: shakes hands with every period, and is short of the stability limit


def system_hash(system: openmm.System) -> str:
    """SHA-256 of the forces and masses of a System."""
    xml = re.sub(r'\sopenmmVersion="[^"]*"', "", openmm.XmlSerializer.serialize(system))
    return hashlib.sha256(xml.encode("utf8")).hexdigest()


def canonical_starts(
    system: openmm.System,
    space: PhaseSpace,
    temperature: float,
    timestep: float,
    samples: int,
    seed: np.random.SeedSequence,
    platform: str,
    spacing: int = SPACING,
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates and momenta at a temperature (K), by Langevin dynamics with so many fine steps (ps) between two."""
    integrator = BAOABLangevinIntegrator(temperature, _FRICTION / timestep, timestep, space.num_dimensions)
    noise, momenta = (int(each) & 0x7FFFFFFF for each in seed.generate_state(2))
    integrator.setRandomNumberSeed(noise or 1)
    context = openmm.Context(system, integrator, platform_by_name(platform))
    context.setPositions(space.reference)
    context.setVelocitiesToTemperature(temperature, momenta)
    integrator.step(_EQUILIBRATION * spacing)
    frames = np.empty((2, samples, *space.reference.shape))
    for row in range(samples):
        integrator.step(spacing)
        state = context.getState(positions=True, velocities=True)
        state._getVectorAsNumpy(openmm.State.Positions, frames[0, row])
        state._getVectorAsNumpy(openmm.State.Velocities, frames[1, row])
    if not np.isfinite(frames).all():
        raise DynamicsError(f"dynamics with a time step of {timestep:g} ps diverged: use a shorter one")
    return space.rows(frames[0]), space.rows(frames[1])

"""Particles of a System: their masses, and which are virtual sites."""

import numpy as np
import openmm

from ..errors import InputError

__all__ = ["masses_of", "require_particles", "sites_of"]


def masses_of(system: openmm.System) -> np.ndarray:
    """Masses in Da, shape (n_particles,)."""
    return np.array([system.getParticleMass(index)._value for index in range(system.getNumParticles())], dtype=np.float64)


def sites_of(system: openmm.System) -> list[int]:
    """Numbers of the virtual sites."""
    return [index for index in range(system.getNumParticles()) if system.isVirtualSite(index)]


def require_particles(numbers: np.ndarray, system: openmm.System, what: str) -> None:
    """Refuse numbers of particles that the System does not have, of forces and constraints that OpenMM has not looked at yet.

    Raises
    ------
    ValueError
        With the first of them.
    """
    n_particles = system.getNumParticles()
    wrong = numbers[(numbers < 0) | (numbers >= n_particles)]
    if wrong.size:
        raise InputError(
            f"the System has {what} of particle {wrong.flat[0]}, but no such particle (it has {n_particles}, numbered from 0): "
            "make it again"
        )

"""Particles of a System: their masses, and which are virtual sites."""

import numpy as np
import openmm

__all__ = ["masses_of", "sites_of"]


def masses_of(system: openmm.System) -> np.ndarray:
    """Masses in Da, shape (n_particles,)."""
    return np.array([system.getParticleMass(index)._value for index in range(system.getNumParticles())], dtype=np.float64)


def sites_of(system: openmm.System) -> list[int]:
    """Numbers of the virtual sites."""
    return [index for index in range(system.getNumParticles()) if system.isVirtualSite(index)]

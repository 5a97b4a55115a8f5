"""Molecules that fly apart while all numbers are still finite: dynamics that gains energy out of nothing."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import unit

from ..structure.bonds import harmonic_bonds
from ..structure.openmm_errors import naming_system
from ..structure.particles import masses_of

__all__ = ["ExplosionWatch"]

_STRETCH, _SPEED, _WAY = 300.0, 100.0, 20.0
"""Energies of a bond and of an atom in kT, and a way in standard deviations, beyond which a frame is looked at."""

_RISE, _RISE_PER_ATOM = 100.0, 3.0
"""kT that dynamics may gain from its heat bath: an atom from rest gets 3/2 kT each of kinetic and potential energy."""


class ExplosionWatch:
    """Looks for frames with more energy than the dynamics can have.

    What a fast look finds suspicious, a bond stretched or an atom sped up beyond all thermal motion, may have been there from
    the start, as in a path drawn by hand. So the energy of such a frame is compared with that of the start: a thermostat hands
    out a few kT for each atom, an integrator that overshoots hands out more with every step.

    Parameters
    ----------
    system : openmm.System
    kt : float
        kJ/mol, of the dynamics.
    platform : openmm.Platform
        For energies of suspicious frames.
    diffusion : float or None
        Mean squared way along an axis of overdamped dynamics in a step, times the mass, in Da nm^2: 2 kT dt / friction; None
        for dynamics with momenta.

    Attributes
    ----------
    work : float
        kJ/mol that a force from outside may put in; 0 unless set.
    """

    def __init__(self, system: openmm.System, kt: float, platform: openmm.Platform, diffusion: float | None = None) -> None:
        self.work, self._system, self._kt, self._platform = 0.0, system, kt, platform
        masses = masses_of(system)
        self._half_mass = 0.5 * masses[:, None]
        moving = np.where(masses > 0.0, masses, np.nan)
        with np.errstate(invalid="ignore"):
            self._fastest = np.nan_to_num(2.0 * _SPEED * kt / moving, nan=np.inf)  # nm^2/ps^2
            way = np.inf if diffusion is None else 3.0 * _WAY**2 * diffusion
            self._farthest = np.nan_to_num(way / moving, nan=np.inf)
        self._rise = (_RISE + _RISE_PER_ATOM * int((masses > 0.0).sum())) * kt
        self._pairs, self._lengths, stiffness, _ = harmonic_bonds(system)
        self._allowed = np.sqrt(2.0 * _STRETCH * kt / stiffness)
        self._context: openmm.Context | None = None

    def suspects(
        self, positions: np.ndarray, velocities: np.ndarray | None, before: np.ndarray, n_steps: int = 1
    ) -> np.ndarray:
        """Which frames deserve a closer look.

        Parameters
        ----------
        positions : ndarray, shape (n, n_atoms, 3), nm
        velocities : ndarray, shape (n, n_atoms, 3), nm/ps, or None
            None for overdamped dynamics.
        before : ndarray, shape (n, n_atoms, 3), nm
            Positions earlier; looked at without velocities only.
        n_steps : int
            Steps between the two.

        Returns
        -------
        ndarray of bool, shape (n,)
        """
        if velocities is None:
            moved = positions - before
            found = (np.einsum("nai,nai->na", moved, moved) > n_steps * self._farthest).any(axis=1)
        else:
            found = (np.einsum("nai,nai->na", velocities, velocities) > self._fastest).any(axis=1)
        if len(self._pairs):
            bonds = positions[:, self._pairs[:, 1]] - positions[:, self._pairs[:, 0]]
            lengths = np.sqrt(np.einsum("nai,nai->na", bonds, bonds))
            found |= (np.abs(lengths - self._lengths) > self._allowed).any(axis=1)
        return found

    def energy(self, positions: np.ndarray, velocities: np.ndarray | None, box: np.ndarray | None = None) -> float:
        """Of one frame, kJ/mol; without a box of its own, in that of the System."""
        with naming_system("the System", self._platform.getName(), running=True):
            if self._context is None:
                self._context = openmm.Context(self._system, openmm.VerletIntegrator(0.001), self._platform)
            if box is not None:
                self._context.setPeriodicBoxVectors(*box)
            self._context.setPositions(positions)
            potential = self._context.getState(energy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return potential + (0.0 if velocities is None else float((self._half_mass * velocities**2).sum()))

    def gained(
        self, positions: np.ndarray, velocities: np.ndarray | None, start: float, box: np.ndarray | None = None
    ) -> str | None:
        """What to say if a frame has more energy than dynamics from a start with that energy (kJ/mol) can have; else None."""
        rise = self.energy(positions, velocities, box) - start
        if not np.isfinite(start) or rise <= self._rise + self.work:  # the latter is false for NaN
            return None
        return f"molecules fly apart: the energy has risen by {rise / self._kt:.2g} kT since the start"

"""Positions and velocities of a System as mass-weighted rows, and forces as functions of these."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import openmm

__all__ = ["ContextPotential", "PhaseSpace", "Potential", "Pull"]


class Pull(NamedTuple):
    """What a potential says of rows of coordinates.

    Attributes
    ----------
    energy : ndarray, shape (n_rows,), kJ/mol
    force : ndarray, shape (n_rows, n), mass-weighted
    """

    energy: np.ndarray
    force: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Pull:  # type: ignore[override]
        return Pull(*(each[rows] for each in tuple(self)))


class Potential(Protocol):
    """Energies and forces of many rows."""

    def __call__(self, q: np.ndarray) -> Pull:
        """At mass-weighted coordinates, shape (n_rows, n)."""


@dataclass(frozen=True, eq=False)
class PhaseSpace:
    r"""Mass-weighted coordinates :math:`q = \sqrt m x` and momenta :math:`p = \sqrt m v` of what moves: the kinetic energy is
    :math:`p \cdot p / 2`.

    Attributes
    ----------
    masses : ndarray, shape (n_atoms,), Da
        Particles without mass stay where they are.
    reference : ndarray, shape (n_atoms, 3), nm
        Where everything is that does not move.
    num_dimensions : int
        The first so many coordinates of each particle move.
    """

    masses: np.ndarray
    reference: np.ndarray
    num_dimensions: int = 3

    @cached_property
    def atoms(self) -> np.ndarray:
        """Numbers of the particles that move."""
        return np.flatnonzero(self.masses > 0.0)

    @cached_property
    def roots(self) -> np.ndarray:
        """Square root of the mass of every coordinate, shape (n,)."""
        return np.repeat(np.sqrt(self.masses[self.atoms]), self.num_dimensions)

    @property
    def n(self) -> int:
        """Number of coordinates."""
        return len(self.atoms) * self.num_dimensions

    def rows(self, vectors: np.ndarray) -> np.ndarray:
        """Coordinates of positions or velocities, shape (n_frames, n_atoms, 3), as rows (n_frames, n), mass-weighted."""
        return vectors[:, self.atoms, : self.num_dimensions].reshape(len(vectors), -1) * self.roots

    def positions(self, q: np.ndarray) -> np.ndarray:
        """Of all particles, shape (n_rows, n_atoms, 3), nm."""
        frames = np.repeat(self.reference[None], len(q), axis=0)
        frames[:, self.atoms, : self.num_dimensions] = (q / self.roots).reshape(len(q), -1, self.num_dimensions)
        return frames

    def velocities(self, p: np.ndarray) -> np.ndarray:
        """Of all particles, shape (n_rows, n_atoms, 3), nm/ps."""
        frames = np.zeros((len(p), *self.reference.shape))
        frames[:, self.atoms, : self.num_dimensions] = (p / self.roots).reshape(len(p), -1, self.num_dimensions)
        return frames

    def forces(self, forces: np.ndarray) -> np.ndarray:
        """Mass-weighted rows of forces, shape (n_frames, n_atoms, 3), kJ/mol/nm."""
        return forces[:, self.atoms, : self.num_dimensions].reshape(len(forces), -1) / self.roots


class ContextPotential:
    """The potential of an OpenMM Context, row by row; its positions are changed.

    Parameters
    ----------
    context : openmm.Context
    space : PhaseSpace

    Attributes
    ----------
    calls : int
        Evaluations so far.
    """

    def __init__(self, context: openmm.Context, space: PhaseSpace) -> None:
        self.context, self.space, self.calls = context, space, 0

    def __call__(self, q: np.ndarray) -> Pull:
        energies, forces = np.empty(len(q)), np.empty((len(q), *self.space.reference.shape))
        for row, positions in enumerate(self.space.positions(q)):
            if not np.isfinite(positions).all():
                energies[row], forces[row] = np.nan, np.nan
                continue
            self.context.setPositions(positions)
            state = self.context.getState(forces=True, energy=True)
            energies[row] = state.getPotentialEnergy()._value
            state._getVectorAsNumpy(openmm.State.Forces, forces[row])
            self.calls += 1
        return Pull(energies, self.space.forces(forces))

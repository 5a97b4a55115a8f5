"""Frames that no dynamics makes: constraints that are broken, molecules that fly apart."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import unit
from openpathsampling.engines.openmm import Snapshot

from ..constraints import KeptDistances
from ..explosions import ExplosionWatch
from ..units import KB
from .frames import Frames
from .time_reversal import friction_of, is_overdamped

__all__ = ["FrameWatch"]


class FrameWatch:
    """Looks at the frames of an engine.

    Parameters
    ----------
    system : openmm.System
    integrator : openmm.Integrator
    temperature : float or None
        K; without it nothing is known about energies.
    platform : openmm.Platform
    steps_per_frame : int

    Attributes
    ----------
    explosions : ExplosionWatch or None
    """

    def __init__(
        self,
        system: openmm.System,
        integrator: openmm.Integrator,
        temperature: float | None,
        platform: openmm.Platform,
        steps_per_frame: int,
    ) -> None:
        timestep = integrator.getStepSize().value_in_unit(unit.picosecond)
        self._steps = steps_per_frame
        self._kept = KeptDistances(system, "the System", timestep)
        self._overdamped, self.explosions = is_overdamped(integrator), None
        if temperature is None:
            return
        friction, diffusion = friction_of(integrator), None
        if self._overdamped:
            diffusion = np.inf if not friction else 2.0 * KB * temperature * timestep / friction
        self.explosions = ExplosionWatch(system, KB * temperature, platform, diffusion)

    def first_fault(self, frames: Frames, before: np.ndarray | None, start: Snapshot) -> tuple[int, str] | None:
        """The first bad frame, and a sentence about it.

        Parameters
        ----------
        frames : Frames
            All finite.
        before : ndarray, shape (n_atoms, 3), nm, or None
            Positions one frame earlier, for overdamped dynamics.
        start : Snapshot
            Where the dynamics began.
        """
        broken = self._kept.first_broken(frames.positions)
        exploded = self._first_exploded(frames if broken is None else frames[: broken[0] + 1], before, start)
        return exploded or broken

    def _first_exploded(self, frames: Frames, before: np.ndarray | None, start: Snapshot) -> tuple[int, str] | None:
        watch = self.explosions
        if watch is None:
            return None
        earlier = frames.positions
        if self._overdamped and before is not None:
            earlier = np.concatenate([before[None], frames.positions[:-1]])
        suspects = np.flatnonzero(watch.suspects(frames.positions, frames.velocities, earlier, self._steps))
        if not len(suspects):
            return None
        first = Frames.of([start], not self._overdamped)
        energy = watch.energy(first.positions[0], None if self._overdamped else first.velocities[0], first.boxes[0])
        # what explodes has the most energy at the end
        if self._gained(frames, suspects[-1], energy) is None:
            return None
        for frame in suspects.tolist():
            sentence = self._gained(frames, frame, energy)
            if sentence is not None:
                return frame, f"{sentence}: use a smaller time step, or look at the forces there"
        return None

    def _gained(self, frames: Frames, index: int, start: float) -> str | None:
        velocities = None if frames.velocities is None else frames.velocities[index]
        return self.explosions.gained(frames.positions[index], velocities, start, frames.boxes[index])

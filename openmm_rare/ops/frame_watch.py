"""Frames that no dynamics makes: constraints that are broken, molecules that fly apart."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import numpy as np
import openmm
from openmm import unit
from openpathsampling.engines.openmm import Snapshot

from ..dynamics.explosions import ExplosionWatch
from ..dynamics.frames import Frames
from ..dynamics.time_reversal import friction_of, is_overdamped
from ..errors import DynamicsError
from ..io.files import left_behind
from ..structure.constraints import KeptDistances
from ..units import KB
from .snapshots import frames_of

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

    def require(self, frames: Frames, start: Snapshot, last: Frames | Snapshot | None = None) -> Frames:
        """The same frames, after a look at them all at once: one by one it would cost as much as a step of a small system.

        Parameters
        ----------
        frames : Frames
        start : Snapshot
            Where the dynamics began.
        last : Frames or Snapshot, optional
            One frame earlier, where that is not the start.

        Raises
        ------
        FloatingPointError
            If one of them is no frame of the dynamics; the last good one is in the file that the message names.
        """
        last, good = start if last is None else last, frames.n_finite()
        fault = self.first_fault(frames[:good], last, start) if good else None
        if fault is not None:
            self._refuse(fault[1], frames[fault[0] - 1 : fault[0]] if fault[0] else last)
        if good < len(frames):
            self.refuse_nan(frames[good - 1 : good] if good else last)
        return frames

    def refuse_nan(self, last: Frames | Snapshot) -> NoReturn:
        """Stop after NaN, with the last good frame in a file."""
        advice = "use a smaller time step, or look at the forces there"
        self._refuse(f"positions or velocities became NaN within {self._steps} steps: {advice}", last, "nan")

    @staticmethod
    def _refuse(sentence: str, last: Frames | Snapshot, fault: str = "broken") -> NoReturn:
        path = Path(f"{fault}-after-{uuid4().hex}.npz").resolve()
        last = last if isinstance(last, Frames) else frames_of([last])
        velocities = np.zeros_like(last.positions) if last.velocities is None else last.velocities
        kept = left_behind(path, {"positions": last.positions[0], "velocities": velocities[0]})
        # OpenPathSampling would take an error for a rejected trial, and go on, that has these words beside "nan"
        words = sentence.replace("particle", "atom").replace("coordinates", "positions")
        raise DynamicsError(f"{words}; the frame before it is in {kept}")

    def first_fault(self, frames: Frames, last: Frames | Snapshot, start: Snapshot) -> tuple[int, str] | None:
        """The first of frames, all finite, that is bad, and a sentence about it."""
        broken = self._kept.first_broken(frames.positions)
        exploded = self._first_exploded(frames if broken is None else frames[: broken[0] + 1], last, start)
        return exploded or broken

    def _first_exploded(self, frames: Frames, last: Frames | Snapshot, start: Snapshot) -> tuple[int, str] | None:
        watch = self.explosions
        if watch is None:
            return None
        earlier = frames.positions
        if self._overdamped:
            before = last.positions[0] if isinstance(last, Frames) else last.statics.coordinates._value
            earlier = np.concatenate([before[None], frames.positions[:-1]])
        suspects = np.flatnonzero(watch.suspects(frames.positions, frames.velocities, earlier, self._steps))
        if not len(suspects):
            return None
        first = frames_of([start], not self._overdamped)
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

"""Where walkers are held in windows and watched: what all tasks of a run have in common, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames
from ...parallel.executors import SentOnce
from ...walkers.machine import Machine
from ...walkers.phase_slots import PhaseSlots
from .coordinate import PARAMETERS, Coordinate
from .windows import Window

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["Bench", "Held"]


class Bench(SentOnce):
    """A problem, a machine and a coordinate.

    Parameters
    ----------
    problem : RareEventSystem
    machine : Machine
    coordinate : Coordinate
    """

    def __init__(self, problem: RareEventSystem, machine: Machine, coordinate: Coordinate) -> None:
        self.problem, self.machine, self.coordinate = problem, machine, coordinate

    def free(self, n_slots: int, seed: np.random.SeedSequence) -> PhaseSlots:
        """Slots for unbiased dynamics."""
        return PhaseSlots(self.problem, n_slots, self.machine, np.random.default_rng(seed))

    def held(self, window: Window, frames: Frames, seed: np.random.SeedSequence) -> Held:
        """Walkers that go on in a window from these frames, or begin there where they have no velocities."""
        n_atoms = len(self.problem.positions)
        force = self.coordinate.hold(n_atoms, len(frames))
        slots = PhaseSlots(self.problem, len(frames), self.machine, np.random.default_rng(seed), force)
        return Held(self, slots, window, frames)

    def observe(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The coordinate and the status of frames, shape ``(n,)`` each."""
        return self.coordinate(positions), self.problem.states.classify(positions)


class Held:
    """Walkers in a window, all in one Context.

    Attributes
    ----------
    frames : Frames
        Where they are.
    walker_steps : int
    """

    def __init__(self, bench: Bench, slots: PhaseSlots, window: Window, frames: Frames) -> None:
        self._bench, self._slots, self.walker_steps = bench, slots, 0
        self.begin(window, frames)

    def begin(self, window: Window, frames: Frames) -> None:
        """Go on in a window from these frames."""
        everyone = np.arange(len(frames))
        self.move_to(window)
        if self._bench.problem.inertial and frames.velocities is None:
            self._slots.restart(everyone, frames.positions)
        else:
            self._slots.load(everyone, frames)
        self.frames = self._slots.frames()

    def move_to(self, window: Window) -> None:
        """Hold them in another window from now on."""
        for name, value in zip(PARAMETERS, (window.stiffness, window.low, window.high), strict=True):
            self._slots.context.setParameter(name, value)

    def run(self, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Their next frames: the coordinate and the status, shape ``(n_walkers, n_frames)`` each."""
        s, status = np.empty((n_frames, len(self.frames))), np.empty((n_frames, len(self.frames)), dtype=np.int8)
        interval = self._bench.problem.check_interval
        for frame in range(n_frames):
            self._slots.step(interval)
            self.frames = self._slots.frames()
            s[frame], status[frame] = self._bench.observe(self.frames.positions)
        self.walker_steps += n_frames * interval * len(self.frames)
        return s.T, status.T

"""Slots whose walkers stop where they arrive in A or B."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..bias.bias import Bias
from ..bias.force import is_compiled
from ..dynamics.frames import Frames
from ..dynamics.native_states import has_native_states
from ..states.states import NEITHER
from .machine import Machine
from .native_slots import NativeSlots
from .phase_slots import PhaseSlots
from .population import Moved
from .slots import SlotContext, require_finite

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["AbsorbingSlots", "absorbing_slots", "run_without_python"]


class _ArrivalTest:
    """Tests walkers for A and B at every tested frame, and tells which of them still run.

    It is called back with every frame before the walkers move on. A walker that has arrived feels no bias from then on, so
    its weight is final although its slot moves on.

    Attributes
    ----------
    running : ndarray of bool, shape (n_slots,)
    labels, status, steps : ndarray, shape (n_slots,)
        Channel label, state (0 while running) and steps until the arrival.
    arrivals : ndarray, shape (n_slots, n_atoms, 3), nm
        Frames of arrival.
    """

    def __init__(self, problem: RareEventSystem, n_slots: int) -> None:
        self._problem, self._n_slots = problem, n_slots
        self.restart(np.zeros(0, dtype=np.int64), 0)

    def restart(self, labels: np.ndarray, n_steps: int) -> None:
        """Begin a stretch of ``n_steps`` with as many walkers as there are labels."""
        n, self._frame = len(labels), 0
        self.running = np.arange(self._n_slots) < n
        self.labels = np.zeros(self._n_slots, dtype=np.int64)
        self.labels[:n] = labels
        self.status = np.zeros(self._n_slots, dtype=np.int8)
        self.steps = np.full(self._n_slots, n_steps, dtype=np.int64)
        self.arrivals = np.zeros((self._n_slots, *self._problem.positions.shape))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if self._frame > 0 and self._frame % self._problem.check_interval == 0:
            self.test(positions)
        self._frame += 1
        return np.flatnonzero(self.running)

    def test(self, positions: np.ndarray) -> None:
        """Look at a frame of all slots."""
        running = np.flatnonzero(self.running)
        frames = positions if len(running) == len(positions) else positions[running]
        require_finite(frames, self._problem)
        status, self.labels[running] = self._problem.states.observe(frames, self.labels[running])
        arrived = status > 0
        if arrived.any():
            where = running[arrived]
            self.status[where] = status[arrived]
            self.steps[where] = self._frame
            self.arrivals[where] = frames[arrived]
            self.running[where] = False


class AbsorbingSlots(Protocol):
    """Slots whose walkers stop where they arrive in A or B."""

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """Move walkers, given where they are and their channel labels, until they arrive, at most ``n_steps``."""


class _ObservedSlots:
    """:class:`AbsorbingSlots` whose states are tested from Python at every step; the parameters are those of
    :class:`SlotContext`."""

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine, seed: int, bias: Bias | None) -> None:
        self._test = _ArrivalTest(problem, n_slots)
        self._slots = SlotContext(problem, n_slots, machine, seed, bias, self._test)

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """As :meth:`AbsorbingSlots.advance`."""
        n, test = len(frames), self._test
        test.restart(labels, n_steps)
        self._slots.set_positions(frames.positions)
        self._slots.step(n_steps)
        end = self._slots.positions()
        test.test(end)
        end = np.where(test.status[:n, None, None] > 0, test.arrivals[:n], end[:n])
        return Moved(Frames(end), self._slots.log_weights()[:n], test.status[:n], test.labels[:n], test.steps[:n])


class _InertialSlots:
    """:class:`AbsorbingSlots` with momenta, whose states are tested from Python; the parameters are those of
    :func:`absorbing_slots`."""

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine, seed: int, bias: Bias | None) -> None:
        self._problem, self._running = problem, _Running()
        self._slots = PhaseSlots(problem, n_slots, machine, np.random.default_rng(seed), bias=bias, observer=self._running)

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """As :meth:`AbsorbingSlots.advance`."""
        n, states = len(frames), self._problem.states
        self._slots.load(np.arange(n), frames)
        ends, labels = frames.astype(np.float64), np.array(labels, dtype=np.int64)
        log_weights, status, steps = np.zeros(n), np.zeros(n, dtype=np.int8), np.full(n, n_steps, dtype=np.int64)
        running, done = np.arange(n), 0
        while done < n_steps and len(running):
            self._running.slots = running
            stretch = min(self._problem.check_interval, n_steps - done)
            self._slots.step(stretch)
            done += stretch
            ends[running] = self._slots.frames()[running]
            status[running], labels[running] = states.observe(ends.positions[running], labels[running])
            arrived = status[running] != NEITHER
            steps[running[arrived]] = done
            if arrived.any() or done == n_steps:
                log_weights[running] = self._slots.log_weights()[running]
            running = running[~arrived]
        return Moved(ends, log_weights, status, labels, steps)


class _Running:
    """Tells a bias which slots still run. What OpenMM calls must not refer to the Context, so this is an object of its own."""

    slots: np.ndarray

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return self.slots


def run_without_python(problem: RareEventSystem, machine: Machine, bias: Bias | None) -> bool:
    """Whether several :class:`AbsorbingSlots` can run in threads on the processor: compiled code does all of a step."""
    compiled = not problem.inertial and (bias is None or is_compiled(bias.force, bias.importance))
    return machine.backend == "native" and machine.on_processor and compiled and has_native_states(problem.states)


def absorbing_slots(
    problem: RareEventSystem, n_slots: int, machine: Machine, seed: int, bias: Bias | None = None
) -> AbsorbingSlots:
    """Slots of the fastest kind that a backend has for the dynamics and the states of a system; the parameters are those of
    :class:`~openmm_rare.walkers.slots.SlotContext`."""
    if problem.inertial:
        return _InertialSlots(problem, n_slots, machine, seed, bias)
    if machine.backend == "native" and has_native_states(problem.states):
        return NativeSlots(problem, n_slots, machine, seed, None if bias is None or bias.strength == 0.0 else bias)
    return _ObservedSlots(problem, n_slots, machine, seed, bias)

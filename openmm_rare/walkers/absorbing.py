"""Slots whose walkers stop where they arrive in A or B, and slots of which it is noted where walkers go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..bias.bias import Bias
from ..bias.force import check_force, is_compiled
from ..dynamics.frames import Frames, Rows
from ..dynamics.native_integrator import IDLE, has_native_states
from ..dynamics.overdamped import check_system
from ..dynamics.replication import replicate
from ..dynamics.walker_bonds import suits_native_bonds
from ..parallel.teams import check_stop
from ..states.states import IN_A, IN_B
from ..structure.constraints import KeptDistances
from .backends import choose_backend
from .dynamics import native_parts
from .population import Moved
from .slots import SlotContext, make_context, require_finite

if TYPE_CHECKING:
    from ..problem import RareEventSystem

_UNINTERRUPTED = 1000  # steps

__all__ = ["AbsorbingSlots", "Changes", "WatchedSlots", "absorbing_slots", "run_without_python"]


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

    def __init__(self, target: RareEventSystem, n_slots: int) -> None:
        self._target, self._n_slots = target, n_slots
        self.restart(np.zeros(0, dtype=np.int64), 0)

    def restart(self, labels: np.ndarray, n_steps: int) -> None:
        """Begin a stretch of ``n_steps`` with as many walkers as there are labels."""
        n, self._frame = len(labels), 0
        self.running = np.arange(self._n_slots) < n
        self.labels = np.zeros(self._n_slots, dtype=np.int64)
        self.labels[:n] = labels
        self.status = np.zeros(self._n_slots, dtype=np.int8)
        self.steps = np.full(self._n_slots, n_steps, dtype=np.int64)
        self.arrivals = np.zeros((self._n_slots, *self._target.positions.shape))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if self._frame > 0 and self._frame % self._target.check_interval == 0:
            self.test(positions)
        self._frame += 1
        return np.flatnonzero(self.running)

    def test(self, positions: np.ndarray) -> None:
        """Look at a frame of all slots."""
        running = np.flatnonzero(self.running)
        frames = positions if len(running) == len(positions) else positions[running]
        require_finite(frames, self._target)
        status, self.labels[running] = self._target.states.observe(frames, self.labels[running])
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

    def __init__(
        self, target: RareEventSystem, n_slots: int, platform: str, seed: int, bias: Bias | None, backend: str
    ) -> None:
        self._test = _ArrivalTest(target, n_slots)
        self._slots = SlotContext(target, n_slots, platform, seed, bias, self._test, backend)

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


class _NativeContext:
    """Slots that the native integrator moves, and looks up in A and B, without Python in a step."""

    def __init__(self, target: RareEventSystem, n_slots: int, platform: str, seed: int, bias: Bias | None) -> None:
        check_force("auto" if bias is None else bias.force, platform)
        check_system(target.system, num_dimensions=target.num_dimensions)
        system, self._kept = (
            replicate(target.system, n_slots, suits_native_bonds(platform, n_slots)),
            KeptDistances(target.system, target.name, target.timestep),
        )
        self._integrator, forces = native_parts(target, n_slots, seed, bias, target.states)
        for force in forces:
            system.addForce(force)
        self._context = make_context(system, self._integrator, platform, True, target.name)
        self._target, self._shape = target, (n_slots, *target.positions.shape)

    def positions(self) -> np.ndarray:
        """Positions of all slots, ``(n_slots, n_atoms, 3)`` in nm; FloatingPointError if one is NaN or breaks constraints."""
        positions = self._context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(self._shape)
        require_finite(positions, self._target)
        self._kept.require(positions)
        return positions


class _NativeSlots(_NativeContext):
    """:class:`AbsorbingSlots` of the native integrator, which holds walkers where they arrive and follows their labels."""

    def __init__(self, target: RareEventSystem, n_slots: int, platform: str, seed: int, bias: Bias | None) -> None:
        super().__init__(target, n_slots, platform, seed, bias)
        self._slots = np.repeat(target.positions[None], n_slots, axis=0)

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """As :meth:`AbsorbingSlots.advance`."""
        n, integrator, states = len(frames), self._integrator, self._target.states
        idle = np.arange(len(self._slots)) >= n
        self._slots[:n] = frames.positions
        self._context.setPositions(self._slots.reshape(-1, 3))
        integrator.set_states(np.where(idle, IDLE, 0))
        integrator.set_log_weights(np.zeros(len(idle)))
        integrator.set_labels(np.concatenate([labels, np.zeros(idle.sum())]))
        integrator.step(n_steps)
        end = self.positions()[:n]
        status, labels = integrator.states()[:n].astype(np.int8), integrator.labels()[:n].astype(np.int64)
        labels[status == IN_A] = 0
        arrived = np.flatnonzero(status == IN_B)
        labels[arrived] = states.arrival_labels(end[arrived], labels[arrived])
        return Moved(Frames(end), integrator.log_weights()[:n], status, labels, integrator.steps()[:n].astype(np.int64))


@dataclass(frozen=True)
class Changes(Rows):
    """Where watched walkers went from one region to another, one row each, in order of time.

    Attributes
    ----------
    walker : ndarray of int64, shape (n,)
    step : ndarray of int64, shape (n,)
        Since the watch began.
    before, after : ndarray of int64, shape (n,)
        Regions: 1 in A, 2 in B, 0 elsewhere.
    label : ndarray of int64, shape (n,)
        Channel label on arrival.
    frames : Frames
        Of the walker at the change.
    """

    walker: np.ndarray
    step: np.ndarray
    before: np.ndarray
    after: np.ndarray
    label: np.ndarray
    frames: Frames


class WatchedSlots(_NativeContext):
    """Slots of unbiased walkers that go on through A and B, while the native integrator notes where they go.

    Parameters
    ----------
    target : RareEventSystem
    positions : ndarray, shape (n, n_atoms, 3), nm
    regions : ndarray of int, shape (n,)
        The states of these positions, 0 for none.
    platform : str
    seed : int
    """

    def __init__(self, target: RareEventSystem, positions: np.ndarray, regions: np.ndarray, platform: str, seed: int) -> None:
        super().__init__(target, len(positions), platform, seed, None)
        self._context.setPositions(positions.reshape(-1, 3))
        self._integrator.watch(regions)

    def step(self, n_steps: int) -> Changes:
        """Advance all walkers; returns where they went."""
        block = max(1, _UNINTERRUPTED // self._target.check_interval) * self._target.check_interval
        parts = []
        for done in range(0, n_steps, block):
            check_stop()
            self._integrator.step(min(block, n_steps - done))
            changes, positions = self._integrator.take_changes(self._shape[1])
            parts.append(Changes(*changes.astype(np.int64).T, Frames(positions)))
        return parts[0].join(*parts[1:])


def run_without_python(target: RareEventSystem, platform: str, bias: Bias | None, backend: str) -> bool:
    """Whether several :class:`AbsorbingSlots` can run in threads on the processor: compiled code does all of a step."""
    compiled = bias is None or is_compiled(bias.force, bias.importance)
    return backend == "native" and platform in ("Reference", "CPU") and compiled and has_native_states(target.states)


def absorbing_slots(
    target: RareEventSystem, n_slots: int, platform: str, seed: int, bias: Bias | None = None, backend: str = "python"
) -> AbsorbingSlots:
    """Slots of the fastest kind that a backend has for the states of a system; the parameters are those of
    :class:`SlotContext`."""
    backend = choose_backend(backend, platform)
    if backend == "native" and has_native_states(target.states):
        return _NativeSlots(target, n_slots, platform, seed, None if bias is None or bias.strength == 0.0 else bias)
    return _ObservedSlots(target, n_slots, platform, seed, bias, backend)

"""Slots that the native integrator moves, and looks up in A and B, without Python in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from ..dynamics.frames import Frames, Rows
from ..dynamics.native_integrator import IDLE
from ..parallel.teams import check_stop
from ..states.states import IN_A, IN_B
from .machine import Machine
from .native import native_parts
from .population import Moved
from .slots import WalkerContext, require_finite

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Changes", "NativeSlots", "WatchedSlots"]

_UNINTERRUPTED = 1000  # steps


class _NativeContext(WalkerContext):
    """One Context with one thread of its own: several of them move at the same time."""

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine, seed: int, bias: Bias | None) -> None:
        super().__init__(problem, n_slots, machine.one_thread, bias)
        self._start(*native_parts(problem, n_slots, seed, bias, problem.states))

    def positions(self) -> np.ndarray:
        """As :meth:`~openmm_rare.walkers.slots.WalkerContext.positions`; FloatingPointError also if one is NaN."""
        positions = super().positions()
        require_finite(positions, self._problem)
        return positions


class NativeSlots(_NativeContext):
    """:class:`~openmm_rare.walkers.absorbing.AbsorbingSlots`: the integrator holds and labels those that have arrived."""

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """As :meth:`openmm_rare.walkers.absorbing.AbsorbingSlots.advance`."""
        n, integrator, states = len(frames), self.integrator, self._problem.states
        idle = np.arange(len(self._slots)) >= n
        self._slots[:n] = frames.positions
        self.context.setPositions(self._slots.reshape(-1, 3))
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
    problem : RareEventSystem
    positions : ndarray, shape (n, n_atoms, 3), nm
    regions : ndarray of int, shape (n,)
        The states of these positions, 0 for none.
    machine : Machine
    seed : int
    """

    def __init__(
        self, problem: RareEventSystem, positions: np.ndarray, regions: np.ndarray, machine: Machine, seed: int
    ) -> None:
        super().__init__(problem, len(positions), machine, seed, None)
        self.context.setPositions(positions.reshape(-1, 3))
        self.integrator.watch(regions)

    def step(self, n_steps: int) -> Changes:
        """Advance all walkers; returns where they went."""
        block = max(1, _UNINTERRUPTED // self._problem.check_interval) * self._problem.check_interval
        parts = []
        for done in range(0, n_steps, block):
            check_stop()
            self.integrator.step(min(block, n_steps - done))
            changes, positions = self.integrator.take_changes(self._slots.shape[1])
            parts.append(Changes(*changes.astype(np.int64).T, Frames(positions)))
        return parts[0].join(*parts[1:])

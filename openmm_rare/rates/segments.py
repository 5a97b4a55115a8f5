"""Training segments: short biased trajectories whose every frame says something about the committor at its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..dynamics.unbiased import mobility
from ..errors import RunError
from ..learning.segment_data import SegmentData
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from ..walkers.slots import SlotContext

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Drifts", "SegmentBatch", "noise_of_one_step", "sample_segments"]


@dataclass(frozen=True)
class SegmentBatch:
    """Segments and their cost.

    Attributes
    ----------
    segments : SegmentData
    status : ndarray of int8, shape (n_walkers,)
        Where each walker ended: 0 between the states, 1 in A, 2 in B.
    steps : ndarray of int64, shape (n_walkers,)
        Until there.
    walker_steps : int
        Steps of the walkers, and one force evaluation for each segment.
    """

    segments: SegmentData
    status: np.ndarray
    steps: np.ndarray
    walker_steps: int


def noise_of_one_step(problem: RareEventSystem) -> np.ndarray:
    """Standard deviation of the noise of one step, shape (n_atoms, 3), nm; 0 where nothing moves."""
    return np.sqrt(2.0 * problem.kt * mobility(problem))


class Drifts:
    """Displacements of one step by the physical forces, in one Context that is made when it is first needed, and kept.

    Parameters
    ----------
    problem : RareEventSystem
    n_slots : int
        Of the Context.
    machine : Machine
    """

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine) -> None:
        self._problem, self._n_slots, self._machine = problem, n_slots, replace(machine, backend="python")
        self._slots: SlotContext | None = None

    def __call__(self, positions: np.ndarray, seed: int) -> np.ndarray:
        """At positions (n, n_atoms, 3): the same shape, nm; one force evaluation each. The seed is that of a new Context."""
        if self._slots is None:
            self._slots = SlotContext(self._problem, min(self._n_slots, len(positions)), self._machine, seed)
        slots, parts = self._slots, []
        for first in range(0, len(positions), slots.n_slots):
            block = positions[first : first + slots.n_slots]
            slots.set_positions(block)
            parts.append(slots.forces()[: len(block)])
        return np.concatenate(parts) * mobility(self._problem)


def sample_segments(
    propagator: Propagator, starts: Frames, stride: int, length: int, seed: int, drifts: Drifts | None = None
) -> SegmentBatch:
    """Run a walker from every start until it arrives in A or B, or for ``length`` steps.

    Its frame at every ``stride`` steps begins a segment, and all segments of a walker end where it ends. Nothing branches:
    the weights of segments stay near 1 by themselves, and a segment may be as long as the committor needs to be consistent
    over a good part of the way between the states.

    Parameters
    ----------
    propagator : Propagator
        Dynamics, with or without bias.
    starts : Frames
        Those inside A or B are left out.
    stride, length : int
        In steps; the stride is made a multiple of the interval at which states are tested, the length one of the stride.
    seed : int
        For the Context that evaluates forces: it draws no noise, but every new Context reseeds a platform's generator.
    drifts : Drifts, optional
        Kept from batch to batch; default: new ones.

    Returns
    -------
    SegmentBatch

    Raises
    ------
    RuntimeError
        If all starts lie in A or B.
    """
    interval = propagator.problem.check_interval
    stride = max(1, round(stride / interval)) * interval
    starts = starts[propagator.problem.states.classify(starts.positions) == 0]
    if len(starts) == 0:
        raise RunError(
            f"every walker that was to train {propagator.problem.name} starts in A or B: the states leave nothing between them"
        )
    waiting = Walkers.start(starts, np.arange(len(starts)))
    active, walker_steps = waiting.take(np.zeros(0, dtype=np.int64)), 0
    end, log_weight = starts.astype(np.float32), np.zeros(len(starts))
    status, steps = np.zeros(len(starts), dtype=np.int8), np.zeros(len(starts), dtype=np.int64)
    begun: list[tuple[np.ndarray, Frames, np.ndarray]] = []  # of each segment: walker, place, ln w until there
    while len(waiting) or len(active):
        # a few free slots cost less than many small batches of newcomers
        room = propagator.n_slots - len(active) if len(active) <= 0.8 * propagator.n_slots else 0
        active = active.join(waiting.take(np.arange(min(room, len(waiting)))))
        waiting = waiting.take(np.arange(min(room, len(waiting)), len(waiting)))
        begun.append((active.roots, active.frames.astype(np.float32), active.log_weights))
        block = propagator.advance(active, stride)
        walker_steps += block.walker_steps
        over = (block.status > 0) | (block.walkers.clocks >= length)
        done = block.walkers.roots[over]
        end[done], log_weight[done] = block.walkers.frames[over], block.walkers.log_weights[over]
        status[done], steps[done] = block.status[over], block.walkers.clocks[over]
        active = block.walkers.take(np.flatnonzero(~over))
    segments = _segments(begun, end, log_weight, status)
    drifts = drifts or Drifts(propagator.problem, propagator.n_slots, propagator.machine)
    segments = replace(segments, drift=drifts(segments.start.positions, seed).astype(np.float32))
    return SegmentBatch(segments, status, steps, walker_steps + len(segments))


def _segments(
    begun: list[tuple[np.ndarray, Frames, np.ndarray]], end: Frames, log_weight: np.ndarray, status: np.ndarray
) -> SegmentData:
    """From where each began to the end of its walker, with ln w of that part; drifts are not known yet."""
    walkers, places, weights = zip(*begun, strict=True)
    walker, start = np.concatenate(walkers), Frames.join(places)
    gained = (log_weight[walker] - np.concatenate(weights)).astype(np.float32)
    return SegmentData(start, end[walker], gained, status[walker], np.zeros_like(start.positions))

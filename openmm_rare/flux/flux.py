"""Unbiased dynamics that last visited A: flux out of A, the pool of exits, and plain counting of transitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames, Rows
from ..parallel.executors import Executor, Here
from ..parallel.teams import TEAM, together
from ..states.states import IN_A, IN_B, NEITHER
from ..walkers.absorbing import run_without_python
from ..walkers.machine import Machine
from ..walkers.native_slots import Changes, WatchedSlots
from ..walkers.slots import SlotContext, require_finite
from .restarts import begins_again, restarted

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["FluxChunk", "FluxState", "run_flux"]


@dataclass(frozen=True)
class FluxState(Rows):
    """Where the flux walkers stand between two chunks.

    Attributes
    ----------
    frames : Frames
    in_a : ndarray of bool, shape (n,)
        Whether the last tested frame was in A.
    last_a : ndarray of bool, shape (n,)
        Whether A is the state visited last.
    group : ndarray of int64, shape (n,)
        Which kind of start each walker descends from.
    weight : ndarray, shape (n,)
        How much each walker counts; 1 unless the parts of A are weighted.
    cluster : ndarray of int64, shape (n,)
        Walkers of one number have one ancestor: the independent units of error bars.
    """

    frames: Frames
    in_a: np.ndarray
    last_a: np.ndarray
    group: np.ndarray
    weight: np.ndarray
    cluster: np.ndarray

    @classmethod
    def start(cls, problem: RareEventSystem, n_walkers: int) -> FluxState:
        """Walkers at the initial structures, which lie in A, one after another."""
        return cls.at(Frames(problem.starts[np.arange(n_walkers) % len(problem.starts)]))

    @classmethod
    def at(cls, frames: Frames, group: np.ndarray | None = None) -> FluxState:
        """Independent walkers in A."""
        n, everyone = len(frames), np.ones(len(frames), dtype=bool)
        group = np.zeros(n, dtype=np.int64) if group is None else group
        return cls(frames, everyone, everyone.copy(), group, np.ones(n), np.arange(n))

    @classmethod
    def from_record(cls, record: Mapping) -> FluxState:
        """The state at the end of a chunk, from :meth:`FluxChunk.record`, which had no groups in earlier versions."""
        n = len(record["in_a"])
        return cls.of_record({"group": np.zeros(n, dtype=np.int64), "weight": np.ones(n), "cluster": np.arange(n), **record})

    @property
    def n_clusters(self) -> int:
        """Independent ancestors, at most."""
        return int(self.cluster.max()) + 1

    def recycled(self, rng: np.random.Generator) -> FluxState:
        """Once most walkers have gone to B: those become copies of random walkers that last visited A."""
        lost, kept = np.flatnonzero(~self.last_a), np.flatnonzero(self.last_a)
        if len(lost) <= len(self.last_a) // 2 or len(kept) == 0:
            return self
        source = np.arange(len(self.last_a))
        source[lost] = rng.choice(kept, len(lost))
        return replace(self.take(source), cluster=self.cluster)


@dataclass(frozen=True)
class FluxChunk:
    """What one stretch of unbiased dynamics counted.

    Attributes
    ----------
    state : FluxState
        At its end.
    exits : Frames
        First tested frames outside A after a frame in A.
    exit_walker : ndarray of int64, shape (n_exits,)
    frames_last_a : ndarray of int64, shape (n,)
        Steps that each walker spent with A as the state visited last.
    transitions : ndarray of int64, shape (n,)
        Arrivals in B, coming from A.
    transition_label : ndarray of int64
        Channel label of each transition.
    arrivals : Frames
        Where the transitions ended.
    walker_steps : int
    """

    state: FluxState
    exits: Frames
    exit_walker: np.ndarray
    frames_last_a: np.ndarray
    transitions: np.ndarray
    transition_label: np.ndarray
    arrivals: Frames
    walker_steps: int

    def record(self) -> dict:
        """Times, counts and the state to go on from, for the recorder; exits and labels are left to those who need them."""
        return {
            "frames_last_a": self.frames_last_a,
            "transitions": self.transitions,
            "walker_steps": self.walker_steps,
            **self.state.record(),
        }


class _Counter:
    """The observer of a flux run; also called once on the final frame."""

    def __init__(self, problem: RareEventSystem, state: FluxState) -> None:
        self.problem, self.state, self.in_a, self.last_a = problem, state, state.in_a.copy(), state.last_a.copy()
        self.labels = np.zeros(len(self.in_a), dtype=np.int64)
        self.frames_last_a = np.zeros(len(self.in_a), dtype=np.int64)
        self.transitions = np.zeros(len(self.in_a), dtype=np.int64)
        self.exits: list[np.ndarray] = []
        self.exit_walker: list[np.ndarray] = []
        self.transition_label: list[np.ndarray] = []
        self.arrivals: list[np.ndarray] = []
        self._frame = 0

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        if self._frame > 0 and self._frame % self.problem.check_interval == 0:
            self.count(positions)
        self._frame += 1
        return np.zeros(0, dtype=np.int64)

    def count(self, positions: np.ndarray) -> None:
        """Count one tested frame, shape (n, n_atoms, 3), nm."""
        require_finite(positions, self.problem)
        self.frames_last_a += self.last_a * self.problem.check_interval
        status, labels = self.problem.states.observe(positions, self.labels)
        now_a, now_b = status == IN_A, status == IN_B
        left = self.in_a & ~now_a
        if left.any():
            self.exits.append(positions[left])
            self.exit_walker.append(np.flatnonzero(left))
        arrived = now_b & self.last_a
        if arrived.any():
            self.transitions += arrived
            self.transition_label.append(labels[arrived])
            self.arrivals.append(positions[arrived])
        self.labels = np.where(now_a | now_b, 0, labels)
        self.in_a = now_a
        self.last_a = (self.last_a | now_a) & ~now_b

    def chunk(self, end: Frames, n_steps: int) -> FluxChunk:
        """What was counted until the frames at the end."""
        return FluxChunk(
            state=replace(self.state, frames=end, in_a=self.in_a, last_a=self.last_a),
            exits=Frames(np.concatenate([end.positions[:0], *self.exits])),
            exit_walker=np.concatenate([np.zeros(0, dtype=np.int64), *self.exit_walker]),
            frames_last_a=self.frames_last_a,
            transitions=self.transitions,
            transition_label=np.concatenate([np.zeros(0, dtype=np.int64), *self.transition_label]),
            arrivals=Frames(np.concatenate([end.positions[:0], *self.arrivals])),
            walker_steps=n_steps * len(end),
        )


def run_flux(
    problem: RareEventSystem,
    state: FluxState,
    n_steps: int,
    machine: Machine,
    seed: int,
    rng: np.random.Generator | None,
    executor: Executor | None = None,
) -> FluxChunk:
    """Run unbiased dynamics from ``state`` and count.

    Overdamped walkers of a small System that reach B go on, uncounted, until they are back in A. Those with momenta, and those
    of which only one fits into a Context, begin again at once where another walker is in A: see
    :mod:`openmm_rare.flux.restarts`.

    Parameters
    ----------
    problem : RareEventSystem
    state : FluxState
    n_steps : int
        Steps of every walker.
    machine : Machine
    seed : int
        For the noise.
    rng : numpy.random.Generator or None
        For recycling walkers that go on in B, see :meth:`FluxState.recycled`; None: they are not.
    executor : Executor, optional
        Where walkers move of which only one fits into a Context, each a task; default: here. The numbers do not depend on it.

    Raises
    ------
    FloatingPointError
        If dynamics breaks down.
    """
    n_steps = max(1, round(n_steps / problem.check_interval)) * problem.check_interval
    if begins_again(problem):
        return _restarted(problem, state, n_steps, machine, seed, executor or Here())
    state = state if rng is None else state.recycled(rng)
    if run_without_python(problem, machine, None):
        return _watch(problem, state, n_steps, machine, seed)
    counter = _Counter(problem, state)
    slots = SlotContext(problem, len(state), machine, seed, observer=counter)
    slots.set_positions(state.frames.positions)
    slots.step(n_steps)
    end = slots.positions().copy()
    counter.count(end)
    return counter.chunk(Frames(end), n_steps)


def _restarted(
    problem: RareEventSystem, state: FluxState, n_steps: int, machine: Machine, seed: int, executor: Executor
) -> FluxChunk:
    """As :func:`run_flux`, by walkers that begin again in A."""
    n, found = len(state), restarted(problem, state.frames, state.in_a, n_steps, machine, seed, executor)
    ancestor = np.where(found.origin < 0, np.arange(n), found.origin)
    return FluxChunk(
        state=replace(state, frames=found.frames, in_a=found.in_a, last_a=np.ones(n, dtype=bool), group=state.group[ancestor]),
        exits=found.exits,
        exit_walker=found.exit_walker,
        frames_last_a=np.full(n, n_steps),
        transitions=found.transitions,
        transition_label=found.transition_label,
        arrivals=found.arrivals,
        walker_steps=n_steps * n,
    )


def _watch(problem: RareEventSystem, state: FluxState, n_steps: int, machine: Machine, seed: int) -> FluxChunk:
    """As :func:`run_flux`, by teams of walkers with nothing of Python in a step."""
    n_walkers = len(state)
    shares = np.array_split(np.arange(n_walkers), -(-n_walkers // TEAM))
    seeds = np.random.SeedSequence(seed).generate_state(len(shares)) >> 1
    regions = problem.states.classify(state.frames.positions)

    def run(rows: np.ndarray, seed: int) -> tuple[np.ndarray, Changes]:
        slots = WatchedSlots(problem, state.frames.positions[rows], regions[rows], machine, int(seed))
        changes = slots.step(n_steps)
        return slots.positions(), replace(changes, walker=rows[changes.walker])

    ends, parts = zip(*together(run, shares, seeds), strict=True)
    end, seen = np.concatenate(ends), parts[0].join(*parts[1:])
    turn, last_a = _turns(seen.walker, seen.after, state.last_a)
    frames_last_a = state.last_a * n_steps
    np.add.at(frames_last_a, seen.walker[turn], np.where(seen.after[turn] == IN_A, 1, -1) * (n_steps - seen.step[turn]))
    exits, arrivals = seen.take(seen.before == IN_A), seen.take(turn[seen.after[turn] == IN_B])
    return FluxChunk(
        state=replace(state, frames=Frames(end), in_a=problem.states.classify(end) == IN_A, last_a=last_a),
        exits=exits.frames,
        exit_walker=exits.walker,
        frames_last_a=frames_last_a,
        transitions=np.bincount(arrivals.walker, minlength=n_walkers),
        transition_label=problem.states.arrival_labels(arrivals.frames.positions, arrivals.label),
        arrivals=arrivals.frames,
        walker_steps=n_steps * n_walkers,
    )


def _turns(walker: np.ndarray, after: np.ndarray, last_a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which changes are arrivals in another state than the one visited last, and whether A is the last one in the end."""
    rows = np.flatnonzero(after != NEITHER)
    rows = rows[np.argsort(walker[rows], kind="stable")]
    came_from = np.where(last_a, IN_A, IN_B)[walker[rows]]
    same = walker[rows[1:]] == walker[rows[:-1]]
    came_from[1:][same] = after[rows[:-1]][same]
    turns = rows[after[rows] != came_from]
    last_a = last_a.copy()
    last_a[walker[turns]] = after[turns] == IN_A  # of several turns of a walker, the last one stays
    return turns, last_a

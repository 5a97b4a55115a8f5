"""Walkers that last visited A always: one that reaches B begins again, at once, where another one is in A.

In the steady state that this makes, arrivals in B per time are the rate constant (Hill 1977), and no time is spent in B.
Walkers with momenta move like this, and those of Systems of which only one fits into a Context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.copies.replication import fits_in_slots
from ..dynamics.frames import Frames
from ..parallel.executors import Executor, SentOnce
from ..states.states import IN_A, IN_B, NEITHER
from ..walkers.machine import Machine
from ..walkers.one_context import one_context
from ..walkers.phase_slots import PhaseSlots

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Restarted", "begins_again", "restarted"]

_DONORS = 3  # frames in A that a walker takes along; it may arrive in B more often than once in a stretch

Another = Callable[[int, Frames, np.ndarray], tuple[Frames, int] | None]
"""Where a walker begins again, given its number, all frames, and which of them are in A: a frame and the number of its walker;
None: at a given structure."""


def begins_again(problem: RareEventSystem) -> bool:
    """Whether flux walkers of a problem are such as begin again in A."""
    return problem.inertial or not fits_in_slots(problem)


@dataclass(frozen=True)
class Restarted:
    """What walkers did in one stretch.

    Attributes
    ----------
    frames : Frames
        At its end.
    in_a : ndarray of bool, shape (n,)
    exits : Frames
        First tested frames outside A after a frame in A.
    exit_walker : ndarray of int64, shape (n_exits,)
    transitions : ndarray of int64, shape (n,)
    transition_label : ndarray of int64
        Channel label of each transition, by walker where they move one at a time, otherwise in the order of time.
    arrivals : Frames
        Where the transitions ended, in the same order.
    origin : ndarray of int64, shape (n,)
        Walker at whose frame each one began again last; -1 if it did not.
    """

    frames: Frames
    in_a: np.ndarray
    exits: Frames
    exit_walker: np.ndarray
    transitions: np.ndarray
    transition_label: np.ndarray
    arrivals: Frames
    origin: np.ndarray


def restarted(
    problem: RareEventSystem, frames: Frames, in_a: np.ndarray, n_steps: int, machine: Machine, seed: int, executor: Executor
) -> Restarted:
    """Move walkers that last visited A.

    Parameters
    ----------
    problem : RareEventSystem
    frames : Frames
        Without velocities, although the problem has momenta: fresh ones are drawn.
    in_a : ndarray of bool, shape (n,)
        Whether they are in A.
    n_steps : int
        A multiple of ``check_interval``.
    machine : Machine
    seed : int
        31 bits.
    executor : Executor
        For walkers that move one at a time, each a task. What it does depends on the seed and its number, and not on where.

    Raises
    ------
    FloatingPointError
        If dynamics breaks down; the last good frame is in the file that the message names.
    """
    if fits_in_slots(problem):
        return _together(problem, frames, in_a, n_steps, machine, seed)
    return _one_by_one(problem, frames, in_a, n_steps, machine, seed, executor)


def _together(
    problem: RareEventSystem, frames: Frames, in_a: np.ndarray, n_steps: int, machine: Machine, seed: int
) -> Restarted:
    """Walkers in the slots of one Context; whoever arrives begins again where another one is at that moment."""
    noise, draw = (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(2))
    slots = PhaseSlots(problem, len(frames), machine, noise)

    def another(walker: int, now: Frames, now_a: np.ndarray) -> tuple[Frames, int] | None:
        others = np.flatnonzero(now_a)
        if not len(others):
            return None
        origin = int(draw.choice(others))
        return now[origin], origin

    return _follow(problem, slots, frames, in_a, n_steps, another)


def _one_by_one(
    problem: RareEventSystem,
    frames: Frames,
    in_a: np.ndarray,
    n_steps: int,
    machine: Machine,
    seed: int,
    executor: Executor,
) -> Restarted:
    """Walkers as tasks; whoever arrives begins again where another one was when the stretch began."""
    n, tasks, donors = len(frames), [], []
    for walker, own in enumerate(np.random.SeedSequence(seed).spawn(n)):
        others = np.flatnonzero(in_a & (np.arange(n) != walker))
        donors.append(np.random.default_rng(own).permutation(others)[:_DONORS])
        tasks.append((int(own.generate_state(1)[0] >> 1), frames[walker], in_a[[walker]], frames[donors[-1]], n_steps))
    found = dict(executor.map(_Walker(problem, machine), tasks))
    parts = [found[walker] for walker in range(n)]
    origins = [-1 if part.origin[0] < 0 else donors[walker][part.origin[0]] for walker, part in enumerate(parts)]
    return Restarted(
        frames=Frames.join(part.frames for part in parts),
        in_a=np.concatenate([part.in_a for part in parts]),
        exits=Frames.join(part.exits for part in parts),
        exit_walker=np.repeat(np.arange(n), [len(part.exits) for part in parts]),
        transitions=np.concatenate([part.transitions for part in parts]),
        transition_label=np.concatenate([part.transition_label for part in parts]),
        arrivals=Frames.join(part.arrivals for part in parts),
        origin=np.array(origins, dtype=np.int64),
    )


class _Walker(SentOnce):
    """A stretch of one walker in the Context of the process that computes it: plain data in, plain data out.

    Its frames are in single precision, as they are kept; their constraints are restored when they are loaded.
    """

    def __init__(self, problem: RareEventSystem, machine: Machine) -> None:
        self._problem, self._machine = problem, machine

    def __call__(self, seed: int, frame: Frames, in_a: np.ndarray, donors: Frames, n_steps: int) -> Restarted:
        """What the walker at this frame did; its origin counts among the donors, which are taken in turn."""
        slots, taken = one_context(self._problem, self._machine), 0
        slots.reseed(seed)

        def another(walker: int, now: Frames, now_a: np.ndarray) -> tuple[Frames, int] | None:
            nonlocal taken
            if not len(donors):
                return None
            origin, taken = taken % len(donors), taken + 1
            return donors[origin], origin

        found = _follow(self._problem, slots, frame, in_a, n_steps, another)
        single = {name: getattr(found, name).astype(np.float32) for name in ("frames", "exits", "arrivals")}
        return replace(found, **single)


def _follow(
    problem: RareEventSystem, slots: PhaseSlots, frames: Frames, in_a: np.ndarray, n_steps: int, another: Another
) -> Restarted:
    """Move walkers in slots, count, and let those in B begin again."""
    n = len(frames)
    _begin(problem, slots, np.arange(n), frames)
    labels, transitions, origin = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64), np.full(n, -1)
    exits, exit_walker, arrived_as, arrivals = [slots.frames()[:0]], [], [], [slots.frames()[:0]]
    for _ in range(0, n_steps, problem.check_interval):
        slots.step(problem.check_interval)
        now = slots.frames()
        status, labels = problem.states.observe(now.positions, labels)
        now_a, left, arrived = status == IN_A, np.flatnonzero(in_a & (status != IN_A)), np.flatnonzero(status == IN_B)
        if len(left):
            exits.append(now[left])
            exit_walker.append(left)
        transitions[arrived] += 1
        arrived_as.append(labels[arrived])
        arrivals.append(now[arrived])
        labels[status != NEITHER] = 0
        for walker in arrived.tolist():
            found = another(walker, now, now_a)
            if found is None:
                slots.restart(np.array([walker]), problem.starts[[walker % len(problem.starts)]])
            else:
                _begin(problem, slots, np.array([walker]), found[0])
                origin[walker] = found[1]
        in_a = now_a | (status == IN_B)
    return Restarted(
        frames=slots.frames(),
        in_a=in_a,
        exits=Frames.join(exits),
        exit_walker=np.concatenate([np.zeros(0, dtype=np.int64), *exit_walker]),
        transitions=transitions,
        transition_label=np.concatenate([np.zeros(0, dtype=np.int64), *arrived_as]),
        arrivals=Frames.join(arrivals),
        origin=origin,
    )


def _begin(problem: RareEventSystem, slots: PhaseSlots, rows: np.ndarray, frames: Frames) -> None:
    """Put walkers into slots, with fresh velocities if they bring none."""
    if problem.inertial and frames.velocities is None:
        slots.restart(rows, frames.positions)
    else:
        slots.load(rows, frames)

"""Trees: the descendants of a root, followed one after another in a Context that holds any System."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from ..bias.calibrated import CalibratedImportance
from ..dynamics.frames import Frames
from ..parallel.executors import Executor, SentOnce
from ..states.states import IN_B, NEITHER
from ..walkers.machine import Machine
from ..walkers.one_context import one_context
from ..walkers.phase_slots import PhaseSlots
from ..walkers.population import Walkers
from .branching import Branching
from .crossings import Crossings, Heights
from .weighted_paths import PathBatch

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Tree", "TreeFollower", "TreeRules", "follow_root"]

_UNIT = 10  # roots of a task: enough to outweigh what a task costs, few enough for several workers to have work
_WAITING = 25
"""Branches of a tree that wait, above which C for splitting is raised. It depends on the past alone: no bias."""

_BRANCHES, _PER_NAT = 1000, 300
"""Branches of a tree after which that C is raised by a nat for each so many more: it ends, even if ln I is far too steep."""

_FRESH, _LEFT_OVER = 0, 1
"""Kinds of starting points, for their random numbers."""


@dataclass(frozen=True, eq=False)
class TreeRules(SentOnce):
    """What all trees of a round have in common.

    Attributes
    ----------
    problem : RareEventSystem
    machine : Machine
    importance : CalibratedImportance
        Steers the branching.
    branching : Branching
    max_age : int
        Steps after which a branch is left where it is, pending.
    bias : Bias, optional
        Without it dynamics is unbiased.
    """

    problem: RareEventSystem
    machine: Machine
    importance: CalibratedImportance
    branching: Branching
    max_age: int
    bias: Bias | None = None


@dataclass(frozen=True, eq=False)
class Tree:
    """What became of the descendants of one root.

    Attributes
    ----------
    contribution, returned : float
        Summed weights of those that came to B, and of those that returned to A.
    channel_contribution : ndarray, shape (n_channels,)
    arrivals : ndarray of int, shape (n_channels,)
        Their unweighted numbers.
    log_weights : ndarray
        ln w of every arrival in B.
    walker_steps : int
    swaps : int
        How often another branch was put into the Context.
    pending : Walkers
        Branches that grew too old.
    pending_tops : ndarray, shape (n_pending,)
        The highest levels that these have come to.
    crossings : Crossings
    """

    contribution: float
    returned: float
    channel_contribution: np.ndarray
    arrivals: np.ndarray
    log_weights: np.ndarray
    walker_steps: int
    swaps: int
    pending: Walkers
    pending_tops: np.ndarray
    crossings: Crossings


class _Growing:
    """A tree that is being followed: its branches that wait, and what it has given so far."""

    def __init__(self, rules: TreeRules, slots: PhaseSlots, seed: np.random.SeedSequence) -> None:
        noise, choices = seed.spawn(2)
        slots.reseed(int(noise.generate_state(1)[0] >> 1) or 1)
        self.rules, self.slots, self.rng = rules, slots, np.random.default_rng(choices)
        n_channels = len(rules.problem.states.channel_names)
        self.arrivals, self.log_weights = np.zeros(n_channels, dtype=np.int64), []
        self.heights, self.steps, self.swaps = Heights(), 0, 0
        self.waiting: list[tuple[Walkers, np.ndarray]] = []
        self.old: list[tuple[Walkers, np.ndarray]] = []
        self.returned, self.channels = 0.0, np.zeros(n_channels)
        self.counted = 0.0  # ln w of the slot that its branch has already

    def arrive(self, branch: Walkers, top: np.ndarray, status: int) -> None:
        """Count a branch that is in A or B."""
        weight = float(np.exp(branch.log_weights[0]))
        if status == IN_B:
            self.channels[branch.labels[0]] += weight
            self.arrivals[branch.labels[0]] += 1
            self.log_weights.append(float(branch.log_weights[0]))
            self.heights.arrive(branch.roots, top, branch.log_weights)
        else:
            self.returned += weight

    def follow(self, branch: Walkers, top: np.ndarray, oldest: int) -> None:
        """Move one branch until it ends; what it splits off waits."""
        problem, branching = self.rules.problem, self.rules.branching
        self.slots.load(np.zeros(1, dtype=np.int64), branch.frames)
        self.swaps += 1
        self.counted = 0.0
        stride = branching.steps(problem.check_interval)
        while True:
            branch, status = self._advance(branch, stride)
            if status != NEITHER:
                return self.arrive(branch, top, status)
            level, place = self.rules.importance.levels(branch.frames.positions, branch.frames.velocities)
            top = self.heights.rise(branch.roots, top, place, branch.log_weights)
            copies, log_weights = self._branch(branch.log_weights, self.rules.importance.table(level))
            if len(copies) == 0:
                return None
            branch = replace(branch, log_weights=log_weights[:1])
            if len(copies) > 1:
                kept = replace(branch, frames=branch.frames.astype(np.float64))  # the Context goes on with its arrays
                self.waiting += [(kept, top)] * (len(copies) - 1)
            if branch.clocks[0] >= oldest:
                self.old.append((replace(branch, frames=branch.frames.astype(np.float64)), top))
                return None

    def _branch(self, log_weights: np.ndarray, log_importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`Branching.branch`, but where a tree has many branches it splits less: nothing is killed for that."""
        branching = self.rules.branching
        crowd = np.log(max(1.0, len(self.waiting) / _WAITING)) + max(0, self.swaps - _BRANCHES) / _PER_NAT
        above = float(log_weights[0] + branching.window.power * log_importance[0] - branching.log_level)
        bounded = replace(branching, log_level=branching.log_level + min(crowd, max(above, 0.0)))
        return bounded.branch(log_weights, log_importance, self.rng)

    def _advance(self, branch: Walkers, stride: int) -> tuple[Walkers, int]:
        """The branch after so many steps, or where it arrives, and the state that it is in."""
        problem, status, labels, steps = self.rules.problem, NEITHER, branch.labels, 0
        while status == NEITHER and steps < stride:
            self.slots.step(problem.check_interval)
            frames = self.slots.frames()
            (status,), labels = problem.states.observe(frames.positions, labels)
            steps += problem.check_interval
        self.steps += steps
        since_loaded = float(self.slots.log_weights()[0])
        log_weights, self.counted = branch.log_weights + (since_loaded - self.counted), since_loaded
        after = replace(branch, frames=frames, labels=labels, clocks=branch.clocks + steps, log_weights=log_weights)
        return after, int(status)

    def tree(self, nothing: Walkers) -> Tree:
        """What was counted; `nothing` are walkers of its kind, none of them."""
        return Tree(
            float(self.channels.sum()),
            self.returned,
            self.channels,
            self.arrivals,
            np.array(self.log_weights),
            self.steps,
            self.swaps,
            nothing.join(*(walkers for walkers, _ in self.old)),
            np.concatenate([np.zeros(0), *(top for _, top in self.old)]),
            self.heights.crossings(),
        )


def follow_root(rules: TreeRules, slots: PhaseSlots, root: Walkers, top: float, seed: np.random.SeedSequence) -> Tree:
    """Follow all descendants of a root, or of a branch that was left pending: they depend on it and the seed alone.

    Parameters
    ----------
    rules : TreeRules
    slots : PhaseSlots
        One Context of the problem.
    root : Walkers
        One row, outside A.
    top : float
        The highest level that it has come to; minus infinity for a new one.
    seed : numpy.random.SeedSequence

    Raises
    ------
    FloatingPointError
        If positions become NaN.
    """
    growing, tops = _Growing(rules, slots, seed), np.array([top])
    root = replace(root, frames=root.frames.astype(np.float64))
    nothing, status = root.take(slice(0)), int(rules.problem.states.classify(root.frames.positions)[0])
    if status != NEITHER:
        growing.arrive(root, tops, status)
        return growing.tree(nothing)
    _, place = rules.importance.levels(root.frames.positions, root.frames.velocities)
    growing.waiting.append((root, growing.heights.rise(root.roots, tops, place, root.log_weights)))
    oldest = int(root.clocks[0]) + rules.max_age
    while growing.waiting:
        growing.follow(*growing.waiting.pop(), oldest)
    return growing.tree(nothing)


def _follow_some(rules: TreeRules, roots: Walkers, tops: np.ndarray, seeds: Sequence[np.random.SeedSequence]) -> list[Tree]:
    """A task: the trees of some roots, in one Context."""
    slots = one_context(rules.problem, rules.machine, rules.bias)
    return [follow_root(rules, slots, roots.take([i]), float(tops[i]), seed) for i, seed in enumerate(seeds)]


@dataclass(frozen=True)
class TreeFollower:
    """Follows roots as trees, in any number of processes: results are added up in the order of the roots.

    Attributes
    ----------
    rules : TreeRules
    executor : Executor
    """

    rules: TreeRules
    executor: Executor

    def follow(
        self,
        roots: Frames,
        log_weights: np.ndarray,
        seed: np.random.SeedSequence,
        *,
        pending: Walkers | None = None,
        pending_tops: np.ndarray | None = None,
        first_root: int = 0,
    ) -> PathBatch:
        """Follow new roots, and the branches that earlier calls left pending.

        Parameters
        ----------
        roots : Frames
            Outside A.
        log_weights : ndarray, shape (n_roots,)
        seed : numpy.random.SeedSequence
        pending, pending_tops : Walkers, ndarray, optional
            Of a batch before.
        first_root : int
            Number of the first new root.
        """
        fresh = Walkers.start(roots, np.arange(first_root, first_root + len(roots)), log_weights)
        starts, tops = fresh, np.full(len(fresh), -np.inf)
        origins = [(_FRESH, int(number)) for number in fresh.roots]
        if pending is not None and len(pending):
            starts, tops = starts.join(pending), np.concatenate([tops, pending_tops])
            origins += [(_LEFT_OVER, number) for number in range(len(pending))]
        seeds = [np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *origin)) for origin in origins]
        units = [slice(first, first + _UNIT) for first in range(0, len(starts), _UNIT)]
        tasks = [(self.rules, starts.take(unit), tops[unit], seeds[unit]) for unit in units]
        found = dict(self.executor.map(_follow_some, tasks))
        trees = [tree for number in range(len(tasks)) for tree in found[number]]
        return self._together(trees, starts, first_root + len(roots))

    def _together(self, trees: list[Tree], starts: Walkers, n_roots: int) -> PathBatch:
        """The sums by root."""
        n_channels = len(self.rules.problem.states.channel_names)
        contribution, returned, channels = np.zeros(n_roots), np.zeros(n_roots), np.zeros((n_roots, n_channels))
        arrivals = np.zeros(n_channels, dtype=np.int64)
        for tree, root in zip(trees, starts.roots, strict=True):
            contribution[root] += tree.contribution
            returned[root] += tree.returned
            channels[root] += tree.channel_contribution
            arrivals += tree.arrivals
        return PathBatch(
            contribution,
            returned,
            channels,
            arrivals,
            np.concatenate([np.zeros(0), *(tree.log_weights for tree in trees)]),
            sum(tree.walker_steps for tree in trees),
            starts.take(slice(0)).join(*(tree.pending for tree in trees)),
            None,
            np.concatenate([np.zeros(0), *(tree.pending_tops for tree in trees)]),
            Crossings.none().join(*(tree.crossings for tree in trees)),
        )

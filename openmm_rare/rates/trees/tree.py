"""A tree: the descendants of a root, followed one after another in a Context that holds any System."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...bias.bias import Bias
from ...bias.calibrated import CalibratedImportance
from ...parallel.executors import SentOnce
from ...states.states import IN_B, NEITHER
from ...walkers.machine import Machine
from ...walkers.phase_slots import PhaseSlots
from ...walkers.population import Walkers
from ..branching import Branching
from ..crossings import Crossings, Heights
from ..keeping.kept_paths import Candidates, Keep, KeptPaths
from ..keeping.past import Past, PastTable
from ..keeping.stream import stream_of_paths

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["Tree", "TreeRules", "follow_root"]

_WAITING = 25
"""Branches of a tree that wait, above which C for splitting is raised. It depends on the past alone: no bias."""

_BRANCHES, _PER_SQUARE = 20, 1.0
"""Branches that a tree may have: so many, and for each square of the nats that it has to climb so many more.

A tree that barely keeps itself alive, and comes to B, has about the square of them. Where what becomes of a root is decided
before ln I shows it, or ln I is too steep, one that succeeds would have e to the power of them, much alike and at the cost of
others.
"""

_BEYOND = 0.3
"""Part of these branches, for each of which beyond them that C is raised by a nat: the tree ends."""


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
    keep : Keep, optional
        What to keep of paths; nothing without it.
    """

    problem: RareEventSystem
    machine: Machine
    importance: CalibratedImportance
    branching: Branching
    max_age: int
    bias: Bias | None = None
    keep: Keep | None = None


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
    kept : KeptPaths or None
        The path that stands for the tree, if paths are kept and it has some.
    pending_pasts : PastTable or None
        Of the pending branches, if whole paths are kept.
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
    kept: KeptPaths | None
    pending_pasts: PastTable | None


@dataclass(frozen=True, eq=False)
class _Branch:
    """A branch that waits: its walker, the highest level that it has come to, and where it has been, if that is kept."""

    walker: Walkers
    top: np.ndarray
    past: Past | None


class _Growing:
    """A tree that is being followed: its branches that wait, and what it has given so far."""

    def __init__(self, rules: TreeRules, slots: PhaseSlots, root: Walkers, seed: np.random.SeedSequence) -> None:
        noise, choices = seed.spawn(2)
        slots.reseed(int(noise.generate_state(1)[0] >> 1) or 1)
        self.rules, self.slots, self.rng = rules, slots, np.random.default_rng(choices)
        n_channels, n_atoms = len(rules.problem.states.channel_names), len(rules.problem.positions)
        self.candidates = None if rules.keep is None else Candidates(rules.keep, n_atoms, stream_of_paths(seed))
        self.arrivals, self.log_weights = np.zeros(n_channels, dtype=np.int64), []
        self.heights, self.steps, self.swaps = Heights(), 0, 0
        self.waiting: list[_Branch] = []
        self.old: list[_Branch] = []
        self.returned, self.channels = 0.0, np.zeros(n_channels)
        nats = max(float(root.log_weights[0]) - rules.branching.log_level, 0.0)
        self.most = _BRANCHES + _PER_SQUARE * nats**2
        self.counted = 0.0  # ln w of the slot that its branch has already

    def seen(self, walker: Walkers, past: Past | None) -> Past | None:
        """The past of a walker that is here now; None if nothing is kept."""
        return None if self.candidates is None else self.candidates.seen(past, walker.frames.positions[0])

    def arrive(self, branch: _Branch, status: int) -> None:
        """Count a branch that is in A or B."""
        walker = branch.walker
        weight = float(np.exp(walker.log_weights[0]))
        if status == IN_B:
            self.channels[walker.labels[0]] += weight
            self.arrivals[walker.labels[0]] += 1
            self.log_weights.append(float(walker.log_weights[0]))
            self.heights.arrive(walker.roots, branch.top, walker.log_weights)
            if self.candidates is not None:
                self.candidates.arrive(int(walker.roots[0]), walker.log_weights[0], int(walker.clocks[0]), branch.past)
        else:
            self.returned += weight

    def follow(self, branch: _Branch, oldest: int) -> None:
        """Move one branch until it ends; what it splits off waits."""
        problem, branching = self.rules.problem, self.rules.branching
        walker, top, past = branch.walker, branch.top, branch.past
        self.slots.load(np.zeros(1, dtype=np.int64), walker.frames)
        self.swaps += 1
        self.counted = 0.0
        stride = branching.steps(problem.check_interval)
        while True:
            walker, past, status = self._advance(walker, past, stride)
            if status != NEITHER:
                return self.arrive(_Branch(walker, top, past), status)
            level, place = self.rules.importance.levels(walker.frames.positions, walker.frames.velocities)
            top = self.heights.rise(walker.roots, top, place, walker.log_weights)
            copies, log_weights = self._branch(walker.log_weights, self.rules.importance.table(level))
            if len(copies) == 0:
                return None
            walker = replace(walker, log_weights=log_weights[:1])
            kept = _Branch(_own(walker), top, past) if len(copies) > 1 or walker.clocks[0] >= oldest else None
            self.waiting += [kept] * (len(copies) - 1)
            if walker.clocks[0] >= oldest:
                self.old.append(kept)
                return None

    def _branch(self, log_weights: np.ndarray, log_importance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`Branching.branch`, but where a tree has many branches it splits less: nothing is killed for that."""
        branching = self.rules.branching
        too_many = max(0.0, self.swaps - self.most) / (_BEYOND * self.most)
        crowd = np.log(max(1.0, len(self.waiting) / _WAITING)) + too_many
        above = float(log_weights[0] + branching.window.power * log_importance[0] - branching.log_level)
        bounded = replace(branching, log_level=branching.log_level + min(crowd, max(above, 0.0)))
        return bounded.branch(log_weights, log_importance, self.rng)

    def _advance(self, walker: Walkers, past: Past | None, stride: int) -> tuple[Walkers, Past | None, int]:
        """The walker after so many steps, or where it arrives, where it has been, and the state that it is in."""
        problem, status, labels, steps = self.rules.problem, NEITHER, walker.labels, 0
        while status == NEITHER and steps < stride:
            self.slots.step(problem.check_interval)
            frames = self.slots.frames()
            (status,), labels = problem.states.observe(frames.positions, labels)
            steps += problem.check_interval
            past = None if self.candidates is None else self.candidates.seen(past, frames.positions[0])
        self.steps += steps
        since_loaded = float(self.slots.log_weights()[0])
        log_weights, self.counted = walker.log_weights + (since_loaded - self.counted), since_loaded
        after = replace(walker, frames=frames, labels=labels, clocks=walker.clocks + steps, log_weights=log_weights)
        return after, past, int(status)

    def tree(self, nothing: Walkers) -> Tree:
        """What was counted; `nothing` are walkers of its kind, none of them."""
        whole = self.rules.keep is not None and self.rules.keep.whole
        return Tree(
            float(self.channels.sum()),
            self.returned,
            self.channels,
            self.arrivals,
            np.array(self.log_weights),
            self.steps,
            self.swaps,
            nothing.join(*(branch.walker for branch in self.old)),
            np.concatenate([np.zeros(0), *(branch.top for branch in self.old)]),
            self.heights.crossings(),
            None if self.candidates is None else self.candidates.kept(),
            PastTable.of([branch.past for branch in self.old], len(self.rules.problem.positions)) if whole else None,
        )


def _own(walker: Walkers) -> Walkers:
    """The walker with frames of its own: the Context goes on with its arrays."""
    return replace(walker, frames=walker.frames.astype(np.float64))


def follow_root(
    rules: TreeRules, slots: PhaseSlots, root: Walkers, top: float, seed: np.random.SeedSequence, past: Past | None = None
) -> Tree:
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
    past : Past, optional
        Where it has been, its own frame the latest; None for a new one.

    Raises
    ------
    FloatingPointError
        If positions become NaN.
    """
    growing, tops, root = _Growing(rules, slots, root, seed), np.array([top]), _own(root)
    past = growing.seen(root, None) if past is None else past
    nothing, status = root.take(slice(0)), int(rules.problem.states.classify(root.frames.positions)[0])
    if status != NEITHER:
        growing.arrive(_Branch(root, tops, past), status)
        return growing.tree(nothing)
    _, place = rules.importance.levels(root.frames.positions, root.frames.velocities)
    growing.waiting.append(_Branch(root, growing.heights.rise(root.roots, tops, place, root.log_weights), past))
    oldest = int(root.clocks[0]) + rules.max_age
    while growing.waiting:
        growing.follow(growing.waiting.pop(), oldest)
    return growing.tree(nothing)

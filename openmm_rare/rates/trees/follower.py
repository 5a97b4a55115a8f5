"""Trees as tasks, in any number of processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...dynamics.frames import Frames
from ...parallel.executors import Executor
from ...walkers.one_context import one_context
from ...walkers.population import Walkers
from ..crossings import Crossings
from ..keeping.kept_paths import Keep, KeptPaths
from ..keeping.past import PastTable
from ..weighted_paths import PathBatch
from .tree import Tree, TreeRules, follow_root

__all__ = ["TreeFollower"]

_UNIT = 10  # roots of a task: enough to outweigh what a task costs, few enough for several workers to have work

_FRESH, _LEFT_OVER = 0, 1
"""Kinds of starting points, for their random numbers."""


def _follow_some(
    rules: TreeRules, roots: Walkers, tops: np.ndarray, seeds: Sequence[np.random.SeedSequence], pasts: PastTable | None
) -> tuple[list[Tree], KeptPaths | None]:
    """A task: the trees of some roots, in one Context, and what is kept of all of their paths."""
    slots = one_context(rules.problem, rules.machine, rules.bias)
    behind = [None] * len(roots) if pasts is None else pasts.pasts()
    trees = [follow_root(rules, slots, roots.take([i]), float(tops[i]), seed, behind[i]) for i, seed in enumerate(seeds)]
    if rules.keep is None:
        return trees, None
    kept = _best([tree.kept for tree in trees], rules.keep)
    return [replace(tree, kept=None) for tree in trees], kept


def _best(parts: Sequence[KeptPaths], keep: Keep) -> KeptPaths:
    """What is kept of several parts."""
    return parts[0].join(*parts[1:]).top(keep.n + 1, keep.above)


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
        pending_pasts: PastTable | None = None,
        first_root: int = 0,
    ) -> PathBatch:
        """Follow new roots, and the branches that earlier calls left pending.

        Parameters
        ----------
        roots : Frames
            Outside A.
        log_weights : ndarray, shape (n_roots,)
        seed : numpy.random.SeedSequence
        pending, pending_tops, pending_pasts : Walkers, ndarray, PastTable, optional
            Of a batch before.
        first_root : int
            Number of the first new root.
        """
        fresh = Walkers.start(roots, np.arange(first_root, first_root + len(roots)), log_weights)
        starts, tops = fresh, np.full(len(fresh), -np.inf)
        behind = [None] * len(fresh)
        origins = [(_FRESH, int(number)) for number in fresh.roots]
        if pending is not None and len(pending):
            starts, tops = starts.join(pending), np.concatenate([tops, pending_tops])
            behind += [None] * len(pending) if pending_pasts is None else pending_pasts.pasts()
            origins += [(_LEFT_OVER, number) for number in range(len(pending))]
        seeds = [np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, *origin)) for origin in origins]
        units = [slice(first, first + _UNIT) for first in range(0, len(starts), _UNIT)]
        n_atoms, whole = len(self.rules.problem.positions), pending_pasts is not None
        tasks = [
            (self.rules, starts.take(unit), tops[unit], seeds[unit], PastTable.of(behind[unit], n_atoms) if whole else None)
            for unit in units
        ]
        found = dict(self.executor.map(_follow_some, tasks))
        trees = [tree for number in range(len(tasks)) for tree in found[number][0]]
        kept = [KeptPaths.none(n_atoms), *(found[number][1] for number in range(len(tasks)))]
        batch = self._together(trees, starts, first_root + len(roots))
        return batch if self.rules.keep is None else replace(batch, kept=_best(kept, self.rules.keep))

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
            pending_pasts=self._pasts(trees),
        )

    def _pasts(self, trees: list[Tree]) -> PastTable | None:
        """Of all pending branches, if whole paths are kept."""
        if self.rules.keep is None or not self.rules.keep.whole:
            return None
        pasts = [past for tree in trees for past in tree.pending_pasts.pasts()]
        return PastTable.of(pasts, len(self.rules.problem.positions))

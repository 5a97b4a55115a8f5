"""Weighted paths: biased, branching walkers from roots outside A until every descendant is in A or B."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..bias.importance import ImportanceFunction
from ..dynamics.frames import Frames
from ..states.states import IN_A, IN_B, NEITHER, States
from ..walkers.population import Block, Walkers
from ..walkers.propagator import Propagator
from .branching import Branching
from .crossings import Crossings, Unwatched, Watched, watched
from .keeping.history import PathHistory
from .keeping.kept_paths import KeptPaths
from .keeping.past import PastTable
from .keeping.together import Unkept, WalkersPasts

__all__ = ["PathBatch", "Patience", "run_roots"]


@dataclass(frozen=True)
class Patience:
    """How long to wait for walkers between the states, once no root waits for a slot; by default for the last one.

    Attributes
    ----------
    walkers : int
        Return when fewer than this many are left.
    weight : float
        Return when their weights add up to no more than this.
    steps : int, optional
        Return after so many steps.
    """

    walkers: int = 1
    weight: float = 0.0
    steps: int | None = None

    def is_over(self, walkers: Walkers, steps: int) -> bool:
        """Whether to leave these walkers where they are after so many steps."""
        few = len(walkers) < max(self.walkers, 1) or walkers.total_weight() <= self.weight
        return few or (self.steps is not None and steps >= self.steps)


@dataclass(frozen=True)
class PathBatch:
    """Outcome of a batch of roots.

    Attributes
    ----------
    contribution : ndarray, shape (n_roots,)
        Summed weight of the descendants that reached B: an unbiased estimate of the root's committor.
    returned : ndarray, shape (n_roots,)
        Summed weight of those that returned to A; ``contribution + returned`` has expectation 1.
    channel_contribution : ndarray, shape (n_roots, n_channels)
    arrivals : ndarray, shape (n_channels,)
        Unweighted number of arrivals in B by channel.
    log_weights : ndarray
        ln w of every arrival in B.
    walker_steps : int
    pending : Walkers
        Walkers still between the states (none with the default patience); pass them to the next call as ``pending``.
    history : PathHistory or None
    pending_tops : ndarray, shape (n_pending,)
        The highest levels that pending walkers have come to, where levels are kept account of.
    crossings : Crossings or None
        None for an importance function without levels.
    kept : KeptPaths or None
        If paths are kept.
    pending_pasts : PastTable or None
        Of the pending walkers, if whole paths are kept.
    """

    contribution: np.ndarray
    returned: np.ndarray
    channel_contribution: np.ndarray
    arrivals: np.ndarray
    log_weights: np.ndarray
    walker_steps: int
    pending: Walkers
    history: PathHistory | None
    pending_tops: np.ndarray
    crossings: Crossings | None
    kept: KeptPaths | None = None
    pending_pasts: PastTable | None = None


class _Tally:
    """Sums weights per root, and lets paths be kept."""

    def __init__(self, n_roots: int, n_channels: int, pasts: WalkersPasts | Unkept) -> None:
        self._pasts = pasts
        self.contribution, self.returned = np.zeros(n_roots), np.zeros(n_roots)
        self.channels = np.zeros((n_roots, n_channels))
        self.arrivals = np.zeros(n_channels, dtype=np.int64)
        self.log_weights: list[np.ndarray] = []
        self.walker_steps = 0

    def add(self, block: Block) -> None:
        """Count the steps and the arrivals of a block."""
        self.walker_steps += block.walker_steps
        self._pasts.look(block.walkers, block.status)
        self._arrive(block.walkers, block.status)

    def begin(self, walkers: Walkers, status: np.ndarray) -> None:
        """Count roots that are in B, or in A, to begin with."""
        self._pasts.arrive(walkers, status)
        self._arrive(walkers, status)

    def _arrive(self, walkers: Walkers, status: np.ndarray) -> None:
        """Count walkers that are in A or B by now."""
        at_a, at_b = status == IN_A, status == IN_B
        weights = np.exp(walkers.log_weights)
        np.add.at(self.returned, walkers.roots[at_a], weights[at_a])
        np.add.at(self.contribution, walkers.roots[at_b], weights[at_b])
        if at_b.any():
            np.add.at(self.channels, (walkers.roots[at_b], walkers.labels[at_b]), weights[at_b])
            np.add.at(self.arrivals, walkers.labels[at_b], 1)
            self.log_weights.append(walkers.log_weights[at_b])

    def batch(self, population: _Population, history: PathHistory | None, crossings: Crossings | None) -> PathBatch:
        """What was counted, with the walkers that go on."""
        joined = np.concatenate(self.log_weights) if self.log_weights else np.zeros(0)
        return PathBatch(
            self.contribution,
            self.returned,
            self.channels,
            self.arrivals,
            joined,
            self.walker_steps,
            population.active,
            history,
            population.tops,
            crossings,
            self._pasts.kept(),
            self._pasts.table(),
        )


class _Population:
    """Walkers under way, their ancestry, and those that wait for a slot.

    Attributes
    ----------
    active, waiting : Walkers
    parents : ndarray of int, shape (n_active,)
        Row of each active walker in the block before; for a new root -1 less its number.
    tops, waiting_tops : ndarray, shape (n_active,) and (n_waiting,)
        The highest level that each has come to, where levels are kept account of.
    """

    def __init__(
        self,
        waiting: Walkers,
        tops: np.ndarray,
        pending: Walkers | None,
        pending_tops: np.ndarray | None,
        pasts: WalkersPasts | Unkept,
    ) -> None:
        self._pasts = pasts
        self.waiting, self.waiting_tops = waiting, tops
        self.active = waiting.take(np.zeros(0, dtype=np.int64)) if pending is None else pending
        self.tops = np.full(len(self.active), -np.inf) if pending_tops is None else pending_tops
        self.parents = np.full(len(self.active), -1, dtype=np.int64)

    def admit(self, n_slots: int) -> None:
        """Start waiting walkers in the free slots once a fifth of the slots is free."""
        room = max(0, n_slots - len(self.active)) if len(self.active) <= 0.8 * n_slots else 0
        newcomers = min(room, len(self.waiting))
        self.active = self.active.join(self.waiting.take(np.arange(newcomers)))
        self.tops = np.concatenate([self.tops, self.waiting_tops[:newcomers]])
        first = self.active.roots[len(self.active) - newcomers :]
        self.parents = np.concatenate([self.parents, -1 - first])
        self.waiting = self.waiting.take(np.arange(newcomers, len(self.waiting)))
        self.waiting_tops = self.waiting_tops[newcomers:]
        self._pasts.begin(self.active, newcomers)

    def replace(self, walkers: Walkers, parents: np.ndarray, log_weights: np.ndarray) -> None:
        """Go on with copies of the rows ``parents`` of ``walkers``, with new ln w."""
        self.parents, self.active, self.tops = parents, walkers.take(parents), self.tops[parents]
        self.active.log_weights[:] = log_weights
        self._pasts.take(parents)


def run_roots(
    propagator: Propagator,
    importance: ImportanceFunction,
    roots: Frames | Walkers,
    branching: Branching,
    rng: np.random.Generator,
    *,
    log_weights: np.ndarray | None = None,
    pending: Walkers | None = None,
    pending_tops: np.ndarray | None = None,
    first_root: int = 0,
    patience: Patience | None = None,
    max_steps: int | None = None,
    record_paths: bool = False,
    pasts: WalkersPasts | Unkept | None = None,
) -> PathBatch:
    """Follow every root's descendants until they are in A or B.

    Parameters
    ----------
    propagator : Propagator
        Dynamics, with or without bias.
    importance : ImportanceFunction
        Steers the branching.
    roots : Frames or Walkers
        Outside A; walkers, if they have come from A to where they begin: their ``roots`` are 0, 1, ...
    branching : Branching
    rng : numpy.random.Generator
        For branching.
    log_weights : ndarray, optional
        Starting ln w of roots that are frames.
    pending, pending_tops : Walkers, ndarray, optional
        Walkers left over by earlier calls.
    first_root : int
        Number of the first new root: how many earlier calls have started. Results are counted from root 0.
    patience : Patience, optional
        When to leave walkers between the states: the slow ones of one call then share their Contexts with the fresh ones of
        the next.
    max_steps : int, optional
        Drop walkers at this age: for the pilot only, it biases the estimate.
    record_paths : bool
        Keep the ancestry, for pictures of paths.
    pasts : WalkersPasts, optional
        Keeps paths.
    """
    problem, patience, pasts, waited = propagator.problem, patience or Patience(), pasts or Unkept(), 0
    stride = branching.steps(problem.check_interval)
    history = PathHistory() if record_paths else None
    started, levels = _numbered(roots, first_root, log_weights), watched(importance)
    tally, population = _started(started, problem.states, first_root + len(roots), levels, pending, pending_tops, pasts)
    while len(population.waiting) > 0 or not patience.is_over(population.active, waited):
        population.admit(propagator.n_slots)
        waited += stride if len(population.waiting) == 0 else 0
        block = propagator.advance(population.active, stride)
        tally.add(block)
        log_i = _look(block, problem.states, levels, population, history)
        going = _going(block, max_steps)
        parents, weights = branching.branch(block.walkers.log_weights[going], log_i[going], rng)
        population.replace(block.walkers, going[parents], weights)
    return tally.batch(population, history, levels.crossings())


def _numbered(roots: Frames | Walkers, first_root: int, log_weights: np.ndarray | None) -> Walkers:
    """Roots as walkers, numbered from the first one on."""
    numbers = first_root + np.arange(len(roots))
    return replace(roots, roots=numbers) if isinstance(roots, Walkers) else Walkers.start(roots, numbers, log_weights)


def _started(
    walkers: Walkers,
    states: States,
    n_roots: int,
    levels: Unwatched | Watched,
    pending: Walkers | None,
    pending_tops: np.ndarray | None,
    pasts: WalkersPasts | Unkept,
) -> tuple[_Tally, _Population]:
    """Roots that lie in B have arrived already; the others wait, beside what earlier calls left pending."""
    status, tally = states.classify(walkers.frames.positions), _Tally(n_roots, len(states.channel_names), pasts)
    tally.begin(walkers, status)
    _, tops = levels.look(walkers, np.full(len(walkers), -np.inf), status)
    between = status == NEITHER
    return tally, _Population(walkers.take(between), tops[between], pending, pending_tops, pasts)


def _look(
    block: Block, states: States, levels: Unwatched | Watched, population: _Population, history: PathHistory | None
) -> np.ndarray:
    """ln I of walkers, after what is kept account of was told where they are."""
    log_i, population.tops = levels.look(block.walkers, population.tops, block.status)
    if history is not None:
        seen = np.column_stack([states.variables(block.walkers.frames.positions), log_i])
        history.add(seen, population.parents, block.status == IN_B)
    return log_i


def _going(block: Block, max_steps: int | None) -> np.ndarray:
    """Rows of the walkers that go on: between the states, and younger than `max_steps`."""
    going = np.flatnonzero(block.status == NEITHER)
    return going if max_steps is None else going[block.walkers.clocks[going] < max_steps]

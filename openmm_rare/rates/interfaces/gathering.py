"""Walkers on their way to an interface: followed until they stop there, and drawn anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...bias.importance import ImportanceFunction
from ...dynamics.frames import Frames
from ...flux.root_density import RootDensity
from ...states.states import IN_A, IN_B, NEITHER
from ...walkers.population import Walkers
from ...walkers.propagator import Propagator
from ..branching import Branching
from ..keeping.past import Past, longer
from .interface import Passage

__all__ = ["Gathered", "Starts", "gather"]


@dataclass(frozen=True, eq=False)
class Starts:
    """Walkers that start from exits, or go on from an interface.

    Attributes
    ----------
    walkers : Walkers
        Their ``roots`` are 0, 1, ...
    exit : ndarray of int64, shape (n,)
        Exit of the pool that each descends from.
    pasts : list or None
        Where they have been, if that is kept.
    """

    walkers: Walkers
    exit: np.ndarray
    pasts: list[Past | None] | None = None

    @classmethod
    def at(cls, exits: Frames, exit: np.ndarray, log_weights: np.ndarray) -> Starts:
        """Walkers at these exits, whose numbers in the pool are given."""
        return cls(Walkers.start(exits, np.arange(len(exit)), log_weights), exit)

    def with_pasts(self) -> Starts:
        """The same, whose paths begin here."""
        return replace(self, pasts=[longer(None, positions) for positions in self.walkers.frames.positions])


@dataclass(frozen=True, eq=False)
class Gathered:
    """Walkers that stopped at an interface.

    Attributes
    ----------
    starts : Starts
        Where they come from.
    walkers : Walkers
        Their ``roots`` are rows of the starts.
    log_importance : ndarray, shape (n,)
        ln I there; 0 in B.
    arrived : ndarray of bool, shape (n,)
        Which of them are in B.
    returned : ndarray, shape (n_started,)
        Summed weight of those that returned to A.
    walker_steps : int
    pasts : list or None
    """

    starts: Starts
    walkers: Walkers
    log_importance: np.ndarray
    arrived: np.ndarray
    returned: np.ndarray
    walker_steps: int
    pasts: list[Past | None] | None

    @property
    def weights(self) -> np.ndarray:
        """Of the walkers, shape (n,)."""
        return np.exp(self.walkers.log_weights)

    def density(self, uniform_fraction: float) -> RootDensity:
        """The density scaled by the mean importance of these walkers."""
        return RootDensity.of_pool(self.log_importance, uniform_fraction, self.weights)

    def passage(self, density: RootDensity) -> Passage:
        """How the starts fared, by the density of the draw here."""
        roots, weights, n = self.walkers.roots, self.weights, len(self.returned)
        value = np.bincount(roots, weights * density(self.log_importance), minlength=n)
        weight = self.returned + np.bincount(roots, weights, minlength=n)
        return Passage(self.starts.exit, np.exp(self.starts.walkers.log_weights), value, weight)

    def draw(self, density: RootDensity, n: int, rng: np.random.Generator) -> Starts:
        """So many of these, of weight 1/G; none where nothing came here."""
        n = n if len(self.walkers) else 0
        rows = density.draw(self.log_importance, n, rng, self.weights) if n else np.zeros(0, dtype=np.int64)
        log_weights, roots = -np.log(density(self.log_importance[rows])), np.arange(n)
        chosen = self.walkers.take(rows)
        pasts = None if self.pasts is None else [self.pasts[row] for row in rows.tolist()]
        return Starts(replace(chosen, log_weights=log_weights, roots=roots), self.starts.exit[chosen.roots], pasts)


def gather(
    propagator: Propagator,
    importance: ImportanceFunction,
    starts: Starts,
    level: float,
    branching: Branching,
    longest: int,
    rng: np.random.Generator,
) -> Gathered:
    """Follow walkers until each of their descendants is in A, in B, at the interface, or has taken the most steps.

    Parameters
    ----------
    propagator : Propagator
    importance : ImportanceFunction
    starts : Starts
    level : float
        ln I of the interface; whether a walker is beyond it is looked at when walkers branch.
    branching : Branching
        Its windows and stride; its ln C is replaced by that with which walkers begin in their windows.
    longest : int
        Steps after which a walker stops where it is: a stopping time is as good as a place.
    rng : numpy.random.Generator
        For branching.
    """
    walkers, pasts, states = starts.walkers, starts.pasts, propagator.problem.states
    stride, steps, spent, stopped, kept = branching.steps(propagator.problem.check_interval), 0, 0, [], []
    status, log_i, returned = states.classify(walkers.frames.positions), _looked_at(importance, walkers), np.zeros(len(walkers))
    level_of_weights = _log_level(walkers.log_weights, log_i, branching.window.power)
    most = max(branching.max_population, 2 * len(walkers))
    branching = replace(branching, log_level=level_of_weights, max_population=most)
    while True:
        at_a = status == IN_A
        np.add.at(returned, walkers.roots[at_a], np.exp(walkers.log_weights[at_a]))
        stops = (status == IN_B) | ((status == NEITHER) & ((log_i >= level) | (steps >= longest)))
        stopped.append((walkers.take(stops), np.where(status == IN_B, 0.0, log_i)[stops], status[stops] == IN_B))
        kept += [] if pasts is None else [pasts[row] for row in np.flatnonzero(stops).tolist()]
        going = np.flatnonzero((status == NEITHER) & ~stops)
        parents, log_weights = branching.branch(walkers.log_weights[going], log_i[going], rng)
        if not len(parents):
            break
        walkers = replace(walkers.take(going[parents]), log_weights=log_weights)
        block = propagator.advance(walkers, stride)
        if pasts is not None:
            behind = zip(going[parents].tolist(), block.walkers.frames.positions, strict=True)
            pasts = [longer(pasts[row], positions) for row, positions in behind]
        walkers, status, steps, spent = block.walkers, block.status, steps + stride, spent + block.walker_steps
        log_i = _looked_at(importance, walkers)
    first, *others = (each[0] for each in stopped)
    log_importance, arrived = (np.concatenate([each[i] for each in stopped]) for i in (1, 2))
    return Gathered(
        starts, first.join(*others), log_importance, arrived, returned, spent, None if starts.pasts is None else kept
    )


def _log_level(log_weights: np.ndarray, log_importance: np.ndarray, power: float) -> float:
    """ln C of weight windows in which these walkers are on average: ln of the mean of w I^p."""
    score = log_weights + power * log_importance
    return float(np.log(np.exp(score - score.max()).mean()) + score.max()) if len(score) else 0.0


def _looked_at(importance: ImportanceFunction, walkers: Walkers) -> np.ndarray:
    return importance.log_importance(walkers.frames.positions, walkers.frames.velocities)

"""Roots of weighted paths: exits drawn from the pool and followed with the trained model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bias.bias import Bias
from ..bias.calibrated import CalibratedImportance
from ..bias.importance import ImportanceFunction
from ..dynamics.copies.replication import fits_in_slots
from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..parallel.executors import Executor, Here
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from .branching import Branching, WeightWindow
from .interfaces.gathering import Starts, gather
from .interfaces.interface import Interface, Passage
from .keeping.kept_paths import Candidates, Keep
from .keeping.past import PastTable
from .keeping.stream import stream_of_paths
from .keeping.together import WalkersPasts
from .trees.follower import TreeFollower
from .trees.tree import TreeRules
from .weighted_paths import PathBatch, run_roots

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Climbed", "RootSampler", "Steering"]

_KEY = zlib.crc32(b"walkers on their way to the last interface")  # beside the streams that are spawned from the seed


@dataclass(frozen=True)
class Steering:
    """How walkers are steered towards B: what the pilot chooses.

    Attributes
    ----------
    strength : float
        Bias strength.
    window : WeightWindow
    interfaces : tuple of Interface
        Where walkers are gathered on their way, from A to B; without any, roots are exits.
    n_roots : int or None
        Roots of the next round of production, from the last interface; without interfaces the settings say how many.
    """

    strength: float
    window: WeightWindow
    interfaces: tuple[Interface, ...] = ()
    n_roots: int | None = None

    def with_numbers(self, numbers: Sequence[int]) -> Steering:
        """The same, with so many walkers that start for each interface, and from the last one."""
        interfaces = tuple(replace(each, n_below=n) for each, n in zip(self.interfaces, numbers[:-1], strict=True))
        return replace(self, interfaces=interfaces, n_roots=numbers[-1])

    def scaled(self, n_roots: int) -> Steering:
        """The same with numbers for rounds of so many roots, in the same ratios."""
        numbers = [*(each.n_below for each in self.interfaces), self.n_roots]
        part = 2 * n_roots / sum(numbers)
        return self.with_numbers([max(1, round(part * n)) for n in numbers])


@dataclass(frozen=True, eq=False)
class Climbed:
    """Walkers that have come from exits to the last interface.

    Attributes
    ----------
    starts : Starts
        The roots: drawn there.
    passages : list of Passage
        How those fared that started for each interface.
    propagator : Propagator
        What moved them, to go on with.
    walker_steps : list of int
        On the way to each interface.
    """

    starts: Starts
    passages: list[Passage]
    propagator: Propagator
    walker_steps: list[int]


@dataclass(frozen=True)
class RootSampler:
    """Draws roots and follows their descendants; the pilot and production use the same one.

    Attributes
    ----------
    problem : RareEventSystem
    importance : ImportanceFunction
        The trained model.
    settings : RateSettings
    machine : Machine
    pool : Pool
        May grow between calls.
    density : RootDensity
    executor : Executor
        Where trees are followed; default: here.
    """

    problem: RareEventSystem
    importance: ImportanceFunction
    settings: RateSettings
    machine: Machine
    pool: Pool
    density: RootDensity
    executor: Executor = field(default_factory=Here)

    def branching(self, level: float, window: WeightWindow) -> Branching:
        """How walkers branch."""
        settings = self.settings
        stride = self.problem.check_interval if isinstance(self.importance, CalibratedImportance) else settings.stride
        return Branching(level, window, stride, settings.max_population)

    def propagator(self, strength: float, seed: np.random.SeedSequence) -> Propagator:
        """What moves walkers together."""
        return Propagator(self.problem, self._bias(strength), self.settings.n_slots, self.machine, seed)

    @property
    def steps_per_frame(self) -> int:
        """Steps between two looks at a walker, and between two frames of a path that is kept."""
        return self.branching(0.0, WeightWindow()).steps(self.problem.check_interval)

    def level(self, window: WeightWindow, log_importance: np.ndarray | None = None) -> float:
        """ln C of the weight windows: ln of the mean of w I^p over the drawn roots, so that most start in their windows.

        Parameters
        ----------
        window : WeightWindow
        log_importance : ndarray, shape (n_exits,), optional
            ln I by which roots branch, if it is another than that by which they are drawn.
        """
        density = self.density(self.pool.log_importance)
        scores = window.power * (self.pool.log_importance if log_importance is None else log_importance) - np.log(density)
        probability = self.pool.weight * density
        probability = probability / probability.sum()
        return float(np.log((probability * np.exp(scores - scores.max())).sum()) + scores.max())

    def first_level(self, steering: Steering) -> float:
        """ln C with which most roots start in their windows, be they exits or drawn at the last interface."""
        if not steering.interfaces:
            return self.level(steering.window)
        return steering.window.power * steering.interfaces[-1].density.log_mean_importance

    def follow(
        self,
        n_roots: int,
        steering: Steering,
        level: float,
        seed: np.random.SeedSequence,
        *,
        pending: Walkers | None = None,
        pending_tops: np.ndarray | None = None,
        pending_pasts: PastTable | None = None,
        first_root: int = 0,
        which: np.ndarray | None = None,
        keep: Keep | None = None,
        climbed: Climbed | None = None,
        **options: Any,
    ) -> tuple[np.ndarray, np.ndarray, PathBatch]:
        """Draw roots and follow them: many walkers together where they fit into one Context, elsewhere tree by tree.

        Parameters
        ----------
        n_roots : int
        steering : Steering
        level : float
            ln C of the weight windows.
        seed : numpy.random.SeedSequence
        pending, pending_tops, pending_pasts : Walkers, ndarray, PastTable, optional
            Left over by earlier calls.
        first_root : int
        which : ndarray of int, shape (n_roots,), optional
            These exits, with weight 1, instead of such that are drawn.
        keep : Keep, optional
            What to keep of paths; it changes nothing else.
        climbed : Climbed, optional
            The roots of walkers that have come from exits to the last interface, instead of exits that are drawn.
        **options
            For :func:`openmm_rare.rates.weighted_paths.run_roots`: trees are followed to their ends.

        Returns
        -------
        root : ndarray of int, shape (n_roots,)
            Exits of the pool.
        log_weight : ndarray, shape (n_roots,)
            Their starting ln w = -ln G.
        batch : PathBatch
        """
        rng, n_atoms = np.random.default_rng(seed), len(self.problem.positions)
        start: dict[str, Any] = {"pending": pending, "pending_tops": pending_tops, "first_root": first_root}
        branching = self.branching(level, steering.window)
        starts = self._starts(n_roots, which, rng) if climbed is None else climbed.starts
        root, walkers = starts.exit, starts.walkers
        if not fits_in_slots(self.problem):
            given = self.importance, branching, self.settings.waiting_steps, self._bias(steering.strength), keep
            trees, frames = TreeFollower(TreeRules(self.problem, self.machine, *given), self.executor), self.pool.exits[root]
            batch = trees.follow(frames, walkers.log_weights, seed, pending_pasts=pending_pasts, **start)
            return root, walkers.log_weights, batch
        propagator = self.propagator(steering.strength, seed) if climbed is None else climbed.propagator
        if keep is not None:
            candidates = Candidates(keep, n_atoms, stream_of_paths(seed))
            options["pasts"] = WalkersPasts(candidates, n_atoms, pending_pasts, starts.pasts if keep.whole else None)
        return root, walkers.log_weights, run_roots(propagator, self.importance, walkers, branching, rng, **start, **options)

    def _starts(self, n: int, which: np.ndarray | None, rng: np.random.Generator) -> Starts:
        return self.exits(n, rng) if which is None else Starts.at(self.pool.exits[which], which, np.zeros(n))

    def exits(self, n: int, rng: np.random.Generator) -> Starts:
        """Exits drawn from the pool, of weight 1/G."""
        exit = self.density.draw(self.pool.log_importance, n, rng, self.pool.weight)
        return Starts.at(self.pool.exits[exit], exit, -np.log(self.density(self.pool.log_importance[exit])))

    def climb(self, steering: Steering, seed: np.random.SeedSequence, whole: bool) -> Climbed:
        """Bring walkers from exits to the last interface.

        Parameters
        ----------
        steering : Steering
            With interfaces.
        seed : numpy.random.SeedSequence
        whole : bool
            Whether to keep where they have been.
        """
        propagator = self.propagator(steering.strength, seed)
        rng = np.random.default_rng(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, _KEY)))
        starts = self.exits(steering.interfaces[0].n_below, rng)
        starts = starts.with_pasts() if whole else starts
        branching, passages, spent = self.branching(0.0, steering.window), [], []
        numbers = [*(each.n_below for each in steering.interfaces[1:]), steering.n_roots]
        for interface, n in zip(steering.interfaces, numbers, strict=True):
            longest = self.settings.pilot_max_steps
            found = gather(propagator, self.importance, starts, interface.level, branching, longest, rng)
            passages.append(found.passage(interface.density))
            spent.append(found.walker_steps)
            starts = found.draw(interface.density, n, rng)
        return Climbed(starts, passages, propagator, spent)

    def _bias(self, strength: float) -> Bias | None:
        unbiased = self.problem.inertial and strength == 0.0
        return None if unbiased else Bias(self.importance, strength, self.settings.bias_interval)

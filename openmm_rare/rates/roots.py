"""Roots of weighted paths: exits drawn from the pool and followed with the trained model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bias.bias import Bias
from ..bias.calibrated import CalibratedImportance
from ..bias.importance import ImportanceFunction
from ..dynamics.replication import fits_in_slots
from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..parallel.executors import Executor, Here
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from .branching import Branching, WeightWindow
from .keeping.kept_paths import Candidates, Keep
from .keeping.past import PastTable
from .keeping.stream import stream_of_paths
from .keeping.together import WalkersPasts
from .trees.follower import TreeFollower
from .trees.tree import TreeRules
from .weighted_paths import PathBatch, run_roots

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["RootSampler", "Steering"]


@dataclass(frozen=True)
class Steering:
    """How walkers are steered towards B: what the pilot chooses.

    Attributes
    ----------
    strength : float
        Bias strength.
    window : WeightWindow
    """

    strength: float
    window: WeightWindow


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
            Number of the first new root.
        which : ndarray of int, shape (n_roots,), optional
            These exits, with weight 1, instead of such that are drawn.
        keep : Keep, optional
            What to keep of paths; it changes nothing else.
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
        settings, rng = self.settings, np.random.default_rng(seed)
        root, log_weight = self._drawn(n_roots, rng) if which is None else (which, np.zeros(n_roots))
        roots, start = self.pool.exits[root], {"pending": pending, "pending_tops": pending_tops, "first_root": first_root}
        branching = self.branching(level, steering.window)
        unbiased = self.problem.inertial and steering.strength == 0.0
        bias = None if unbiased else Bias(self.importance, steering.strength, settings.bias_interval)
        if not fits_in_slots(self.problem):
            rules = TreeRules(self.problem, self.machine, self.importance, branching, settings.waiting_steps, bias, keep)
            trees = TreeFollower(rules, self.executor)
            return root, log_weight, trees.follow(roots, log_weight, seed, pending_pasts=pending_pasts, **start)
        propagator, n_atoms = Propagator(self.problem, bias, settings.n_slots, self.machine, seed), len(self.problem.positions)
        if keep is not None:
            options["pasts"] = WalkersPasts(Candidates(keep, n_atoms, stream_of_paths(seed)), n_atoms, pending_pasts)
        batch = run_roots(propagator, self.importance, roots, branching, rng, log_weights=log_weight, **start, **options)
        return root, log_weight, batch

    def _drawn(self, n_roots: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Exits drawn from the pool, and the ln w that they start with."""
        root = self.density.draw(self.pool.log_importance, n_roots, rng, self.pool.weight)
        return root, -np.log(self.density(self.pool.log_importance[root]))

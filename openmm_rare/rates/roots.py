"""Roots of weighted paths: exits drawn from the pool and followed with the trained model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bias.bias import Bias
from ..bias.importance import ImportanceFunction
from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from ..walkers.propagator import Propagator
from .branching import Branching, WeightWindow
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
    """

    problem: RareEventSystem
    importance: ImportanceFunction
    settings: RateSettings
    machine: Machine
    pool: Pool
    density: RootDensity

    def level(self, window: WeightWindow) -> float:
        """ln C of the weight windows: ln of the mean of w I^p over the drawn roots, so that most start in their windows."""
        log_importance = self.pool.log_importance
        density = self.density(log_importance)
        scores = window.power * log_importance - np.log(density)
        probability = self.pool.weight * density
        probability = probability / probability.sum()
        return float(np.log((probability * np.exp(scores - scores.max())).sum()) + scores.max())

    def follow(
        self, n_roots: int, steering: Steering, level: float, seed: np.random.SeedSequence, **options: Any
    ) -> tuple[np.ndarray, np.ndarray, PathBatch]:
        """Draw roots and follow them.

        Parameters
        ----------
        n_roots : int
        steering : Steering
        level : float
            ln C of the weight windows.
        seed : numpy.random.SeedSequence
        **options
            For :func:`openmm_rare.rates.weighted_paths.run_roots`.

        Returns
        -------
        root : ndarray of int, shape (n_roots,)
            Exits of the pool.
        log_weight : ndarray, shape (n_roots,)
            Their starting ln w = -ln G.
        batch : PathBatch
        """
        settings, rng = self.settings, np.random.default_rng(seed)
        root = self.density.draw(self.pool.log_importance, n_roots, rng, self.pool.weight)
        log_weight = -np.log(self.density(self.pool.log_importance[root]))
        bias = Bias(self.importance, steering.strength, settings.bias_interval)
        propagator = Propagator(self.problem, bias, settings.n_slots, self.machine, seed)
        batch = run_roots(
            propagator,
            self.importance,
            self.pool.exits[root],
            Branching(level, steering.window, settings.stride, settings.max_population),
            rng,
            log_weights=log_weight,
            **options,
        )
        return root, log_weight, batch

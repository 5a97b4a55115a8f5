"""The density with which exits are drawn as roots of weighted paths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["RootDensity"]


@dataclass(frozen=True)
class RootDensity:
    r"""Density :math:`G(x) = (1-f)\,I(x)/\bar I + f` with which exits are drawn as roots.

    Exits differ in I by orders of magnitude; drawing the promising ones more often removes most of the variance, and the
    uniform part keeps every exit reachable, whatever the model thinks of it.

    Attributes
    ----------
    log_mean_importance : float
        :math:`\ln\bar I`, a fixed scale.
    uniform_fraction : float
        f.
    """

    log_mean_importance: float
    uniform_fraction: float

    @classmethod
    def of_pool(cls, log_importance: np.ndarray, uniform_fraction: float, weight: np.ndarray | None = None) -> RootDensity:
        """The density scaled by the mean importance of a pool, given ln I of its exits, and their weights."""
        top = log_importance.max()
        mean = np.average(np.exp(log_importance - top), weights=weight)
        return cls(float(top + np.log(mean)), uniform_fraction)

    def __call__(self, log_importance: np.ndarray) -> np.ndarray:
        """G of exits with these ln I."""
        relative = np.exp(log_importance - self.log_mean_importance)
        return (1.0 - self.uniform_fraction) * relative + self.uniform_fraction

    def draw(
        self, log_importance: np.ndarray, n: int, rng: np.random.Generator, weight: np.ndarray | None = None
    ) -> np.ndarray:
        """Indices of ``n`` exits drawn with replacement, probability proportional to G, times their weights if given."""
        density = self(log_importance) if weight is None else weight * self(log_importance)
        return rng.choice(len(density), size=n, p=density / density.sum())

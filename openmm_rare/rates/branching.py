"""Branching random walk: weight windows, roulette and the population bound (NumPy only; "Branching" in docs/theory.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError

__all__ = ["Branching", "WeightWindow"]


@dataclass(frozen=True)
class WeightWindow:
    r"""Keeps the weight of every walker near :math:`C/I(x)^p`.

    With :math:`m = w I(x)^p/C`, nothing happens while ``lower <= m <= upper``; otherwise the walker is replaced by
    :math:`\lfloor m + U\rfloor` copies of weight :math:`w/m`, with U uniform in [0, 1). The expected total weight is
    unchanged for every I, C and schedule, because the rule depends only on the past.

    Parameters
    ----------
    lower, upper : float
        Bounds of the window, ``0 < lower <= 1 <= upper``.
    power : float
        p, above 0 and at most 1: 1 keeps the number of walkers the same all the way to B if I is the committor, less
        makes it fall. Near A walkers soon return, cost little and decide most of the variance; near B they cost much
        and decide little.
    """

    lower: float = 0.5
    upper: float = 2.0
    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.lower <= 1.0 <= self.upper:
            raise InputError(f"weight window ({self.lower}, {self.upper}): bounds must satisfy 0 < lower <= 1 <= upper")
        if not 0.0 < self.power <= 1.0:
            raise InputError(f"power = {self.power} of the weight window must be above 0 and at most 1")

    def branch(
        self,
        log_weights: np.ndarray,
        log_importance: np.ndarray,
        log_level: float,
        max_population: int,
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Split and roulette one generation of walkers.

        Parameters
        ----------
        log_weights, log_importance : ndarray, shape (n,)
            ln w and ln I of the walkers.
        log_level : float
            ln C, the wanted value of ln(w I^p).
        max_population : int
            C is raised for this generation so that no more than about this many walkers are expected.
        rng : numpy.random.Generator

        Returns
        -------
        parents : ndarray of int, shape (n_new,)
            Index of the walker that each survivor copies.
        log_weights : ndarray, shape (n_new,)
            Their new ln w.

        Raises
        ------
        ValueError
            If a weight or importance is NaN.
        """
        score = log_weights + self.power * log_importance
        if np.isnan(score).any():
            raise InputError(f"walker {int(np.flatnonzero(np.isnan(score))[0])} has a NaN weight or importance")
        if len(score) == 0:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        top = score.max()
        crowded = top + np.log(np.exp(score - top).sum()) - np.log(max_population)
        log_m = score - max(log_level, crowded)
        outside = (log_m < np.log(self.lower)) | (log_m > np.log(self.upper))
        copies = np.where(outside, np.floor(np.exp(np.where(outside, log_m, 0.0)) + rng.random(len(score))), 1.0)
        parents = np.repeat(np.arange(len(score)), copies.astype(np.int64))
        return parents, np.where(outside, log_weights - log_m, log_weights)[parents]


@dataclass(frozen=True)
class Branching:
    """When walkers branch, and how.

    Attributes
    ----------
    log_level : float
        ln C of the weight windows.
    window : WeightWindow
    stride : int
        Steps between branchings.
    max_population : int
        C is raised when more walkers than this would be needed.
    """

    log_level: float
    window: WeightWindow = WeightWindow()
    stride: int = 20
    max_population: int = 4000

    def steps(self, check_interval: int) -> int:
        """The stride as a multiple of the interval at which states are tested."""
        return max(1, round(self.stride / check_interval)) * check_interval

    def branch(
        self, log_weights: np.ndarray, log_importance: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """As :meth:`WeightWindow.branch`."""
        return self.window.branch(log_weights, log_importance, self.log_level, self.max_population, rng)

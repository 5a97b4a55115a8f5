"""Where the top of the barrier is and how wide, from windows alone, and the committor along the coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...states.states import IN_A, IN_B, NEITHER

__all__ = ["Top", "find_top"]

_BINS = 60
_LOGISTIC = 1.7  # a logistic function of 1.7 x is nearly the normal distribution function of x
_BELIEF = 10.0  # shots that the first guess of the committor counts for
_SMALL = 0.02  # of the committor: what a place needs to be one of the barrier's


@dataclass(frozen=True)
class Top:
    """The committor along the coordinate, as a logistic function.

    Attributes
    ----------
    place : float
        Where it is one half.
    width : float
        Of the barrier: by so much the committor of motion by diffusion changes from 0.5 to 0.84.
    sign : int
        1 if the coordinate rises towards B, else -1.
    """

    place: float
    width: float
    sign: int

    def committor(self, s: np.ndarray, status: np.ndarray) -> np.ndarray:
        """Probability to reach B before A, of frames with these values and this status."""
        rise = self.sign * _LOGISTIC * (s - self.place) / self.width
        between = 0.5 * (1.0 + np.tanh(0.5 * rise))
        return np.where(status == NEITHER, between, (status == IN_B).astype(float))

    def learned(self, at: np.ndarray, reached_b: np.ndarray, shots: int = 2) -> Top:
        """The committor that shots tell, to begin with this one, by Newton steps.

        Parameters
        ----------
        at : ndarray, shape (n,)
            Where shots began.
        reached_b : ndarray, shape (n,)
            How many of the shots from each place reached B.
        shots : int
            From each place.
        """
        if not len(at):
            return self
        x = self.sign * _LOGISTIC * (at - self.place) / self.width
        grid = np.linspace(-3.0, 3.0, 13)  # the guess, as if shots had been seen that agree with it
        places = np.concatenate([x, grid])
        tried = np.concatenate([np.full(len(x), float(shots)), np.full(len(grid), _BELIEF / len(grid))])
        seen = np.concatenate([reached_b, _BELIEF / len(grid) / (1.0 + np.exp(-grid))])
        design, line = np.stack([np.ones_like(places), places]), np.array([0.0, 1.0])
        for _ in range(20):
            p = 1.0 / (1.0 + np.exp(-line @ design))
            hessian = design * (tried * p * (1.0 - p)) @ design.T
            line = line + np.clip(np.linalg.solve(hessian, design @ (seen - tried * p)), -1.0, 1.0)
        slope = max(line[1], 0.05)
        return Top(
            float(self.place - self.sign * self.width * line[0] / slope / _LOGISTIC), float(self.width / slope), self.sign
        )


def find_top(s: np.ndarray, status: np.ndarray, log_weights: np.ndarray, sign: int) -> Top:
    """The top of the barrier from frames with their weights in equilibrium, if motion along the coordinate is diffusion.

    Then the committor is the integral of exp(F/kT) from A, normalized, with F the free energy.
    """
    weight = np.exp(log_weights - log_weights.max()) * (status == NEITHER)
    a, b = s[status == IN_A], s[status == IN_B]
    between = s[status == NEITHER]
    low, high = (np.quantile(between, 0.001), np.quantile(between, 0.999)) if len(between) else (a.max(), b.min())
    density, edges = np.histogram(s, np.linspace(low, high, _BINS + 1), weights=weight)
    resistance = np.where(density > 0.0, 1.0 / np.maximum(density, 1e-300), 0.0)
    q = np.concatenate([[0.0], np.cumsum(resistance[::sign])]) / resistance.sum()
    along = edges[::sign]
    at_16, at_50, at_84 = (float(np.interp(level, q, along)) for level in (0.16, 0.5, 0.84))
    return Top(at_50, max(0.5 * abs(at_84 - at_16), 0.5 * abs(high - low) / _BINS), sign)

"""Frames that shots pass: more shooting points, for nothing ("Path sampling" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ..dynamics.frames import Frames

__all__ = ["Passages", "weights_without_drift"]

_DISPLACEMENT = 1e-3  # nm, of the finite difference for rates
_BINS, _FEWEST_IN_BIN = 12, 30
_STEEPEST = 3.0


@dataclass(frozen=True, eq=False)
class Passages:
    """Frames that shots passed, as a descriptor sees them, and the state that each shot reached from there.

    Frames must be chosen without regard to what came after them. Then they are exact in dynamics without momenta; with momenta
    they need :func:`weights_without_drift`, which leaves errors of second order.

    Attributes
    ----------
    features : ndarray of float32, shape (n, n_features)
    rates : ndarray of float32, shape (n, n_features), 1/ps
        How fast the features changed; 0 in dynamics without momenta.
    state : ndarray of int, shape (n,)
    """

    features: np.ndarray
    rates: np.ndarray
    state: np.ndarray

    def __len__(self) -> int:
        return len(self.state)

    @classmethod
    def of(cls, shots: Sequence[tuple[Frames, int]], every: int, descriptor: Callable[[np.ndarray], np.ndarray]) -> Passages:
        """Of shots, with the state that each reached, every so many frames before it.

        Parameters
        ----------
        shots : sequence of (Frames, int)
        every : int
        descriptor : callable
            From positions ``(n, n_atoms, 3)`` in nm to features ``(n, n_features)``, arrays.
        """
        chosen = slice(every - 1, -1, every)
        positions = np.concatenate([shot.positions[chosen] for shot, _ in shots])
        states = np.concatenate([np.full(len(shot.positions[chosen]), state) for shot, state in shots])
        features = descriptor(positions).astype(np.float32)
        rates = np.zeros_like(features)
        if len(positions) and shots[0][0].velocities is not None:
            velocities = np.concatenate([np.asarray(shot.velocities)[chosen] for shot, _ in shots])
            time = _DISPLACEMENT / np.sqrt(np.mean(velocities**2))
            ahead, behind = (descriptor(positions + sign * time * velocities) for sign in (1.0, -1.0))
            rates = (ahead - behind) / (2.0 * time)
        return cls(features, rates.astype(np.float32), states)

    @classmethod
    def join(cls, parts: Sequence[Passages]) -> Passages:
        """All of them, in order; with 0 features if there are none at all."""
        parts = [part for part in parts if len(part)] or [cls.none()]
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def none(cls) -> Passages:
        """No passages, of no features."""
        nothing = np.zeros((0, 0), dtype=np.float32)
        return cls(nothing, nothing, np.zeros(0, dtype=np.int64))


def weights_without_drift(logit: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Weights of passages, 1 on average, with which the logit does not change on average, whatever its value.

    Velocities of shooting points are drawn from equilibrium. Those of frames that shots pass are not: most shots are on their
    way out, and the logit away from that of the shooting point. To first order in that current, weights exp(-lambda rate) make
    up for it, with a lambda for each of up to 12 ranges of the logit.

    Parameters
    ----------
    logit, rate : ndarray, shape (n,)
        Of the committor, and its change per time along the dynamics.
    """
    n_bins = int(np.clip(len(logit) // _FEWEST_IN_BIN, 1, _BINS))
    weights = np.ones(len(logit))
    for rows in np.array_split(np.argsort(logit, kind="stable"), n_bins):
        scale = rate[rows].std() if len(rows) else 0.0
        if scale > 0.0:
            weights[rows] = _tilted(rate[rows] / scale)
    return weights


def _tilted(rate: np.ndarray) -> np.ndarray:
    """Weights exp(-lambda rate), 1 on average, with which the rate is 0 on average, or as close as a bounded lambda gets."""
    from scipy.optimize import brentq  # workers, which have no use for it, import this module too

    def mean(steepness: float) -> float:
        return float(np.mean(rate * np.exp(-steepness * rate)))

    if mean(-_STEEPEST) * mean(_STEEPEST) < 0.0:
        steepness = brentq(mean, -_STEEPEST, _STEEPEST)
    else:
        steepness = _STEEPEST * np.sign(mean(0.0))
    weights = np.exp(-steepness * rate)
    return weights / weights.mean()

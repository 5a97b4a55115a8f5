"""The scale of a direction in production: that of the pilot, measured again by every round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..branching import WeightWindow
from ..production import Production
from ..roots import RootSampler
from .calibration import Calibration

__all__ = ["Refined"]


class Refined:
    """Steers each round by all that was seen before it.

    A pilot has few roots, and so its scale may be off by a nat or more. What steers a round depends on earlier ones alone:
    every round is unbiased. Roots are drawn by the scale of the pilot throughout, as the rate needs one density of them. With a
    look ahead the scale stays that of the pilot: production counts how far positions come, and not momenta.

    Parameters
    ----------
    calibration : Calibration
    """

    def __init__(self, calibration: Calibration) -> None:
        self._calibration, self._levels = calibration, np.zeros(0)

    def __call__(self, sampler: RootSampler, production: Production, window: WeightWindow) -> tuple[RootSampler, float]:
        """What follows the next round of roots, and its ln C."""
        importance, pool = self._calibration.importance, sampler.pool
        if production.crossed is None or importance.places is not None:
            return sampler, sampler.level(window)
        new = pool.exits[len(self._levels) :]
        self._levels = np.concatenate([self._levels, importance.level(new.positions, new.velocities)])
        per_exit = float(np.average(sampler.density(pool.log_importance), weights=pool.weight))
        table = importance.table.measured_again(np.concatenate([self._calibration.crossed, production.crossed * per_exit]))
        return replace(sampler, importance=replace(importance, table=table)), sampler.level(window, table(self._levels))

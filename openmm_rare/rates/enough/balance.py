"""What a run lacks, roots or exits: at the least total cost both have cost alike per unit of variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...flux.pool import Pool
from ...statistics import ClusteredRate

__all__ = ["Balance"]


@dataclass(frozen=True)
class Balance:
    """Both parts of the variance of a rate, and what they have cost. Equilibration does not count: it is not paid again.

    Attributes
    ----------
    pool_variance, roots_variance : float
        Relative variance that would remain with endlessly many roots from the same exits, and that of the fates of roots.
    pool_steps, roots_steps : float
        Walker-steps that gave them.
    """

    pool_variance: float
    roots_variance: float
    pool_steps: float
    roots_steps: float

    @classmethod
    def of(cls, rate: ClusteredRate, error: float, ess: float, pool: Pool, timestep: float, roots_steps: int) -> Balance:
        """By what is known of a rate.

        Parameters
        ----------
        rate : ClusteredRate
        error : float
            Its relative standard error.
        ess : float
            Effective sample size of the roots.
        pool : Pool
        timestep : float
            ps.
        roots_steps : int
            Walker-steps from exits on.
        """
        independent = 1.0 / max(ess, 1e-300)
        return cls(rate.pool_limit(error, independent) ** 2, independent, float(pool.time_ps.sum()) / timestep, roots_steps)

    @property
    def pool_is_worth_more(self) -> bool:
        """Whether a step of the flux run lowers the variance more than one from exits on."""
        return self.pool_variance * self.roots_steps > self.roots_variance * self.pool_steps

    def longer_pool(self, target: float) -> float:
        """The factor by which the flux run would be longer in the cheapest run with that relative error."""
        pool, roots = self.pool_variance * self.pool_steps, self.roots_variance * self.roots_steps  # cost of a variance of 1
        return float((pool + np.sqrt(pool * roots)) / target**2 / self.pool_steps)

    def more_roots(self, target: float, longer_pool: float) -> float:
        """The factor by which roots would have to be more for that relative error, with such a pool; inf if none suffice."""
        left = target**2 - self.pool_variance / longer_pool
        return self.roots_variance / left if left > 0.0 else float("inf")

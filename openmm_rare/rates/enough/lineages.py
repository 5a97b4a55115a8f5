"""From how many independent walkers of the flux run the answer descends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...flux.pool import Pool
from ...flux.root_density import RootDensity
from ...statistics import effective_sample_size

if TYPE_CHECKING:
    from ..production import Production

__all__ = ["FEWEST", "few_lineages", "lineages", "rests_on_few"]

FEWEST: float = 30.0
"""Effective roots, and effective walkers or blocks of the flux run, that must carry the answer."""


def lineages(production: Production, pool: Pool) -> float:
    """Effective number of flux walkers, or blocks, whose descendants carry the answer.

    All that comes to B in one round may descend from few exits, which an effective sample size of fates does not show; and rare
    exits that the pool lacks show here alone.
    """
    return effective_sample_size(np.bincount(pool.walker[production.root], production.contribution, len(pool.time_ps)))


def rests_on_few(production: Production, pool: Pool, density: RootDensity) -> bool:
    """Whether these are fewer than they must be, or than half of those that carry the pool if that is less."""
    return lineages(production, pool) < min(FEWEST, 0.5 * effective_sample_size(pool.surrogate(density)))


def few_lineages(production: Production, pool: Pool, density: RootDensity) -> str | None:
    """A sentence, if they are too few."""
    if not rests_on_few(production, pool, density):
        return None
    return (
        f"All that came to B descends from {lineages(production, pool):.0f} effective flux walkers ({FEWEST:.0f} at least): "
        "the error bar is too uncertain itself. Lower the target error, or raise production_roots."
    )

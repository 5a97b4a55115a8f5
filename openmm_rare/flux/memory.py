"""Whether blocks of few walkers are independent of each other."""

from __future__ import annotations

import numpy as np

__all__ = ["remembered"]

_MEMORY, _CHANCE = 0.25, 3.0  # correlation that is too much, and standard errors of none
_FEWEST = 20  # pairs of neighbouring blocks


def remembered(counts: np.ndarray) -> str | None:
    """A sentence, if what walkers did in one block tells what they do in the next.

    Parameters
    ----------
    counts : ndarray, shape (n_blocks, n_walkers)
        Of exits, say, in consecutive blocks of one length.
    """
    n_pairs = max(len(counts) - 1, 0) * counts.shape[1]
    deviations = counts - counts.mean() if counts.size else counts
    if n_pairs < _FEWEST or not deviations.any():
        return None
    memory = float((deviations[1:] * deviations[:-1]).mean() / (deviations**2).mean())
    if memory <= max(_MEMORY, _CHANCE / np.sqrt(n_pairs)):
        return None
    return (
        f"Walkers remember in one block what they did in the one before (numbers of exits correlate by {memory:.2f}), so that "
        "error bars are too small: raise block_ps, or check whether the basin of A has slow parts."
    )

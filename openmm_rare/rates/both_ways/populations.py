"""Populations as brute force counts them: time with B visited last over that with A, where walkers were free to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...statistics import ratio_of_sums
from .free_energy import Ratio

__all__ = ["counted_populations"]

_FORGOTTEN = 5.0  # relaxation times 1/(k_AB + k_BA), after which nobody remembers that all walkers began in A


def counted_populations(records: Sequence[Mapping], timestep: float, relaxation_ps: float) -> Ratio | None:
    """Time with B visited last over that with A, from the records of stretches of a run of brute force.

    Overdamped walkers of small Systems go on through B. Populations are those of equilibrium once each walker has forgotten
    where it began. Where more than half of them were in B, these were put back into A, and nothing is known.

    Parameters
    ----------
    records : sequence of mapping
        ``frames_last_a``, ``last_a`` and ``walker_steps``.
    timestep : float
        ps.
    relaxation_ps : float
        1/(k_AB + k_BA).

    Returns
    -------
    Ratio or None
        With the scatter among walkers for its error.
    """
    start, in_a, steps = 0.0, [], []
    for record in records:
        last_a = np.asarray(record["last_a"])
        if (~last_a).mean() > 0.5:
            return None
        each = int(record["walker_steps"]) / len(last_a)
        if start * timestep >= _FORGOTTEN * relaxation_ps:
            in_a.append(np.asarray(record["frames_last_a"]))
            steps.append(each)
        start += each
    if not in_a:
        return None
    with_a = np.sum(in_a, axis=0).astype(float)
    with_b = sum(steps) - with_a
    if not with_b.any() or not with_a.any():
        return None
    ratio, error = ratio_of_sums(with_b, with_a)
    return Ratio(float(ratio), float(error / ratio))

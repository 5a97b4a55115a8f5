"""What a rate along a given direction will cost, before its long part, and what is missing after it."""

from __future__ import annotations

import numpy as np

from ...io.progress import duration

__all__ = ["missing", "plan", "roots_needed"]

_PER_NAT = 1.5
"""Relative variance of a root, per nat of 1/P: 1 would be the best that splitting can do, 1.3 to 1.6 was measured."""


def roots_needed(p_ab: float, target_error: float) -> int:
    r"""Roots that a good direction needs for a relative error, :math:`1.5 \ln(1/P)/\epsilon^2`."""
    return int(np.ceil(_PER_NAT * max(np.log(1.0 / p_ab), 1.0) / target_error**2))


def plan(
    p_ab: float,
    arrived: bool,
    target_error: float,
    steps_per_root: float,
    steps_per_exit: float,
    seconds_per_step: float,
    roots_arrived: int = 0,
) -> str:
    """A sentence on what is to come.

    Parameters
    ----------
    p_ab : float
        Or, if too few roots have arrived, the probability to come to the highest level that enough came to.
    arrived : bool
        Whether descendants of enough roots reached B.
    target_error, steps_per_root, steps_per_exit, seconds_per_step : float
    roots_arrived : int
        Of how many roots descendants reached B, in the last round of the pilot.
    """
    roots = roots_needed(p_ab, target_error)
    much = _cost(roots * steps_per_root, seconds_per_step)
    few = f"descendants of {roots_arrived} root{'s' if roots_arrived > 1 else ''} only" if roots_arrived else "no descendant"
    known = f"P(A to B from an exit) is about {p_ab:.1g}" if arrived else f"{few} reached B; P is below {p_ab:.1g}"
    exits = 1.0 / (p_ab * target_error**2)
    counting = f"{exits:.2g} exits or {_cost(exits * steps_per_exit, seconds_per_step)}"
    return (
        f"{known}: an error of {100 * target_error:g} % takes {roots} roots or more, {much}, if exits are much alike; if it is "
        f"decided at the exit what becomes of a root, it takes up to what counting does, {counting}."
    )


def missing(error: float, target_error: float, n_roots: int, steps: float, seconds_per_step: float) -> str:
    """A sentence on what was not reached, after so many roots and steps, flux and all."""
    if not np.isfinite(error):
        return "Nothing has arrived in B: the target error is out of reach so far."
    factor = (error / target_error) ** 2 - 1.0
    more, much = int(np.ceil(factor * n_roots)), _cost(factor * steps, seconds_per_step)
    return (
        f"The error is {100 * error:.0f} %, not {100 * target_error:g} %: {more} more roots, {much}, are missing. Resume with "
        "more steps (--max-steps)."
    )


def _cost(steps: float, seconds_per_step: float) -> str:
    long = f" (about {duration(steps * seconds_per_step)} at the speed of the pilot)" if seconds_per_step > 0.0 else ""
    return f"{steps:.1g} steps{long}"

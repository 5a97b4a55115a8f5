"""Teams: walkers divided among several Contexts that move at the same time, one thread for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np

__all__ = ["TEAM", "together"]

TEAM = 250
"""Walkers of a team: enough for their steps to outweigh the calls, few enough for several cores to have work."""


def together(function: Callable[..., tuple[np.ndarray, ...]], *arguments: Any) -> list[tuple[np.ndarray, ...]]:
    """Results of a function for each team, in the order of the teams, whatever the number of cores.

    Parameters
    ----------
    function : callable
        Spends its time outside of Python, as a Context whose integrator and bias are native does.
    *arguments : sequence
        One element for each team.
    """
    apply = map if len(arguments[0]) == 1 else _threads().map
    return list(apply(function, *arguments))


@cache
def _threads() -> ThreadPoolExecutor:
    """One thread for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores)

"""Teams: walkers divided among several Contexts that move at the same time, one thread for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from functools import cache
from typing import Any, TypeVar

from .cores import available_cores

__all__ = ["TEAM", "check_stop", "together"]

_stop = threading.Event()
_Result = TypeVar("_Result")

TEAM = 250
"""Walkers of a team: enough for their steps to outweigh the calls, few enough for several cores to have work."""


def together(function: Callable[..., _Result], *arguments: Any) -> list[_Result]:
    """Results of a function for each team, in the order of the teams, whatever the number of cores.

    Parameters
    ----------
    function : callable
        Spends its time outside of Python, as a Context whose integrator and bias are native does.
    *arguments : sequence
        One element for each team.
    """
    if len(arguments[0]) == 1:
        return [function(*(argument[0] for argument in arguments))]
    futures = [_threads().submit(function, *row) for row in zip(*arguments, strict=True)]
    try:
        for first in wait(futures, return_when=FIRST_EXCEPTION).done:
            first.result()
        return [future.result() for future in futures]
    except BaseException:  # Ctrl-C too: nobody goes on alone
        _stop.set()
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    finally:
        _stop.clear()


def check_stop() -> None:
    """To be called now and then in long work of a team: raises CancelledError once another team has failed."""
    if _stop.is_set():
        raise CancelledError


@cache
def _threads() -> ThreadPoolExecutor:
    """One thread for each core that this process may use."""
    return ThreadPoolExecutor(available_cores())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)

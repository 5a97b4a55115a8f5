"""Teams: walkers divided among several Contexts that move at the same time, one thread for each."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed, wait
from functools import cache
from typing import Any, TypeVar

from .cores import available_cores

__all__ = ["TEAM", "Threads", "check_stop", "together"]

_stop = threading.Event()
_Result = TypeVar("_Result")

TEAM = 250
"""Walkers of a team: enough for their steps to outweigh the calls, few enough for several cores to have work."""


class Threads:
    """Computes in threads of this process: an :class:`~openmm_rare.parallel.executors.Executor` for functions that spend their
    time outside of Python, as a Context whose integrator and bias are native does. Where one fails, no other goes on alone.
    """

    elsewhere = False

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *error: object) -> None:
        """The threads wait for what comes next."""

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`openmm_rare.parallel.executors.Executor.map`; what a place keeps, threads share."""
        if len(tasks) == 1:
            yield 0, function(*tasks[0])
            return
        futures = {_threads().submit(function, *task): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # Ctrl-C too
            _stop.set()
            for future in futures:
                future.cancel()
            wait(futures)
            raise
        finally:
            _stop.clear()


def together(function: Callable[..., _Result], *arguments: Any) -> list[_Result]:
    """Results of a function for each team, in the order of the teams, whatever the number of cores.

    Parameters
    ----------
    function : callable
        For :class:`Threads`.
    *arguments : sequence
        One element for each team.
    """
    results = dict(Threads().map(function, list(zip(*arguments, strict=True))))
    return [results[number] for number in sorted(results)]


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

"""Tasks in processes of this machine: what dies is computed again."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, TypeVar

from ..errors import InputError, RunError
from .devices import require_devices, use_device
from .processes import Workers, require_importable

__all__ = ["Processes"]

_LOG = logging.getLogger(__name__)
_Result = TypeVar("_Result")
_DEATHS = 3  # of processes at one task, after which it is given up


class Processes:
    """An :class:`~openmm_rare.parallel.executors.Executor` of processes of this machine.

    They start when there is something to do and end with the ``with`` block. One that dies is replaced, and its task computed
    again.

    Parameters
    ----------
    n : int
    platform : str, optional
        The only platform of OpenMM that they need; default: any.
    devices : sequence of str, optional
        Indices of GPUs, which the processes take in turn: ``["0", "0", "1", "1"]`` gives four processes two on each.

    Raises
    ------
    ValueError
        If there are no workers, or devices cannot be right.
    """

    elsewhere = False

    def __init__(self, n: int, platform: str | None = None, devices: Sequence[str] = ()) -> None:
        if n < 1:
            raise InputError(f"workers = {n} must be at least 1")
        self._n, self._platform, self._devices = n, platform, tuple(devices)
        require_devices(self._devices, platform)
        self._pools: dict[int, Workers] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """End them; in their work, if something went wrong."""
        for place in list(self._pools):
            self._pools.pop(place).__exit__(kind, error, traceback)

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`openmm_rare.parallel.executors.Executor.map`."""
        if tasks:
            require_importable((function, tasks[0]))
        waiting, running, deaths = self._queues(len(tasks), keys), {}, Counter()
        while True:
            self._fill(waiting, running, function, tasks)
            if not running:
                return
            finished = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                place, number = running.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    deaths[number] += 1
                    self._bury(place, number, deaths[number], future.exception())
                    waiting[place].appendleft(number)
                else:
                    finished.append((number, future))
            self._fill(waiting, running, function, tasks)  # nobody waits for what is done with results
            for number, future in sorted(finished, key=lambda each: each[0]):
                yield number, future.result()

    def _queues(self, n_tasks: int, keys: Sequence[int] | None) -> list[deque[int]]:
        """Numbers of tasks by place; those that may go anywhere wait together."""
        if keys is None:
            return [deque(range(n_tasks))] * self._n
        queues: list[deque[int]] = [deque() for _ in range(self._n)]
        for number, key in enumerate(keys):
            queues[key % self._n].append(number)
        return queues

    def _fill(
        self, waiting: list[deque[int]], running: dict[Future, tuple[int, int]], function: Callable[..., Any], tasks: Any
    ) -> None:
        """Give each process that has none a task: one at a time, so that it is known which one it dies of."""
        busy = {place for place, _ in running.values()}
        for place, queue in enumerate(waiting):
            if queue and place not in busy:
                number = queue.popleft()
                running[self._submitted(place, function, tasks[number])] = place, number

    def _submitted(self, place: int, function: Callable[..., Any], task: tuple) -> Future:
        try:
            return self._pool(place).submit(function, *task)
        except BrokenProcessPool:  # it died when it had nothing to do
            del self._pools[place]
            return self._pool(place).submit(function, *task)

    def _pool(self, place: int) -> Workers:
        """The process of a place."""
        if place not in self._pools:
            device = self._devices[place % len(self._devices)] if self._devices else None
            setup = () if device is None else (use_device, self._platform, device)
            self._pools[place] = Workers(1, *setup, platform=self._platform)
        return self._pools[place]

    def _bury(self, place: int, number: int, deaths: int, error: BaseException | None) -> None:
        """A process is gone."""
        pool = self._pools.pop(place)
        pool.shutdown()
        if deaths >= _DEATHS or not pool.killed:
            times = f", {deaths} times at task {number}" if deaths > 1 else ""
            raise RunError(
                f"a worker process died{times} (what it said, if anything, stands above; the operating system kills those that "
                "take too much memory): finished work is kept; run this again, commands with --resume, perhaps with fewer "
                "processes (--workers)"
            ) from error
        _LOG.warning("a worker process died at task %d, which is computed again", number)

"""Where tasks are computed: here, in processes, or anywhere else that keeps to one protocol."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import ExitStack
from functools import lru_cache
from types import TracebackType
from typing import Any, Protocol, TypeVar

from .processes import Workers

__all__ = ["Executor", "Here", "Processes", "SentOnce"]

_Result = TypeVar("_Result")


class Executor(Protocol):
    """Computes tasks: plain functions of plain data, whose results do not depend on where and in which order that happens."""

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """Number and result of each task, as they come.

        Parameters
        ----------
        function : callable
            Of a module, as for pickle.
        tasks : sequence of tuple
            Its arguments.
        keys : sequence of int, optional
            One for each task. Those with one key are computed in one place, in this call and later ones, one after another:
            there they find what they keep.

        Raises
        ------
        Exception
            What the first task that failed has raised; the others may be lost.
        RuntimeError
            If a process died, at the end of the ``with`` block of the executor.
        """


class Here:
    """Computes in this process, one after another."""

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be ended."""

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`Executor.map`."""
        for number, task in enumerate(tasks):
            yield number, function(*task)


class Processes:
    """Computes in processes of this machine, which start when there is something to do and end with the ``with`` block.

    Parameters
    ----------
    n : int
    platform : str, optional
        The only platform of OpenMM that they need; default: any.
    """

    def __init__(self, n: int, platform: str | None = None) -> None:
        self._n, self._platform = n, platform
        self._stack, self._pools = ExitStack(), {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """End them; in their work, if something went wrong."""
        return self._stack.__exit__(kind, error, traceback)

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`Executor.map`."""
        places = [None] * len(tasks) if keys is None else [key % self._n for key in keys]
        futures = {
            self._pool(place).submit(function, *task): number
            for number, (place, task) in enumerate(zip(places, tasks, strict=True))
        }
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _pool(self, place: int | None) -> Workers:
        """One process, or all of them for tasks that may go anywhere."""
        if place not in self._pools:
            self._pools[place] = self._stack.enter_context(Workers(self._n if place is None else 1, platform=self._platform))
        return self._pools[place]


class SentOnce:
    """What many tasks have in common, and does not change: pickled once, and made once in each process that gets it."""

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        if "_sent" not in vars(self):
            vars(self)["_sent"] = pickle.dumps((type(self), dict(vars(self))))
        return _received, (vars(self)["_sent"],)


@lru_cache(maxsize=8)
def _received(content: bytes) -> Any:
    kind, state = pickle.loads(content)
    made = object.__new__(kind)
    vars(made).update(state)
    return made

"""Tasks of one call on their way through a Dask cluster, whose workers may die at any moment."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import RunError
from .dask_worker import Wanted, answer, compute
from .executors import packed
from .processes import require_importable

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["RETRIES", "Common", "TasksOnTheWay"]

RETRIES: int = 3
"""Of errors that are not ours, and may not come again."""

_NO_WORKER_S, _LOOK_S = 600.0, 5.0  # without any worker, which a queue may send, and between two looks
_RESUME = "finished work is kept: run this again, commands with --resume"

Common = Callable[[str, bytes], "Future"]
"""Where workers find what tasks share, by its name."""


class TasksOnTheWay:
    """Submits tasks, and gives their results.

    Parameters
    ----------
    client : distributed.Client
    wanted : Wanted
        Of workers.
    common : callable
    function : callable
    tasks : sequence of tuple
    keys : sequence of int, optional
        As of an executor.
    """

    def __init__(
        self,
        client: Client,
        wanted: Wanted,
        common: Common,
        function: Callable[..., Any],
        tasks: Sequence[tuple],
        keys: Sequence[int] | None,
    ) -> None:
        self._client, self._wanted, self._common = client, wanted, common
        self._function, self._tasks, self._address = function, tasks, client.scheduler.address
        self._name, self._submitted = f"openmm-rare-{uuid.uuid4().hex}", 0
        self._numbers: dict[Future, int] = {}
        self._places: dict[Future, str] = {}
        self._finished: SimpleQueue[Future] = SimpleQueue()
        self._seen = time.monotonic()  # any worker
        with self._noticing():
            workers = sorted(client.nthreads())
        for number in range(len(tasks)):
            self._submit(number, None if keys is None or not workers else workers[keys[number] % len(workers)])

    def results(self) -> Iterator[tuple[int, Any]]:
        """Number and result of each, as they come."""
        try:
            while self._numbers:
                future = self._next()
                reply = self._reply(future)
                if reply is not None:
                    self._places.pop(future, None)
                    yield self._numbers.pop(future), answer(reply)
        finally:
            if self._numbers and self._client.status == "running":
                with suppress(OSError):  # the scheduler is gone, which has been said
                    self._client.cancel(list(self._numbers))

    def _submit(self, number: int, place: str | None) -> None:
        work, contents = packed((self._function, self._tasks[number]))
        if b"__main__" in work or any(b"__main__" in content for content in contents.values()):
            require_importable((self._function, self._tasks[number]), elsewhere=True)
        self._submitted += 1
        with self._noticing():
            future = self._client.submit(
                compute,
                self._wanted,
                work,
                list(contents),
                *(self._common(name, content) for name, content in contents.items()),
                key=f"{self._name}-{self._submitted}",
                pure=False,
                retries=RETRIES,
                priority=-number,
                workers=None if place is None else [place],
                allow_other_workers=place is not None,
            )
        self._numbers[future] = number
        if place is not None:
            self._places[future] = place
        future.add_done_callback(self._finished.put)

    def _next(self) -> Future:
        """One that is done; waits as long as there is hope."""
        while True:
            try:
                return self._finished.get(timeout=_LOOK_S)
            except Empty:
                self._look()

    def _look(self) -> None:
        """What waits for a worker that is gone may go to any.

        Dask does that while another worker is there. Where none was, it waits for the same address for ever.
        """
        with self._noticing():
            workers = set(self._client.nthreads())
            running = {key for keys in self._client.processing().values() for key in keys}
        gone = [future for future, place in self._places.items() if place not in workers and not future.done()]
        for future in gone if workers else ():
            if future.key not in running:
                self._again(future)
        now = time.monotonic()
        self._seen = now if workers else self._seen
        if now > self._seen + _NO_WORKER_S:
            raise RunError(f"no workers are left at {self._address}; {_RESUME}, when some are there")

    def _again(self, future: Future) -> None:
        """Submit a task once more, to any worker, instead of this one."""
        self._places.pop(future, None)
        number = self._numbers.pop(future)
        future.cancel()
        self._submit(number, None)

    def _reply(self, future: Future) -> bytes | None:
        """What a worker has sent; None if that worker has died before, and the task is not done any more."""
        import distributed

        if future not in self._numbers:  # it was submitted again
            return None
        patience = _LOOK_S
        while future.status != "lost":
            try:
                return future.result(timeout=patience)
            except distributed.KilledWorker as error:
                raise RunError(
                    f"workers died at task {self._numbers[future]} again and again, the last one {error.last_worker.address} "
                    f"(one that takes more memory than its --memory-limit is stopped): {_RESUME}, with more memory for each"
                ) from error
            except (CancelledError, asyncio.CancelledError) as error:
                self._lost(error)
            except distributed.TimeoutError:
                if future.status == "error":  # it is the task's own
                    raise
                patience *= 2.0
        self._again(future)
        return None

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Whatever goes wrong while the client talks to its scheduler means that this is gone; there are many errors for it."""
        try:
            yield
        except Exception as error:
            self._lost(error)

    def _lost(self, error: BaseException) -> NoReturn:
        raise RunError(f"the Dask scheduler at {self._address} is gone; {_RESUME}, when there is one again") from error

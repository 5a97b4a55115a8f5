"""Tasks on a cluster of dask.distributed: workers on any machines, which may come and go."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pkgutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError, MissingPackageError, RunError
from .dask_tasks import RETRIES, TasksOnTheWay
from .dask_worker import Wanted, introduce, versions

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["Dask"]

_Result = TypeVar("_Result")
_OURS = "openmm_rare.parallel.dask_worker:__name__"
_CONNECT_S, _FIRST_WORKER_S = 5.0, 30.0
_KEPT = 8  # contents that tasks share


class Dask:
    """An :class:`~openmm_rare.parallel.executors.Executor` of the workers of a Dask cluster.

    Workers need the same versions of what computes as this process, one thread each, and no files of this machine. What is
    common to many tasks is sent to each of them once. A worker that dies, or is lost, has its tasks computed by others.

    Parameters
    ----------
    cluster : str or distributed.Client
        Address of the scheduler, such as ``tcp://node1:8786``, or the file that ``dask scheduler --scheduler-file`` writes; or
        a client of your own, which is left open.
    platform : str, optional
        The only platform of OpenMM that tasks need; default: any.

    Raises
    ------
    ImportError
        If distributed is not installed.
    """

    elsewhere = True

    def __init__(self, cluster: str | Client, platform: str | None = None) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                f"a Dask cluster needs the package distributed ({error}): in the repository, pip install -c constraints.txt "
                '".[dask]"'
            ) from error
        self._cluster, self._platform = cluster, platform
        self._client: Client | None = None
        self._sent: dict[str, Future] = {}

    def __enter__(self) -> Dask:
        """Connect, and look at the workers.

        Raises
        ------
        RuntimeError
            If there is no scheduler, or no worker.
        ValueError
            If a worker does not suit this process.
        """
        from distributed import Client

        self._client = self._cluster if isinstance(self._cluster, Client) else self._connected(str(self._cluster))
        try:
            self._address = self._client.scheduler.address
            paths = tuple(os.path.abspath(path) for path in sys.path if os.path.exists(path))
            self._wanted = Wanted(versions(), paths, self._platform)
            self._look_at_workers()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster, which goes on."""
        if self._client is not None and self._client is not self._cluster:
            self._client.close(timeout=2.0)
        self._client, self._sent = None, {}

    def map(
        self, function: Callable[..., _Result], tasks: Sequence[tuple], keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, _Result]]:
        """As :meth:`openmm_rare.parallel.executors.Executor.map`."""
        if self._client is None:
            raise InputError("a Dask cluster computes within its with block only")
        yield from TasksOnTheWay(self._client, self._wanted, self._common, function, tasks, keys).results()

    def _connected(self, given: str) -> Client:
        """A client, within seconds."""
        from distributed import Client

        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what goes wrong is said here
        try:
            address = json.loads(Path(given).read_text())["address"] if os.path.isfile(given) else given
            with ThreadPoolExecutor(1) as other:  # this one may be that of a notebook, with a loop of its own
                other.submit(asyncio.run, _knock(address)).result()
            return Client(address, timeout=_CONNECT_S, set_as_default=False, name="openmm-rare")
        except (OSError, ValueError, KeyError, TimeoutError) as error:
            raise RunError(
                f"no Dask scheduler answers at {given} ({' '.join(str(error).split())}): start one with dask scheduler, and "
                "give the address that it prints"
            ) from error

    def _look_at_workers(self) -> None:
        """Refuse a cluster that does not suit, and wait a little for one whose workers are on their way."""
        client, end = self._client, time.monotonic() + _FIRST_WORKER_S
        while not client.nthreads():
            if time.monotonic() > end:
                raise RunError(
                    f"no workers at {self._address} in {_FIRST_WORKER_S:.0f} s: start some (dask worker {self._address} "
                    "--nthreads 1 --nworkers ...) and wait until they are there"
                )
            time.sleep(0.2)
        missing = "cannot import openmm_rare ({}): start it in the same environment"
        try:
            client.run_on_scheduler(pkgutil.resolve_name, _OURS)
        except ImportError as error:
            raise InputError(f"the scheduler at {self._address} {missing.format(error)}") from error
        found = client.run(pkgutil.resolve_name, _OURS, on_error="return")
        for worker, said in found.items():
            if isinstance(said, ImportError):
                raise InputError(f"worker {worker} {missing.format(said)}")
        for doubt in client.run(introduce, self._wanted).values():
            if doubt is not None:
                raise InputError(doubt)

    def _common(self, name: str, content: bytes) -> Future:
        """What tasks share, which workers take from each other; not scattered, as then it would be lost with its last owner."""
        if name not in self._sent or self._sent[name].status not in ("pending", "finished"):
            while len(self._sent) >= _KEPT:
                del self._sent[next(iter(self._sent))]
            self._sent[name] = self._client.submit(bytes, content, key=f"openmm-rare-{name}", retries=RETRIES)
        return self._sent[name]


async def _knock(address: str) -> None:
    """Raises an error where no scheduler answers; a client that finds none takes long to end."""
    from distributed import Security
    from distributed.comm import connect

    comm = await connect(address, timeout=_CONNECT_S, **Security().get_connection_args("client"))
    await comm.close()

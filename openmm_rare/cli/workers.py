"""Where a command computes: its options, and the executor that they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from .errors import UserError

if TYPE_CHECKING:
    from ..parallel.executors import Executor

__all__ = ["executor_of", "worker_options"]


def worker_options(function: Callable[..., None]) -> Callable[..., None]:
    """``--workers``, ``--scheduler`` and ``--devices``, for :func:`executor_of`."""
    for option in (
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            show_default="1; in tps one for each chain, as far as there are cores",
            help="Processes of this machine that compute at the same time.",
        ),
        click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler whose workers compute instead."),
        click.option(
            "--devices",
            metavar="INDEX,...",
            help="GPUs that workers take in turn, one worker for each unless --workers says more; 0,0,1,1: two on each.",
        ),
    )[::-1]:
        function = option(function)
    return function


@contextmanager
def executor_of(workers: int | None, scheduler: str | None, devices: str | None, platform: str) -> Iterator[Executor | None]:
    """What the options mean, ready to compute; None where none is given.

    Parameters
    ----------
    workers, scheduler, devices
        Of the command line.
    platform : str
        That the command computes on.
    """
    if scheduler is not None:
        for name, value in (("workers", workers), ("devices", devices)):
            if value is not None:
                raise UserError(
                    f"--{name} is of this machine, and --scheduler of a cluster, which has its own: leave out one of them"
                )
        from ..parallel.dask_cluster import Dask

        with Dask(scheduler, platform) as cluster:
            yield cluster
        return
    if workers is None and devices is None:
        yield None
        return
    from ..parallel.local import Processes

    indices = [index.strip() for index in devices.split(",")] if devices is not None else []
    with Processes(workers or len(indices), platform, indices) as processes:
        yield processes

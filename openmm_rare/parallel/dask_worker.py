"""What the workers of a Dask cluster do: they introduce themselves, and compute what was packed elsewhere."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import InputError, RareError
from .executors import unpacked
from .processor_plugins import import_openmm_for

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["Wanted", "answer", "compute", "introduce", "versions"]


@dataclass(frozen=True)
class Wanted:
    """What the computer that has the tasks expects of workers.

    Attributes
    ----------
    versions : tuple
        What :func:`versions` says there.
    paths : tuple of str
        Where modules are looked up there.
    platform : str or None
        The only platform of OpenMM that is needed; None: any.
    """

    versions: tuple[tuple[str, str], ...]
    paths: tuple[str, ...]
    platform: str | None


def versions() -> tuple[tuple[str, str], ...]:
    """Of what numbers depend on, by name."""
    import numpy
    import openmm

    from .. import __version__

    return ("openmm_rare", __version__), ("openmm", openmm.version.short_version), ("numpy", numpy.__version__)


def introduce(wanted: Wanted, dask_worker: Worker) -> str | None:
    """Get this worker ready for work; why it does not suit, or None if it does."""
    return _doubt(wanted, dask_worker.address, dask_worker.state.nthreads)


@lru_cache(maxsize=8)
def _doubt(wanted: Wanted, name: str, n_threads: int) -> str | None:
    import torch

    torch.set_num_threads(1)
    import_openmm_for(wanted.platform)  # after torch, which some plugins need
    sys.path += [path for path in wanted.paths if path not in sys.path and os.path.exists(path)]
    if n_threads != 1:
        return (
            f"worker {name} has {n_threads} threads, of which OpenMM would compute in one at a time: start workers with one "
            "thread each (dask worker --nthreads 1 --nworkers ..., LocalCluster(threads_per_worker=1))"
        )
    for (package, there), (_, here) in zip(wanted.versions, versions(), strict=True):
        if here != there:
            return (
                f"worker {name} has {package} {here}, but {there} is here, and numbers may depend on it: install the same "
                "version in both places"
            )
    return None


def compute(wanted: Wanted, work: bytes, names: Sequence[str], *contents: bytes) -> bytes:
    """Compute a task.

    Parameters
    ----------
    wanted : Wanted
    work : bytes
        Function and arguments, from :func:`~openmm_rare.parallel.executors.packed`.
    names : sequence of str
        Of the contents that these share with others.
    *contents : bytes

    Returns
    -------
    bytes
        For :func:`answer`. Errors of ours are among what it may say, as they would come again.
    """
    from distributed import get_worker

    try:
        doubt = introduce(wanted, get_worker())
        if doubt is not None:
            raise InputError(doubt)
        try:
            function, task = unpacked(work, dict(zip(names, contents, strict=True)))
        except (ImportError, AttributeError) as error:
            raise InputError(
                f"a task needs what is not there ({error}): install it, or share its folder with workers"
            ) from error
        return pickle.dumps((function(*task), None))
    except RareError as error:
        return pickle.dumps((None, type(error)(f"{error} (worker {get_worker().address})")))


def answer(reply: bytes) -> object:
    """What :func:`compute` has computed.

    Raises
    ------
    Exception
        If it failed.
    """
    result, error = pickle.loads(reply)
    if error is not None:
        raise error
    return result

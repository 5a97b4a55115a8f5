"""OpenPathSampling's SimStore without its two costs: reading every byte of every array, and dozens of commits for a step.

SimStore changes OpenPathSampling for the whole process, the classes for netCDF included. Chains write it in processes of
their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpathsampling as paths
from openpathsampling.experimental.simstore.class_lookup import is_storage_iterable
from openpathsampling.experimental.simstore.serialization_helpers import get_all_uuids
from openpathsampling.experimental.simstore.tools import dict_group_by
from openpathsampling.experimental.storage import Storage, monkey_patch_all
from sqlalchemy.exc import DatabaseError

__all__ = ["PathStorage", "open_simstore"]


class PathStorage(Storage):
    """A SimStore storage that saves many steps at once, quickly, and all of them or none."""

    _stored: Collection[str] = ()

    def save_steps(self, steps: Sequence[paths.pathsimulators.MCStep], stored: Collection[str]) -> None:
        """Save steps in one transaction: if the process dies meanwhile, none is there.

        Parameters
        ----------
        steps : sequence of MCStep
        stored : collection of str
            Identities of objects that are in the storage already, and need not be looked at.
        """
        engine, self._stored = self.backend.engine, stored
        try:
            with engine.begin() as connection:
                self.backend.engine = _Joined(connection)
                self.save(list(steps))
        finally:
            self.backend.engine, self._stored = engine, ()

    def _uuids_by_table(
        self, input_uuids: Mapping[str, Any], cache: Mapping[str, Any], get_table_name: Callable[[str, Any], str]
    ) -> dict[str, dict[str, Any]]:
        """As in SimStore, but an object that belongs to many steps, as the path does, is searched only once."""
        found: dict[str, Any] = {}
        for each in input_uuids.values():
            known = _Known(found, cache, self._stored)
            found.update(get_all_uuids(each, known_uuids=known, class_info=self.class_info))
        found = self.filter_existing_uuids(self._unproxy_lazies(found))
        return defaultdict(dict, dict_group_by(found, key_extract=get_table_name))


class _Known:
    """Several collections in one, for the question whether they contain something."""

    def __init__(self, *collections: Collection[str]) -> None:
        self._collections = collections

    def __contains__(self, key: str) -> bool:
        return any(key in each for each in self._collections)


def open_simstore(path: str | Path, mode: str) -> PathStorage:
    """A SimStore storage.

    Parameters
    ----------
    path : path
    mode : str
        "r", "w" or "a", which begins a new file where there is none.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not _PATCHED:
        monkey_patch_all(paths)
        is_storage_iterable.force_false(bytes)
        _PATCHED.append(True)
    try:
        return PathStorage(str(path), mode)
    except DatabaseError as error:
        raise ValueError(
            f"{path} is no readable storage of OpenPathSampling ({error.orig}); the run itself does not depend on it: move it "
            "away, and a new one is begun"
        ) from error


_PATCHED: list[bool] = []


class _Joined:
    """Stands in for an SQLAlchemy engine, with everything in one transaction of a connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    @contextmanager
    def begin(self) -> Iterator[Any]:
        """The connection; nothing is committed here."""
        yield self._connection

    connect = begin

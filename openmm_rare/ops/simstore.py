"""OpenPathSampling's SimStore without its costs: reading every byte of every array, dozens of commits for a step, and asking
the database where it has put each row.

SimStore changes OpenPathSampling for the whole process, the classes for netCDF included. Chains write it in processes of
their own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten
from types import MappingProxyType
from typing import Any

import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.features.shared import KineticContainer, StaticContainer
from openpathsampling.experimental.simstore.class_lookup import (
    has_storage_uuid,
    is_storage_iterable,
    is_storage_mappable,
)
from openpathsampling.experimental.simstore.dict_serialization_helpers import tuple_keys_from_dict, tuple_keys_to_dict
from openpathsampling.experimental.simstore.proxy import GenericLazyLoader
from openpathsampling.experimental.simstore.serialization_helpers import default_find_uuids, get_uuid
from openpathsampling.experimental.simstore.tools import dict_group_by
from openpathsampling.experimental.storage import Storage, monkey_patch_all
from openpathsampling.experimental.storage.simtk_unit import SimtkQuantityHandler
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import functions

from ..errors import InputError, RareError, RunError
from .storage_check import add_checksum, mark_owner

__all__ = ["PathStorage", "open_simstore"]


class PathStorage(Storage):
    """A SimStore storage that saves quickly, and all of what it is given or nothing: it outlives `kill -9`.

    Use it for a `PathSampling` of your own too. SimStore commits the parts of a step one after the other, and netCDF files
    can be left unreadable.
    """

    path: Path | None = None
    _stored: Collection[str] = ()
    _frame_info: Mapping[tuple[type, int], Any] = MappingProxyType({})

    def save(self, obj_list: Any, use_cache: bool = True) -> None:
        """Save one object or a list of them in one transaction: if the process dies meanwhile, none is there."""
        engine = self.backend.engine
        if isinstance(engine, _Joined):
            super().save(obj_list, use_cache)
            return
        try:
            with _naming(self.path), engine.begin() as connection:
                self.backend.engine = _Joined(connection)
                self.backend.add_to_table = partial(_add_rows, self.backend)
                super().save(obj_list, use_cache)
        finally:
            self.backend.engine = engine
            del self.backend.add_to_table

    def save_steps(self, steps: Sequence[paths.pathsimulators.MCStep], stored: Collection[str]) -> None:
        """Save steps, all or none.

        Parameters
        ----------
        steps : sequence of MCStep
        stored : collection of str
            Identities of objects that are in the storage already, and need not be looked at.
        """
        self._stored = stored
        try:
            self.save(list(steps))
        finally:
            self._stored = ()

    def filter_existing_uuids(self, uuids: Mapping[str, Any]) -> dict[str, Any]:
        """Those that are not stored yet."""
        with _naming(self.path):
            return super().filter_existing_uuids(uuids)

    def _uuids_by_table(
        self, input_uuids: Mapping[str, Any], cache: Mapping[str, Any], get_table_name: Callable[[str, Any], str]
    ) -> dict[str, dict[str, Any]]:
        """As in SimStore, but an object that belongs to many steps, as the path does, is searched only once."""
        found: dict[str, Any] = {}
        self._frame_info = {}  # for now: what is missing here gets a table next
        for each in input_uuids.values():
            self._search(each, found, cache)
        found = self.filter_existing_uuids(self._unproxy_lazies(found))
        return defaultdict(dict, dict_group_by(found, key_extract=lambda uuid, each: self._info(each).table))

    def _info(self, each: Any) -> Any:
        """How objects like this one are stored; frames of one engine are all alike, and most of all objects."""
        if not isinstance(each, _FRAMES):
            return self.class_info[each]
        key = type(each), id(each.engine)
        if key not in self._frame_info:
            self._frame_info[key] = self.class_info[each]
        return self._frame_info[key]

    def _search(self, start: Any, found: dict[str, Any], cache: Mapping[str, Any]) -> None:
        """Add an object, and all objects within it, to what has been found."""
        waiting = [start]
        while waiting:
            each = waiting.pop()
            identity = get_uuid(each) if has_storage_uuid(each) else None
            if identity is None and not (is_storage_mappable(each) or is_storage_iterable(each)):
                continue
            if identity is not None and (identity in found or identity in self._stored or identity in cache):
                continue
            if isinstance(each, GenericLazyLoader):
                each = each.load()
            search = self._info(each).find_uuids if identity is not None else default_find_uuids
            new, within = (search or default_find_uuids)(obj=each, cache_list=[found])
            found.update(new)
            waiting += within


def open_simstore(path: str | Path, mode: str, owner: str = "") -> PathStorage:
    """A SimStore storage; other than that of OpenPathSampling it takes networks of fixed length too.

    Parameters
    ----------
    path : path
    mode : str
        "r", "w" or "a", which begins a new file where there is none.
    owner : str
        What a file that is written to belongs to from now on, if that is of interest.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not _PATCHED:
        monkey_patch_all(paths)
        is_storage_iterable.force_false(bytes)
        network, key = paths.FixedLengthTPSNetwork, "transitions"  # as is done for TPSNetwork: no JSON has pairs as keys
        network.to_dict = tuple_keys_to_dict(network.to_dict, key)
        network.from_dict = classmethod(tuple_keys_from_dict(network.from_dict, key))
        SimtkQuantityHandler.serialize = _serialize
        _PATCHED.append(True)
    with _naming(path, _DAMAGE):
        storage = PathStorage(str(path), mode)
        if owner:
            mark_owner(Path(path), owner)
    storage.path = Path(path)
    return storage


@contextmanager
def _naming(path: Path | None, damage: tuple[type[Exception], ...] = (UnicodeDecodeError,)) -> Iterator[None]:
    """Say of errors of the database, and of others that mean `damage`, which file they are about and what to do.

    Raises
    ------
    ValueError
        If the file is damaged.
    RuntimeError
        If it cannot be written.
    """
    try:
        yield
    except RareError:
        raise
    except (SQLAlchemyError, *damage) as error:
        said = shorten(str(getattr(error, "orig", None) or f"{type(error).__name__}: {error}"), 160)
        if "is full" in said:
            raise RunError(
                f"no space left on the disk while writing {path}; everything written before is intact: free some space and "
                "continue with --resume"
            ) from error
        if any(words in said for words in _UNWRITABLE):
            raise RunError(
                f"{path} cannot be written ({said}): look at its rights and its disk, and continue with --resume, or begin a "
                "run with storage = false"
            ) from error
        raise InputError(
            f"{path} is no readable storage of OpenPathSampling ({said}); the run itself does not depend on it: move it "
            "away, and a new one is begun"
        ) from error


# what SimStore meets in a file that is cut or overwritten
_DAMAGE = (KeyError, IndexError, ValueError, TypeError, AttributeError)
_UNWRITABLE = ("readonly", "unable to open", "disk I/O", "locked")
_PATCHED: list[bool] = []
_FRAMES = (paths.BaseSnapshot, StaticContainer, KineticContainer)


def _serialize(handler: SimtkQuantityHandler, quantity: unit.Quantity) -> Any:
    """What a handler of SimStore writes; a quantity in its unit is not copied for it."""
    if quantity is None:
        raise InputError(
            "a frame without velocities cannot be written to this storage: give it some, zeros where they are drawn anyway"
        )
    same = quantity.unit is handler.unit
    return handler.inner_serialize(quantity._value if same else quantity.value_in_unit(handler.unit))


def _add_rows(backend: Any, table_name: str, objects: Sequence[dict[str, Any]]) -> None:
    """What ``add_to_table`` of the backend does, with rows numbered here; only within a transaction."""
    table, uuids = backend.metadata.tables[table_name], backend.metadata.tables["uuid"]
    number = backend.table_to_number[table_name]
    first = 1 + (backend.engine.execute(select(functions.max(table.c.idx))).scalar() or 0)
    backend.engine.execute(table.insert(), [{"idx": row} | each for row, each in enumerate(objects, first)])
    places = [{"uuid": each["uuid"], "table": number, "row": row} for row, each in enumerate(objects, first)]
    backend.engine.execute(uuids.insert(), places)
    if backend.sql_dialect == "sqlite":
        add_checksum(backend.engine.connection.cursor(), table_name, first, first + len(objects) - 1)


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

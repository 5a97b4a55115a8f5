"""The run file (netCDF): every record survives a kill at any moment, and is read back bit for bit."""

from __future__ import annotations

import errno
import mmap
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .checksums import naming_damage, require_intact, seal
from .files import write_bytes
from .record_encoding import encode, hdf5_length, read_attributes, read_group
from .regular_file import regular_file

if TYPE_CHECKING:
    import netCDF4

__all__ = ["RunFile"]

_FORMAT = "openmm_rare run 3"
_UNSEALED = "openmm_rare run 2"  # of versions before checksums
_HEAD = 52  # bytes of an HDF5 file within which it says how long it is
_RUN = "run"
_PART = re.compile(r"[A-Za-z_]\w*\.[0-9]{6,}\.nc", re.ASCII)
_ADVICE = (
    "restore it from a copy, or start the run again in another folder (result.json and the model files beside it are separate "
    "files)"
)


class RunFile:
    """Everything a run recorded, in one netCDF file; implements the Recorder protocol of the rate engine.

    Each record is one group ``/kind/000000``: arrays are variables, numbers and text are attributes, and a name with
    slashes ("model/weight") lies in a subgroup. Rewriting a large file for each record would cost more than the
    record, so each is first a small netCDF file of its own in ``<path>.parts``, written atomically, and
    :meth:`finalize` joins all of them into the one file. Reading sees both places, so a run killed at any moment can
    be read and continued. Each file ends with its checksum, which is compared before the netCDF library sees the file.

    Parameters
    ----------
    path : path
        An existing run file; :meth:`create` makes a new one.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it is truncated, damaged or no run file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _openable(Path(path))
        self.parts = self.path.with_name(self.path.name + ".parts")
        self._open: netCDF4.Dataset | None = None
        if self.path.exists():
            regular_file(self.path)
        self._intact: dict[Path, tuple[int, int, int]] = {}
        self._sealed = True
        self._sealed = self._require_intact(self.path)
        with self._reading(self.path) as dataset:
            if getattr(dataset, "format_name", None) != (_FORMAT if self._sealed else _UNSEALED):
                raise InputError(f"{self.path} is no run file of openmm-rare; check the path")
            self.attributes = read_attributes(dataset)
            self._stored = {kind: len(group.groups) for kind, group in dataset.groups.items()}
        self.attributes.pop("format_name")
        self._stored_attributes = dict(self.attributes)
        self._counts = dict(self._stored)
        for path in sorted(self.parts.glob("[!.]*.nc")):
            if not _PART.fullmatch(path.name):
                raise InputError(f"{path} is none of the records of a run, which belong there alone: remove it")
            kind, index, _ = path.name.split(".")
            count = self._counts.get(kind, 0)
            if int(index) > count:
                raise InputError(f"{self._part(kind, count)} is missing: {self.path} is incomplete; start a new run")
            if int(index) == count:  # below: a finalize() was killed after it had stored this record
                self._counts[kind] = count + 1

    @classmethod
    def create(cls, path: str | Path, attributes: Mapping[str, int | float | str] | None = None) -> RunFile:
        """Start a new run file.

        Parameters
        ----------
        path : path
            Must not exist.
        attributes : mapping
            Numbers and text for the head of the file: versions, seed, configuration, fingerprint. ``run``, text that says which
            run this is, is written into each part too, and a part that says anything else is refused.

        Raises
        ------
        FileExistsError
            If the file exists.
        ValueError
            If there are records of another run that lost its file.
        """
        path = _openable(Path(path))
        if path.exists():
            raise FileExistsError(errno.EEXIST, f"{path} exists; open it to continue, or choose another name")
        parts = path.with_name(path.name + ".parts")
        if parts.is_dir() and any(parts.glob("[!.]*.nc")):
            raise InputError(f"{parts} holds records of a run whose {path.name} is gone: restore that, or remove {parts}")
        _write(path, encode([], {"format_name": _FORMAT, **(attributes or {})}))
        return cls(path)

    @classmethod
    def open(cls, path: str | Path) -> RunFile:
        """Open an existing run file, finished or interrupted."""
        return cls(path)

    @property
    def kinds(self) -> dict[str, int]:
        """Number of records of each kind."""
        return dict(self._counts)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Keep the file open while several kinds are loaded: opening reads the names of everything in it."""
        with self._reading(self.path) as self._open:
            try:
                yield
            finally:
                self._open = None

    def append(self, kind: str, data: Mapping[str, np.ndarray | int | float | str]) -> None:
        """Store one record; when this returns, it survives ``kill -9`` and power loss.

        Parameters
        ----------
        kind : str
            A name such as "training".
        data : mapping
            Arrays (integers, floats, bool, text), numbers, bool and text by name.

        Raises
        ------
        TypeError, ValueError
            If something else is in it; nothing is written.
        OSError
            If the disk is full; the records before are intact.
        """
        if not kind.isidentifier():
            raise InputError(f"kind = {kind!r} must be a plain name, e.g. 'training'")
        index = self._counts.get(kind, 0)
        self.parts.mkdir(exist_ok=True)
        run = self.attributes.get(_RUN)
        attributes = {"format_name": _FORMAT} | ({} if run is None else {_RUN: run})
        _write(self._part(kind, index), encode([(kind, index, data)], attributes))
        self._counts[kind] = index + 1

    def load(self, kind: str, only: Collection[str] | None = None) -> list[dict[str, Any]]:
        """All records of a kind, in the order in which they were appended, bit for bit.

        Parameters
        ----------
        kind : str
        only : collection of str, optional
            Leave out all other entries, which need not be read then.

        Raises
        ------
        ValueError
            If the file is damaged or a record is missing.
        """
        return list(self._records(kind, only))

    def finalize(self) -> None:
        """Join all records into the one file and remove the parts; records can be appended again afterwards.

        Attributes that were changed since are stored too.

        Raises
        ------
        OSError
            If the disk is full; the parts are intact then.
        """
        if self._counts != self._stored or self.attributes != self._stored_attributes:
            records = ((kind, i, data) for kind in self._counts for i, data in enumerate(self._records(kind)))
            size = self.path.stat().st_size + sum(part.stat().st_size for part in self.parts.glob("*.nc"))
            attributes = {"format_name": _FORMAT, **self.attributes}
            _write(self.path, encode(records, attributes, size))
            self._sealed = True
            self._stored, self._stored_attributes = dict(self._counts), dict(self.attributes)
        if self.parts.is_dir():
            shutil.rmtree(self.parts)

    def _part(self, kind: str, index: int) -> Path:
        return self.parts / f"{kind}.{index:06d}.nc"

    def _records(self, kind: str, only: Collection[str] | None = None) -> Iterator[dict[str, Any]]:
        stored, count = self._stored.get(kind, 0), self._counts.get(kind, 0)
        if stored:
            with nullcontext(self._open) if self._open else self._reading(self.path) as dataset:
                for index in range(stored):
                    yield _read_record(dataset, kind, index, only)
        for index in range(stored, count):
            with self._reading(self._part(kind, index)) as dataset:
                self._require_own(dataset, kind, index)
                yield _read_record(dataset, kind, index, only)

    def _require_own(self, dataset: netCDF4.Dataset, kind: str, index: int) -> None:
        """Refuse a part of another run, and one that holds another record than its name says."""
        path = self._part(kind, index)
        if getattr(dataset, _RUN, None) != self.attributes.get(_RUN):
            raise InputError(f"{path} is a record of another run than {self.path}; {_ADVICE}")
        found = [f"{kind}.{number}" for kind, group in dataset.groups.items() for number in group.groups]
        if found != [f"{kind}.{index:06d}"]:
            raise InputError(f"{path} holds the record {', '.join(found) or 'of nothing'}, not what its name says; {_ADVICE}")

    @contextmanager
    def _reading(self, path: Path) -> Iterator[netCDF4.Dataset]:
        import netCDF4  # path sampling, which has no such files, imports this module too

        self._require_intact(path)
        with naming_damage(path, _ADVICE):
            dataset = netCDF4.Dataset(os.path.join(os.curdir, path))  # "file:" and the like begin addresses
            dataset.set_auto_maskandscale(False)
        with dataset:
            yield dataset

    def _require_intact(self, path: Path) -> bool:
        """Check a file by its checksum, once as long as nobody writes it; whether it has one."""
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, f"{path} does not exist")
        now = path.stat()
        signature = (now.st_ino, now.st_size, now.st_mtime_ns)
        if self._intact.get(path) == signature:
            return True
        with naming_damage(path, _ADVICE):
            if require_intact(path):
                self._intact[path] = signature
                return True
        _require_older(path, part=path != self.path, run_is_sealed=self._sealed)
        return False


def _openable(path: Path) -> Path:
    """The path, if the netCDF library can open it: it takes ``\\`` for ``/``, also where that is part of a name."""
    if os.sep != "\\" and "\\" in str(path):
        raise InputError(f"{path} cannot be opened, because netCDF takes \\ in names for /: give the folder another name")
    return path


def _require_older(path: Path, part: bool, run_is_sealed: bool) -> None:
    """Refuse a file without a checksum unless an older version wrote it, which has none; the netCDF library is not asked."""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
        size = stream.seek(0, 2)
        beyond = size - hdf5_length(head) if len(head) == _HEAD and head.startswith(b"\x89HDF") else -1
        if beyond >= 0:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                new = content.find(_FORMAT.encode()) >= 0
                known = part or content.find(_UNSEALED.encode()) >= 0
    if beyond < 0 or new or (part and run_is_sealed):
        raise InputError(f"{path} is truncated or damaged; {_ADVICE}")
    if not known:
        raise InputError(f"{path} is no run file of openmm-rare, or damaged: check the path; {_ADVICE}")


def _write(path: Path, content: memoryview) -> None:
    write_bytes(path, content, seal(content))


def _read_record(dataset: netCDF4.Dataset, kind: str, index: int, only: Collection[str] | None) -> dict[str, Any]:
    path = dataset.filepath()
    with naming_damage(path, _ADVICE):
        return _Record(f"{kind} {index} in {path}", read_group(dataset[f"{kind}/{index:06d}"], only))


class _Record(dict):
    """A record, whose entries are missing only if something else than this package wrote it."""

    def __init__(self, name: str, entries: Mapping[str, Any]) -> None:
        super().__init__(entries)
        self._name = name

    def __missing__(self, key: str) -> Any:
        raise InputError(f"the record {self._name} has no {key!r}: no run wrote it; {_ADVICE}")

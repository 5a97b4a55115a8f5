"""The run file (netCDF): every record survives a kill at any moment, and is read back bit for bit."""

from __future__ import annotations

import errno
import mmap
import shutil
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checksums import naming_damage, require_intact, seal
from .errors import InputError
from .files import write_bytes
from .regular_file import regular_file

if TYPE_CHECKING:
    import netCDF4

__all__ = ["RunFile"]

_FORMAT = "openmm_rare run 3"
_UNSEALED = "openmm_rare run 2"  # of versions before checksums
_HEAD = 52  # bytes of an HDF5 file within which it says how long it is
_ADVICE = (
    "restore it from a copy, or start the run again in another folder (result.json and the model files beside it are separate "
    "files)"
)
_NUMERIC = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


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
        self.path = Path(path)
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
            self.attributes = _read_attributes(dataset)
            self._stored = {kind: len(group.groups) for kind, group in dataset.groups.items()}
        self.attributes.pop("format_name")
        self._stored_attributes = dict(self.attributes)
        self._counts = dict(self._stored)
        for path in sorted(self.parts.glob("[!.]*.nc")):
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
            Numbers and text for the head of the file: versions, seed, configuration, fingerprint.

        Raises
        ------
        FileExistsError
            If the file exists.
        ValueError
            If there are records of another run that lost its file.
        """
        path = Path(path)
        if path.exists():
            raise FileExistsError(errno.EEXIST, f"{path} exists; open it to continue, or choose another name")
        parts = path.with_name(path.name + ".parts")
        if parts.is_dir() and any(parts.glob("[!.]*.nc")):
            raise InputError(f"{parts} holds records of a run whose {path.name} is gone: restore that, or remove {parts}")
        write_bytes(path, *_encode([], {"format_name": _FORMAT, **(attributes or {})}))
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
        write_bytes(self._part(kind, index), *_encode([(kind, index, data)], {"format_name": _FORMAT}))
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
            write_bytes(self.path, *_encode(records, attributes, size))
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
                yield _read_record(dataset, kind, index, only)

    @contextmanager
    def _reading(self, path: Path) -> Iterator[netCDF4.Dataset]:
        import netCDF4  # path sampling, which has no such files, imports this module too

        self._require_intact(path)
        with naming_damage(path, _ADVICE):
            dataset = netCDF4.Dataset(path)
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


def _require_older(path: Path, part: bool, run_is_sealed: bool) -> None:
    """Refuse a file without a checksum unless an older version wrote it, which has none; the netCDF library is not asked."""
    with open(path, "rb") as stream:
        head = stream.read(_HEAD)
        size = stream.seek(0, 2)
        beyond = size - _hdf5_length(head) if len(head) == _HEAD and head.startswith(b"\x89HDF") else -1
        if beyond >= 0:
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                new = content.find(_FORMAT.encode()) >= 0
                known = part or content.find(_UNSEALED.encode()) >= 0
    if beyond < 0 or new or (part and run_is_sealed):
        raise InputError(f"{path} is truncated or damaged; {_ADVICE}")
    if not known:
        raise InputError(f"{path} is no run file of openmm-rare, or damaged: check the path; {_ADVICE}")


def _encode(records: Iterable[tuple[str, int, Mapping]], attributes: Mapping, size: int = 0) -> tuple[memoryview, bytes]:
    """A netCDF file as bytes, up to where it says that it ends, and its checksum.

    Built in memory: when the disk fills up, plain writing fails cleanly, while the HDF5 library keeps its file open.
    `size` in bytes is a guess of the result's, which saves copying while it grows.
    """
    import netCDF4

    dataset = netCDF4.Dataset("memory.nc", "w", format="NETCDF4", memory=size + 65536)
    try:
        for name, value in attributes.items():
            _write_scalar(dataset, name, value)
        for kind, index, data in records:
            group = dataset.createGroup(f"{kind}/{index:06d}")
            # all names first, then all numbers: on every turn from names to numbers the library walks through the whole file
            for variable, array in filter(None, [_define(group, name, value) for name, value in data.items()]):
                variable[...] = array
    except BaseException:
        dataset.close()
        raise
    content = dataset.close()
    content = content[: _hdf5_length(content)]
    return content, seal(content)


def _hdf5_length(head: bytes | memoryview) -> int:
    """How long an HDF5 file is by its own account (superblock versions 0 to 3)."""
    return struct.unpack_from("<Q", head, {0: 40, 1: 44}.get(head[8], 28))[0]


def _define(group: netCDF4.Group, name: str, value: Any) -> tuple[netCDF4.Variable, np.ndarray] | None:
    """Write a scalar, or make the variable of an array; returns what is still to be written into it."""
    folder, _, last = name.rpartition("/")
    if not last:
        raise InputError(f"record entry {name!r} must have a name that does not end in '/'")
    target = group.createGroup(folder) if folder else group
    if isinstance(value, np.ndarray):
        return _define_array(target, last, value)
    _write_scalar(target, last, value)
    return None


def _write_scalar(group: netCDF4.Group, name: str, value: Any) -> None:
    """Python and NumPy scalars become attributes; uint8 marks bool, nothing else is stored so."""
    if isinstance(value, bool | np.bool_):
        value = np.uint8(value)
    elif isinstance(value, int | np.integer):
        if not -(2**63) <= value < 2**64:
            raise InputError(f"record entry {name!r} = {value} needs more than 64 bits; store it as text")
        value = np.int64(value) if value < 2**63 else np.uint64(value)
    elif isinstance(value, float | np.floating):
        value = np.float64(value)
    elif not isinstance(value, str):
        raise TypeError(f"record entry {name!r} is a {type(value).__name__}; allowed: arrays, numbers, bool and text")
    group.setncattr(name, value)


def _define_array(group: netCDF4.Group, name: str, array: np.ndarray) -> tuple[netCDF4.Variable, np.ndarray] | None:
    kind = "i1" if array.dtype == bool else array.dtype.newbyteorder("=").str[1:]
    text = array.dtype.kind == "U"
    if not text and kind not in _NUMERIC:
        raise TypeError(f"record entry {name!r} has dtype {array.dtype}; allowed: bool, integers, float32/64 and text")
    top = group
    while top.parent is not None:
        top = top.parent
    for size in array.shape:
        if f"n{size}" not in top.dimensions:
            top.createDimension(f"n{size}", size)  # size 0 makes an unlimited dimension, which stays empty
    dimensions = tuple(f"n{size}" for size in array.shape)
    fill = None if text else False
    variable = group.createVariable(name, str if text else kind, dimensions, fill_value=fill)
    variable.set_auto_maskandscale(False)
    if array.dtype == bool:
        variable.setncattr("boolean", np.uint8(1))
    return (variable, array.astype(object) if text else array.astype(kind, copy=False)) if array.size > 0 else None


def _read_record(dataset: netCDF4.Dataset, kind: str, index: int, only: Collection[str] | None) -> dict[str, Any]:
    with naming_damage(dataset.filepath(), _ADVICE):
        return _read_group(dataset[f"{kind}/{index:06d}"], only)


def _read_group(group: netCDF4.Group, only: Collection[str] | None = None, prefix: str = "") -> dict[str, Any]:
    scalars = _read_attributes(group)
    record = {prefix + name: value for name, value in scalars.items() if only is None or prefix + name in only}
    for name, variable in group.variables.items():
        if only is not None and prefix + name not in only:
            continue
        array = np.asarray(variable[...])
        if "boolean" in variable.ncattrs():
            array = array.astype(bool)
        record[prefix + name] = array.astype(str) if array.dtype == object else array
    for name, child in group.groups.items():
        record.update(_read_group(child, only, f"{prefix}{name}/"))
    return record


def _read_attributes(group: netCDF4.Group) -> dict[str, Any]:
    attributes = {}
    for name in group.ncattrs():
        value = group.getncattr(name)
        if isinstance(value, np.uint8):
            value = bool(value)
        attributes[name] = value.item() if isinstance(value, np.generic) else value
    return attributes

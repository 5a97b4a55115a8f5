"""Files: written atomically, so that whatever happens they are old or new, never half; read only if they are whole."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import InputError
from .checksums import SEAL_LENGTH, json_with_checksum, naming_damage, require_intact, seal
from .regular_file import regular_file

__all__ = [
    "left_behind",
    "lock_folder",
    "npy_array",
    "npz_arrays",
    "read_npz",
    "remove_stale",
    "replacing",
    "require_whole_npz",
    "resolved",
    "sealed_npz",
    "sync_folder",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_npz",
    "write_text",
]

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_ZIP_END = 22  # bytes of the last record of an archive without a comment


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; on success it is flushed to disk and renamed to `path`.

    The temporary name ends like `path`, because writers choose the format by suffix.

    Raises
    ------
    OSError
        If writing fails, e.g. on a full disk; the old file is untouched and the temporary one is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            message = (
                f"no space left on the disk while writing {path}; everything written before is intact: "
                "free some space and run this again, with --resume where there is one"
            )
            raise OSError(error.errno, message) from error
        raise


def write_bytes(path: str | Path, *content: bytes | memoryview) -> None:
    """Write bytes atomically, one part after the other."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        for part in content:
            stream.write(part)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, data: Any, checked: bool = False) -> None:
    """Write strict JSON atomically; NumPy values become numbers and lists, and NaN and infinities become null.

    A table that is `checked` gets a checksum as its last key, for :func:`openmm_rare.io.checksums.parse_checked_json`.
    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, json_with_checksum(text) if checked else text)


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write records with equal keys atomically, the keys in the first line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["empty"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically as an uncompressed ``.npz`` file, with its checksum as the comment of the archive."""
    write_bytes(path, *sealed_npz(arrays))


def left_behind(path: str | Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write what an error leaves to be looked at, and say where; a disk that takes nothing must not hide the error."""
    try:
        write_npz(path, arrays)
    except OSError as error:
        return f"{path}, which could not be written ({error.strerror or error})"
    return str(path)


def sealed_npz(arrays: Mapping[str, np.ndarray]) -> tuple[memoryview, bytes]:
    """What :func:`write_npz` writes: the archive, and its checksum."""
    archive = io.BytesIO()  # an archive that cannot be closed on a full disk says so when it is collected
    np.savez(archive, **arrays)
    content = archive.getbuffer()
    content[-2:] = SEAL_LENGTH.to_bytes(2, "little")  # length of the comment that follows
    return content, seal(content)


def require_whole_npz(path: str | Path) -> bool:
    """Check an ``.npz`` file by its checksum, before it is unpacked; without one it must end as it was written.

    Returns
    -------
    bool
        False for a file without a checksum: check sums of the archive, by :func:`read_npz`, are all that there is.

    Raises
    ------
    ValueError
        If it is damaged; for :func:`openmm_rare.io.checksums.naming_damage`.
    """
    if require_intact(path):
        return True
    with open(path, "rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - _ZIP_END))
        end = stream.read()
    if not end.startswith(b"PK\5\6") or end[-2:] != bytes(2):
        raise ValueError("its end is cut off or overwritten, or it is no archive of arrays")
    return False


def read_npz(path: str | Path, advice: str) -> dict[str, np.ndarray]:
    """The arrays that :func:`write_npz` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, with the `advice`.
    """
    with naming_damage(path, advice):
        require_whole_npz(regular_file(path))
        with open(path, "rb") as stream:
            return npz_arrays(stream)


def npz_arrays(stream: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays of an archive that :func:`numpy.savez` has written, and nothing else.

    Raises
    ------
    ValueError
        If it is no such archive; for :func:`openmm_rare.io.checksums.naming_damage`, as whatever else a damaged one raises.
    """
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise ValueError("an array is there twice")
        packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ValueError(f"{packed[0]} is compressed")
        return {name.removesuffix(".npy"): npy_array(archive.read(name), name) for name in archive.namelist()}


def npy_array(content: bytes, name: str) -> np.ndarray:
    """The array of a member of an archive, which takes exactly the bytes that are there for it.

    Raises
    ------
    ValueError
        If it does not, or would hold anything else than numbers and text.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.kind not in "biufcU" or not dtype.itemsize or any(size < 0 for size in shape):
        raise ValueError(f"{name} holds no numbers or text")
    size, start = math.prod(shape), stream.tell()
    if size * dtype.itemsize != len(content) - start:
        raise ValueError(f"the shape {shape} of {name} does not fit its data")
    flat = np.frombuffer(content, dtype, size, start) if size else np.zeros(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy()


def resolved(path: str | Path) -> Path:
    """An absolute path without links; links that lead to themselves stay, which :meth:`pathlib.Path.resolve` fails on.

    Raises
    ------
    ValueError
        If no file can have such a name.
    """
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no name that a file can have ({error})") from error


def remove_stale(folder: str | Path) -> None:
    """Remove temporary files that a killed process left anywhere in a folder that no other process writes to."""
    for path in Path(folder).rglob(".*.tmp*"):
        path.unlink(missing_ok=True)


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Hold a run folder for this process; the lock vanishes with the process, also when it is killed.

    Raises
    ------
    ValueError
        If another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows: no advisory locks on folders; the run works, unprotected
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(f"another process is writing to {folder}; wait for it, or choose another folder") from None
    except OSError:  # file systems without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush to disk which names a folder has."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

"""Atomic writing: whatever happens to the process or the disk, a file is either old or new, never half."""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError

__all__ = [
    "lock_folder",
    "regular_file",
    "remove_stale",
    "replacing",
    "resolved",
    "write_bytes",
    "write_csv",
    "write_json",
    "write_npz",
    "write_text",
]

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


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
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            message = (
                f"no space left on the disk while writing {path}; everything written before is intact: "
                "free some space and run this again, with --resume where there is one"
            )
            raise OSError(error.errno, message) from error
        raise


def regular_file(path: str | Path) -> Path:
    """The path, if it can be read to an end: reading a pipe waits for ever, and a device may never end.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is a folder, a pipe, a socket or a device.
    """
    path = Path(path)
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe, a socket or a device'}: give a file")
    return path


def write_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Write bytes atomically."""
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        stream.write(content)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, data: Any) -> None:
    """Write strict JSON atomically; NumPy values become numbers and lists, and NaN and infinities become null."""
    write_text(path, json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write records with equal keys atomically, the keys in the first line."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else ["empty"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays atomically as an uncompressed ``.npz`` file."""
    archive = io.BytesIO()  # an archive that cannot be closed on a full disk says so when it is collected
    np.savez(archive, **arrays)
    write_bytes(path, archive.getbuffer())


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
    """Remove temporary files that a killed process left in a folder; call it under :func:`lock_folder` only."""
    for path in Path(folder).glob(".*.tmp*"):
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


def _sync_folder(folder: Path) -> None:
    """Flush a rename to disk."""
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

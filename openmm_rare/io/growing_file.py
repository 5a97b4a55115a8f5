"""Tables that grow in a file of arrays: what it takes to write a row does not depend on how many there are already.

An ``.npz`` file has everything up to some moment. Rows since then are appended, block after block, to ``rows`` in a folder
beside it, and what takes the place of its older self, as the state of a run does, is written to ``rest.npz`` there. That file
also says how much of ``rows`` counts: with it a block is there, and what a killed process left behind it is written again. In
the end all of it is joined into the one file. (The run file of a rate is for few large records: for small ones netCDF takes ten
times as long, and a minute to join 2000.)
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import InputError
from .checksums import naming_damage, seal_of
from .files import npz_arrays, read_npz, sealed_npz, sync_folder, write_bytes, write_npz, write_text
from .regular_file import regular_file

__all__ = ["Grown", "GrowingFile"]

_ROWS, _REST, _JOINED = "rows", "rest.npz", "joined"
_HEAD = re.compile(rb"block of ([0-9]{1,18}) bytes, sha256 ([0-9a-f]{64})\n")
_HEAD_LENGTH, _DIGITS = 128, 64  # more than the head of any block; of a checksum
_COUNTED, _LAST = "rows/length", "rows/sha256"  # keys of rest.npz
_ATTEMPTS = 5  # to read what another process is joining


@dataclass
class Grown:
    """What a growing file holds.

    Attributes
    ----------
    start : dict of ndarray
        Arrays of the file itself.
    blocks : list of dict of ndarray
        Rows that were appended, in order.
    rest : dict of ndarray
        The latest of all else that was written with them; empty without any.
    """

    start: dict[str, np.ndarray]
    blocks: list[dict[str, np.ndarray]] = field(default_factory=list)
    rest: dict[str, np.ndarray] = field(default_factory=dict)

    def joined(self) -> dict[str, np.ndarray]:
        """All as if it had been written at once: blocks behind the arrays of the same names, and the latest of the rest."""
        arrays = self.start | self.rest
        for name in dict.fromkeys(name for block in self.blocks for name in block):
            parts = [self.start[name]] if name in self.start else []
            parts += [block[name] for block in self.blocks]
            arrays[name] = np.concatenate([part for part in parts if len(part)] or parts[:1])
        return arrays


class GrowingFile:
    """One such file, and the folder ``<path>.parts`` beside it.

    Parameters
    ----------
    path : path
        An ``.npz`` file, which need not be there yet.
    advice : str
        What to do about a damaged one, for messages.
    """

    # Within one object _length and _last say how much of the rows counts, and the checksum that the next block follows from.

    def __init__(self, path: str | Path, advice: str) -> None:
        self.path, self._advice = Path(path), advice
        self.parts = self.path.with_name(self.path.name + ".parts")
        self._length, self._last = 0, ""

    @property
    def is_sealed(self) -> bool:
        """Whether the file, which was written or loaded, ends with a checksum: rows can be added then."""
        return bool(self._last)

    @property
    def size_of_parts(self) -> int:
        """Bytes that were written beside the file."""
        return self._length

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Write all that there is, atomically, in the place of what was there.

        Raises
        ------
        OSError
            If the disk is full; nothing has changed then.
        """
        content, end = sealed_npz(arrays)
        own = end[-_DIGITS:].decode("ascii")
        if self.parts.is_dir():
            write_text(self.parts / _JOINED, own)
        write_bytes(self.path, content, end)
        self._remove_parts()
        self._length, self._last = 0, own

    def append(self, rows: Mapping[str, np.ndarray], rest: Mapping[str, np.ndarray]) -> None:
        """Add rows and renew the rest: both survive ``kill -9`` and power loss when this returns, and before neither is there.

        The file must have been written or loaded by this object, and end with a checksum, as all do that :meth:`write` wrote.

        Raises
        ------
        OSError
            If the disk is full; what was there before is there still.
        """
        content = b"".join(sealed_npz(rows))
        digest = _chained(self._last, content)
        block = b"block of %d bytes, sha256 %s\n" % (len(content), digest.encode()) + content
        new = not self._length
        if new:
            self._remove_parts()
            self.parts.mkdir(exist_ok=True)
        with open(os.open(self.parts / _ROWS, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as stream:  # which keeps what is there
            stream.truncate(self._length)
            stream.seek(self._length)
            stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            sync_folder(self.path.parent)
        length = self._length + len(block)
        write_npz(self.parts / _REST, {**rest, _COUNTED: np.array(length), _LAST: np.array(digest)})
        self._length, self._last = length, digest

    def load(self) -> Grown:
        """Everything, also while another process goes on with it.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If a file is damaged, of another one than the rows, or no such file.
        """
        for _ in range(_ATTEMPTS):
            before = _signature(self.path)
            try:
                found = self._read()
            except (InputError, FileNotFoundError):
                if _signature(self.path) == before:
                    raise
                continue
            if _signature(self.path) == before:
                return found
        raise InputError(f"{self.path} changes all the time: wait until the process that writes it has ended")

    def _read(self) -> Grown:
        start = read_npz(self.path, self._advice)
        own = seal_of(self.path) or ""
        self._length, self._last = 0, own
        if self._is_joined(own):
            return Grown(start)
        rows, rest = self.parts / _ROWS, self.parts / _REST
        if not rest.exists():
            self._require_at_most_one(rows)
            return Grown(start)
        later = read_npz(rest, self._advice)
        with naming_damage(rest, self._advice):
            if seal_of(rest) is None:
                raise ValueError("its checksum is missing")
            length, last = int(later.pop(_COUNTED)), str(later.pop(_LAST))
        if not rows.exists():
            raise InputError(f"{rows} is missing: {self._advice}")
        with naming_damage(rows, self._advice):
            blocks, found = _blocks(regular_file(rows), length, own)
            if found != last:
                raise ValueError(f"it does not belong to {self.path.name} and {_REST}")
        self._length, self._last = length, last
        return Grown(start, blocks, later)

    def _is_joined(self, own: str) -> bool:
        """Whether the rows are in the file already: a process was killed before it could remove them."""
        path = self.parts / _JOINED
        return not self.parts.is_dir() or (path.exists() and regular_file(path).read_bytes()[:_DIGITS] == own.encode())

    def _remove_parts(self) -> None:
        """First what counts, so that a process that is killed here leaves nothing that would be taken for new rows."""
        for name in (_REST, _ROWS, _JOINED):
            (self.parts / name).unlink(missing_ok=True)
        with suppress(OSError):  # not there, or something else lies in it
            self.parts.rmdir()

    def _require_at_most_one(self, rows: Path) -> None:
        """The first block comes before the rest; there is no second one without it."""
        size = rows.stat().st_size if rows.exists() else 0
        if not size:
            return
        with open(regular_file(rows), "rb") as stream:
            found = _HEAD.match(stream.read(_HEAD_LENGTH))
        if found is not None and size > found.end() + int(found[1]):
            raise InputError(f"{self.parts / _REST} is missing: {self._advice}")


def _blocks(path: Path, length: int, last: str) -> tuple[list[dict[str, np.ndarray]], str]:
    """The blocks in the first bytes of a file, which follow from what was there before, and the checksum of the last one."""
    content = path.read_bytes()
    if not 0 <= length <= len(content):
        raise ValueError(f"{length - len(content)} bytes are missing at its end")
    blocks, place = [], 0
    while place < length:
        head = _HEAD.match(content, place)
        block = b"" if head is None else content[head.end() : head.end() + int(head[1])]
        last = _chained(last, block)
        if head is None or len(block) != int(head[1]) or last.encode() != head[2]:
            raise ValueError("the checksum of a block does not fit its content, or the blocks are not in their order")
        blocks.append(npz_arrays(BytesIO(block)))
        place = head.end() + len(block)
    return blocks, last


def _chained(before: str, content: bytes) -> str:
    """SHA-256 of a block and of all that came before it."""
    return hashlib.sha256(before.encode() + content).hexdigest()


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Differs when a file has been written anew."""
    if not path.exists():
        return None
    now = path.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns

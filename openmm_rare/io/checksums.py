"""Checksums at the end of files: what was damaged or edited is noticed before anything else reads it.

A file that this package writes ends with SHA-256 of all before it: .npz as the comment of the archive, netCDF behind what HDF5
reads, JSON as its last key, TOML as its last comment. File and checksum are written together and renamed, so that a process
that is killed leaves both or neither. Files of older versions have none; they are read, and said to be unchecked.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, RareError
from .regular_file import regular_file

__all__ = [
    "SEAL_LENGTH",
    "digest_of",
    "json_with_checksum",
    "naming_contents",
    "naming_damage",
    "parse_checked_json",
    "require_intact",
    "seal",
    "seal_of",
    "toml_is_as_written",
    "toml_with_checksum",
    "unchecked_note",
]

_MARK = b"\nopenmm_rare sha256 "
SEAL_LENGTH: int = len(_MARK) + 64
"""Bytes of a checksum at the end of a file."""

_NO_FIT = "its checksum does not fit its content"
_BLOCK = 1 << 22
_CLOSE = "\n}\n"
_JSON_END = re.compile(r',\n  "checksum": "sha256 ([0-9a-f]{64})"\n}\n\Z')
_TOML_END = re.compile(r"^# sha256 ([0-9a-f]{64}) [^\n]*\n\Z", re.MULTILINE)
_PLACES = re.compile(r"^folder(_from_here)? = .*\n", re.MULTILINE)  # may be edited when a run is moved


def seal(*content: bytes | memoryview) -> bytes:
    """What to write behind the content of a file."""
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    return _MARK + digest.hexdigest().encode()


def seal_of(path: str | Path) -> str | None:
    """The SHA-256 at the end of a file, which may or may not fit its content; None if it ends without a checksum."""
    with open(regular_file(path), "rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - SEAL_LENGTH))
        end = stream.read()
    return end[len(_MARK) :].decode("ascii", "replace") if end.startswith(_MARK) else None


def digest_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of arrays and their names in any order, whichever file they lie in."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    return digest.hexdigest()


def require_intact(path: str | Path) -> bool:
    """Compare a file with the checksum at its end, without reading anything into its content.

    Returns
    -------
    bool
        False if it ends without a checksum.

    Raises
    ------
    ValueError
        If its content has changed since it was written; for :func:`naming_damage`, which says of which file.
    """
    digest = hashlib.sha256()
    with open(regular_file(path), "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - SEAL_LENGTH))
        found = stream.read()
        if not found.startswith(_MARK):
            return False
        stream.seek(0)
        left = size - SEAL_LENGTH
        while left and (block := stream.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    if found != _MARK + digest.hexdigest().encode():
        raise ValueError(_NO_FIT)
    return True


@contextmanager
def naming_damage(path: str | Path, advice: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into one line that names it and says what to do.

    Raises
    ------
    ValueError
        For all but errors of this package, of the operating system, and lack of memory, which pass.
    """
    try:
        yield
    except (RareError, MemoryError):
        raise
    except Exception as error:
        number = getattr(error, "errno", None) if isinstance(error, OSError) else None
        if number is not None and number > 0 and number != errno.EINVAL:  # libraries have numbers of their own below 0
            raise
        reason = " ".join(f"{error}".split()) or type(error).__name__
        raise InputError(f"{path} is truncated or damaged ({reason}); {advice}") from error


@contextmanager
def naming_contents(folder: str | Path) -> Iterator[None]:
    """For reading a run folder that is whole, but may hold what no run of ours writes there: one line names the folder.

    Raises
    ------
    ValueError
        For whatever contents of the wrong kind lead to.
    """
    try:
        yield
    except RareError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(
            f"files in {folder} hold what no run writes there ({reason}): restore them from a copy, or continue the run with "
            "--resume, which writes result.json again"
        ) from error


def json_with_checksum(text: str) -> str:
    """An indented JSON object, not empty, with its checksum as the last key."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text.removesuffix(_CLOSE)},\n  "checksum": "sha256 {digest}"{_CLOSE}'


def parse_checked_json(path: str | Path, advice: str) -> dict[str, Any]:
    """What a JSON file holds, without its checksum.

    Raises
    ------
    ValueError
        If it is damaged, or was edited.
    """
    path = Path(path)
    with naming_damage(path, advice):
        text = regular_file(path).read_bytes().decode("utf-8")
        found = _JSON_END.search(text)
        if found is None and re.search("check?sum|sha256", text[-120:]):
            raise ValueError("its checksum is not readable")
        if found is not None:
            text = text[: found.start()] + _CLOSE
            if hashlib.sha256(text.encode()).hexdigest() != found[1]:
                raise ValueError(_NO_FIT)
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is no table")
        return values


def toml_with_checksum(text: str) -> str:
    """TOML with its checksum as the last line; the folder may be changed without it."""
    return f"{text}# sha256 {_toml_digest(text)} of all lines above but folder\n"


def toml_is_as_written(path: str | Path) -> bool | None:
    """Whether a TOML file is as it was written; None if it has no checksum."""
    text = Path(path).read_bytes().decode("utf-8", "replace")
    found = _TOML_END.search(text)
    if found is not None:
        return _toml_digest(text[: found.start()]) == found[1]
    return False if "sha256" in text[-150:] or "lines above but" in text[-150:] else None


def unchecked_note(folder: str | Path, remade: bool = False) -> str | None:
    """A sentence about the files of a run folder that have no checksum, if there are any.

    Parameters
    ----------
    folder : path
    remade : bool
        Say nothing of those that the command writes anew without reading them.
    """
    folder = Path(folder)
    names = ["run.nc", "shots.npz", "start_model.npz", "first-paths.npz", *([] if remade else ["model.npz"])]
    paths = [folder / name for name in names]
    paths += [*folder.glob("chain-*/paths-*.npz"), *folder.glob("run.nc.parts/[!.]*.nc")]
    bare = [path.relative_to(folder).as_posix() for path in paths if path.is_file() and seal_of(path) is None]
    results = [] if remade else [folder / "result.json", folder / "scan.json"]
    bare += [path.name for path in results if path.is_file() and not _has_key(path)]
    if (folder / "config.toml").is_file() and toml_is_as_written(folder / "config.toml") is None:
        bare.append("config.toml")
    if not bare:
        return None
    more = f" and {len(bare) - 3} more files" if len(bare) > 3 else ""
    return f"{', '.join(sorted(bare)[:3])}{more} in {folder} have no checksum, so that damage could have gone unnoticed."


def _toml_digest(text: str) -> str:
    return hashlib.sha256(_PLACES.sub("", text).encode()).hexdigest()


def _has_key(path: Path) -> bool:
    return _JSON_END.search(path.read_bytes().decode("utf-8", "replace")) is not None

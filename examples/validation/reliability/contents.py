"""What the files of a run folder hold, without what may differ between equal runs: to compare two of them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["contents", "difference"]

_TIME = ("wall_seconds", "checksum")  # the checksum of a result is one of its wall time, too
_DATE = b"REMARK   1 CREATED WITH OPENMM"
_PLACE = ("folder =", "folder_from_here =")
_OWN = ("uuid", "details", "simulation_objects", "openmm_rare_checksums")
"""Tables of steps.db with identities that differ between processes, and their checksums."""


def contents(folder: Path, pages: bool = False) -> dict[str, str]:
    """Names of all files and, of what is in them, the entries by their names.

    Parameters
    ----------
    folder : Path
    pages : bool
        Also what HTML and pictures show, wall times included.
    """
    found = {}
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = str(path.relative_to(folder))
        found[name] = "there"
        try:
            found |= {f"{name}: {entry}": value for entry, value in _entries(path, pages)}
        except Exception as error:  # damaged
            found[name] = f"unreadable ({type(error).__name__})"
    return found


def difference(wanted: dict[str, str], found: dict[str, str], most: int = 3) -> str:
    """The first entries that differ, in a line; empty if none does."""
    names = [name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)]
    shown = "; ".join(
        f"{name} {wanted.get(name, 'missing')[:40]} -> {found.get(name, 'missing')[:40]}" for name in names[:most]
    )
    return f"{shown}; {len(names) - most} more" if len(names) > most else shown


def _entries(path: Path, pages: bool) -> Iterator[tuple[str, str]]:
    if path.suffix == ".json":
        yield from _flat(json.loads(path.read_text(encoding="utf-8")), "")
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                if name == "config":  # that of the run, which says where it lies
                    yield name, _settings(str(array))
                elif name != "checksum":
                    yield name, f"{array.dtype}{array.shape} {_hash(array.tobytes())}"
    elif path.suffix == ".db":
        yield from _tables(path)
    elif path.suffix == ".toml":
        yield "lines", _settings(path.read_text(encoding="utf-8"))
    elif path.suffix == ".pdb":
        yield "lines", _hash(b"\n".join(line for line in path.read_bytes().splitlines() if not line.startswith(_DATE)))
    elif path.name != "log.txt" and (pages or path.suffix not in (".html", ".png", ".nc")):
        yield "bytes", _hash(path.read_bytes())


def _flat(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in _TIME:
                yield from _flat(entry, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for number, entry in enumerate(value):
            yield from _flat(entry, f"{name}[{number}]")
    else:
        yield name, json.dumps(value)


def _tables(path: Path) -> Iterator[tuple[str, str]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        yield "integrity", str(database.execute("PRAGMA integrity_check").fetchone()[0])
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            rows = sorted(map(repr, database.execute(f"SELECT * FROM '{name}'")))
            yield name, f"{len(rows)} rows" + ("" if name in _OWN else f" {_hash(repr(rows).encode())}")


def _settings(text: str) -> str:
    return _hash("\n".join(line for line in text.splitlines() if not line.startswith(_PLACE)).encode())


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

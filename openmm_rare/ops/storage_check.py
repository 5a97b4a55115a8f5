"""Whether a storage of a chain is what was written to it: the checks of SQLite, and a checksum of the rows of each save.

Needs no OpenPathSampling. Checksums are rows of a table of their own, written in the same transaction as what they are of: a
process that is killed leaves both or neither, and nothing that is there already is read again for a save.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["add_checksum", "damage_of_storage", "mark_owner", "set_aside"]

_TABLE, _OWNER = "openmm_rare_checksums", "openmm_rare_owner"
_NEEDED = {"schema", "metadata", "tables", "uuid"}
_NOT_DAMAGED = ("readonly", "unable to open", "locked", "is full")  # whoever writes to it says what to do


def add_checksum(cursor: Any, table: str, first: int, last: int) -> None:
    """Store the checksum of rows that have just been inserted.

    Parameters
    ----------
    cursor : cursor of the sqlite3 module
        Of the connection that inserted them, before it commits.
    table : str
    first, last : int
        Values of the column ``idx``.
    """
    cursor.execute(f'CREATE TABLE IF NOT EXISTS {_TABLE} ("table" TEXT, first INTEGER, last INTEGER, sha256 TEXT)')
    digest = _digest(cursor, table, first, last)
    cursor.execute(f"INSERT INTO {_TABLE} VALUES (?, ?, ?, ?)", (table, first, last, digest))


def mark_owner(path: Path, owner: str) -> None:
    """Write down what a storage belongs to, unless it belongs to something already.

    Parameters
    ----------
    path : Path
        Of a storage that nothing is being saved to.
    owner : str
        The run and the chain.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {_OWNER} (owner TEXT)")
        connection.execute(f"INSERT INTO {_OWNER} SELECT ? WHERE NOT EXISTS (SELECT * FROM {_OWNER})", (owner,))


def damage_of_storage(path: Path, owner: str) -> str | None:
    """What is wrong with a storage, in a few words; None if nothing is.

    Rows that older versions wrote, or another program, have no checksum: only the checks of SQLite see them. A storage of
    theirs that belongs to nothing is believed to belong here.

    Parameters
    ----------
    path : Path
    owner : str
        What it should belong to, as in :func:`mark_owner`.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            return _damage(connection.cursor(), owner)
    except (sqlite3.Error, UnicodeDecodeError, ValueError, TypeError) as error:
        said = " ".join(str(error).split())
        return None if any(words in said for words in _NOT_DAMAGED) else said


def set_aside(path: Path) -> Path:
    """Give a damaged storage another name, which nothing has yet; returns it."""
    names = [path.with_name(f"{path.stem}.damaged{suffix}{path.suffix}") for suffix in ("", *map(str, range(2, 1000)))]
    free = next(name for name in names if not name.exists())
    path.rename(free)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    return free


def _damage(cursor: sqlite3.Cursor, owner: str) -> str | None:
    (found,) = cursor.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        return " ".join(str(found).split())
    tables = {name for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables >= _NEEDED:
        return f"it lacks the tables {', '.join(sorted(_NEEDED - tables))}"
    if _OWNER in tables and cursor.execute(f"SELECT * FROM {_OWNER}").fetchall() not in ([], [(owner,)]):
        return "it is that of another run or chain"
    numbers = dict(cursor.execute("SELECT name, idx FROM tables").fetchall())
    for table in numbers.keys() & tables:
        lost = cursor.execute(
            f'SELECT count(*) FROM "{table}" t LEFT JOIN uuid u ON u.uuid = t.uuid AND u."table" = ? AND u.row = t.idx '
            "WHERE u.uuid IS NULL",
            (numbers[table],),
        ).fetchone()[0]
        if lost:
            return f"{lost} rows of {table} are not found by their names"
    saves: Iterable[tuple] = cursor.execute(f"SELECT * FROM {_TABLE}").fetchall() if _TABLE in tables else ()
    for table, first, last, digest in saves:
        if _digest(cursor, table, first, last) != digest:
            return f"rows {first} to {last} of {table} do not fit their checksum"
    return None


def _digest(cursor: Any, table: str, first: int, last: int) -> str:
    """SHA-256 of rows, their types and lengths included."""
    digest = hashlib.sha256()
    for row in cursor.execute(f'SELECT * FROM "{table}" WHERE idx BETWEEN ? AND ? ORDER BY idx', (first, last)):
        for value in row:
            content = value if isinstance(value, bytes) else repr(value).encode()
            digest.update(f"{type(value).__name__} {len(content)} ".encode() + content)
    return digest.hexdigest()

"""What a storage of a chain would run when it is opened: nothing but what the run itself has."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

from ..errors import InputError, UntrustedCodeError

__all__ = ["require_no_code"]

_PROGRAMS = {"__callable_name__", "_dilled", "_marshal", "_module"}  # keys of functions, as OpenPathSampling writes them
_PLAIN = {"builtins", "numpy", "openmm.unit.quantity", "mdtraj.core.topology", "mdtraj.core.trajectory"}
_OURS = re.compile(r"openmm_rare\.ops\.\w+|openpathsampling\.(engines\.topology|(?!engines\.|experimental\.)[\w.]+)")
_RUN = ("PythonForce", "TorchForce", "PlumedForce")  # wherever in XML, which readers may take in different ways
_TABLES = re.compile(r"openpathsampling\.[\w.]+")
_EVALUATED = re.compile(r"simtk\((?![\w.*/ ]*\)\*)")  # units that are more than products


def require_no_code(path: Path, known: Collection[str] = ()) -> None:
    """Refuse a storage that holds functions, programs, or objects that no chain stores, before OpenPathSampling reads it.

    Parameters
    ----------
    path : Path
        A SimStore storage.
    known : collection of str
        Texts that the run itself would store: XML of its System, definitions of its states.

    Raises
    ------
    ValueError
        UntrustedCodeError, or if it cannot be read to its end.
    """
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            found = next(_code(connection.cursor(), frozenset(known)), None)
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        said = " ".join(str(error).split())[:160]
        raise InputError(
            f"{path} is no readable storage of OpenPathSampling ({said}); the run itself does not depend on it: move it away, "
            "and a new one is begun"
        ) from error
    if found is not None:
        raise UntrustedCodeError(
            f"{path} holds {found}, which reading it would run and this run did not write: move it away, and a new one is begun"
        )


def _code(cursor: sqlite3.Cursor, known: frozenset[str]) -> Iterator[str]:
    """What would run, in a few words."""
    columns = {
        name: [row[1] for row in cursor.execute(f'PRAGMA table_info("{name}")').fetchall()]
        for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if '"' not in name
    }
    if "tables" in columns:
        yield from (
            f"a table of {module!r:.60}"
            for (module,) in cursor.execute("SELECT module FROM tables").fetchall()
            if not _TABLES.fullmatch(module)
        )
    if "schema" in columns:
        texts = [text for row in cursor.execute("SELECT * FROM schema").fetchall() for text in row]
        yield from (f"the type {text!r:.60}" for text in texts if _EVALUATED.search(text))
    for name, fields in columns.items():
        if "json" in fields:
            for (text,) in cursor.execute(f'SELECT json FROM "{name}"'):
                yield from _within(json.loads(text), known)


def _within(value: Any, known: frozenset[str]) -> Iterator[str]:
    """What would run of one object."""
    if isinstance(value, list):
        for each in value:
            yield from _within(each, known)
    if not isinstance(value, dict):
        return
    if _PROGRAMS & value.keys():
        yield "a function"
    module = value.get("__module__", "builtins")
    if not (module in _PLAIN or _OURS.fullmatch(module)):
        yield f"an object of {module!r:.60}"
    for key, each in value.items():
        if key in ("system_xml", "integrator_xml") and each not in known and any(kind in unescape(each) for kind in _RUN):
            yield f"a program in its {key.removesuffix('_xml')}"
        elif key == "definition" and each not in known and "function" in _keys(json.loads(each)):
            yield "a state with a function"
        yield from _within(each, known)


def _keys(value: Any) -> set[str]:
    """The keys of all tables within."""
    if isinstance(value, list):
        return set().union(*map(_keys, value))
    return set(value).union(*map(_keys, value.values())) if isinstance(value, dict) else set()

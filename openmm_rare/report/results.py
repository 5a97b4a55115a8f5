"""``result.json`` and its like, as the pages and the commands read them back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..io.checksums import parse_checked_json, unchecked_note

__all__ = ["ADVICE", "notes_of", "read_json", "read_result"]

ADVICE: str = "restore it from a copy, or continue the run with --resume, which writes it again"
"""What to do about a file that cannot be right."""


def notes_of(result: Mapping[str, Any], folder: Path) -> list[str]:
    """The notes of a result, and which files of its folder have no checksum."""
    return list(dict.fromkeys([*result.get("notes", ()), *filter(None, [unchecked_note(folder)])]))


def read_result(folder: Path) -> dict[str, Any]:
    """``result.json`` of a run folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it cannot be read.
    """
    path = folder / "result.json"
    if not path.is_file():
        hint = (
            f"the run in {folder} is not finished: continue it with --resume"
            if (folder / "run.nc").is_file()
            else f"{folder} is no run folder: it has no run.nc, no shots.npz and no result.json"
        )
        raise FileNotFoundError(hint)
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that this package wrote.

    Raises
    ------
    ValueError
        If it is damaged, or was edited.
    """
    return parse_checked_json(path, ADVICE)

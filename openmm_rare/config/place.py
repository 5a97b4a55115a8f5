"""Where the files of a configuration lie: beside it, or elsewhere, for a run folder, which may be moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..io.files import resolved
from ..io.toml import Section

__all__ = ["FROM_HERE", "home_of", "place_entries"]

FROM_HERE: str = "folder_from_here"
"""Key of the same folder from where the configuration lies, which stays right when both are moved."""


def place_entries(folder: str, here: str | Path | None) -> dict[str, str]:
    """What a configuration that is written into the folder `here` says of where its files lie.

    Parameters
    ----------
    folder : str
        Absolute; where they lie.
    here : path or None
        None: not said.
    """
    entries = {"folder": folder}
    if here is not None:
        own = resolved(here)
        try:
            shared = os.path.commonpath([folder, own])
        except ValueError:  # other drives
            return entries
        if shared != Path(folder).anchor:
            entries[FROM_HERE] = Path(os.path.relpath(folder, own)).as_posix()
    return entries


def home_of(top: Section, here: str | Path) -> Path:
    """Where the files of a configuration lie.

    Parameters
    ----------
    top : Section
        The whole configuration.
    here : path
        The folder that it lies in.

    Raises
    ------
    ValueError
        If it names a folder that is gone, or no longer has the files.
    """
    recorded = resolved(Path(here) / top.text("folder", ""))
    places = [recorded]
    if FROM_HERE in top:
        places.insert(0, resolved(Path(here) / top.text(FROM_HERE)))
    files = [name for key, name in _texts(top.raw.get("system", {})) if key in ("xml", "pdb", "cif", "more_starts")]
    modules = {name.partition(":")[0].partition(".")[0] for _, name in _texts(top.raw) if ":" in name}
    known = {name for name in modules if any(_has_module(place, name) for place in places)}
    for place in places:
        complete = all((place / name).is_file() for name in files) and all(_has_module(place, name) for name in known)
        if complete and (files or known):
            return place
    missing = [name for name in files if not (recorded / name).is_file()]
    if "folder" in top and missing:
        raise InputError(
            f"folder = {top.text('folder')!r} is where this run began, but it has no {' and no '.join(missing)} now: write the "
            "folder that they are in, absolute or from the folder of this file"
        )
    return recorded


def _has_module(place: Path, name: str) -> bool:
    return (place / f"{name}.py").is_file() or (place / name).is_dir()


def _texts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts within tables and lists, with their keys."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, entry in value.items():
            yield from _texts(entry, name)
    elif isinstance(value, list):
        for entry in value:
            yield from _texts(entry, key)

"""Paths of a rate in its folder: ``paths/``, written when the run has ended, and read again from its record."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..io.run_file import RunFile
from ..rates.keeping.saved_paths import SavedPaths, wanted
from ..rates.production import Production
from ..rates.saving import chosen_paths
from ..settings.rates import RateSettings
from .shown_paths import FRAMES, PATHS, TOPOLOGY, ShownPaths, write_shown_paths

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["read_saved_paths", "shown", "write_saved_paths"]

_FORMAT = "dcd"


def write_saved_paths(folder: Path, saved: SavedPaths, problem: RareEventSystem) -> dict[str, Any]:
    """Write ``paths/`` anew: ``topology.pdb``, a ``.dcd`` file for each path, ``paths.csv`` with a row for each, ``frames.csv``
    with a row for each of their frames.

    Returns
    -------
    dict
        What ``result.json`` says about them.
    """
    place = folder / "paths"
    place.mkdir(exist_ok=True)
    for old in (place / PATHS, place / FRAMES, place / TOPOLOGY, *place.glob(f"path-*.{_FORMAT}")):
        old.unlink(missing_ok=True)
    write_shown_paths(place, shown(saved, problem.timestep), problem, _FORMAT)
    frame_ps = saved.steps_per_frame * problem.timestep
    return {"folder": "paths", "paths": len(saved.positions), "of": saved.n_trees, "frame_ps": frame_ps}


def shown(saved: SavedPaths, timestep: float) -> ShownPaths:
    """What files hold of saved paths, for a time step in ps."""
    steps = zip(saved.positions, saved.steps, strict=True)
    times = [timestep * np.minimum(saved.steps_per_frame * np.arange(len(each)), last) for each, last in steps]
    about = {"weight": saved.weights, "share": saved.shares, "root": saved.roots, "exit": saved.exits}
    along = {"ln_importance": saved.log_importance} | ({} if saved.committor is None else {"committor": saved.committor})
    return ShownPaths(saved.positions, times, saved.steps_per_frame * timestep, about, along)


def read_saved_paths(run: RunFile, result: Mapping[str, Any], settings: RateSettings, timestep: float) -> SavedPaths:
    """The paths that a finished run has written, from its record; what is known along them from ``paths/frames.csv``.

    Raises
    ------
    ValueError
        If ``frames.csv`` is not that of these paths.
    """
    rounds = run.load("production")
    production = Production(len(rounds[0]["arrivals"]), wanted(settings))
    for each in rounds:
        production.add(each)
    saved = chosen_paths(production, settings.save_paths, round(result["saved_paths"]["frame_ps"] / timestep))
    path = run.path.parent / result["saved_paths"]["folder"] / FRAMES
    with open(path, encoding="utf8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    ends = np.cumsum([len(each) for each in saved.positions])
    if len(rows) != ends[-1]:
        raise InputError(f"{path} has {len(rows)} frames, the paths of the run {ends[-1]}: rate --resume writes it anew")
    along = {
        name: np.split(np.array([float(row[name]) for row in rows]), ends[:-1])
        for name in ("ln_importance", "committor")
        if name in rows[0]
    }
    return replace(saved, log_importance=along["ln_importance"], committor=along.get("committor"))

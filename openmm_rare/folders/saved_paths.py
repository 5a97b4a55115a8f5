"""Paths of a rate in its folder, as VMD, PyMOL, mdtraj and nglview open them: ``paths/``, with tables of what is in it."""

from __future__ import annotations

import csv
import io
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import app, unit

from ..dynamics.whole_frames import to_look_at
from ..io.files import replacing, write_csv, write_text
from ..mechanism.atoms import plain_topology
from ..rates.keeping.saved_paths import SavedPaths
from ..structure.box import periodic_box

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["write_saved_paths"]

_TABLE = "paths.csv"  # written last: where it is, all is there


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
    (place / _TABLE).unlink(missing_ok=True)
    for old in place.glob("path-*.dcd"):
        old.unlink()
    topology = _topology(problem)
    frame_ps = saved.steps_per_frame * problem.timestep
    names = [f"path-{number:03d}.dcd" for number in range(1, len(saved.positions) + 1)]
    for number, (name, positions) in enumerate(zip(names, saved.positions, strict=True)):
        shown = to_look_at(positions.astype(np.float64), problem)
        if number == 0:
            _write_structure(place / "topology.pdb", topology, shown[0])
        _write_frames(place / name, topology, shown, frame_ps)
    write_text(place / "frames.csv", _frames_text(saved, names, problem))
    columns = zip(names, saved.weights, saved.shares, saved.roots, saved.exits, saved.positions, saved.steps, strict=True)
    rows = [
        {
            "file": name,
            "weight": float(weight),
            "share": float(share),
            "root": int(root),
            "exit": int(exit),
            "frames": len(positions),
            "duration_ps": float(steps) * problem.timestep,
        }
        for name, weight, share, root, exit, positions, steps in columns
    ]
    if rows:
        write_csv(place / _TABLE, rows)
    return {"folder": "paths", "paths": len(rows), "of": saved.n_trees, "frame_ps": frame_ps}


def _topology(problem: RareEventSystem) -> app.Topology:
    known = problem.topology
    fits = known is not None and known.getNumAtoms() == len(problem.positions)
    topology = known if fits else plain_topology(len(problem.positions))
    box = periodic_box(problem.system)
    topology = copy(topology)
    topology.setPeriodicBoxVectors(None if box is None else box * unit.nanometer)
    return topology


def _write_structure(path: Path, topology: app.Topology, positions: np.ndarray) -> None:
    stream = io.StringIO()
    app.PDBFile.writeFile(topology, positions * unit.nanometer, stream, keepIds=True)
    write_text(path, stream.getvalue())


def _write_frames(path: Path, topology: app.Topology, positions: np.ndarray, frame_ps: float) -> None:
    with replacing(path) as temporary, open(temporary, "w+b") as stream:
        file = app.DCDFile(stream, topology, frame_ps * unit.picosecond)
        for frame in positions:
            file.writeModel(frame * unit.nanometer)


def _frames_text(saved: SavedPaths, names: list[str], problem: RareEventSystem) -> str:
    """CSV of all frames: when, the variables of the states, ln I, and the committor where a model has one."""
    variables = problem.states.variables
    header = ["file", "frame", "time_ps", *variables.names, "ln_importance"] + ["committor"] * (saved.committor is not None)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    for number, (name, positions) in enumerate(zip(names, saved.positions, strict=True)):
        time = problem.timestep * np.minimum(saved.steps_per_frame * np.arange(len(positions)), saved.steps[number])
        columns = [time, *variables(positions.astype(np.float64)).T, saved.log_importance[number]]
        columns += [] if saved.committor is None else [saved.committor[number]]
        for frame, values in enumerate(zip(*columns, strict=True), start=1):
            writer.writerow([name, frame, *(f"{value:.7g}" for value in values)])
    return stream.getvalue()

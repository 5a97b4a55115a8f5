"""Paths in files, as VMD, PyMOL, MDAnalysis, mdtraj and nglview open them, with tables of what is in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dynamics.whole_frames import to_look_at
from ..io.files import write_csv, write_text
from ..structure.trajectory_file import topology_to_show, write_structures, write_trajectory

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["FRAMES", "PATHS", "TOPOLOGY", "ShownPaths", "frames_text", "write_shown_paths"]

TOPOLOGY, PATHS, FRAMES = "topology.pdb", "paths.csv", "frames.csv"
_MOST_PATHS_BY_THREE_DIGITS = 999


@dataclass(frozen=True, eq=False)
class ShownPaths:
    """Paths, and what there is to say about each of them and of their frames.

    Attributes
    ----------
    positions : list of ndarray, shape (n_frames, n_atoms, 3), nm
    times : list of ndarray, shape (n_frames,), ps
        Of the frames of each path, from 0 on; before the last there may be less than between others.
    frame_ps : float
        Between two frames.
    about : mapping of str to array, shape (n_paths,)
        Columns of the table of paths.
    along : mapping of str to list of ndarray, shape (n_frames,)
        Columns of the table of frames, beside the variables of the states.
    """

    positions: Sequence[np.ndarray]
    times: Sequence[np.ndarray]
    frame_ps: float
    about: Mapping[str, Any] = field(default_factory=dict)
    along: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        """Of the files in this format."""
        digits = 3 if len(self.positions) <= _MOST_PATHS_BY_THREE_DIGITS else 6
        return [f"path-{number:0{digits}d}.{kind}" for number in range(1, len(self.positions) + 1)]


def write_shown_paths(place: Path, shown: ShownPaths, problem: RareEventSystem, kind: str) -> None:
    """Write ``topology.pdb``, a file for each path, ``frames.csv`` with a row for each frame, and last ``paths.csv``.

    Molecules are whole, around the one that the states are about. PDB files have the committor as B-factors, where it is known.
    Where ``paths.csv`` is, all is there.

    Parameters
    ----------
    place : Path
        A folder.
    shown : ShownPaths
    problem : RareEventSystem
    kind : str
        One of :data:`~openmm_rare.structure.trajectory_file.FORMATS`.
    """
    topology, names = topology_to_show(problem.topology, problem.system), shown.names(kind)
    for number, (name, positions) in enumerate(zip(names, shown.positions, strict=True)):
        whole = to_look_at(positions.astype(np.float64), problem)
        if number == 0:
            write_structures(place / TOPOLOGY, topology, whole[:1])
        if kind == "pdb" and "committor" in shown.along:
            b_factors = np.broadcast_to(shown.along["committor"][number][:, None], whole.shape[:2])
            write_structures(place / name, topology, whole, b_factors)
        else:
            write_trajectory(place / name, topology, whole, shown.frame_ps)
    write_text(place / FRAMES, frames_text(shown, names, problem))
    rows = [
        {
            "file": name,
            **{column: np.asarray(values)[number].item() for column, values in shown.about.items()},
            "frames": len(positions),
            "duration_ps": float(times[-1]),
        }
        for number, (name, positions, times) in enumerate(zip(names, shown.positions, shown.times, strict=True))
    ]
    if rows:
        write_csv(place / PATHS, rows)


def frames_text(shown: ShownPaths, names: Sequence[str], problem: RareEventSystem) -> str:
    """CSV of all frames: file and number from 1, when, the variables of the states, and what else is known along paths."""
    variables, stream = problem.states.variables, io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "frame", "time_ps", *variables.names, *shown.along])
    for number, (name, positions) in enumerate(zip(names, shown.positions, strict=True)):
        along = [values[number] for values in shown.along.values()]
        columns = [shown.times[number], *variables(positions.astype(np.float64)).T, *along]
        for frame, values in enumerate(zip(*columns, strict=True), start=1):
            writer.writerow([name, frame, *(f"{value:.7g}" for value in values)])
    return stream.getvalue()

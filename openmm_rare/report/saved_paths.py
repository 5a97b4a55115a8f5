"""Paths that a rate has saved: how far along they are, frame by frame, and how they look."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app

from ..io.run_file import RunFile
from .interactive.molecules import Track, movie, solute_atoms
from .style import BLUE, new_figure

__all__ = ["SAVED_PATHS_FIGURE", "SAVED_PATHS_MOVIE", "draw_saved_molecule", "draw_saved_paths"]

_SHOWN = 5
_FEWEST_ATOMS = 2


def draw_saved_paths(run: RunFile, result: Mapping[str, Any]) -> Any:
    """The committor, or ln I where there is no model, along each path; stronger lines carry more; None without paths."""
    folder = run.path.parent / "paths"
    if not result.get("saved_paths") or not (folder / "paths.csv").is_file() or not (folder / "frames.csv").is_file():
        return None
    shares = {row["file"]: float(row["share"]) for row in _rows(folder / "paths.csv")}
    figure, (ax,) = new_figure()
    largest = max(shares.values())
    for name, group in groupby(_rows(folder / "frames.csv"), itemgetter("file")):
        frames = list(group)
        along = "committor" if "committor" in frames[0] else "ln_importance"
        time, value = (np.array([float(row[column]) for row in frames]) for column in ("time_ps", along))
        ax.plot(time, value, color=BLUE, alpha=0.2 + 0.6 * shares.get(name, 0.0) / largest, linewidth=0.9)
    ax.set_xlabel("time since the exit from A (ps)")
    ax.set_ylabel("committor" if along == "committor" else "ln I")
    return figure


def draw_saved_molecule(run: RunFile, result: Mapping[str, Any]) -> tuple[None, None, Mapping[str, Any] | None] | None:
    """The paths that carry most, for 3Dmol.js alone; None where there are none, of one particle, and without mdtraj."""
    folder = run.path.parent / "paths"
    there = [folder / name for name in ("paths.csv", "frames.csv", "topology.pdb")]
    if not result.get("saved_paths") or not all(path.is_file() for path in there):
        return None
    try:
        import mdtraj

        topology = app.PDBFile(str(folder / "topology.pdb")).topology
        atoms, known = solute_atoms(topology), mdtraj.Topology.from_openmm(topology)
        if len(atoms) < _FEWEST_ATOMS:
            return None
        rows, notes = sorted(_rows(folder / "paths.csv"), key=lambda row: -float(row["share"])), _notes(folder / "frames.csv")
        tracks = []
        for row in rows[:_SHOWN]:
            path = folder / Path(row["file"]).name  # nothing outside of the folder, whatever the table says
            frames = mdtraj.load_dcd(str(path), top=known, atom_indices=atoms).xyz.astype(np.float64)
            label = f"{row['file']}, {100 * float(row['share']):.2g} % of the rate"
            tracks.append(Track(label, frames, notes[row["file"]][: len(frames)]))
    except (ImportError, OSError, ValueError, KeyError):  # what was moved or damaged is not shown
        return None
    return None, None, movie(topology, atoms, tracks)


def _notes(path: Path) -> dict[str, list[str]]:
    """What is said about each frame of each file."""
    notes: dict[str, list[str]] = {}
    for row in _rows(path):
        along = f", committor {float(row['committor']):.2f}" if "committor" in row else ""
        notes.setdefault(row["file"], []).append(f"frame {row['frame']}, {float(row['time_ps']):.4g} ps{along}")
    return notes


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf8", newline="") as stream:
        return list(csv.DictReader(stream))


SAVED_PATHS_FIGURE = (
    "saved_paths",
    draw_saved_paths,
    "The saved paths",
    "How far each of the saved paths is at its frames, from the exit out of A to the arrival in B: by the committor of the "
    "model, or by ln I along a variable. Stronger lines carry more of the rate. The paths lie in the folder paths/, with their "
    "weights in paths.csv.",
)

SAVED_PATHS_MOVIE = (
    "saved_paths_movie",
    draw_saved_molecule,
    "Saved paths of the molecule",
    "The saved paths that carry most of the rate, without water, each frame laid onto the first: choose one, play it or drag "
    "the slider, turn the molecule with the pointer.",
)

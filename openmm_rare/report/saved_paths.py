"""The figure of paths that a rate has saved: how far along they are, frame by frame."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ..io.run_file import RunFile
from .style import BLUE, new_figure

__all__ = ["SAVED_PATHS_FIGURE", "draw_saved_paths"]


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

"""Figures of a learned action: arrays in, Axes out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from ..action.checking.map_check import MapRow
from .style import BLUE, GRAY, GREEN, ORANGE, RED

__all__ = ["LABELS", "plot_energy", "plot_temperatures"]

LABELS = {
    "fine": "fine Verlet",
    "verlet": "Verlet, long step",
    "direct": "direct predictor",
    "midpoint": "action, bare midpoint",
    "action": "learned action",
}
_COLORS = {"fine": GRAY, "verlet": BLUE, "direct": RED, "midpoint": ORANGE, "action": GREEN}
_HIGHEST = 2.4  # of a bar


def plot_energy(ax: Axes, rows: Mapping[str, MapRow]) -> Axes:
    """Mean error of the energy against time, on a scale that is linear near zero."""
    for name, row in rows.items():
        course = row.course
        lost = f" ({course.lost} of {course.trajectories} lost)" if course.lost else ""
        ax.plot(course.times, course.energies, color=_COLORS[name], label=LABELS[name] + lost)
    ax.axhline(0.0, color=GRAY, lw=0.8)
    ax.set_yscale("symlog", linthresh=0.1)
    ax.set(xlabel="time (ps)", ylabel="error of the energy (kT)")
    ax.legend(frameon=False)
    return ax


def plot_temperatures(ax: Axes, rows: Mapping[str, MapRow]) -> Axes:
    """Kinetic temperature of every mode, of each method."""
    names = list(next(iter(rows.values())).course.temperatures)
    shown = {name: row for name, row in rows.items() if np.isfinite(row.course.rms)}
    width = 0.8 / max(len(shown), 1)
    for number, (name, row) in enumerate(shown.items()):
        place = np.arange(len(names)) + (number - (len(shown) - 1) / 2) * width
        values = [min(row.course.temperatures[mode], _HIGHEST) for mode in names]
        bars = [row.course.stderrs[mode] for mode in names]
        ax.bar(place, values, width, yerr=bars, color=_COLORS[name], ecolor="#4B5563", capsize=2, label=LABELS[name])
    ax.axhline(1.0, color=GRAY, lw=1.0, ls="--")
    ax.set_xticks(np.arange(len(names)), names, rotation=30 if len(names) > 5 else 0)
    ax.set(ylabel="kinetic temperature / T", ylim=(0.0, None))
    ax.grid(False, axis="x")
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(-0.02, 1.0), columnspacing=1.2)
    return ax

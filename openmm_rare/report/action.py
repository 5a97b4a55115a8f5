"""One page about a learned action, and the table that commands print."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..action.checking.map_check import MapCheck, MapRow
from ..config.run import RunConfig
from ..rates.summary import versions
from . import plots
from .action_plots import LABELS, plot_energy, plot_temperatures
from .page import Drawn, Grid, saved_figures, write_page

__all__ = ["check_table", "training_doubts", "training_rows", "write_action_report"]

_HEADER = (
    "method",
    "lost",
    "drift (kT/ps)",
    "rms (kT)",
    "GHMC accepts",
    "comes back to",
    "symplectic to",
    "contraction",
    "dS a step",
)
_ENERGY = (
    "The mean error of the energy along trajectories without friction from the same canonical points; linear up to 0.1 kT. "
    "Fine dynamics keeps it; a map without structure gains or loses energy all the time."
)
_TEMPERATURES = (
    "Kinetic temperature of each kind of motion, relative to that of the starting points, with standard errors over "
    "trajectories. Compare with fine dynamics from the same points, not with 1: there are few trajectories."
)


def write_action_report(folder: Path, training: Mapping[str, Any], check: MapCheck, config: RunConfig) -> Path:
    """Draw the figures and write ``report.html``."""
    return write_page(
        folder / "report.html",
        "action.html",
        title=f"A learned step of {1e3 * check.timestep:.3g} fs for {training['system']}",
        temperature=f"{training['temperature_k']:g}",
        warnings=[*training_doubts(training), *check.doubts],
        groups=[("What was learned", training_rows(training))],
        tables=[Grid("Methods, from the same points", *check_table(check))],
        figures=[*saved_figures(_drawn(check), folder / "figures")],
        config=config.to_toml(folder),
        versions=versions(),
    )


def training_doubts(training: Mapping[str, Any]) -> list[str]:
    """Sentences about what was learned badly."""
    if training["own"] < 1.0:
        return []
    return [
        f"Of stretches that it has not seen it misses {100 * training['own']:.2g} %, more than without an action: it has "
        "learned nothing. Take more --samples, or a smaller --stride, in another folder."
    ]


def training_rows(training: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ``training.json`` says: label and value."""
    fine, long = 1e3 * training["fine_timestep_ps"], 1e3 * training["timestep_ps"]
    return [
        ("time step", f"{long:.3g} fs instead of {fine:.3g} fs"),
        (
            "error of what is learned",
            f"{100 * training['own']:.2g} %  (of what it has seen {100 * training['own_training']:.2g} %)",
        ),
        *([("error of the value of the action", f"{100 * training['value']:.2g} %")] if training["value"] >= 0.0 else []),
        ("features", f"{training['n_features']}, {training['dropped']} without a gradient"),
    ]


def check_table(check: MapCheck) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows of the comparison."""
    return _HEADER, [[LABELS[name], *_cells(row)] for name, row in check.rows.items()]


def _cells(row: MapRow) -> Iterator[str]:
    course = row.course
    yield f"{course.lost} of {course.trajectories}"
    yield f"{course.drift:.2g} ± {course.drift_stderr:.1g}" if np.isfinite(course.drift) else "–"
    yield _number(course.rms, "{:.2g}")
    yield f"{row.acceptance:.3f}"
    yield _number(row.irreversibility, "{:.0e}")
    yield _number(row.lack_of_symplecticity, "{:.0e}")
    yield _number(row.contraction, "{:.2f}")
    yield f"{course.evaluations:.1f}" if course.evaluations else "–"


def _number(value: float, form: str) -> str:
    return form.format(value) if np.isfinite(value) else "–"


def _drawn(check: MapCheck) -> Iterator[Drawn]:
    figure, (ax,) = plots.new_figure()
    plot_energy(ax, check.rows)
    yield Drawn("energy", "Energy against time", _ENERGY, figure)
    figure, (ax,) = plots.new_figure(width=7.0)
    plot_temperatures(ax, check.rows)
    yield Drawn("temperatures", "Equipartition", _TEMPERATURES, figure)

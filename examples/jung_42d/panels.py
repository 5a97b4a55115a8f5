"""The panels of the figure: what independent runs found, put together, drawn and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from exact import GRID_X, GRID_Y, Exact
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from scipy.special import expit, logit

from openmm_rare.io.files import write_csv
from openmm_rare.mechanism.relevance import Relevance
from openmm_rare.mechanism.validation import Calibration, calibrate
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.paths.statistics import path_statistics
from openmm_rare.report import mechanism_plots, plots
from openmm_rare.statistics import mean_over_runs
from openmm_rare.systems import jung_42d

__all__ = ["Panels", "draw", "draw_density", "pooled_calibration", "pooled_relevance", "write_tables"]

WINDOW = 100  # trials that a yield is drawn over
COLORS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED, plots.GRAY)


@dataclass
class Panels:
    """Everything that is drawn."""

    curves: dict[str, dict[str, np.ndarray]]
    relevance: Relevance
    planes: list[np.ndarray]
    formula: np.ndarray
    formula_text: str
    exact: Exact
    calibration: Calibration


def pooled_relevance(panels: Sequence[dict]) -> Relevance:
    """Mean relative relevance and its error over runs; found by the noise tests of most of them."""
    tables = [each["relevance"] for each in panels]
    names = tables[0]["names"]
    rows = [dict(zip(t["names"], np.array(t["increase"]) / max(t["increase"]), strict=True)) for t in tables]
    mean, error = mean_over_runs(np.array([[row[name] for name in names] for row in rows]))
    order = np.argsort(-mean)
    votes = {name: sum(name in table["confirmed"] for table in tables) for name in names}
    floor = float(np.mean([table["floor"] / max(table["increase"]) for table in tables]))
    sure = frozenset(name for name, count in votes.items() if count > len(tables) / 2)
    names, columns = [names[i] for i in order], [[int(i)] for i in order]
    loss = float(np.mean([table["loss"] for table in tables]))
    return Relevance(names, columns, mean[order], np.nan_to_num(error[order]), floor, loss, tables[0]["method"], sure)


def pooled_calibration(panels: Sequence[dict], which: str) -> Calibration:
    """Fresh shots of all runs against the committor of each."""
    predicted, n_a, n_b = (np.concatenate([each[which][key] for each in panels]) for key in ("predicted", "n_a", "n_b"))
    return calibrate(logit(np.clip(predicted, 1e-12, 1.0 - 1e-12)), n_a, n_b)


def background(ax: Axes) -> None:
    """Energy in steps of 1 kT, and the states."""
    x, y = np.linspace(-1.2, 1.2, 121), np.linspace(-1.0, 1.0, 101)
    energy = jung_42d.energy(*np.meshgrid(x, y))
    ax.contour(x, y, energy, levels=np.arange(-7.0, 6.0), colors="#C3C9D2", linewidths=0.5, linestyles="solid")
    for name, center in (("A", jung_42d.CENTER_A), ("B", jung_42d.CENTER_B)):
        ax.add_patch(Circle(center, jung_42d.RADIUS, fc=plots.ORANGE, ec="none", alpha=0.55))
        ax.text(*center, name, ha="center", va="center", fontweight="bold")
    ax.set(xlim=(-1.15, 1.15), ylim=(-0.95, 0.95))


def draw(panels: Panels, out: Path) -> None:
    """The figure with its six panels."""
    figure, axes = plots.new_figure(2, 3, width=13.5, height=8.2)
    colors = dict(zip(panels.curves, COLORS, strict=False))
    generated = {label: (colors[label], curve["generated"]) for label, curve in panels.curves.items()}
    accepted = {f"_{label}": (colors[label], curve["accepted"]) for label, curve in panels.curves.items()}
    mechanism_plots.plot_yields(axes[0], accepted, limit=None, linestyle=":")
    mechanism_plots.plot_yields(axes[0], generated)
    mechanism_plots.plot_yields(axes[1], generated, window=min(WINDOW, next(iter(generated.values()))[1].shape[1] // 2))
    axes[1].legend(frameon=False, loc="lower right")
    mechanism_plots.plot_relevance(axes[2], panels.relevance, most=12)
    for ax, label, shown in ((axes[3], "learned", panels.planes), (axes[4], "formula", [panels.formula])):
        background(ax)
        planes = {label: (plots.BLUE, [expit(each) for each in shown]), "exact": (plots.RED, [panels.exact.smooth])}
        mechanism_plots.plot_isolines(ax, GRID_X, GRID_Y, planes)
    axes[4].text(0.0, -0.89, f"q = {panels.formula_text}", ha="center", fontsize=9, bbox={"fc": "white", "ec": "none"})
    mechanism_plots.plot_calibration(axes[5], panels.calibration).legend(frameon=False, loc="lower right")
    titles = (
        "generated (solid) and accepted (dotted)",
        "yield",
        "relevance of the inputs",
        "network",
        "formula",
        "calibration, all runs",
    )
    for ax, letter, title in zip(axes, "ABCDEF", titles, strict=True):
        ax.set_title(rf"$\bf{{{letter}}}$   {title}", loc="left")
    for suffix in ("png", "svg"):
        plots.save_figure(figure, out / f"figure3.{suffix}", dpi=200)


def draw_density(paths: PathEnsemble, q: list[np.ndarray], out: Path) -> None:
    """How transition paths are spread over the exact logit, which limits what a selector can reach."""
    figure, (ax,) = plots.new_figure(height=3.4)
    mechanism_plots.plot_q_density(ax, path_statistics(paths, q))
    ax.set_xlabel("exact logit q")
    plots.save_figure(figure, out / "density.png", dpi=200)


def write_tables(panels: Panels, rows: list[dict[str, Any]], out: Path) -> None:
    """A CSV file for each panel."""
    write_csv(out / "yields.csv", rows)
    curve_rows = []
    for label, curve in panels.curves.items():
        columns = [mean_over_runs(np.cumsum(curve[name], axis=1)) for name in ("generated", "accepted")]
        for trial, values in enumerate(zip(*columns[0], *columns[1], strict=True), 1):
            names = ("generated", "generated_stderr", "accepted", "accepted_stderr")
            curve_rows.append({"selector": label, "trial": trial, **dict(zip(names, map(float, values), strict=True))})
    write_csv(out / "curves.csv", curve_rows)
    write_csv(out / "relevance.csv", panels.relevance.rows())
    write_csv(out / "calibration.csv", panels.calibration.rows())
    exact, mean = panels.exact, expit(np.array(panels.planes)).mean(0)
    i, j = np.nonzero(exact.sampled)
    columns = {"x": GRID_X[i], "y": GRID_Y[j], "exact": exact.p[i, j], "exact_stderr": exact.stderr[i, j]}
    columns |= {"learned": mean[i, j], "formula": expit(panels.formula[i, j])}
    write_csv(
        out / "isolines.csv", [dict(zip(columns, map(float, row), strict=True)) for row in zip(*columns.values(), strict=True)]
    )

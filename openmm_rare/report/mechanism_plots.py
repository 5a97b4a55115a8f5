"""Figures of a mechanism: arrays in, Axes out, in the style of :mod:`openmm_rare.report.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ..mechanism.formula import FormulaFront
from ..mechanism.relevance import Relevance
from ..mechanism.validation import Calibration
from ..paths.statistics import PathStatistics
from ..statistics import mean_over_runs
from .style import BLUE, COLORMAP, GRAY, ORANGE, RED

__all__ = [
    "contribution_colors",
    "plot_atoms",
    "plot_calibration",
    "plot_formula_front",
    "plot_isolines",
    "plot_path_density",
    "plot_q_density",
    "plot_relevance",
    "plot_transition_time",
    "plot_yields",
]

_CONTRIBUTIONS = "YlOrRd"


def plot_relevance(ax: Axes, relevance: Relevance, most: int = 20) -> Axes:
    """Normalized relevance of the first inputs with 95 % bars; those above the noise in color."""
    shown = slice(0, most)
    largest = max(relevance.increase.max(), 1e-300)
    place = np.arange(len(relevance.names[shown]))
    colors = np.where(relevance.above_floor[shown], BLUE, "#C3C9D2")
    bars = 1.96 * relevance.stderr[shown] / largest
    ax.barh(place, relevance.normalized[shown], xerr=bars, color=colors, ecolor=GRAY, capsize=2, height=0.7)
    ax.axvline(relevance.floor / largest, color=RED, lw=1.2, ls="--", label="noise floor")
    ax.set_yticks(place, relevance.names[shown])
    ax.set_ylim(len(place) - 0.4, -0.6)
    ax.set(xlabel="relevance (increase of the loss, largest = 1)")
    ax.grid(False, axis="y")
    ax.legend(frameon=False, loc="lower right")
    return ax


def plot_calibration(ax: Axes, calibration: Calibration) -> Axes:
    """Committor from fresh shots against the prediction, for each configuration and pooled, with 95 % bars."""
    shots = calibration.n_a + calibration.n_b
    ax.plot([0, 1], [0, 1], color=GRAY, lw=1.0, ls="--")
    ax.plot(
        calibration.predicted,
        calibration.n_b / shots,
        "o",
        ms=3,
        color=BLUE,
        alpha=0.35,
        mew=0,
        ls="none",
        label="configurations",
    )
    ax.errorbar(
        calibration.bin_predicted,
        calibration.bin_sampled,
        calibration.bin_bars,
        fmt="s",
        color=RED,
        capsize=3,
        label="pooled, 95 % interval",
    )
    ax.set(xlabel="predicted probability to reach B", ylabel="fraction of fresh shots", xlim=(0, 1), ylim=(-0.03, 1.03))
    ax.set_aspect("equal")
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 1.14), ncols=2)
    return ax


def plot_formula_front(ax: Axes, front: FormulaFront) -> Axes:
    """Held-out loss against complexity, the network's as a band, the chosen formula marked."""
    complexity = np.array([each.complexity for each in front.formulas])
    loss = np.array([each.held_out for each in front.formulas])
    error = np.array([each.gap_stderr for each in front.formulas])
    mean, spread = front.network_held_out, front.network_held_out_stderr
    ax.axhspan(mean - spread, mean + spread, color=GRAY, alpha=0.15, lw=0)
    ax.axhline(mean, color=GRAY, lw=1.2, ls="--", label="network")
    ax.errorbar(complexity, loss, error, fmt="o-", color=BLUE, capsize=3, lw=1.0, label="formulas")
    best = front.chosen
    ax.plot(complexity[best], loss[best], "o", ms=12, mfc="none", mec=RED, mew=1.6, label="least loss + penalty")
    ax.set(xlabel="complexity (numbers, inputs and operations)", ylabel="held-out loss per shot")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False)
    return ax


def plot_q_density(ax: Axes, statistics: PathStatistics) -> Axes:
    """Density of the logit over the frames of transition paths."""
    ax.stairs(statistics.q_density, statistics.q_edges, fill=True, color=BLUE, alpha=0.85)
    ax.axvspan(-1.0, 1.0, color=ORANGE, alpha=0.15, lw=0, label="|q| < 1")
    ax.set(xlabel="predicted logit q", ylabel="density over frames of paths")
    ax.legend(frameon=False)
    return ax


def plot_transition_time(ax: Axes, statistics: PathStatistics) -> Axes:
    """Running mean of the transition path time with its 95 % band."""
    weight, mean = statistics.running_weight, statistics.running_time
    half = 1.96 * np.nan_to_num(statistics.running_stderr)
    ax.fill_between(weight, mean - half, mean + half, color=BLUE, alpha=0.18, lw=0, label="95 % interval")
    ax.plot(weight, mean, color=BLUE, label="running mean")
    ax.axhline(statistics.mean_time, color=BLUE, lw=0.8, ls=":")
    ax.set(
        xlabel="Monte Carlo steps" if statistics.kind == "chain" else "paths",
        ylabel="transition path time (ps)",
        ylim=(0.0, None),
    )
    ax.legend(frameon=False)
    return ax


def plot_path_density(
    ax: Axes,
    density: np.ndarray,
    x_edges: np.ndarray,
    y_edges: np.ndarray,
    names: tuple[str, str],
    transition_states: np.ndarray | None = None,
) -> Axes:
    """Density of transition paths over two variables, with transition states as points ``(n, 2)``."""
    shown = np.ma.masked_equal(density, 0.0).T
    mesh = ax.pcolormesh(x_edges, y_edges, shown, cmap=COLORMAP, rasterized=True)
    if transition_states is not None and len(transition_states):
        ax.plot(*transition_states.T, ".", ms=3, color=RED, alpha=0.6, ls="none", label="transition states")
        ax.legend(loc="upper right", framealpha=0.9)
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.grid(False)
    ax.figure.colorbar(mesh, ax=ax, label="density of path frames")
    return ax


def plot_isolines(
    ax: Axes,
    x: np.ndarray,
    y: np.ndarray,
    planes: Mapping[str, tuple[str, Sequence[np.ndarray]]],
    levels: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    names: tuple[str, str] = ("x (nm)", "y (nm)"),
) -> Axes:
    """Isolines of several functions of the plane, such as a learned committor of several runs on the exact one.

    Parameters
    ----------
    ax : Axes
    x, y : ndarray, shape (nx,), (ny,)
        Grid.
    planes : mapping from label to (color, sequence of ndarray of shape (nx, ny))
        The members of one label are drawn alike, the more faintly the more there are; NaN where there is nothing to show.
    levels : sequence of float
    names : tuple of str
        Axis labels.
    """
    lines = []
    for label, (color, members) in planes.items():
        for member in members:
            drawn = ax.contour(
                x,
                y,
                np.ma.masked_invalid(member).T,
                levels=sorted(levels),
                colors=color,
                linewidths=1.8 if len(members) == 1 else 0.9,
                alpha=1.0 if len(members) == 1 else 0.65,
            )
            drawn.set(linestyle="solid")
            if len(members) == 1:
                ax.clabel(drawn, fmt="%g", fontsize=7)
        lines.append(Line2D([], [], color=color, lw=1.6, label=label))
    ax.set(xlabel=names[0], ylabel=names[1], aspect="equal")
    ax.grid(False)
    ax.legend(handles=lines, loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=len(lines), frameon=False)  # above the axes
    return ax


def plot_yields(
    ax: Axes,
    outcomes: Mapping[str, tuple[str, np.ndarray]],
    limit: float | None = 0.5,
    window: int | None = None,
    linestyle: str = "-",
) -> Axes:
    """Transition paths against trials, means over runs with their 95 % bands: counted from the start, or as a yield.

    Parameters
    ----------
    ax : Axes
    outcomes : mapping from label to (color, ndarray of shape (n_runs, n_trials))
        1 where a trial became a transition path.
    limit : float, optional
        Yield of decorrelated trials from transition states.
    window : int, optional
        Draw the yield over so many trials, instead of the number of paths so far.
    linestyle : str
        Of the means.
    """
    longest = max(values.shape[1] for _, values in outcomes.values())
    for label, (color, values) in outcomes.items():
        sums = np.cumsum(np.pad(np.asarray(values, dtype=np.float64), ((0, 0), (1, 0))), axis=1)
        shown = sums if window is None else (sums[:, window:] - sums[:, :-window]) / window
        trial = np.arange(shown.shape[1]) + (0 if window is None else window)
        mean, error = mean_over_runs(shown)
        ax.fill_between(trial, mean - 1.96 * error, mean + 1.96 * error, color=color, alpha=0.18, lw=0)
        ax.plot(trial, mean, color=color, ls=linestyle, label=label)
    if limit is not None:
        ends = [0.0, limit * longest] if window is None else [limit, limit]
        ax.plot([0, longest], ends, color=GRAY, lw=1.2, ls="--", label=f"limit, {limit:g} per trial")
    yields = "transition paths so far" if window is None else f"yield over {window} trials"
    ax.set(xlabel="trials", ylabel=yields, xlim=(0, longest), ylim=(0.0, None))
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False)
    return ax


def contribution_colors(relative: np.ndarray) -> list[str]:
    """Colors of atoms by their contribution relative to the largest, as :func:`plot_atoms` has them."""
    return [to_hex(color) for color in colormaps[_CONTRIBUTIONS](np.asarray(relative))]


def plot_atoms(
    ax: Axes,
    positions: np.ndarray,
    bonds: Sequence[tuple[int, int]],
    relative: np.ndarray,
    labels: Sequence[str],
) -> Axes:
    """A molecule in its flattest projection, atoms colored by their contribution.

    Parameters
    ----------
    ax : Axes
    positions : ndarray, shape (n_atoms, 3), nm
    bonds : sequence of pairs of indices
    relative : ndarray, shape (n_atoms,)
        Contribution relative to the largest.
    labels : sequence of str
    """
    centered = positions - positions.mean(0)
    axes = np.linalg.eigh(centered.T @ centered)[1]  # the flattest direction comes first
    flat, depth = centered @ axes[:, [2, 1]], centered @ axes[:, 0]
    segments = [flat[list(bond)] for bond in bonds]
    ax.add_collection(LineCollection(segments, colors=GRAY, linewidths=1.6, zorder=1))
    order = np.argsort(depth)
    points = ax.scatter(
        *flat[order].T,
        c=np.asarray(relative)[order],
        cmap=_CONTRIBUTIONS,
        vmin=0.0,
        vmax=1.0,
        s=260,
        edgecolors="#4B5563",
        linewidths=0.8,
        zorder=2,
    )
    for place, label, value in zip(flat, labels, relative, strict=True):
        ax.annotate(label, place, ha="center", va="center", fontsize=7, zorder=3, color="white" if value > 0.6 else "#1F2937")
    ax.margins(0.12)
    ax.set_aspect("equal")
    ax.set(xlabel="nm", ylabel="nm")
    ax.grid(False)
    ax.figure.colorbar(points, ax=ax, label="contribution to the logit (largest = 1)")
    return ax

"""Figures of a path sampling run: arrays in, Axes out, in the style of :mod:`openmm_rare.report.plots`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from ..states.outlines import Outline, limits_with
from .style import BLUE, GRAY, GREEN, ORANGE, RED

__all__ = ["make_room", "plot_fraction", "plot_line_density", "plot_outlines", "plot_shooting_points", "plot_weights"]

_FIRST, _LEAST_WINDOW, _WINDOW, _SHARE = 5, 20, 100, 4
_COLORS = {"A": GREEN, "B": RED}


def plot_fraction(ax: Axes, hits: np.ndarray, label: str, expected: np.ndarray | None = None, limit: bool = False) -> Axes:
    """A fraction of the trials, averaged over the latest of them, with the 95 % band of independent trials.

    Parameters
    ----------
    ax : Axes
    hits : ndarray of bool, shape (n_trials,)
    label : str
        What the fraction is.
    expected : ndarray, shape (n_trials,), optional
        Probabilities that a model gave to the hits.
    limit : bool
        Mark 1/2.
    """
    window = max(_LEAST_WINDOW, min(_WINDOW, len(hits) // _SHARE))
    trials = np.arange(min(_FIRST, len(hits)), len(hits) + 1)
    mean, n = _moving_mean(hits, trials, window), np.minimum(trials, window)
    half = 1.96 * np.sqrt(np.maximum(mean * (1.0 - mean), 0.25 / n) / n)
    ax.fill_between(trials, np.maximum(mean - half, 0.0), mean + half, color=BLUE, alpha=0.18, lw=0, label="95 % interval")
    ax.plot(trials, mean, color=BLUE, label=f"last {window} trials", marker="o" if len(trials) == 1 else None)
    if expected is not None:
        marker = "s" if len(trials) == 1 else None
        ax.plot(trials, _moving_mean(expected, trials, window), color=RED, label="expected", marker=marker)
    ax.axhline(float(np.mean(hits)), color=BLUE, lw=0.8, ls=":")
    if limit:
        ax.axhline(0.5, color=GRAY, lw=1.0, ls="--")
    ax.set(xlabel="trials of all chains", ylabel=label, ylim=(0.0, min(1.0, max(0.6 * limit, 1.05 * ax.get_ylim()[1]))))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0, handlelength=1.2)
    return ax


def _moving_mean(values: np.ndarray, trials: np.ndarray, window: int) -> np.ndarray:
    """Mean of the latest values after so many trials, as many as there are up to a window."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    first = np.maximum(trials - window, 0)
    return (total[trials] - total[first]) / (trials - first)


def make_room(ax: Axes, outlines: Mapping[str, Outline], names: tuple[str, str]) -> None:
    """Wider limits, where A or B lie near."""
    xlim, ylim = limits_with(outlines, names, np.column_stack([ax.get_xlim(), ax.get_ylim()]))
    ax.set(xlim=xlim, ylim=ylim)


def plot_outlines(ax: Axes, outlines: Mapping[str, Outline], names: tuple[str, str]) -> list[Patch]:
    """Outlines of A and B over two variables, within the limits that the Axes have; returns what was drawn."""
    limits = ax.get_xlim(), ax.get_ylim()
    made = []
    for name, outline in outlines.items():
        for x0, y0, x1, y1, is_round in outline.over(names, limits):
            if is_round:
                patch: Patch = Ellipse((0.5 * (x0 + x1), 0.5 * (y0 + y1)), x1 - x0, y1 - y0)
            else:
                patch = Rectangle((x0, y0), x1 - x0, y1 - y0)
            patch.set(fill=False, edgecolor=_COLORS[name], linewidth=1.6)
            made.append(ax.add_patch(patch))
            (left, right), (low, high) = np.clip([x0, x1], *limits[0]), np.clip([y0, y1], *limits[1])
            if right > left and high > low:
                look = {"color": _COLORS[name], "fontweight": "bold", "ha": "center", "va": "center"}
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                ax.text(0.5 * (left + right), 0.5 * (low + high), name, bbox=box, **look)
    ax.set(xlim=limits[0], ylim=limits[1])
    return made


def plot_shooting_points(ax: Axes, values: np.ndarray, connected: np.ndarray, most: int = 600) -> Axes:
    """The latest shooting points ``(n, 2)`` over two variables, those of transition paths in another color."""
    values, connected = values[-most:], connected[-most:]
    for chosen, color, label in ((~connected, "white", "shots without one"), (connected, ORANGE, "gave a transition path")):
        ax.plot(*values[chosen].T, "o", ms=3.2, color=color, mec="#1F2937", mew=0.5, ls="none", label=label)
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2, frameon=False)
    return ax


def plot_weights(ax: Axes, weights: np.ndarray) -> Axes:
    """Distribution of the weights of paths, over their mean, and what the paths count as."""
    relative = np.sort(weights / weights.mean())
    low, high = np.log10([relative[0], relative[-1]]) + np.array([-0.05, 0.05])
    ax.hist(relative, np.logspace(low, high, 31), color=BLUE, alpha=0.85)
    count = weights.sum() ** 2 / (weights**2).sum()
    ax.axvline(1.0, color=GRAY, lw=1.0, ls="--", label=f"mean; {len(weights)} paths count as {count:.0f}")
    ax.set(xscale="log", xlabel="weight over mean weight", ylabel="paths")
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def plot_line_density(
    ax: Axes, values: np.ndarray, weights: np.ndarray, outlines: Mapping[str, Outline], name: str, points: np.ndarray
) -> Axes:
    """Density of path frames over the one variable of the states, with A, B, and where shots began.

    Parameters
    ----------
    ax : Axes
    values, weights : ndarray, shape (n_frames,)
    outlines : mapping from "A", "B" to Outline
    name : str
        Of the variable.
    points : ndarray, shape (n,)
        Shooting points.
    """
    edges = np.linspace(values.min(), values.max(), 41)
    ax.stairs(np.histogram(values, edges, weights=weights, density=True)[0], edges, fill=True, color=BLUE, alpha=0.5)
    ax.stairs(np.histogram(points, edges, density=True)[0], edges, color=ORANGE, lw=1.6, label="shooting points")
    limits = ax.get_xlim()
    for state, outline in outlines.items():
        for x0, _, x1, _, _ in outline.over((name, name), (limits, limits)):
            low, high = np.clip([x0, x1], *limits)
            ax.axvspan(low, high, color=_COLORS[state], alpha=0.15, lw=0, label=state)
    ax.set(ylabel="density of path frames", xlim=limits)
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax

"""Figures of a path sampling run: arrays in, Axes out, in the style of :mod:`openmm_rare.report.plots`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from ..states.regions import Disc, Range, Region
from ..states.states import States
from .style import BLUE, GRAY, GREEN, ORANGE, RED

__all__ = ["plot_fraction", "plot_line_density", "plot_shooting_points", "plot_states", "plot_weights"]

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
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0, handlelength=1.2)
    return ax


def _moving_mean(values: np.ndarray, trials: np.ndarray, window: int) -> np.ndarray:
    """Mean of the latest values after so many trials, as many as there are up to a window."""
    total = np.concatenate([[0.0], np.cumsum(np.asarray(values, dtype=np.float64))])
    first = np.maximum(trials - window, 0)
    return (total[trials] - total[first]) / (trials - first)


def plot_states(ax: Axes, states: States, columns: tuple[int, int]) -> list[Patch]:
    """Outlines of A and B over two of their variables, within the limits that the Axes have; returns what was drawn.

    Of a state in further variables this is its projection; one that is a function has no outline.
    """
    limits = ax.get_xlim(), ax.get_ylim()
    made = []
    for name, region in (("A", states.a), ("B", states.b)):
        for patch in _outlines(region, states, columns, limits):
            patch.set(fill=False, edgecolor=_COLORS[name], linewidth=1.6)
            made.append(ax.add_patch(patch))
            (x0, y0), (x1, y1) = patch.get_extents().transformed(ax.transData.inverted()).get_points()
            (x0, x1), (y0, y1) = np.clip([x0, x1], *limits[0]), np.clip([y0, y1], *limits[1])
            if x1 > x0 and y1 > y0:
                look = {"color": _COLORS[name], "fontweight": "bold", "ha": "center", "va": "center"}
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                ax.text(0.5 * (x0 + x1), 0.5 * (y0 + y1), name, bbox=box, **look)
    ax.set(xlim=limits[0], ylim=limits[1])
    return made


def _outlines(
    region: Region, states: States, columns: tuple[int, int], limits: tuple[tuple[float, float], ...]
) -> Iterator[Patch]:
    names = [states.variables.names[column] for column in columns]
    if isinstance(region, Disc):
        bounds: Mapping[str, tuple[float, float]] = {
            n: (c - region.radius, c + region.radius) for n, c in region.center.items()
        }
    elif isinstance(region, Range):
        bounds = region.bounds
    else:
        return
    if not set(names) & set(bounds):
        return
    round_ = isinstance(region, Disc) and set(names) <= set(bounds)
    sides = [
        _intervals(bounds.get(name), states.variables.variables[column].period, limit)
        for name, column, limit in zip(names, columns, limits, strict=True)
    ]
    for x0, x1 in sides[0]:
        for y0, y1 in sides[1]:
            if round_:
                yield Circle((0.5 * (x0 + x1), 0.5 * (y0 + y1)), region.radius)
            else:
                yield Rectangle((x0, y0), x1 - x0, y1 - y0)


def _intervals(
    bounds: tuple[float, float] | None, period: float | None, limit: tuple[float, float]
) -> list[tuple[float, float]]:
    """The parts of an axis that belong to an interval; a periodic one comes again."""
    margin = 0.1 * (limit[1] - limit[0])  # an end that there is not lies outside of the picture
    if bounds is None or (period is not None and bounds[1] - bounds[0] >= period):
        return [(limit[0] - margin, limit[1] + margin)]
    low, high = bounds
    if period is None:
        return [(max(low, limit[0] - margin), min(high, limit[1] + margin))]
    width = (high - low) % period
    starts = low - period * np.floor((low - limit[0]) / period) + period * np.arange(-1, 2)
    return [(start, start + width) for start in starts if start < limit[1] and start + width > limit[0]]


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


def plot_line_density(ax: Axes, values: np.ndarray, weights: np.ndarray, states: States, points: np.ndarray) -> Axes:
    """Density of path frames over the one variable of the states, with A, B, and where shots began.

    Parameters
    ----------
    ax : Axes
    values, weights : ndarray, shape (n_frames,)
    states : States
    points : ndarray, shape (n,)
        Shooting points.
    """
    edges = np.linspace(values.min(), values.max(), 41)
    ax.stairs(np.histogram(values, edges, weights=weights, density=True)[0], edges, fill=True, color=BLUE, alpha=0.5)
    ax.stairs(np.histogram(points, edges, density=True)[0], edges, color=ORANGE, lw=1.6, label="shooting points")
    limits = ax.get_xlim()
    for name, region in (("A", states.a), ("B", states.b)):
        for patch in _outlines(region, states, (0, 0), (limits, limits)):
            low, high = np.clip([patch.get_extents().x0, patch.get_extents().x1], *limits)
            ax.axvspan(low, high, color=_COLORS[name], alpha=0.15, lw=0, label=name)
    ax.set(ylabel="density of path frames", xlim=limits)
    ax.legend(frameon=False)
    return ax

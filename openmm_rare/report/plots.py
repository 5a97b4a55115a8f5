"""Figures: arrays in, Axes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from .style import BLUE, COLORMAP, GRAY, GREEN, ORANGE, RED, has_scale, new_figure, save_figure

__all__ = [
    "has_scale",
    "new_figure",
    "plot_arrhenius",
    "plot_contributions",
    "plot_convergence",
    "plot_importance_planes",
    "plot_paths",
    "plot_training",
    "plot_weights",
    "save_figure",
]


def plot_importance_planes(
    axes: Sequence[Axes],
    x: np.ndarray,
    y: np.ndarray,
    planes: Mapping[str, np.ndarray],
    names: tuple[str, str] = ("x (nm)", "y (nm)"),
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> Sequence[Axes]:
    """ln I over a plane, side by side on one color scale, e.g. learned beside exact.

    Parameters
    ----------
    axes : sequence of Axes
        One for each plane.
    x, y : ndarray, shape (nx,), (ny,)
        Grid, nm.
    planes : mapping from title to ndarray of shape (nx, ny)
        ln I; NaN or -inf where there is nothing to show.
    names : tuple of str
        Axis labels.
    marks : mapping from text to (x, y), optional
        Written into every plane, e.g. the names of the states.
    """
    # the shallower plane sets the scale: a network may say anything where it has seen nothing
    low = max(np.percentile(plane[np.isfinite(plane)], 1.0) for plane in planes.values())
    levels = MaxNLocator(nbins=9, steps=[1, 2, 2.5, 5, 10]).tick_values(min(low, -1.0), 0.0)
    levels = levels[levels <= 0.0]
    seen = np.any([np.isfinite(plane) for plane in planes.values()], axis=0)
    filled = None
    for ax, (title, plane) in zip(axes, planes.items(), strict=True):
        shown = np.ma.masked_invalid(np.clip(plane, levels[0], 0.0)).T
        filled = ax.contourf(x, y, shown, levels=levels, cmap=COLORMAP, extend="min")
        lines = ax.contour(x, y, shown, levels=levels, colors="white", linewidths=0.5, alpha=0.6)
        lines.set(linestyle="solid")
        for text, place in (marks or {}).items():
            ax.text(*place, text, ha="center", va="center", fontweight="bold", color="#1F2937")
        ax.set(title=title, xlabel=names[0], aspect="equal", xlim=_extent(x, seen.any(1)), ylim=_extent(y, seen.any(0)))
        ax.grid(False)
    axes[0].set_ylabel(names[1])
    axes[0].figure.colorbar(filled, ax=list(axes), label="ln I  (I: probability to reach B before A)", shrink=0.9)
    return axes


def plot_paths(ax: Axes, values: np.ndarray, ln_importance: np.ndarray, path_id: np.ndarray, names: tuple[str, str]) -> Axes:
    """Transition paths over two collective variables, colored by ln I.

    Parameters
    ----------
    ax : Axes
    values : ndarray, shape (n_points, 2)
    ln_importance : ndarray, shape (n_points,)
    path_id : ndarray of int, shape (n_points,)
        Points of one path are consecutive.
    names : tuple of str
        Axis labels, with units.
    """
    norm = Normalize(float(np.min(ln_importance)), 0.0)
    segments = np.stack([values[:-1], values[1:]], axis=1)
    within = path_id[:-1] == path_id[1:]
    lines = LineCollection(segments[within], cmap=COLORMAP, norm=norm, linewidths=0.9, alpha=0.8)
    lines.set_array(0.5 * (ln_importance[:-1] + ln_importance[1:])[within])
    ax.add_collection(lines)
    first = np.flatnonzero(np.r_[True, path_id[1:] != path_id[:-1]])
    last = np.r_[first[1:], len(path_id)] - 1
    ax.plot(*values[first].T, "o", color="white", mec=GRAY, mew=1.0, ms=4.5, ls="none", label="start (exit from A)")
    ax.plot(*values[last].T, "s", color=RED, mec="white", mew=0.5, ms=4.5, ls="none", label="end (in B)")
    ax.autoscale_view()
    ax.set(xlabel=names[0], ylabel=names[1])
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    ax.figure.colorbar(lines, ax=ax, label="ln I along the path")
    return ax


def plot_arrhenius(
    ax: Axes,
    temperatures: np.ndarray,
    rates: np.ndarray,
    stderr: np.ndarray,
    unit: str = "1/ps",
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    points: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None,
) -> Axes:
    """Rates against 1000/T, with theory as curves and other measurements as points.

    Parameters
    ----------
    ax : Axes
    temperatures : ndarray, shape (n,), K
    rates, stderr : ndarray, shape (n,)
        Values and standard errors; 95 % bars are drawn.
    unit : str
        Unit of the rates.
    curves : mapping from label to (temperatures, rates)
    points : mapping from label to (temperatures, rates, stderr)
    """
    for (label, (t, k)), style in zip((curves or {}).items(), ("-", "--", ":"), strict=False):
        order = np.argsort(t)
        ax.plot(1000.0 / np.asarray(t)[order], np.asarray(k)[order], style, color=GRAY, lw=1.3, label=label)
    looks = zip((ORANGE, GREEN, RED), ("s", "^", "D"), strict=True)
    for (label, (t, k, error)), (color, marker) in zip((points or {}).items(), looks, strict=False):
        bars = _log_bars(np.asarray(k), 1.96 * np.asarray(error))
        inverse, look = 1000.0 / np.asarray(t), {"ms": 10, "mew": 1.6, "mfc": "none", "capsize": 5}
        ax.errorbar(inverse, k, bars, fmt=marker, color=color, label=label, **look)
    bars = _log_bars(np.asarray(rates), 1.96 * np.asarray(stderr))
    inverse = 1000.0 / np.asarray(temperatures)
    ax.errorbar(inverse, rates, bars, fmt="o", color=BLUE, ms=5, capsize=3, label="importance sampling")
    ax.set_yscale("log")
    ax.set(xlabel="1000 K / T", ylabel=f"rate constant ({unit})")
    top = ax.secondary_xaxis("top", functions=(_inverse, _inverse))
    top.set_xlabel("T (K)")
    top.set_xticks(sorted({round(float(t)) for t in temperatures}))
    ax.legend(frameon=False)
    return ax


def plot_weights(ax: Axes, log_weights: np.ndarray, label: str = "paths that reached B") -> Axes:
    """Histogram of path weights w over decades.

    Parameters
    ----------
    ax : Axes
    log_weights : ndarray, shape (n,)
        ln w.
    label : str
        What carries the weights.
    """
    decades = np.asarray(log_weights, dtype=np.float64) / np.log(10.0)
    edges = _bins(decades)
    ax.stairs(np.histogram(decades, edges)[0], 10.0**edges, fill=True, color=BLUE, alpha=0.85)
    _log_axis(ax)
    ax.set(xlabel="path weight w", ylabel=f"number of {label}", ylim=(0.0, 1.3 * ax.get_ylim()[1]))
    ax.grid(False, axis="x")
    return ax


def plot_contributions(ax: Axes, contributions: np.ndarray) -> Axes:
    """Histogram of root contributions to P_AB on a log axis, with the share of P_AB that each bin carries.

    Parameters
    ----------
    ax : Axes
    contributions : ndarray, shape (n_roots,)
        Non-negative; zeros are counted in the title.
    """
    contributions = np.asarray(contributions, dtype=np.float64)
    positive = contributions[contributions > 0.0]
    zero = 1.0 - len(positive) / max(len(contributions), 1)
    ax.set_title(f"{len(contributions)} roots, {100 * zero:.0f} % without any path to B")
    if len(positive):
        decades = np.log10(positive)
        edges = _bins(decades)
        count = 100.0 * np.histogram(decades, edges)[0] / len(contributions)
        share = 100.0 * np.histogram(decades, edges, weights=positive)[0] / positive.sum()
        ax.stairs(count, 10.0**edges, fill=True, color=BLUE, alpha=0.85, label="of the roots")
        ax.stairs(share, 10.0**edges, color=RED, lw=1.8, label="of P(B before A)")
        ax.legend(frameon=False)
    _log_axis(ax)
    ax.set(xlabel="contribution of a root to P(B before A)", ylabel="percent", ylim=(0.0, 1.3 * ax.get_ylim()[1]))
    ax.grid(False, axis="x")
    return ax


def plot_convergence(
    ax: Axes,
    walker_steps: np.ndarray,
    rate: np.ndarray,
    stderr: np.ndarray,
    unit: str = "1/ps",
    reference: tuple[str, float] | None = None,
) -> Axes:
    """The running estimate with its 95 % band against the cost so far.

    Parameters
    ----------
    ax : Axes
    walker_steps : ndarray, shape (n_points,)
        Force evaluations so far, everything counted.
    rate, stderr : ndarray, shape (n_points,)
    unit : str
    reference : (label, value), optional
        A known value.
    """
    relative = np.divide(stderr, rate, out=np.zeros_like(rate), where=rate > 0.0)
    low, high = rate * np.exp(-1.96 * relative), rate * np.exp(1.96 * relative)
    if len(rate) > 1:
        ax.fill_between(walker_steps, low, high, color=BLUE, alpha=0.18, lw=0, label="95 % interval")
        ax.plot(walker_steps, rate, color=BLUE, label="estimate")
    else:
        ax.errorbar(walker_steps, rate, np.array([rate - low, high - rate]), fmt="o", color=BLUE, capsize=3, label="estimate")
    ax.axhline(rate[-1], color=BLUE, lw=0.8, ls=":")
    if reference is not None:
        ax.axhline(reference[1], color=RED, lw=1.2, ls="--", label=reference[0])
    ax.set(xlabel="walker-steps, everything counted", ylabel=f"rate constant ({unit})")
    ax.xaxis.set_major_formatter(EngFormatter(sep=" "))
    ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    return ax


def plot_training(
    axes: Sequence[Axes],
    temperatures: np.ndarray,
    curves: Mapping[str, np.ndarray],
) -> Sequence[Axes]:
    """What was recorded of training, round by round, with the temperature stages marked.

    Parameters
    ----------
    axes : sequence of Axes
        One for each curve.
    temperatures : ndarray, shape (n_rounds,), K
    curves : mapping
        Label to ndarray, shape (n_rounds,); three at most.
    """
    rounds = np.arange(1, len(temperatures) + 1)
    starts = np.flatnonzero(np.r_[True, np.diff(temperatures) != 0.0])
    ends = np.r_[starts[1:], len(temperatures)]
    for ax, (label, values), color in zip(axes, curves.items(), (BLUE, ORANGE, GREEN), strict=False):
        for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if number % 2:
                ax.axvspan(start + 0.5, end + 0.5, color="#F3F4F6", lw=0, zorder=0)
            ax.plot(rounds[start:end], values[start:end], color=color, marker="o", ms=3)
        ax.set(ylabel=label, xlim=(0.5, len(rounds) + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(False, axis="x")
    upper = axes[0].get_xaxis_transform()
    for start, end in zip(starts, ends, strict=True):
        text = f"{temperatures[start]:.0f} K"
        place = (0.5 * (start + 1 + end), 1.02)
        axes[0].text(*place, text, transform=upper, ha="center", va="bottom", fontsize=8, color=GRAY)
    axes[-1].set_xlabel("training round")
    return axes


def _extent(grid: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """Limits of an axis that show everything seen, with a small margin."""
    low, high = grid[seen].min(), grid[seen].max()
    return float(low - 0.05 * (high - low)), float(high + 0.05 * (high - low))


def _log_axis(ax: Axes) -> None:
    """A logarithmic x axis whose labels do not collide, however few decades it spans."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 30.0 * low else (1.0, 2.0, 5.0)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _inverse(value: np.ndarray) -> np.ndarray:
    """1000/T, which is its own inverse; safe at zero, which matplotlib tries."""
    return 1000.0 / np.maximum(np.asarray(value, dtype=np.float64), 1e-9)


def _log_bars(values: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Bars (2, n) of an interval that is symmetric in the logarithm."""
    factor = np.exp(half / values)
    return np.array([values - values / factor, values * factor - values])


def _bins(values: np.ndarray, count: int = 30) -> np.ndarray:
    """Edges that cover the values, at least a twentieth wide."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    number = int(np.clip((high - low) / 0.05, 1, count))
    return np.linspace(low - 0.025, high + 0.025, number + 1)

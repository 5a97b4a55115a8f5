"""Figures of a rate from the barrier: the free energy by both sets of windows, their overlap, and the weights of paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .style import BLUE, COLORMAP, GRAY, ORANGE, new_figure

__all__ = ["BARRIER_FIGURES"]


def draw_profile(found: Mapping[str, Any]) -> Any:
    """Free energy along the coordinate from the windows of each set, with standard errors, and where b is."""
    figure, (ax,) = new_figure()
    profile, lowest = found["profile"], min(min(found["profile"]["from_A"]), min(found["profile"]["from_B"]))
    s = np.array(profile["s"])
    for side, color in (("A", BLUE), ("B", ORANGE)):
        value, error = np.array(profile[f"from_{side}"]) - lowest, np.array(profile[f"error_{side}"])
        ax.plot(s, value, color=color, label=f"windows from {side}")
        ax.fill_between(s, value - error, value + error, color=color, alpha=0.2, linewidth=0.0)
    ax.axvspan(
        found["place"] - found["width"], found["place"] + found["width"], color=GRAY, alpha=0.15, linewidth=0.0, label="b"
    )
    ax.plot(found["windows"], np.full(len(found["windows"]), -0.3), "|", color=GRAY, label="windows")
    ax.set_xlabel(f"{found['along']} ({found['unit']})" if found["unit"] else found["along"])
    ax.set_ylabel("free energy (kT)")
    ax.legend(frameon=False)
    return figure


def draw_overlap(found: Mapping[str, Any]) -> Any:
    """The overlap matrix."""
    figure, (ax,) = new_figure(width=4.6, height=3.8)
    image = ax.imshow(np.array(found["overlap"]), cmap=COLORMAP, vmin=0.0, origin="lower")
    ax.grid(False)
    ax.set_xlabel("window")
    ax.set_ylabel("window")
    figure.colorbar(image, ax=ax, label="overlap")
    return figure


def draw_weights(found: Mapping[str, Any]) -> Any:
    """Histogram of the weights of transition paths."""
    figure, (ax,) = new_figure()
    weights = np.array(found["log_weights"]) / np.log(10.0)
    counts, edges = np.histogram(weights, 30)
    carried, _ = np.histogram(weights, edges, weights=10.0**weights)
    middle, width = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    ax.bar(middle, counts / counts.sum(), width, color=BLUE, alpha=0.6, label="paths")
    ax.step(middle, carried / carried.sum(), where="mid", color=ORANGE, label="of the answer")
    ax.set_xlabel("log10 of the weight 1/Σb")
    ax.set_ylabel("fraction")
    ax.legend(frameon=False)
    return figure


BARRIER_FIGURES: tuple[tuple[str, Callable[[Mapping[str, Any]], Any], str, str], ...] = (
    (
        "profile",
        draw_profile,
        "Free energy from A and from B",
        "The free energy along the coordinate from windows that were entered from A, and from windows that were entered from "
        "B, with standard errors. Two curves that part mean that something slow beside the coordinate remembers the way: then "
        "neither is to be believed. b is where shots begin.",
    ),
    (
        "overlap",
        draw_overlap,
        "Overlap of windows",
        "How likely a frame of one window (row) might be of another (column). Overlaps near 0 beside the diagonal mean that "
        "free energies do not carry over.",
    ),
    (
        "path_weights",
        draw_weights,
        "Weights of paths",
        "Weights of the transition paths, and how much of the answer they carry. When a few heavy paths on the right carry "
        "most of it, the error bar is too small: b is too narrow, too wide, or not on top of the barrier.",
    ),
)

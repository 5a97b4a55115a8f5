"""Figures of a mechanism to explore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...mechanism.formula import FormulaFront
from ...mechanism.relevance import Relevance
from ...mechanism.validation import Calibration
from ...states.outlines import Outline, limits_with
from ..style import BLUE, GRAY, RED
from .figures import curve, figure, heatmap, numbers, outlined, plain, points

__all__ = ["explored_calibration", "explored_density", "explored_formulas", "explored_relevance"]

_BELOW = "#9CA3AF"


def explored_relevance(relevance: Relevance, most: int) -> Mapping[str, Any]:
    """Normalized relevance of the first inputs with 95 % bars; those above the noise in color."""
    largest = max(relevance.increase.max(), 1e-300)
    names = [plain(name) for name in relevance.names[:most]]
    above = relevance.above_floor[:most]
    bars = {"type": "data", "array": numbers(1.96 * relevance.stderr[:most] / largest), "color": GRAY, "thickness": 1.2}
    shown = {
        "type": "bar",
        "orientation": "h",
        "x": numbers(relevance.normalized[:most]),
        "y": names,
        "error_x": bars | {"width": 3},
        "marker": {"color": [BLUE if each else _BELOW for each in above]},
        "customdata": [
            [f"{relevance.increase[i]:.4g} ± {relevance.stderr[i]:.2g}", _noise(above[i])] for i in range(len(names))
        ],
        "hovertemplate": "%{y}: %{x:.3f}<br>increase of the loss %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
    }
    floor = {"type": "line", "x0": relevance.floor / largest, "x1": relevance.floor / largest, "y0": 0, "y1": 1}
    floor |= {"yref": "paper", "line": {"color": RED, "width": 1.5, "dash": "dash"}}
    note = {"text": "noise floor", "x": relevance.floor / largest, "y": 1, "yref": "paper", "yanchor": "bottom"}
    note |= {"showarrow": False, "xanchor": "left", "font": {"color": RED, "size": 12}}
    return figure(
        [shown],
        "relevance (increase of the loss, largest = 1)",
        "",
        height=120 + 26 * len(names),
        hovermode="closest",
        yaxis={"autorange": "reversed", "ticks": "", "tickvals": names, "ticktext": names},
        shapes=[floor],
        annotations=[note],
    )


def _noise(above: bool) -> str:
    return "above the noise" if above else "not above the noise"


def explored_calibration(calibration: Calibration) -> Mapping[str, Any]:
    """Fractions of fresh shots against the prediction, for each configuration and pooled."""
    shots = calibration.n_a + calibration.n_b
    about = [[int(n), int(of)] for n, of in zip(calibration.n_b, shots, strict=True)]
    told = "predicted %{x:.3f}, found %{customdata[0]} of %{customdata[1]}"
    look = {"marker": {"color": BLUE, "size": 6, "opacity": 0.45}, "customdata": about}
    ends = np.array([0.0, 1.0])
    traces = [
        *curve(ends, ends, "perfect", GRAY, dash="dash"),
        points(calibration.predicted, calibration.n_b / shots, "configurations", BLUE, told=told, **look),
        points(
            calibration.bin_predicted,
            calibration.bin_sampled,
            "pooled, 95 % interval",
            RED,
            calibration.bin_bars,
            "predicted %{x:.3f}, found %{y:.3f} − %{error_y.arrayminus:.3f} + %{error_y.array:.3f}",
            marker={"color": RED, "size": 8, "symbol": "square"},
        ),
    ]
    return figure(
        traces,
        "predicted probability to reach B",
        "fraction of fresh shots",
        height=460,
        hovermode="closest",
        xaxis={"range": [0, 1]},
        yaxis={"range": [-0.03, 1.03]},
    )


def explored_formulas(front: FormulaFront) -> Mapping[str, Any]:
    """Held-out loss against complexity; the pointer tells the formula."""
    complexity, loss, error = (
        np.array([getattr(each, name) for each in front.formulas]) for name in ("complexity", "held_out", "gap_stderr")
    )
    ends, best = np.array([complexity.min(), complexity.max()]), front.chosen
    mean, spread = np.full(2, front.network_held_out), front.network_held_out_stderr
    formulas = points(complexity, loss, "formulas", BLUE, error, "%{customdata}<br>%{y:.4f} ± %{error_y.array:.4f}")
    formulas |= {"customdata": [plain(_broken(f"q = {each.text}")) for each in front.formulas], "mode": "lines+markers"}
    formulas |= {"line": {"width": 1, "color": BLUE}}
    ring = {"marker": {"size": 15, "color": "rgba(0,0,0,0)", "line": {"color": RED, "width": 2}}, "hoverinfo": "skip"}
    chosen = points(complexity[[best]], loss[[best]], "least loss + penalty", RED, told="", **ring)
    del chosen["hovertemplate"]
    traces = [*curve(ends, mean, "network", GRAY, (mean - spread, mean + spread), "dash"), formulas, chosen]
    axis = {"tickformat": "d"}
    return figure(
        traces, "complexity (numbers, inputs and operations)", "held-out loss per shot", hovermode="closest", xaxis=axis
    )


def _broken(text: str, width: int = 60) -> str:
    """Not longer than fits under a pointer."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def explored_density(
    density: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    labels: tuple[str, str],
    marked: Mapping[str, tuple[str, np.ndarray]],
    outlines: Mapping[str, Outline],
    names: tuple[str, str],
) -> Mapping[str, Any]:
    """Density of transition paths over two variables, with A and B.

    Parameters
    ----------
    density : ndarray, shape (n_x, n_y)
    edges : pair of ndarray
    labels : tuple of str
        Of the axes.
    marked : mapping from label to (color, ndarray of shape (n, 2))
        Points on it.
    outlines : mapping from "A", "B" to Outline
    names : tuple of str
        Of the variables.
    """
    shown = np.where(density > 0.0, density, np.nan)
    traces = [heatmap(edges, shown, "density of path frames", "%{x:.4g}, %{y:.4g}: %{z:.3g}")]
    for label, (color, places) in marked.items():
        look = {"marker": {"color": color, "size": 5, "line": {"color": "#1F2937", "width": 0.6}}}
        traces.append(points(places[:, 0], places[:, 1], label, color, told="%{x:.4g}, %{y:.4g}", **look))
    limits = limits_with(outlines, names, np.column_stack([each[[0, -1]] for each in edges]))
    axes = {"xaxis": {"range": limits[0], "showgrid": False}, "yaxis": {"range": limits[1], "showgrid": False}}
    return figure(traces, *labels, height=500, hovermode="closest", **axes, **outlined(outlines, names, limits))

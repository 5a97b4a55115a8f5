"""Figures for plotly.js as plain data: arrays in, traces and a layout out; the page gives them the colors of day or night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...states.outlines import Outline

__all__ = ["curve", "figure", "heatmap", "numbers", "outlined", "plain", "points"]

Trace = dict[str, Any]

_DIGITS = 5
_STATES = {"A": "#009E73", "B": "#D55E00"}  # as in the pictures


def plain(text: str) -> str:
    """Text of the user's, of which plotly.js takes nothing for markup."""
    return escape(text, quote=False)


def numbers(values: Any) -> list[Any]:
    """Numbers of an array with as many digits as anybody reads, None for what is not finite."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim > 1:
        return [numbers(row) for row in values]
    return [float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None for value in values]


def curve(
    x: np.ndarray,
    y: np.ndarray,
    name: str,
    color: str,
    bounds: tuple[np.ndarray, np.ndarray] | None = None,
    dash: str = "solid",
) -> list[Trace]:
    """A line, with a band between bounds that it tells of."""
    shown: Trace = {"type": "scatter", "mode": "lines", "x": numbers(x), "y": numbers(y), "name": plain(name)}
    shown |= {"line": {"color": color, "width": 2, "dash": dash}, "hovertemplate": "%{y:.4g}"}
    if bounds is None:
        return [shown]
    shown |= {"customdata": numbers(np.column_stack(bounds)), "legendgroup": plain(name)}
    shown["hovertemplate"] = "%{y:.4g}  (%{customdata[0]:.3g} to %{customdata[1]:.3g})"
    edge = {"type": "scatter", "mode": "lines", "x": shown["x"], "line": {"width": 0, "color": color}, "hoverinfo": "skip"}
    edge |= {"showlegend": False, "legendgroup": plain(name)}
    low, high = (edge | {"y": numbers(bound)} for bound in bounds)
    return [low, high | {"fill": "tonexty", "fillcolor": _faint(color)}, shown]


def points(
    x: np.ndarray, y: np.ndarray, name: str, color: str, bars: np.ndarray | None = None, told: str = "%{y:.4g}", **more: Any
) -> Trace:
    """Points, with bars from y - bars to y + bars, or as far below and above as two rows say.

    `told` is the text under the pointer, in plotly.js's form.
    """
    shown: Trace = {"type": "scatter", "mode": "markers", "x": numbers(x), "y": numbers(y), "name": plain(name)}
    shown |= {"marker": {"color": color, "size": 7}, "hovertemplate": told + "<extra></extra>"}
    if bars is not None:
        below, above = (bars, bars) if np.ndim(bars) == 1 else bars
        shown["error_y"] = {"type": "data", "array": numbers(above), "color": color, "thickness": 1.2, "width": 3}
        shown["error_y"] |= {} if above is below else {"symmetric": False, "arrayminus": numbers(below)}
    return shown | more


def heatmap(
    edges: tuple[np.ndarray, np.ndarray], values: np.ndarray, label: str, told: str, about: np.ndarray | None = None
) -> Trace:
    """Values over the cells of a plane, shape (n_x, n_y), empty where they are not finite; `about` is for `told`, by cell."""
    shown: Trace = {"type": "heatmap", "x": numbers(edges[0]), "y": numbers(edges[1]), "z": numbers(np.asarray(values).T)}
    shown |= {"colorscale": "Viridis", "hoverongaps": False, "hovertemplate": told + "<extra></extra>"}
    shown["colorbar"] = {"title": {"text": label, "side": "right"}, "thickness": 14, "outlinewidth": 0, "x": 1.01}
    return shown if about is None else shown | {"customdata": numbers(np.asarray(about).T)}


def figure(traces: Sequence[Trace], x: str, y: str, height: int = 400, **more: Any) -> Mapping[str, Any]:
    """A figure; `more` goes into the layout, with xaxis and yaxis added to what axes have here."""
    axes = {}
    for name, title in (("xaxis", x), ("yaxis", y)):
        look = {"title": {"text": plain(title), "standoff": 8}, "zeroline": False, "showline": True, "ticks": "outside"}
        axes[name] = {**look, "automargin": True, "exponentformat": "power", **more.pop(name, {})}
    layout: dict[str, Any] = {"height": height, "margin": {"l": 56, "r": 14, "t": 40, "b": 52}, "hovermode": "x unified"}
    layout |= {"legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, "font": {"size": 13}}
    return {"data": list(traces), "layout": {**layout, **axes, **more}}


def outlined(
    outlines: Mapping[str, Outline], names: tuple[str, str], limits: tuple[tuple[float, float], tuple[float, float]]
) -> dict[str, Any]:
    """What a layout needs to show A and B over two variables within these limits."""
    shapes, names_of = [], []
    for state, outline in outlines.items():
        for x0, y0, x1, y1, is_round in outline.over(names, limits):
            line = {"color": _STATES[state], "width": 2.5}
            kind = "circle" if is_round else "rect"
            shapes.append({"type": kind, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "line": line})
            (left, right), (low, high) = np.clip([x0, x1], *limits[0]), np.clip([y0, y1], *limits[1])
            if right > left and high > low:
                place = {"x": float(0.5 * (left + right)), "y": float(0.5 * (low + high)), "showarrow": False}
                look = {"font": {"color": _STATES[state], "size": 15}, "bgcolor": "rgba(255,255,255,0.85)", "borderpad": 2}
                names_of.append({"text": f"<b>{state}</b>", **place, **look})
    return {"shapes": shapes, "annotations": names_of}


def _faint(color: str) -> str:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"

"""Figures of rates to explore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..style import BLUE, GRAY, GREEN, ORANGE, RED
from .figures import curve, figure, points

__all__ = ["explored_arrhenius", "explored_convergence", "explored_crossing", "explored_curves"]

_OTHERS = (ORANGE, GREEN, RED)
_POWERS = {"type": "log", "dtick": 1, "exponentformat": "power"}
_LOG = {"type": "log", "exponentformat": "power"}


def explored_convergence(
    walker_steps: np.ndarray, rate: np.ndarray, stderr: np.ndarray, references: Sequence[tuple[str, float]]
) -> Mapping[str, Any]:
    """The running estimate in 1/ps with its 95 % interval, beside known values."""
    relative = np.divide(stderr, rate, out=np.zeros_like(rate), where=rate > 0.0)
    bounds = (rate * np.exp(-1.96 * relative), rate * np.exp(1.96 * relative))
    traces = curve(walker_steps, rate, "estimate, with its 95 % interval", BLUE, bounds)
    if len(rate) == 1:
        bars = bounds[1] - rate
        traces = [points(walker_steps, rate, "estimate", BLUE, bars)]
    ends = np.array([walker_steps[0], walker_steps[-1]])
    for (label, value), color in zip(references, _OTHERS, strict=False):
        traces += curve(ends, np.full(2, value), label, color, dash="dash")
    return figure(traces, "walker-steps, everything counted", "rate constant (1/ps)", xaxis={"exponentformat": "SI"})


def explored_crossing(found: Mapping[str, Any], axis: str) -> Mapping[str, Any]:
    """The crossing curve by trees, and by excursions without branching, with standard errors."""
    levels, probability, error = (np.array(found[name]) for name in ("levels", "probability", "stderr"))
    seen = probability > 0.0
    low, high = np.maximum(probability - error, 0.1 * probability), probability + error
    traces = curve(levels[seen], probability[seen], "trees", BLUE, (low[seen], high[seen]))
    plain, its_error = np.array(found["plain"]), np.array(found["plain_stderr"])
    seen = plain > 0.0
    traces.append(points(levels[seen], plain[seen], "plain dynamics", ORANGE, its_error[seen]))
    return figure(traces, axis, "P(to come there before A)", yaxis=_POWERS if _spans(probability) else _LOG)


def explored_curves(curves: Sequence[tuple[str, Mapping[str, Any]]], axis: str, rate_per_ps: float) -> Mapping[str, Any]:
    """Rates at which paths from A come to levels, of runs side by side, with standard errors."""
    traces, rates = [], []
    for (label, found), color in zip(curves, (BLUE, *_OTHERS, *_OTHERS), strict=False):
        levels, rate, error = (np.array(found[column]) for column in ("levels", "rate_per_ps", "stderr"))
        traces += curve(levels, rate, label, color, (np.maximum(rate - error, 0.1 * rate), rate + error))
        rates.append(rate)
    if rate_per_ps > 0.0:
        ends = np.array([min(min(found["levels"]) for _, found in curves), max(max(found["levels"]) for _, found in curves)])
        traces += curve(ends, np.full(2, rate_per_ps), "k", GRAY, dash="dash")
    powers = _POWERS if _spans(np.concatenate(rates)) else _LOG
    return figure(traces, axis, "paths from A that come there (1/ps)", yaxis=powers)


def explored_arrhenius(
    series: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> Mapping[str, Any]:
    """Rates in 1/ps against 1000 K / T, with 95 % bars; label to temperatures in K, rates, and standard errors or none."""
    traces = []
    for (label, (t, k)), dash in zip(curves.items(), ("solid", "dash", "dot"), strict=False):
        order = np.argsort(t)
        traces += curve(1000.0 / np.asarray(t)[order], np.asarray(k)[order], label, GRAY, dash=dash)
    told = "%{customdata} K: %{y:.4g} ± %{error_y.array:.2g}"
    for (label, (t, k, error)), color in zip(series.items(), (BLUE, *_OTHERS), strict=False):
        about: dict[str, Any] = {"customdata": [f"{each:g}" for each in t]}
        if color != BLUE:
            about["marker"] = {"color": color, "size": 11, "symbol": "square-open", "line": {"width": 2}}
        traces.append(points(1000.0 / np.asarray(t), k, label, color, 1.96 * np.asarray(error), told, **about))
    return figure(traces, "1000 K / T", "rate constant (1/ps)", yaxis=_LOG, hovermode="closest")


def _spans(values: np.ndarray) -> bool:
    """Whether a logarithmic axis has room for nothing but powers of ten."""
    positive = values[values > 0.0]
    return len(positive) > 0 and positive.max() > 100.0 * positive.min()

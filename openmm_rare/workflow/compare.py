"""A rate, and how far paths come, beside what other runs found for the same problem: where they part, doubt is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..problem import RareEventSystem
from ..rates.estimate import RateCurve, RateEstimate
from ..report.results import result_of_run

__all__ = ["compared", "other_results"]

_PARTED = 2.0  # combined standard errors
_WITH_CURVE = ("splitting", "barrier")


def other_results(problem: RareEventSystem, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Label, rate and standard error of other finished runs, their method, and the curve of those that have one.

    Raises
    ------
    ValueError
        If one is of another System, other states, dynamics or temperature, or not finished.
    FileNotFoundError
        If one has no result.
    """
    found = []
    for folder in folders:
        run, result = result_of_run(folder)
        if result.get("missing"):
            raise InputError(f"the run in {folder} is not finished: continue it with --resume; nothing compares yet")
        if run.attributes.get("fingerprint") != problem.fingerprint():
            raise InputError(
                f"{folder} is of another system, other states or other dynamics than {problem.name}: nothing compares"
            )
        if not math.isclose(result["temperature_k"], problem.temperature, rel_tol=1e-6):
            raise InputError(
                f"{folder} is of {result['temperature_k']:g} K, this run of {problem.temperature:g} K: nothing compares"
            )
        label = f"{result['method'].replace('_', ' ')} in {folder}"
        kept = {name: result.get(name) for name in ("rate_per_ps", "rate_stderr", "method", "curve")}
        found.append({"label": label, **kept})
    return found


def compared(estimate: RateEstimate, others: Sequence[Mapping[str, Any]]) -> RateEstimate:
    """The estimate with a warning for each other one that it parts from, and with the curves that are of its own direction."""
    warnings, notes, beside = [], [], []
    for other in others:
        difference = estimate.rate_per_ps - other["rate_per_ps"]
        sigmas = abs(difference) / math.hypot(estimate.rate_stderr, other["rate_stderr"])
        if sigmas > _PARTED:
            ratio = estimate.rate_per_ps / other["rate_per_ps"] if other["rate_per_ps"] else math.inf  # of a bound
            warnings.append(
                f"The rate is {ratio:.2g} times that by {other['label']}, "
                f"{sigmas:.1f} combined standard errors away: one of them misses something slow, a channel or rare exits."
            )
        if estimate.method in _WITH_CURVE and other.get("method") in _WITH_CURVE:
            refused = _why_not(estimate.curve, other["curve"])
            if refused:
                notes.append(f"How far paths come cannot be compared with {other['label']}: {refused}.")
            else:
                beside.append({"label": other["label"], **other["curve"]})
                warnings += _parted(estimate, other)
    return replace(
        estimate,
        warnings=(*estimate.warnings, *warnings),
        notes=(*estimate.notes, *notes),
        reliable=estimate.reliable and not warnings,
        curve={**estimate.curve, "beside": beside} if beside else estimate.curve,
    )


def _why_not(own: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """Why two curves do not stand beside each other, in words; empty if they do."""
    if own is None or other is None:
        return f"{'this run' if own is None else 'it'} has no curve, or is of an earlier version"
    if not own["key"] or own["key"] != other["key"]:
        models = own["direction"] == other["direction"]
        return "the logits are of different models" if models else f"it is along {other['direction']}, not {own['direction']}"
    return ""


def _parted(estimate: RateEstimate, other: Mapping[str, Any]) -> list[str]:
    """A sentence, if the curves part below B."""
    own, its = RateCurve.from_dict(estimate.curve), RateCurve.from_dict(other["curve"])
    found = own.apart(its)
    if found is None:
        return []
    level, ratio, sigmas = found
    return [
        f"Paths from A come {ratio:.2g} times as often to where {own.place(level)} as by {other['label']}, {sigmas:.1f} "
        f"combined standard errors away (level {level:.3g}): one of them misses paths on the way."
    ]

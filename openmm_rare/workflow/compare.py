"""A rate beside what other runs found for the same problem: where they part, the number is not to be believed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..report.results import result_of_run

__all__ = ["compared", "other_results"]

_PARTED = 2.0  # combined standard errors


def other_results(problem: RareEventSystem, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Label, rate and standard error of other finished runs.

    Raises
    ------
    ValueError
        If one is of another System, other states, dynamics or temperature.
    FileNotFoundError
        If one is not finished.
    """
    found = []
    for folder in folders:
        run, result = result_of_run(folder)
        if run.attributes.get("fingerprint") != problem.fingerprint():
            raise InputError(
                f"{folder} is of another system, other states or other dynamics than {problem.name}: nothing compares"
            )
        if not math.isclose(result["temperature_k"], problem.temperature, rel_tol=1e-6):
            raise InputError(
                f"{folder} is of {result['temperature_k']:g} K, this run of {problem.temperature:g} K: nothing compares"
            )
        label = f"{result['method'].replace('_', ' ')} in {folder}"
        found.append({"label": label, "rate_per_ps": result["rate_per_ps"], "rate_stderr": result["rate_stderr"]})
    return found


def compared(estimate: RateEstimate, others: Sequence[Mapping[str, Any]]) -> RateEstimate:
    """The estimate with a warning for each other one that it parts from."""
    warnings = []
    for other in others:
        difference = estimate.rate_per_ps - other["rate_per_ps"]
        sigmas = abs(difference) / math.hypot(estimate.rate_stderr, other["rate_stderr"])
        if sigmas > _PARTED:
            warnings.append(
                f"The rate is {estimate.rate_per_ps / other['rate_per_ps']:.2g} times that by {other['label']}, "
                f"{sigmas:.1f} combined standard errors away: one of them misses something slow, a channel or rare exits."
            )
    return replace(estimate, warnings=(*estimate.warnings, *warnings), reliable=estimate.reliable and not warnings)

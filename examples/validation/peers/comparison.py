"""What repeats of several methods come to, side by side, and the record on disk that a stopped comparison goes on from."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from problems import Truth

__all__ = ["HEADER", "Record", "row", "scored"]

_QUANTILE = 1.96


class Record:
    """Repeats in a file of JSON lines, one written as soon as it is done.

    Parameters
    ----------
    path : Path
        Made if it is missing; a last line that a kill cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        self.path, self.lines = path, [json.loads(line) for line in whole.splitlines()]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(whole + b"\n" if whole else b"")

    def add(self, line: dict) -> None:
        """Keep one more."""
        with open(self.path, "a", encoding="utf8") as stream:
            stream.write(json.dumps(line) + "\n")
        self.lines.append(line)

    def of(self, **wanted: object) -> list[dict]:
        """Repeats with these values."""
        return [line for line in self.lines if all(line[key] == value for key, value in wanted.items())]


def scored(lines: Sequence[dict], truth: Truth) -> dict:
    """Numbers about the repeats of one method.

    Returns
    -------
    dict
        ``mean``, ``mean_stderr``: rate over truth; ``found``: rms deviation from the truth, relative; ``claimed``: median of
        the errors that the method itself claims; ``covered``: repeats whose 95 % interval, widened by the error of the truth,
        holds it; ``steps``, ``cpu_seconds``: means; ``c_found``, ``c_claimed``: error squared times steps, the second without
        ``c_sampling``'s training; NaN where there is nothing to tell.
    """
    done = [line for line in lines if "failure" not in line]
    if not done:
        return {"repeats": 0, "failed": len(lines)}
    rate, low, high, claimed, steps, training, cpu = (
        np.array([line[key] for line in done], dtype=float)
        for key in ("rate", "low", "high", "relative_error", "steps", "training_steps", "cpu_seconds")
    )
    ratio, margin = rate / truth.rate_per_ps, _QUANTILE * truth.rate_stderr
    inside = (low - margin <= truth.rate_per_ps) & (truth.rate_per_ps <= high + margin) & (rate > 0.0)
    found = float(np.sqrt(np.mean((ratio - 1.0) ** 2)))
    of_claimed = float(np.median(claimed))
    return {
        "repeats": len(done),
        "failed": len(lines) - len(done),
        "mean": float(ratio.mean()),
        "mean_stderr": float(ratio.std(ddof=1) / math.sqrt(len(done))) if len(done) > 1 else math.nan,
        "found": found,
        "claimed": of_claimed,
        "covered": int(inside.sum()),
        "steps": float(steps.mean()),
        "cpu_seconds": float(cpu.mean()),
        "c_found": found**2 * float(steps.mean()),
        "c_claimed": of_claimed**2 * float(steps.mean()),
        "c_sampling": of_claimed**2 * float((steps - training).mean()),
    }


HEADER = (
    *("method", "repeats", "k / truth", "error found", "claimed", "95 % hold it", "steps (M)"),
    *("C found (k)", "C claimed (k)", "without training", "CPU-s", "CPU-s for 5 %"),
)
"""Heads the rows of the table; C in thousands of steps for a relative variance of 1."""


def row(method: str, numbers: dict) -> tuple[str, ...]:
    """A row of the table."""
    if not numbers["repeats"]:
        return (method, f"0 ({numbers['failed']} failed)", *["–"] * (len(HEADER) - 2))
    failed = f" ({numbers['failed']} failed)" if numbers["failed"] else ""
    cpu = numbers["cpu_seconds"]
    return (
        method,
        f"{numbers['repeats']}{failed}",
        f"{numbers['mean']:.3f} ± {numbers['mean_stderr']:.3f}",
        f"{100 * numbers['found']:.1f} %",
        f"{100 * numbers['claimed']:.1f} %",
        f"{numbers['covered']} of {numbers['repeats']}",
        f"{numbers['steps'] / 1e6:.2f}",
        *(f"{numbers[key] / 1e3:.1f}" for key in ("c_found", "c_claimed", "c_sampling")),
        f"{cpu:.1f}",
        f"{cpu * (numbers['found'] / 0.05) ** 2:.1f}",
    )

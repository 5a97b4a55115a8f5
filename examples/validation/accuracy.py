"""Rates and channel fractions against exact ones, in one, two and fourteen dimensions.

    python examples/validation/accuracy.py

Each system gets a run folder with its report in the folder OUT; the same command continues after an interruption.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np
from truth import EXACT_SYSTEMS, Truth, exact

from openmm_rare import RateEstimate
from openmm_rare.io.files import write_json
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.io.text import format_columns, format_value
from openmm_rare.systems import build
from openmm_rare.workflow.rate import configuration, run_rate

HEADER = ["system", "quantity", "exact", "computed", "error", "z", "E[w]", "walker-steps"]


def rows(estimate: RateEstimate, truth: Truth) -> list[list[str]]:
    """The table's rows of one system: its rate, then its channels."""
    k, error = estimate.rate_per_ps, np.hypot(estimate.rate_stderr, truth.rate_stderr)
    table = [
        [
            estimate.system,
            "k (1/ps)",
            format_value(truth.rate_per_ps),
            format_value(k, estimate.rate_stderr),
            f"{100 * estimate.relative_error:.1f} %",
            f"{(k - truth.rate_per_ps) / error:+.2f}",
            format_value(estimate.mean_weight, estimate.mean_weight_stderr),
            f"{estimate.walker_steps:.3g}",
        ]
    ]
    for name, fraction in truth.channels.items():
        share = estimate.channels.get(name, {"fraction": 0.0, "fraction_stderr": float("nan")})
        z = (share["fraction"] - fraction) / share["fraction_stderr"]
        value = format_value(share["fraction"], share["fraction_stderr"])
        table.append(["", f"fraction {name}", format_value(fraction), value, "", f"{z:+.2f}", "", ""])
    return table


def main() -> None:
    """Run the systems and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"default: {' '.join(EXACT_SYSTEMS)}")
    parser.add_argument("--target-error", type=float, default=0.03)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("accuracy"), help="folder of the runs; OUT.json holds the numbers")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.systems) - set(EXACT_SYSTEMS))
    if unknown:
        parser.error(f"no exact rate is known for {', '.join(unknown)}; choose from {', '.join(EXACT_SYSTEMS)}")
    table, numbers = [], {}
    for name in arguments.systems or EXACT_SYSTEMS:
        temperature = build(name).temperature
        config = configuration(name).with_options(
            temperature_k=temperature, target_error=arguments.target_error, seed=arguments.seed
        )
        with TerminalProgress() as progress:
            estimate = run_rate(config, arguments.out / name, resume=True, progress=progress)
        truth = exact(name, temperature)
        table += rows(estimate, truth)
        numbers[name] = {"truth": asdict(truth), "estimate": estimate.to_dict()}
        for sentence in estimate.warnings:
            print(f"Warning ({name}): {sentence}")
    write_json(arguments.out.with_suffix(".json"), numbers)
    print("\n" + format_columns(HEADER, table))
    print("\nz: (computed - exact)/combined standard error; beyond 3 something is wrong.")
    print(f"Reports: {arguments.out}/SYSTEM/report.html; numbers: {arguments.out.with_suffix('.json')}")


if __name__ == "__main__":
    main()

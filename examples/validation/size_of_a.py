"""The rate constant of LJ7 does not depend on the size of A inside its basin; flux, probability and cost do.

    python examples/validation/size_of_a.py

Each radius is a calculation of its own, with its own model, and gets a run folder with its report in the folder OUT; the
same command continues after an interruption.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from openmm import unit
from scipy.stats import chi2

from openmm_rare import RateEstimate
from openmm_rare.io.files import write_json
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.io.text import format_columns, format_value
from openmm_rare.units import parse_quantity
from openmm_rare.workflow.rate import configuration, run_rate

HEADER = ["radius of A", "k (1/ps)", "error", "flux (1/ps)", "P(B before A)", "exits", "walker-steps", "without training"]


def compute(radius: float, temperature: float, arguments: argparse.Namespace) -> RateEstimate:
    """The rate at one radius."""
    config = configuration("lj7").with_options(
        temperature_k=temperature, target_error=arguments.target_error, seed=arguments.seed
    )
    config = replace(config, system=replace(config.system, parameters={"radius_a": radius}))
    print(f"radius of A: {radius:g}")
    with TerminalProgress() as progress:
        return run_rate(config, arguments.out / f"radius_{radius:g}", resume=True, progress=progress)


def row(radius: float, estimate: RateEstimate) -> list[str]:
    """One row of the table."""
    return [
        f"{radius:g}",
        format_value(estimate.rate_per_ps, estimate.rate_stderr),
        f"{100 * estimate.relative_error:.1f} %",
        format_value(estimate.flux_per_ps, estimate.flux_stderr),
        format_value(estimate.p_ab, estimate.p_ab_stderr),
        str(estimate.n_exits),
        f"{estimate.walker_steps:.3g}",
        f"{estimate.walker_steps - estimate.training_walker_steps:.3g}",
    ]


def equality(estimates: list[RateEstimate]) -> str:
    """A sentence on whether the rates agree, from the spread of ln k about its weighted mean."""
    log_k = np.log([estimate.rate_per_ps for estimate in estimates])
    weight = np.array([estimate.relative_error for estimate in estimates]) ** -2.0
    mean = (weight * log_k).sum() / weight.sum()
    chi_squared, freedom = float((weight * (log_k - mean) ** 2).sum()), len(estimates) - 1
    return (
        f"common k = {format_value(np.exp(mean), np.exp(mean) / np.sqrt(weight.sum()))} 1/ps; "
        f"chi-squared {chi_squared:.1f} for {freedom} degrees of freedom (p = {chi2.sf(chi_squared, freedom):.2g})"
    )


def main() -> None:
    """Run every radius and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--radii", type=float, nargs="+", default=[0.08, 0.10, 0.15, 0.20])
    parser.add_argument("--temperature", default="600 K")
    parser.add_argument("--target-error", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("size_of_a"), help="folder of the runs; OUT.json holds the numbers")
    arguments = parser.parse_args()
    temperature = parse_quantity(arguments.temperature, unit.kelvin, "--temperature")
    estimates = {radius: compute(radius, temperature, arguments) for radius in sorted(set(arguments.radii))}
    write_json(arguments.out.with_suffix(".json"), {f"{r:g}": estimate.to_dict() for r, estimate in estimates.items()})
    print("\n" + format_columns(HEADER, [row(radius, estimate) for radius, estimate in estimates.items()]))
    if len(estimates) > 1:
        print("\n" + equality(list(estimates.values())))
    for radius, estimate in estimates.items():
        for sentence in estimate.warnings:
            print(f"Warning (radius {radius:g}): {sentence}")


if __name__ == "__main__":
    main()

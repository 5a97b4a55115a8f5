"""Do 95 % intervals of the rate from the barrier contain the exact rate of the double well 95 times in 100?

    python examples/validation/barrier_coverage.py --repeats 40 --target-error 0.15 --out barrier_coverage.json

Each repeat is a whole run with another seed, about five seconds of one core. With ``--along logit`` windows lie along the logit
of a network that is first fitted to the exact committor, which takes some forty seconds. What is done is kept in the file, so
that the same command goes on with it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from openmm_rare import BarrierRate, Silent
from openmm_rare.committor.base import Committor
from openmm_rare.io.files import write_json
from openmm_rare.latent.starting_model import starting_model
from openmm_rare.settings.barrier import BarrierSettings
from openmm_rare.systems import double_well_1d

TEMPERATURE = 600.0
"""K: a barrier of 5 kT."""

LOGIT = BarrierSettings(windows=9, copies=8, walkers=25, points_per_task=3, along="logit")


def fitted() -> Committor:
    """A network fitted to the exact committor between the states."""
    positions = np.zeros((400, 1, 3))
    positions[:, 0, 0] = np.linspace(-0.39, 0.39, 400)
    exact = double_well_1d.committor(positions[:, 0, 0], TEMPERATURE)
    return starting_model(double_well_1d.build(temperature=TEMPERATURE), positions, exact)[0]


def repeat(seed: int, target_error: float, model: Committor | None) -> dict[str, float]:
    """One run, beside the exact rate of the chain of steps; along x, or the logit of a model."""
    settings = BarrierSettings() if model is None else LOGIT
    options = {"barrier": settings, "model": model, "target_error": target_error, "progress": Silent()}
    estimate = BarrierRate(double_well_1d.build(temperature=TEMPERATURE), seed=seed, **options).run()
    exact = double_well_1d.chain_rate(TEMPERATURE)
    low, high = estimate.rate_ci95
    return {
        "seed": seed,
        "ratio": estimate.rate_per_ps / exact,
        "sigmas": float(np.log(estimate.rate_per_ps / exact) / estimate.relative_error),
        "covered": bool(low <= exact <= high),
        "reliable": estimate.reliable,
        "walker_steps": estimate.walker_steps,
    }


def main() -> None:
    """Run the repeats that are missing, and say how many intervals hold the exact rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--target-error", type=float, default=0.15)
    parser.add_argument("--along", choices=("x", "logit"), default="x")
    parser.add_argument("--out", type=Path, default=Path("barrier_coverage.json"))
    given = parser.parse_args()
    lines = json.loads(given.out.read_text(encoding="utf8"))["repeats"] if given.out.exists() else []
    about = {"temperature_k": TEMPERATURE, "target_error": given.target_error, "along": given.along}
    model = fitted() if given.along == "logit" else None
    for seed in range(len(lines) + 1, given.repeats + 1):
        lines.append(repeat(seed, given.target_error, model))
        write_json(given.out, {**about, "repeats": lines})
        sigmas = np.array([line["sigmas"] for line in lines])
        ratio = np.mean([line["ratio"] for line in lines])
        covered = sum(line["covered"] for line in lines)
        print(
            f"{covered} of {len(lines)} intervals, mean k/exact {ratio:.3f}, sd of deviations {sigmas.std():.2f} errors",
            flush=True,
        )


if __name__ == "__main__":
    main()

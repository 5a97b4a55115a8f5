"""Do 95 % intervals of rates with momenta contain the exact one, with a good direction, a flat one and one that saturates?

    python examples/validation/inertial_coverage.py --repeats 40
    python examples/validation/inertial_coverage.py --repeats 40 --barrier 8 --friction 20 --direction saturated --raw

One particle in a double well, along the logit of its exact mean committor ("exact"), half of it ("flat"), and the same cut
off far from the barrier, as a network has it that was trained on shots alone ("saturated"). With --raw nothing is calibrated:
ln I is that of the logistic function, without a look ahead. That is the negative control: such a run has to fail to cover, or
to say that it is not to be believed. Every repeat is kept beside the result; the same command continues.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from openmm_rare import RareEventSystem, RateEstimate, RateSettings, Silent
from openmm_rare.bias.calibrated import CalibratedImportance
from openmm_rare.bias.level_table import LevelTable
from openmm_rare.flux.blocks import BlockFlux
from openmm_rare.io.files import write_json
from openmm_rare.rates.production import Production
from openmm_rare.rates.roots import RootSampler, Steering
from openmm_rare.rates.splitting.calibration import Calibration, Excursions
from openmm_rare.rates.splitting.rate import SplittingRate
from openmm_rare.rates.splitting.refined import Refined
from openmm_rare.systems import build, langevin_well

SETTINGS = RateSettings(flux_walkers=100, pilot_roots=200, production_roots=500, max_walker_steps=20_000_000)
DIRECTIONS = ("exact", "flat", "saturated")
CUT = -3.0
"""Logit below which a saturated direction hardly falls."""


class Logit:
    """A direction in one dimension.

    Parameters
    ----------
    kind : str
        One of :data:`DIRECTIONS`.
    barrier, friction : float
        Of the well.
    """

    logistic = True

    def __init__(self, kind: str, barrier: float, friction: float) -> None:
        solution = langevin_well.exact(barrier, friction)
        q = np.clip(solution.mean_committor(), 1e-12, 1.0 - 1e-12)
        logit = np.log(q) - np.log1p(-q)
        shapes = {"exact": logit, "flat": 0.5 * logit, "saturated": np.maximum(logit, CUT) + 0.1 * np.minimum(logit - CUT, 0.0)}
        self.name, self.x, self.logit = f"a logit that is {kind}", solution.x, shapes[kind]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Levels of positions, shape (n, 1, 3)."""
        return np.interp(positions[:, 0, 0], self.x, self.logit)


class Raw(SplittingRate):
    """Without calibration: I is the logistic function of the direction."""

    def _calibrate(self, flux: BlockFlux) -> Calibration:
        found = super()._calibrate(flux)
        levels = np.linspace(self.direction.logit.min(), self.direction.logit.max(), 200)
        table = LevelTable(levels, -np.logaddexp(0.0, -levels), True)
        importance = CalibratedImportance(self.direction, table, 0.0, self.problem.timestep)
        flux.judge(importance)
        nothing = Excursions(found.excursions.exit, np.full(len(found.excursions.exit), -np.inf))  # were of other levels
        return replace(found, importance=importance, excursions=nothing)

    def _produce(self, sampler: RootSampler, flux: BlockFlux, steering: Steering, refined: Refined) -> tuple[Production, float]:
        return super()._produce(sampler, flux, steering, lambda same, _, window: (same, same.level(window)))


@dataclass(frozen=True)
class Case:
    """What is repeated."""

    barrier: float
    friction: float
    direction: str
    raw: bool
    target_error: float

    @property
    def name(self) -> str:
        """For files."""
        way = "raw" if self.raw else "calibrated"
        return f"{self.direction}_{way}_h{self.barrier:g}_g{self.friction:g}_{self.target_error:g}"

    def run(self, seed: int) -> RateEstimate:
        """One repeat."""
        problem: RareEventSystem = build("langevin_well", barrier=self.barrier, friction=self.friction)
        kind = Raw if self.raw else SplittingRate
        direction = Logit(self.direction, self.barrier, self.friction)
        return kind(problem, direction, SETTINGS, seed=seed, target_error=self.target_error, progress=Silent()).run()


def summary(case: Case, found: list[dict]) -> dict:
    """Coverage, bias, spread and gain of the repeats."""
    truth = langevin_well.exact(case.barrier, case.friction).rate_per_ps
    k = np.array([each["rate_per_ps"] for each in found])
    inside = [each["rate_ci95"][0] <= truth <= each["rate_ci95"][1] for each in found]
    reliable = np.array([each["reliable"] for each in found])
    spread, steps = k.std(ddof=1), np.mean([each["walker_steps"] for each in found])
    interval = binomtest(sum(inside), len(inside)).proportion_ci(method="exact")
    return {
        "case": case.name,
        "repeats": len(found),
        "exact": truth,
        "mean_over_exact": k.mean() / truth,
        "its_stderr": spread / np.sqrt(len(k)) / truth,
        "covered": sum(inside) / len(inside),
        "covered_ci95": [interval.low, interval.high],
        "reliable": reliable.mean(),
        "covered_where_reliable": float(np.mean(np.array(inside)[reliable])) if reliable.any() else None,
        "spread": spread / k.mean(),
        "mean_error": float(np.mean([each["rate_stderr"] for each in found]) / k.mean()),
        "gain": 1.0 / (truth * langevin_well.TIMESTEP * (spread / k.mean()) ** 2) / steps,
        "look_ahead_ps": float(np.median([each["crossing"]["look_ahead_ps"] for each in found])),
    }


def main() -> None:
    """Run what is missing, and say what all of it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--barrier", type=float, default=5.0, help="kT")
    parser.add_argument("--friction", type=float, default=5.0, help="1/ps")
    parser.add_argument("--direction", choices=DIRECTIONS, action="append", help="default: all of them")
    parser.add_argument("--raw", action="store_true", help="without calibration")
    parser.add_argument("--target-error", type=float, default=0.15)
    parser.add_argument("--out", type=Path, default=Path("inertial_coverage"))
    options = parser.parse_args()
    options.out.mkdir(exist_ok=True)
    for direction in options.direction or DIRECTIONS:
        case = Case(options.barrier, options.friction, direction, options.raw, options.target_error)
        path = options.out / f"{case.name}.json"
        found = json.loads(path.read_text())["repeats"] if path.is_file() else []
        for seed in range(len(found) + 1, options.repeats + 1):
            estimate = case.run(seed).to_dict()
            found.append({name: estimate[name] for name in ("rate_per_ps", "rate_stderr", "rate_ci95", "reliable", "warnings")})
            found[-1] |= {
                "walker_steps": estimate["walker_steps"],
                "crossing": {"look_ahead_ps": estimate["crossing"]["look_ahead_ps"]},
            }
            write_json(path, {"repeats": found, "summary": summary(case, found) if len(found) > 1 else None})
        print(json.dumps(summary(case, found), indent=2), flush=True)


if __name__ == "__main__":
    main()

"""Systems that are hard to sample, at default settings, against exact rates: a wrong rate must come with a warning."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from children import forked
from outcomes import Outcome

sys.path.append(str(Path(__file__).resolve().parents[1]))

from hard_systems import HARD_SYSTEMS, exact_rate  # noqa: E402

__all__ = ["HardCase", "hard_cases", "judged"]

TARGET_ERROR = 0.1
SEEDS = 3
RIGHT = 3.0  # standard errors
CPU_S = 1500


@dataclass(frozen=True)
class HardCase:
    """One system with one seed."""

    group: str
    seed: int
    campaign: str = "hard"

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""
        return self.campaign, self.group, f"seed {self.seed}"

    def run(self, work: Path) -> Outcome:
        """Compute the rate, compare."""
        place = work / f"hard-{self.group}-{self.seed}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        ended = forked(partial(_compute, self.group, self.seed, place), place / "log.txt", place, CPU_S, 4.0 * CPU_S)
        kind, note = ended.failure, ended.last_line
        if kind is None:
            kind, note = judged(*json.loads((place / "estimate.json").read_text()))
            shutil.rmtree(place)
        return Outcome(*self.key, kind, note, memory_gb=ended.memory_gb, cpu_s=ended.cpu_s)


def _compute(name: str, seed: int, place: Path) -> None:
    """The estimate and the truth, as JSON; what is refused ends with its sentence, as commands do."""
    from openmm_rare import ImportanceSamplingRate, Silent
    from openmm_rare.errors import RareError

    try:
        estimate = ImportanceSamplingRate(
            HARD_SYSTEMS[name].build(name), target_error=TARGET_ERROR, seed=seed, progress=Silent()
        ).run()
    except RareError as error:
        print("Error:", " ".join(str(error).split()))
        raise SystemExit(2) from None
    (place / "estimate.json").write_text(json.dumps([estimate.to_dict(), exact_rate(name)]))


def judged(result: dict, truth: float) -> tuple[str, str]:
    """Kind of the outcome, and the numbers.

    Parameters
    ----------
    result : dict
        What ``result.json`` would hold.
    truth : float
        1/ps.
    """
    low, high = np.log(result["rate_ci95"])
    z = ((low + high) / 2.0 - np.log(truth)) / ((high - low) / 3.92)
    warned = bool(result["warnings"]) or not result["reliable"]
    right = abs(z) < RIGHT
    kind = ("right, warned" if warned else "right") if right else ("wrong, warned" if warned else "silent")
    ratio = result["rate_per_ps"] / truth
    return kind, f"k / exact = {ratio:.2f}, z = {z:+.1f}; {' '.join(result['warnings'])[:200]}".strip("; ")


def hard_cases(fraction: float, seed: int) -> list[HardCase]:
    """All systems with all seeds, or the first of them."""
    cases = [HardCase(name, seed + number) for number in range(SEEDS) for name in HARD_SYSTEMS]
    return cases[: max(1, round(fraction * len(cases)))]

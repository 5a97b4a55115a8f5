"""The first numbers of a rate: how early they come, and whether their intervals hold the final answer.

    python examples/validation/early.py double_well_1d --temperature "900 K" --target-error 0.02
    python examples/validation/early.py two_channel_2d --target-error 0.05 --repeats 20

A model is trained once, in the folder beside the result; each repeat is a run with that model and its own seed. Told apart are
the first number of all, which unaided walkers count, the first estimate, of the first batch of production, and all estimates of
a run. What they say is held against the final answer of the same run, and against the exact rate. Shares are those of the whole
run without training: of its steps, and of its CPU time, which includes what is told. The same command continues after an
interruption, also with another number of repeats.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
import json
import time
from pathlib import Path

import numpy as np
from coverage import CHEAP, TRAINED, claim_folder, computed, read_lines
from openmm import unit
from scipy.stats import binomtest
from tqdm import tqdm
from truth import EXACT_SYSTEMS, Truth, exact

from openmm_rare import CommittorModel, ImportanceSamplingRate, RareEventSystem, Silent
from openmm_rare.io.files import write_json
from openmm_rare.systems import build
from openmm_rare.units import parse_quantity

TOLD = ("first number", "first estimate", "all estimates")


def repeat(problem: RareEventSystem, model: str, target_error: float, seed: int) -> dict:
    """One run, and what it said on the way."""
    trained = CommittorModel.load(model, problem.fingerprint())
    began, told = time.process_time(), []
    options = {"seed": seed, "target_error": target_error, "progress": Silent(), "model": trained}
    run = ImportanceSamplingRate(problem, TRAINED, **options)
    run.watch = lambda estimate: told.append((estimate, time.process_time() - began))
    final = run.run()
    whole = final.walker_steps, time.process_time() - began
    lines = [
        {
            "production": estimate.n_roots > 0,
            "ci95": list(estimate.rate_ci95),
            "share_of_steps": estimate.walker_steps / whole[0],
            "share_of_time": spent / whole[1],
        }
        for estimate, spent in told
    ]
    return {"seed": seed, "rate_per_ps": final.rate_per_ps, "seconds": whole[1], "steps": whole[0], "told": lines}


def chosen(lines: list[dict], what: str) -> list[dict]:
    """Of what each run told, the one or all that are meant, with the final answer of the run."""
    found = []
    for line in lines:
        told = [each | {"final": line["rate_per_ps"]} for each in line["told"]]
        estimates = [each for each in told if each["production"]]
        found += {"first number": told[:1], "first estimate": estimates[:1], "all estimates": estimates}[what]
    return found


def held(told: list[dict], truth: float | None = None) -> int:
    """How many intervals hold the final answer of their run, or the truth."""
    return sum(low <= (truth or each["final"]) <= high for each in told for low, high in [each["ci95"]])


def summarize(lines: list[dict], truth: Truth) -> dict:
    """The outcome of the repeats."""
    outcome = {}
    for what in TOLD:
        told = chosen(lines, what)
        widths = [each["ci95"][1] / each["ci95"][0] for each in told if each["ci95"][0] > 0.0]
        final, real = held(told), held(told, truth.rate_per_ps)
        outcome[what] = {
            "told": len(told),
            "hold_the_final_answer": final,
            "fraction_ci95": list(binomtest(final, len(told)).proportion_ci(method="exact")) if told else None,
            "hold_the_truth": real,
            "share_of_steps": float(np.median([each["share_of_steps"] for each in told])),
            "share_of_time": float(np.median([each["share_of_time"] for each in told])),
            "upper_over_lower": float(np.median(widths)) if widths else None,
        }
    return outcome


def show(outcome: dict) -> None:
    """Print the outcome."""
    for what in TOLD:
        found = outcome[what]
        low, high = (100 * bound for bound in found["fraction_ci95"])
        print(
            f"{what}: {found['hold_the_final_answer']} of {found['told']} intervals hold the final answer (95 % binomial: "
            f"{low:.0f} to {high:.0f} %), {found['hold_the_truth']} the exact rate; median share of steps "
            f"{100 * found['share_of_steps']:.1f} %, of CPU time {100 * found['share_of_time']:.1f} %; upper over lower bound "
            f"{found['upper_over_lower'] or np.inf:.2g}"
        )


def main() -> None:
    """Run all repeats, print and write the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=sorted(EXACT_SYSTEMS))
    parser.add_argument("--temperature", help='e.g. "900 K"; default: that of the system')
    parser.add_argument("--target-error", type=float, default=0.02)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1000, help="repeat i has SEED + i; training has SEED")
    parser.add_argument("--out", type=Path, help="default: early_SYSTEM.json")
    given = parser.parse_args()
    kelvin = {} if given.temperature is None else {"temperature": parse_quantity(given.temperature, unit.kelvin, "temperature")}
    problem, out = build(given.system, **kelvin), given.out or Path(f"early_{given.system}.json")
    folder = out.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    computed(folder / "model", problem, target_error=0.3, seed=given.seed, settings=CHEAP)
    model, seeds = str(folder / "model" / "model.npz"), range(given.seed + 1, given.seed + 1 + given.repeats)
    claim_folder(folder, {"temperature_k": problem.temperature, "target_error": given.target_error, "seed": given.seed})
    lines = read_lines(folder / "repeats.jsonl")
    left = sorted(set(seeds) - {line["seed"] for line in lines})
    with open(folder / "repeats.jsonl", "a", encoding="utf8") as stream:
        for seed in tqdm(left, desc="repeats", smoothing=0):
            lines.append(repeat(problem, model, given.target_error, seed))
            stream.write(json.dumps(lines[-1]) + "\n")
            stream.flush()
    lines = [line for line in lines if line["seed"] in seeds]
    outcome = summarize(lines, exact(problem.name, problem.temperature))
    write_json(out, {"system": problem.name, "temperature_k": problem.temperature, **outcome, "repeats": lines})
    show(outcome)
    print(f"a run takes {np.mean([line['steps'] for line in lines]):.3g} steps and ", end="")
    print(f"{np.mean([line['seconds'] for line in lines]):.3g} s of CPU; written: {out}")


if __name__ == "__main__":
    main()

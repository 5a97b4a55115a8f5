"""Do 95 % intervals contain the truth 95 times in 100? Many independent repeats of a cheap run against a known rate.

    python examples/validation/coverage.py two_channel_2d --repeats 100
    python examples/validation/coverage.py lj7 --repeats 40
    python examples/validation/coverage.py double_well_1d --temperature "900 K" --brute-force

The truth is the exact rate where there is one, and otherwise a brute-force rate that is computed first; its error then
widens the intervals. Unless told --train-each, all repeats share one model: what varies is everything that is random
after training, which is what the error bar claims to cover. Everything is kept in a folder beside the result
(coverage_SYSTEM/ for coverage_SYSTEM.json), so that the same command continues after an interruption, also with more
repeats. The channel fractions of the repeats are tested too, where they are known. With --brute-force it is the error bar
of counted transitions that is tested.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load, here and in the worker processes

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from openmm import unit
from scipy.stats import binomtest
from tqdm import tqdm
from truth import EXACT_SYSTEMS, Truth, exact

from openmm_rare import (
    BruteForceRate,
    CommittorModel,
    ImportanceSamplingRate,
    RareEventSystem,
    RateEstimate,
    RateSettings,
    Silent,
)
from openmm_rare.io.files import write_json
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.report.results import estimate_of, read_result
from openmm_rare.systems import BUILDERS, build, lj7
from openmm_rare.units import KB, parse_quantity
from openmm_rare.workflow.rate import configuration, run_rate

CHEAP = RateSettings(
    hidden=(32, 32),
    n_slots=300,
    flux_walkers=300,
    flux_steps=300,
    strengths=(1.0, 0.7),
    pilot_roots=100,
    production_roots=300,
    first_stage_rounds=6,
    stage_rounds=3,
    last_stage_rounds=5,
)
"""A smaller network and fewer rounds and walkers than the defaults: the model only has to be fair, since a worse one costs
more and must not give a wrong answer."""

TRAINED = replace(CHEAP, stage_rounds=0, last_stage_rounds=0)  # takes a model as it is
LJ7_KT = 0.2  # epsilon; hot enough for brute force
QUANTILE = 1.96


@dataclass(frozen=True)
class Job:
    """One repeat, as a worker process receives it; without a model it trains its own, if it needs one."""

    name: str
    temperature_k: float
    target_error: float
    seed: int
    brute_force: bool
    backend: str
    model: str | None


def sampler(job: Job) -> ImportanceSamplingRate | BruteForceRate:
    """What computes the rate of one repeat."""
    system = build(job.name, temperature=job.temperature_k)
    if job.brute_force:
        return BruteForceRate(
            system,
            replace(CHEAP, backend=job.backend),
            seed=job.seed,
            progress=Silent(),
            target_error=job.target_error,
        )
    model = None if job.model is None else CommittorModel.load(job.model, system.fingerprint())
    settings = replace(CHEAP if model is None else TRAINED, backend=job.backend)
    return ImportanceSamplingRate(
        system, target_error=job.target_error, seed=job.seed, settings=settings, model=model, progress=Silent()
    )


def repeat(job: Job) -> dict:
    """Compute the rate once; a failed run is an outcome as well."""
    try:
        estimate = sampler(job).run()
    except (RuntimeError, FloatingPointError) as error:
        return {"seed": job.seed, "failure": str(error)}
    left_out = ("system", "method", "temperature_k", "versions", "no_reweighting", "platform")
    return {key: value for key, value in estimate.to_dict().items() if key not in left_out}


def score(line: dict, truth: Truth) -> float:
    """Deviation from the truth in standard errors, on the logarithmic scale on which the intervals are symmetric."""
    low, high = np.log(line["rate_ci95"])
    error = np.hypot((high - low) / (2 * QUANTILE), truth.rate_stderr / truth.rate_per_ps)
    return float(((low + high) / 2 - np.log(truth.rate_per_ps)) / error)


def covered(lines: list[dict], truth: Truth) -> np.ndarray:
    """Whether each 95 % interval contains the truth."""
    return np.array([abs(score(line, truth)) <= QUANTILE for line in lines], dtype=bool)


def mean_and_stderr(values: np.ndarray) -> list[float]:
    """Mean and its standard error."""
    return [float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")]


def summarize(lines: list[dict], truth: Truth) -> dict:
    """The outcome of the finished repeats."""
    done = [line for line in lines if "failure" not in line]
    outcome: dict = {"truth": asdict(truth), "repeats": len(lines), "failed": len(lines) - len(done)}
    if not done:
        return outcome
    inside, z = covered(done, truth), np.array([score(line, truth) for line in done])
    rate = np.array([line["rate_per_ps"] for line in done])
    reliable = np.array([line["reliable"] for line in done])
    weight_z = [(line["mean_weight"] - 1.0) / line["mean_weight_stderr"] for line in done if line["mean_weight_stderr"]]
    return outcome | {
        "contained": int(inside.sum()),
        "fraction": float(inside.mean()),
        "fraction_ci95": list(binomtest(int(inside.sum()), len(inside)).proportion_ci(method="exact")),
        "contained_of_reliable": [int(inside[reliable].sum()), int(reliable.sum())],
        "mean_deviation": mean_and_stderr(rate / truth.rate_per_ps - 1.0),
        "rms_deviation": float(np.sqrt(np.mean((rate / truth.rate_per_ps - 1.0) ** 2))),
        "mean_relative_error": float(np.mean([line["rate_stderr"] / line["rate_per_ps"] for line in done])),
        "mean_z": float(z.mean()),
        "sd_z": float(z.std(ddof=1)) if len(z) > 1 else None,
        "mean_weight_z": mean_and_stderr(np.array(weight_z)) if weight_z else None,
        "channels_z": channel_scores(done, truth),
        "mean_walker_steps": float(np.mean([line["walker_steps"] for line in done])),
        "mean_wall_seconds": float(np.mean([line["wall_seconds"] for line in done])),
    }


def channel_scores(done: list[dict], truth: Truth) -> dict[str, list[float]]:
    """Mean and standard deviation of the deviation of each channel's fraction, in standard errors."""
    scores = {}
    for name, fraction in truth.channels.items():
        shares = [line["channels"][name] for line in done if line["channels"].get(name, {}).get("fraction_stderr")]
        z = np.array([(share["fraction"] - fraction) / share["fraction_stderr"] for share in shares])
        if len(z) > 1:
            scores[name] = [float(z.mean()), float(z.std(ddof=1))]
    return scores


def show(outcome: dict) -> None:
    """Print the outcome."""
    truth = outcome["truth"]
    error = f" +- {truth['rate_stderr']:.2g}" if truth["rate_stderr"] else ""
    print(f"\ntruth ({truth['label']}): {truth['rate_per_ps']:.5g}{error} 1/ps")
    print(f"repeats: {outcome['repeats']}, failed: {outcome['failed']}")
    if "fraction" not in outcome:
        return
    low, high = outcome["fraction_ci95"]
    print(f"95 % intervals that contain the truth: {100 * outcome['fraction']:.1f} %  (95 % binomial: ", end="")
    print(f"{100 * low:.1f} to {100 * high:.1f} %); of those called reliable: ", end="")
    print("{} of {}".format(*outcome["contained_of_reliable"]))
    deviation, uncertainty = outcome["mean_deviation"]
    print(f"mean relative error claimed: {100 * outcome['mean_relative_error']:.2f} %, ", end="")
    print(f"actual (rms): {100 * outcome['rms_deviation']:.2f} %")
    print(f"mean deviation from the truth: {100 * deviation:+.2f} +- {100 * uncertainty:.2f} %")
    spread = "unknown" if outcome["sd_z"] is None else f"{outcome['sd_z']:.2f}"
    print(f"z: mean {outcome['mean_z']:+.2f}, standard deviation {spread}  (0 and 1 are right)")
    for name, (mean, deviation) in outcome["channels_z"].items():
        print(f"z of channel {name}: mean {mean:+.2f}, standard deviation {deviation:.2f}")
    print(f"walker-steps of a repeat: {outcome['mean_walker_steps']:.3g} in {outcome['mean_wall_seconds']:.0f} s")
    if truth["rate_stderr"]:
        print("The repeats share the error of the reference, so they are not fully independent of each other.")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=sorted(BUILDERS))
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--target-error", type=float, default=0.1)
    heat = parser.add_mutually_exclusive_group()
    heat.add_argument("--temperature", help='e.g. "600 K"; default: that of the system')
    heat.add_argument("--kt", type=float, help=f"lj7 only: kT in epsilon; default {LJ7_KT}")
    parser.add_argument("--backend", default=CHEAP.backend, help="what moves the walkers; default: %(default)s")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1000, help="repeat i has SEED + i; training and reference have SEED")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--train-each", action="store_true", help="train anew in every repeat")
    kind.add_argument("--brute-force", action="store_true", help="count transitions in every repeat")
    parser.add_argument("--reference-error", type=float, default=0.02, help="of the brute-force rate, where none is exact")
    parser.add_argument("--out", type=Path, help="default: coverage_SYSTEM.json")
    arguments = parser.parse_args()
    if arguments.kt is not None and arguments.system != "lj7":
        parser.error("--kt is for lj7; give --temperature")
    if arguments.repeats < 1 or arguments.processes < 1:
        parser.error("--repeats and --processes must be at least 1")
    if not 0.0 < arguments.target_error < 1.0 or not 0.0 < arguments.reference_error < 1.0:
        parser.error("--target-error and --reference-error are relative errors between 0 and 1")
    return arguments


def problem(arguments: argparse.Namespace) -> RareEventSystem:
    """The system at the wanted temperature."""
    if arguments.temperature is not None:
        kelvin = parse_quantity(arguments.temperature, unit.kelvin, "--temperature")
        return build(arguments.system, temperature=kelvin)
    if arguments.system == "lj7":
        return build("lj7", temperature=(arguments.kt or LJ7_KT) * lj7.EPSILON / KB)
    return build(arguments.system)


def claim_folder(folder: Path, setup: dict) -> None:
    """Make the folder, or make sure that it belongs to the same experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "setup.json"
    if not path.exists():
        write_json(path, setup)
    else:
        stored, now = (json.loads(text) for text in (path.read_text(encoding="utf8"), json.dumps(setup)))
        differing = [key for key in now if key in stored and stored[key] != now[key]]
        if differing:
            raise SystemExit(f"{folder} holds repeats with another {', '.join(differing)}; choose another --out")


def computed(folder: Path, system: RareEventSystem, **sampling: object) -> RateEstimate:
    """The result of a run in a folder: read, continued or computed."""
    if (folder / "result.json").is_file():
        found = estimate_of(read_result(folder))
        if found.missing is None:
            return found
    config = configuration(system.name).with_options(temperature_k=system.temperature, **sampling)
    with TerminalProgress() as progress:
        return run_rate(config, folder, resume=True, progress=progress)


def read_lines(path: Path) -> list[dict]:
    """The repeats that are done; a last line cut short by a kill is dropped, from the file too."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    path.write_bytes(whole + b"\n" if whole else b"")
    return [json.loads(line) for line in whole.splitlines()]


def run_jobs(jobs: list[Job], processes: int) -> Iterator[dict]:
    """Outcomes as they come."""
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(repeat, job) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def main() -> None:
    """Run what is missing, then print and write the outcome."""
    arguments = parse_arguments()
    system = problem(arguments)
    out = arguments.out or Path(f"coverage_{system.name}.json")
    folder = out.with_suffix("")
    kept = ("target_error", "seed", "train_each", "brute_force", "reference_error", "backend")
    setup = {name: vars(arguments)[name] for name in kept}
    fixed = {"temperature_k": system.temperature, "fingerprint": system.fingerprint(), "settings": asdict(CHEAP)}
    claim_folder(folder, setup | fixed)
    if system.name in EXACT_SYSTEMS:
        truth = exact(system.name, system.temperature)
    else:
        counting = {"method": "brute_force", "target_error": arguments.reference_error}
        counted = computed(folder / "reference", system, seed=arguments.seed, backend=arguments.backend, **counting)
        truth = Truth("brute force", counted.rate_per_ps, counted.rate_stderr)
    model = None
    if not (arguments.train_each or arguments.brute_force):
        settings = replace(CHEAP, backend=arguments.backend)
        computed(folder / "model", system, target_error=0.3, seed=arguments.seed, settings=settings)
        model = str(folder / "model" / "model.npz")
    lines = read_lines(folder / "repeats.jsonl")
    seeds = set(range(arguments.seed + 1, arguments.seed + 1 + arguments.repeats)) - {line["seed"] for line in lines}
    fixed_part = (system.name, system.temperature, arguments.target_error)
    jobs = [Job(*fixed_part, seed, arguments.brute_force, arguments.backend, model) for seed in sorted(seeds)]
    with open(folder / "repeats.jsonl", "a", encoding="utf8") as stream:
        for line in tqdm(run_jobs(jobs, arguments.processes), total=len(jobs), desc="repeats", smoothing=0):
            stream.write(json.dumps(line) + "\n")
            stream.flush()
            lines.append(line)
            if "failure" in line:
                tqdm.write(f"seed {line['seed']} failed: {line['failure']}")
    outcome = summarize(lines, truth)
    write_json(out, {"system": system.name, "temperature_k": system.temperature, **setup, **outcome})
    show(outcome)
    print(f"written: {out}")


if __name__ == "__main__":
    main()

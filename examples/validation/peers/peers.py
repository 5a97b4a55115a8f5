"""Our rate beside its peers on the same problem: steps for unit relative variance, CPU, claimed and found errors, coverage.

    python examples/validation/peers/peers.py --problem two_channel_2d --repeats 8
    python examples/validation/peers/peers.py --problem lj7_300 --methods ours ffs we --target-error 0.05 --out lj7_300.jsonl
    python examples/validation/peers/peers.py --quick

Peers are forward flux sampling and the weighted ensemble, written here, and WESTPA where it is installed. What makes it fair:

*Steps.* One step is one force evaluation of one walker, whoever asked for it: training, equilibration, pilot runs, flux and
failed shots are all counted, until a walker has stopped and no further. C = (relative error)² × steps, steps for a relative
variance of 1, does not depend on how long a run was; an error e takes C/e² steps. It is given for the error that was *found*
(the rms deviation from the truth over the repeats, itself uncertain by 1/sqrt(2 repeats)) and for the one that each method
*claims*. Dynamics, time step, A, B and the test of B at every step are the same for all.

*CPU.* All methods move their walkers by the native integrator of this package through the same class, in Contexts of the same
kind, on the Reference platform: no force, no noise and no test of a state is computed in Python by any, nor that of an
interface. What a method adds is its own: resampling in Python for the weighted ensemble, training for ours. In `two_channel_2d`
the distance from A, which the peers go along, is one that the integrator knows between two particles: a second, massless one
stands in the middle of A, and costs no time that could be measured. CPU seconds are those of the process, all threads, without
imports. With an expensive force field steps alone decide.

*What the peers get for nothing.* A good coordinate, interfaces and bins chosen by hand, the runs which that took, the burn-in
of the weighted ensemble, and how long a run has to be. Ours gets none of this.

*Error bars* are those of textbooks: binomial stages with independent starts for forward flux; Student's t of eight blocks after
a burn-in of 20 % for the weighted ensemble; ours is its `rate_ci95`. Intervals are widened by the error of the truth, if any.

Each repeat is appended to --out as one line of JSON; the same command goes on after a kill, and further repeats or methods
are added to the same file.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load

import argparse
from pathlib import Path

from comparison import HEADER, Record, row, scored
from methods import METHODS, repeat, why_missing
from problems import PROBLEMS
from tqdm import tqdm

__all__ = ["main"]

_QUICK = {"problem": "double_well_1d", "methods": ["ffs", "we"], "repeats": 2, "target_error": 0.3}


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", choices=list(PROBLEMS), default="two_channel_2d")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--target-error", type=float, default=0.1, help="of ours; peers do what takes them there, about")
    parser.add_argument("--seed", type=int, default=1, help="repeat i has SEED + i")
    parser.add_argument("--out", type=Path, help="default: peers_PROBLEM.jsonl")
    parser.add_argument("--quick", action="store_true", help="seconds: " + ", ".join(f"{k} {v}" for k, v in _QUICK.items()))
    arguments = parser.parse_args(given)
    if arguments.quick:
        vars(arguments).update(_QUICK)
    if arguments.repeats < 1 or not 0.0 < arguments.target_error < 1.0:
        parser.error("--repeats must be at least 1, and --target-error a relative error between 0 and 1")
    arguments.out = arguments.out or Path(f"peers_{arguments.problem}.jsonl")
    return arguments


def main(given: list[str] | None = None) -> None:
    """Run what is missing, then print the table."""
    arguments = _arguments(given)
    record, rows = Record(arguments.out), []
    setup = {"problem": arguments.problem, "target_error": arguments.target_error}
    reasons = {method: why_missing(method) for method in arguments.methods}
    seeds = range(arguments.seed, arguments.seed + arguments.repeats)
    missing = [
        (method, seed)  # repeats of all methods in turn, so that fast and slow minutes of the machine fall on all of them
        for seed in seeds
        for method in arguments.methods
        if not reasons[method] and not record.of(**setup, method=method, seed=seed)
    ]
    for method, seed in tqdm(missing, desc="repeats", smoothing=0.0):
        record.add(repeat(arguments.problem, method, arguments.target_error, seed))
    truth = PROBLEMS[arguments.problem]().truth
    for method in arguments.methods:
        if reasons[method]:
            tqdm.write(f"{method}: skipped, {reasons[method]}")
            continue
        lines = [line for line in record.of(**setup, method=method) if line["seed"] in seeds]
        rows.append(row(method, scored(lines, truth)))
    print(f"\n{arguments.problem}, truth {truth.rate_per_ps:.5g} ± {truth.rate_stderr:.2g} 1/ps ({truth.label})\n")
    for cells in (HEADER, ["---"] * len(HEADER), *rows):
        print("| " + " | ".join(cells) + " |")
    print(f"\nevery repeat: {arguments.out}")


if __name__ == "__main__":
    main()

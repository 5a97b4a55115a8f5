"""Shooting points sampled by walkers, on two ways around a hill: is their share right, whichever way the first path takes?

    python examples/validation/two_channels_inertial.py direct            # the truth, by direct simulation: half a minute
    python examples/validation/tps_points.py [--seeds 2] [--trials 250]   # a few CPU-minutes; folders in runs/points-*

Runs `openmm-rare tps --method points` from a first path above and from one below the hill, with nothing but that path to begin
with. Exit status 1 if a run is wrong by more than three standard errors and silent.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from two_channels_inertial import NSIGMA, TRUTH, shares_of_runs

from openmm_rare import Silent
from openmm_rare.config.run import load_config
from openmm_rare.folders.path_folder import with_path_settings
from openmm_rare.workflow.path_sampling import run_path_sampling

__all__ = ["first_path"]

HERE = Path(__file__).parent
WAYS = {"above": 0.7, "below": -0.55}  # y where paths cross, nm


def first_path(way: str, n_frames: int = 60) -> np.ndarray:
    """A parabola from A to B, shape (n_frames, 1, 3), nm."""
    path = np.zeros((n_frames, 1, 3))
    path[:, 0, 0] = np.linspace(-0.95, 0.95, n_frames)
    path[:, 0, 1] = WAYS[way] * (1.0 - path[:, 0, 0] ** 2)
    return path


def cpu_seconds() -> float:
    """Of this process, and of all its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(way: str, seed: int, walkers: int, trials: int) -> tuple[Path, float]:
    """Folder of a run, and its CPU seconds."""
    out, path, before = Path(f"runs/points-{way}-{seed}"), Path(f"runs/points-{way}.npz"), cpu_seconds()
    shutil.rmtree(out, ignore_errors=True)
    np.savez(path, positions=first_path(way))
    config = load_config(HERE / "two_channels_inertial.toml")
    config = replace(config, sampling=replace(config.sampling, seed=seed))
    options = {"method": "points", "walkers": walkers, "trials": trials, "scouting": 0, "storage": False}
    run_path_sampling(with_path_settings(config, initial_path=str(path), **options), out, progress=Silent())
    return out, cpu_seconds() - before


def main() -> int:
    """Run and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--walkers", type=int, default=16)
    parser.add_argument("--trials", type=int, default=250)
    given = parser.parse_args()
    truth, silent = json.loads(TRUTH.read_text(encoding="utf-8")), 0
    for seed in range(1, given.seeds + 1):
        for way in WAYS:
            out, seconds = run(way, seed, given.walkers, given.trials)
            ((_, share, error, warnings),) = shares_of_runs([out])
            result = json.loads((out / "result.json").read_text(encoding="utf-8"))
            sigmas = (share - truth["share"]) / np.hypot(error, truth["stderr"])
            silent += abs(sigmas) > NSIGMA and not warnings
            print(
                f"first path {way}, seed {seed}: {share:.3f} +- {error:.3f} take the upper way (direct {truth['share']:.3f} +- "
                f"{truth['stderr']:.3f}, {sigmas:+.1f} standard errors); {result['accepted']} paths count as "
                f"{result['effective_paths']:.0f}; yield {result['yield']:.2f}; {seconds:.0f} CPU s; "
                f"says: {' '.join(warnings) or 'nothing'}",
                flush=True,
            )
    print(f"{2 * given.seeds} runs, {silent} wrong and silent")
    return int(silent > 0)


if __name__ == "__main__":
    sys.exit(main())

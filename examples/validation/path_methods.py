"""Chains and points of `openmm-rare tps` side by side on one system: paths, what they count as, and whether both agree.

    python examples/validation/path_methods.py [--system jung_42d] [--trials 600] [--seed 1]

Each method makes so many trials in all, 4 walkers or 1 chain in one process, without storage; CPU times hold everything from
the first path to the report. What paths are worth is the variance of their times over the squared error of the mean time.
"""

from __future__ import annotations

import argparse
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.special import expit

from openmm_rare import Silent
from openmm_rare.config.run import SamplingConfig
from openmm_rare.folders.path_folder import load_path_sampling, with_path_settings
from openmm_rare.workflow.analysis import AnalysisOptions, analyze
from openmm_rare.workflow.path_sampling import run_path_sampling
from openmm_rare.workflow.rate import configuration

__all__ = ["sample"]

METHODS = {"chains": {"chains": 1}, "points": {"walkers": 4}}
_EDGES = 0.02  # committors that are compared lie as far from 0 and 1


def cpu_seconds() -> float:
    """Of this process, and of all its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def sample(name: str, method: str, trials: int, seed: int) -> tuple[Path, float]:
    """Folder of a run, and its CPU seconds."""
    out, options = Path(f"runs/methods-{name}-{method}-{seed}"), METHODS[method]
    shutil.rmtree(out, ignore_errors=True)
    config = replace(configuration(name), sampling=SamplingConfig(seed=seed))
    options = {"method": method, "trials": trials // max(options.values()), "storage": False, "processes": 1} | options
    before = cpu_seconds()
    run_path_sampling(with_path_settings(config, **options), out, progress=Silent())
    return out, cpu_seconds() - before


def main() -> None:
    """Run both, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", default="jung_42d")
    parser.add_argument("--trials", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    models, frames = {}, []
    for method in METHODS:
        out, seconds = sample(given.system, method, given.trials, given.seed)
        system, model, shots, paths = load_path_sampling(out)
        mean, error = paths.mean_time()
        spread = np.average((paths.durations - mean) ** 2, weights=paths.weights)
        chosen = AnalysisOptions(configurations=0, formula_inputs=0)
        found = analyze(system, model, shots, paths, out / "mechanism", chosen, progress=Silent())
        rows = [row for row in found.relevance.rows() if row["above_noise"]]
        relevant = ", ".join(f"{row['name']} {row['normalized']:.2f}" for row in rows)
        print(
            f"{method}: {len(paths.paths)} paths, {len(paths.paths) / seconds:.2f} per CPU s; worth {spread / error**2:.0f}, "
            f"{spread / error**2 / seconds:.2f} per CPU s; mean path time {mean:.3f} +- {error:.3f} ps; relevant: {relevant}; "
            f"{seconds:.0f} CPU s; says: {' '.join(found.warnings) or 'nothing'}",
            flush=True,
        )
        models[method], frames = model, [*frames, *paths.paths]
    one, other = (expit(model.logit(np.concatenate(frames))) for model in models.values())
    inner = (np.minimum(one, other) > _EDGES) & (np.maximum(one, other) < 1.0 - _EDGES)
    print(f"committors differ by {np.sqrt(np.mean((one - other)[inner] ** 2)):.3f} (RMS over frames of all paths)")


if __name__ == "__main__":
    main()

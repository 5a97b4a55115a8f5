"""Figure 3 of Jung, Covino & Hummer (arXiv:1901.04595) made again: yields, relevance, formula and committor over several runs.

python figures.py [--runs 5] [--trials 600] [--jobs 2] [--widths 1] [--out figure3]

Needs the extra "ops". About 20 minutes on two cores. Runs, their analyses and the exact committor are kept in OUT/: the same
command goes on from there, also with more runs or trials. In the end OUT/ holds figure3.png and .svg, density.png, numbers.json
and a CSV file for each panel.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch load, here and in the worker processes

import argparse
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from exact import STEPS_PER_FRAME, Exact, compare, on_plane
from panels import Panels, draw, draw_density, pooled_calibration, pooled_relevance, write_tables
from scipy.special import expit

from openmm_rare.committor.base import Committor
from openmm_rare.config.run import SamplingConfig, load_config
from openmm_rare.folders.path_folder import PathRecord, load_path_sampling, with_path_settings
from openmm_rare.io.files import write_json
from openmm_rare.io.progress import TerminalProgress
from openmm_rare.io.text import format_columns, format_table, format_value
from openmm_rare.learning.shots import Shots
from openmm_rare.mechanism.expression import Expression
from openmm_rare.mechanism.formula import refine
from openmm_rare.mechanism.table import ShotTable
from openmm_rare.paths.ensemble import PathEnsemble
from openmm_rare.settings.paths import PathSettings
from openmm_rare.statistics import mean_over_runs
from openmm_rare.workflow.analysis import AnalysisOptions, analyze
from openmm_rare.workflow.path_sampling import run_path_sampling

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One run of path sampling, as a worker process receives it."""

    label: str
    selector: str
    width: float
    seed: int
    trials: int
    folder: Path

    @property
    def study(self) -> Path:
        """What the analysis of this many trials found."""
        return self.folder / f"mechanism-{self.trials}"


def sample(run: Run) -> None:
    """Path sampling with everything as in config.toml but the selector, or what is left of it."""
    config = replace(load_config(HERE / "config.toml"), sampling=SamplingConfig(seed=run.seed))
    options = {"selector": run.selector, "width": run.width, "trials": run.trials, "storage": False, "threads": 1}
    run_path_sampling(with_path_settings(config, steps_per_frame=STEPS_PER_FRAME, **options), run.folder, resume=True)


def study(run: Run, configurations: int, shots: int) -> None:
    """The mechanism that a run reveals; what the panels need of it goes into panels.json."""
    if (run.study / "panels.json").exists():
        return
    options = AnalysisOptions(seed=run.seed, configurations=configurations, fresh_shots=shots)
    found = analyze(*load_path_sampling(run.folder), run.study, options)
    best = found.front.formulas[found.front.chosen]
    content = {"relevance": vars(found.relevance) | {"confirmed": sorted(found.relevance.confirmed)}, "formula": best.row()}
    content |= {"terms": best.expression.terms, "penalty": found.front.penalty}
    content |= {"network_held_out": found.front.network_held_out}
    for name, each in (("refit", found.calibration), ("run", found.run_calibration)):
        content[name] = {key: getattr(each, key) for key in ("predicted", "n_a", "n_b")}
    write_json(run.study / "panels.json", content)


def limit(paths: PathEnsemble, q: Sequence[np.ndarray], run: Run) -> float:
    """What a perfect committor predicts for a selector on given paths, 2 p (1 - p) a trial."""
    weights = [np.ones(len(each)) for each in q]
    if run.selector == "lorentzian":
        weights = [1.0 / (each**2 + run.width**2) for each in q]
    each_path = [np.average(2.0 * expit(a) * expit(-a), weights=w) for a, w in zip(q, weights, strict=True)]
    return float(np.average(each_path, weights=paths.weights))


def pooled_paths(runs: Sequence[Run]) -> PathEnsemble:
    """The transition paths of all runs, each a chain of its own."""
    found = [load_path_sampling(run.folder)[3] for run in runs]
    chains = np.repeat(np.arange(len(found)), [len(each.paths) for each in found])
    weights = np.concatenate([each.weights for each in found])
    return PathEnsemble([path for each in found for path in each.paths], weights, chains, found[0].frame_time)


def pooled_formula(panels: Sequence[dict], runs: Sequence[Run]) -> tuple[Expression, str, float]:
    """The formulas that runs chose, each with its coefficients fitted to the shots of all runs; the best one, and its loss."""
    loaded = [load_path_sampling(run.folder) for run in runs]
    arrays = [shots.arrays() for _, _, shots, _ in loaded]
    everything = Shots.from_arrays({name: np.concatenate([each[name] for each in arrays]) for name in arrays[0]})
    table = ShotTable.of(loaded[0][1], everything)
    found = [refine(Expression(_tuples(each["terms"])), table) for each in panels]
    best, loss = min(found, key=lambda pair: pair[1] + panels[0]["penalty"] * pair[0].complexity())
    return best, best.text(table.names), loss


def _tuples(nested: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(_tuples(each) for each in nested) if isinstance(nested, list) else nested


def outcomes(runs: Sequence[Run]) -> dict[str, np.ndarray]:
    """Which trials became transition paths, and which were accepted; shape ``(n_runs, n_trials)``."""
    records = [PathRecord.load(run.folder) for run in runs]
    n = runs[0].trials
    generated = np.array([((r.table("n_a") > 0) & (r.table("n_b") > 0))[:n] for r in records])
    return {"generated": generated, "accepted": np.array([r.table("accepted")[:n] for r in records])}


def yield_row(runs: Sequence[Run], paths: PathEnsemble, q: Sequence[np.ndarray]) -> dict[str, Any]:
    """Yields of one selector, with errors from the spread over runs, and how the error that each run printed compares."""
    seen = outcomes(runs)
    results = [json.loads((run.folder / "result.json").read_text()) for run in runs]
    row: dict[str, Any] = {"selector": runs[0].label, "runs": len(runs), "trials": runs[0].trials}
    parts = {"yield": seen["generated"], "yield_last_half": seen["generated"][:, runs[0].trials // 2 :]}
    for name, values in (parts | {"accepted": seen["accepted"]}).items():
        row[name], row[f"{name}_stderr"] = (float(each) for each in mean_over_runs(values.mean(1)))
    row["limit"] = limit(paths, q, runs[0])
    times = mean_over_runs(np.array([each["mean_path_time_ps"] for each in results]))
    row["path_time_ps"], row["path_time_ps_stderr"] = map(float, times)
    z = [(each["yield"] - row["yield"]) / each["yield_stderr"] for each in results if each["yield_stderr"]]
    return row | {"printed_error": float(np.mean([each["yield_stderr"] for each in results])), "z_sd": float(np.std(z, ddof=1))}


def transition_state_yield(runs: Sequence[Run], exact: Exact) -> dict[str, float]:
    """How many trials from points with an exact committor of 0.4 to 0.6 became transition paths: is 1/2 the limit?"""
    arrays = [PathRecord.load(run.folder).shots.arrays() for run in runs]
    p = expit(exact.logit(np.concatenate([each["positions"] for each in arrays])))
    both = np.concatenate([(each["reached"] > 0).all(1) for each in arrays])[(p > 0.4) & (p < 0.6)]
    return {"yield": float(both.mean()), "stderr": float(both.std() / np.sqrt(len(both))), "trials": len(both)}


def collect(kinds: dict[str, list[Run]], exact: Exact, out: Path) -> None:
    """Numbers, tables and figures of everything that has been computed."""
    learned = next(iter(kinds.values()))
    paths = pooled_paths([run for runs in kinds.values() for run in runs])
    q = [exact.logit(path) for path in paths.paths]
    inner = [each[1:-1] for each in q]
    rows = [yield_row(runs, paths, inner) for runs in kinds.values()]
    found = [json.loads((run.study / "panels.json").read_text()) for run in learned]
    models: list[Committor] = [load_path_sampling(run.folder)[1] for run in learned]
    formula, text, loss = pooled_formula(found, learned)
    as_function = lambda positions: formula(positions.reshape(len(positions), -1))  # noqa: E731
    panels = Panels(
        {label: outcomes(runs) for label, runs in kinds.items()},
        pooled_relevance(found),
        [on_plane(model.logit, exact) for model in models],
        on_plane(as_function, exact),
        text,
        exact,
        pooled_calibration(found, "run"),
    )
    noisy = [on_plane(model.logit, exact, seed=number) for number, model in enumerate(models)]
    errors = {name: [compare(each, exact, low).rmse for each in noisy] for name, low in (("all", 0.0), ("transition", 0.1))}
    gaps = mean_over_runs(np.array([each["formula"]["gap"] for each in found]))
    numbers = {
        "yields": rows,
        "learned_minus_uniform": difference(kinds),
        "transition_states": transition_state_yield([run for runs in kinds.values() for run in runs], exact),
        "relevance": panels.relevance.rows(),
        "formulas": [each["formula"] for each in found],
        "pooled_formula": {"text": text, "loss": loss, "rmse": compare(panels.formula, exact).rmse},
        "formula_minus_network": {"mean": float(gaps[0]), "stderr": float(gaps[1])},
        "rmse_on_grid": {name: {"runs": each, **_mean(each)} for name, each in errors.items()},
        "calibration": panels.calibration.summary(),
        "calibration_of_refit": pooled_calibration(found, "refit").summary(),
        "exact": exact.summary(),
    }
    write_json(out / "numbers.json", numbers)
    write_tables(panels, rows, out)
    draw(panels, out)
    draw_density(paths, q, out)
    show(numbers)


def difference(kinds: dict[str, list[Run]]) -> dict[str, float]:
    """Yield of the learned selector minus that of uniform selection; their runs are independent."""
    learned, uniform = (outcomes(kinds[label])["generated"].mean(1) for label in (next(iter(kinds)), "uniform"))
    (a, error_a), (b, error_b) = mean_over_runs(learned), mean_over_runs(uniform)
    return {"mean": float(a - b), "stderr": float(np.hypot(error_a, error_b))}


def _mean(values: Sequence[float]) -> dict[str, float]:
    mean, error = mean_over_runs(np.array(values))
    return {"mean": float(mean), "stderr": float(error)}


def show(numbers: dict[str, Any]) -> None:
    """Print the results."""
    header = ("selector", "yield", "last half", "limit", "accepted", "path time (ps)", "error of a run", "z of runs")
    rows = []
    for row in numbers["yields"]:
        names = ("yield", "yield_last_half", "accepted", "path_time_ps")
        total, last, accepted, time = (format_value(row[name], row[f"{name}_stderr"]) for name in names)
        rest = (f"{row['printed_error']:.3f}", f"{row['z_sd']:.2f}")
        rows.append((row["selector"], total, last, f"{row['limit']:.3f}", accepted, time, *rest))
    print(f"\n{format_columns(header, rows)}\n")
    gain, gap, states = (numbers[key] for key in ("learned_minus_uniform", "formula_minus_network", "transition_states"))
    above = [row["name"] for row in numbers["relevance"] if row["above_noise"]]
    rmse, calibration = numbers["rmse_on_grid"], numbers["calibration"]
    lines = [
        ("learned minus uniform", format_value(gain["mean"], gain["stderr"])),
        ("yield from 0.4 < p < 0.6", format_value(states["yield"], states["stderr"])),
        ("inputs that matter", ", ".join(above) or "none beyond the noise"),
        ("formula, shots of all runs", f"q = {numbers['pooled_formula']['text']}"),
        ("formula minus network, held-out loss", format_value(gap["mean"], gap["stderr"])),
        ("RMSE on the grid, all", format_value(rmse["all"]["mean"], rmse["all"]["stderr"])),
        ("RMSE on the grid, 0.1 < p < 0.9", format_value(rmse["transition"]["mean"], rmse["transition"]["stderr"])),
        ("RMSE against fresh shots", format_value(calibration["rmse"], calibration["rmse_stderr"])),
        ("slope of the sampled logit", format_value(calibration["slope"], calibration["slope_stderr"])),
    ]
    print(format_table([("Mechanism", lines)]))


def _finish(pool: ProcessPoolExecutor, function: Callable, tasks: Sequence[tuple], progress: TerminalProgress) -> None:
    """Run tasks in the pool; the first error stops everything that has not begun."""
    futures = [pool.submit(function, *task) for task in tasks]
    try:
        for future in as_completed(futures):
            future.result()
            progress.update()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def main() -> None:
    """Compute what is missing, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="independent runs of each selector, at least 2")
    parser.add_argument("--trials", type=int, default=600, help="of each run")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--widths", type=float, nargs="+", default=[PathSettings().width], help="of learned selectors")
    parser.add_argument("--configurations", type=int, default=50, help="that are shot from afresh in each learned run")
    parser.add_argument("--fresh-shots", type=int, default=40, help="from each of them")
    parser.add_argument("--exact-shots", type=int, default=2000, help="from each point of the grid of the exact committor")
    parser.add_argument("--out", type=Path, default=Path("figure3"))
    arguments = parser.parse_args()
    if arguments.runs < 2:
        parser.error(f"--runs = {arguments.runs} must be at least 2: errors come from the spread over runs")
    first, *others = arguments.widths
    selectors = {"learned": ("lorentzian", first)} | {f"learned, width {w:g}": ("lorentzian", w) for w in others}
    selectors |= {name: (name, PathSettings().width) for name in ("uniform", "aimless")}
    kinds = {
        label: [
            Run(label, name, width, seed, arguments.trials, arguments.out / "runs" / f"{name}-{width:g}-{seed}")
            for seed in range(1, arguments.runs + 1)
        ]
        for label, (name, width) in selectors.items()
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "runs").mkdir(exist_ok=True)
    with TerminalProgress() as progress, ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        todo = [(run,) for seed in range(arguments.runs) for run in (runs[seed] for runs in kinds.values())]
        progress.stage("runs of path sampling", len(todo))
        _finish(pool, sample, todo, progress)
        exact = Exact.load(arguments.out / "exact.npz", arguments.exact_shots, pool, progress)
        progress.stage("analyses", arguments.runs)
        _finish(pool, study, [(run, arguments.configurations, arguments.fresh_shots) for run in kinds["learned"]], progress)
    collect(kinds, exact, arguments.out)


if __name__ == "__main__":
    main()

"""The end of a rate: what its folder holds then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..committor.model import CommittorModel
from ..folders.saved_paths import write_saved_paths
from ..io.files import write_json
from ..io.run_file import RunFile
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..rates.importance import ImportanceSamplingRate
from ..rates.rate_run import RateRun
from ..states.states import IN_A, IN_B, NEITHER
from ..systems.known_rates import Reference, reference_of

__all__ = ["finish", "write_numbers", "write_page_of", "write_result"]


def finish(
    out: Path,
    run: RunFile,
    problem: RareEventSystem,
    engine: RateRun,
    estimate: RateEstimate,
    others: Sequence[Mapping[str, Any]],
) -> RateEstimate:
    """Write what a finished run leaves; gives the estimate with what it says about that."""
    if engine.saved_paths is not None:
        estimate = replace(estimate, saved_paths=write_saved_paths(out, engine.saved_paths, problem))
    known = None if estimate.backward else reference_of(problem)
    if isinstance(engine, ImportanceSamplingRate):
        engine.model.save(out / "model.npz")
        _record_plane(run, problem, engine.model, known)
    _record_references(run, problem, known, others)
    run.finalize()
    write_result(out, run, estimate)
    return estimate


def write_result(out: Path, run: RunFile, estimate: RateEstimate) -> None:
    """Write ``result.json`` and the report."""
    write_numbers(out, run, estimate)
    write_page_of(out, run)


def write_numbers(out: Path, run: RunFile, estimate: RateEstimate) -> None:
    """Write ``result.json``, of the run as far as it has come."""
    about = {"run": run.attributes.get("run"), "records": run.kinds}
    write_json(out / "result.json", estimate.to_dict() | about, checked=True)


def write_page_of(out: Path, run: RunFile) -> None:
    """Write the report of what ``result.json`` says."""
    from ..report.rate import write_rate_report  # matplotlib takes memory that the dynamics can do without

    write_rate_report(out, run)


def _record_references(
    run: RunFile, problem: RareEventSystem, known: Reference | None, others: Sequence[Mapping[str, Any]]
) -> None:
    there = {record["label"] for record in run.load("reference")}
    if known is not None and known.label not in there:
        run.append("reference", {"label": known.label, "rate_per_ps": float(known.rate(problem.temperature))})
    for other in others:
        if other["label"] not in there:
            run.append("reference", {name: other[name] for name in ("label", "rate_per_ps", "rate_stderr")})


def _record_plane(run: RunFile, problem: RareEventSystem, model: CommittorModel, known: Reference | None) -> None:
    """ln I on a grid, learned beside exact, where the exact solution in the plane is known."""
    if known is None or known.plane is None or run.kinds.get("plane"):
        return
    solution = known.plane(problem.temperature)
    grid = np.stack(np.meshgrid(solution.x, solution.y, indexing="ij"), axis=-1)
    positions = np.concatenate([grid, np.zeros((*grid.shape[:2], 1))], axis=-1).reshape(-1, 1, 3)
    status = problem.states.classify(positions).reshape(grid.shape[:2])
    learned = model.log_importance(positions).reshape(grid.shape[:2])
    transition = (solution.committor > 0.3) & (solution.committor < 0.7)
    # what lies in A or B, or is visited far less than the transition region, has nothing to show
    shown = (status == NEITHER) & (solution.density > 0.01 * solution.density[transition].max())
    truth = np.log(solution.committor, out=np.full(grid.shape[:2], np.nan), where=shown)
    record = {"x": solution.x, "y": solution.y, "learned": np.where(shown, learned, np.nan), "exact": truth}
    run.append("plane", record | {"center_a": grid[status == IN_A].mean(0), "center_b": grid[status == IN_B].mean(0)})

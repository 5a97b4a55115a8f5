"""Rates over a range of temperatures, each started from the model of the next hotter one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..committor.model import CommittorModel
from ..config.run import RunConfig, build_system
from ..config.stored import write_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.run_folder import check_new, require_no_action
from ..io.files import remove_stale, write_json
from ..io.log import logged
from ..io.progress import shows_progress
from ..io.tasks import Noting, Progress
from ..parallel.executors import Executor
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..report.results import read_json
from ..report.scan import finished_runs, write_scan_report
from ..systems.known_rates import reference_of
from .rate import run_rate

__all__ = ["run_scan"]


@shows_progress
def run_scan(
    config: RunConfig,
    temperatures: Sequence[float],
    out: str | Path,
    resume: bool = False,
    brute_force: Sequence[float] = (),
    progress: Progress | None = None,
    executor: Executor | None = None,
) -> list[RateEstimate]:
    """Compute rates at falling temperatures, handing the trained model down.

    Parameters
    ----------
    config : RunConfig
        Its temperature is ignored.
    temperatures : sequence of float
        K; at least one, in any order.
    out : path
        Each temperature gets a run folder in it; scan.json, a figure and a report join them.
    resume : bool
        Continue; temperatures may be added.
    brute_force : sequence of float
        Temperatures (K) at which to count transitions as well.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    executor : Executor, optional
        As of :func:`~openmm_rare.workflow.rate.run_rate`, which gets it at one temperature after the other.

    Returns
    -------
    list of RateEstimate
        Importance sampling, hottest first.

    Raises
    ------
    ValueError
        If there is no temperature, or as :func:`openmm_rare.workflow.rate.run_rate`.
    """
    if not temperatures:
        raise InputError('a scan needs at least one temperature, e.g. --temperature "600 K" --temperature "500 K"')
    out = Path(out)
    # one definition of the states for all temperatures: that which suits the coldest, where exits cost most
    coldest = build_system(config.with_options(temperature_k=min(temperatures)))
    system = coldest.with_temperature(max(temperatures))
    config = config.expanded(system)
    require_runnable(system, "rate")
    if not resume:
        check_new(out)
    require_no_action(out)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    remove_stale(out / "figures")
    write_config(config, out)
    progress = Noting(progress)  # says what holds at all temperatures only once
    with logged(out):
        return _rates(system, config, temperatures, brute_force, out, resume, progress, executor)


def _rates(
    problem: RareEventSystem,
    config: RunConfig,
    temperatures: Sequence[float],
    brute_force: Sequence[float],
    out: Path,
    resume: bool,
    progress: Progress,
    executor: Executor | None,
) -> list[RateEstimate]:
    """One run after the other, hottest first, each with the model of the one before."""
    estimates: list[RateEstimate] = []
    others: list[RateEstimate] = []
    model = None
    for temperature in sorted(set(temperatures), reverse=True):
        folder = out / f"{temperature:g}K"
        stages = _Stages(progress, f"{temperature:g} K: ")
        at = config.with_options(temperature_k=temperature)
        estimates.append(run_rate(at, folder, resume, stages, model, executor=executor))
        model = CommittorModel.load(folder / "model.npz", problem.fingerprint())
        _write(out, problem, estimates, others)
    for temperature in sorted(set(brute_force), reverse=True):
        stages = _Stages(progress, f"{temperature:g} K: ")
        at = config.with_options(temperature_k=temperature, method="brute_force", no_reweighting=False, save_paths=0)
        others.append(run_rate(at, out / f"{temperature:g}K_brute_force", resume, stages, executor=executor))
        _write(out, problem, estimates, others)
    return estimates


class _Stages:
    """Progress whose stages say which temperature they belong to."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        self._progress, self._prefix = progress, prefix
        self.update, self.note = progress.update, progress.note

    def stage(self, name: str, total: float | None = None) -> None:
        """A new stage, named with its temperature."""
        self._progress.stage(self._prefix + name, total)


def _write(out: Path, problem: RareEventSystem, estimates: list[RateEstimate], others: list[RateEstimate]) -> None:
    data: dict[str, Any] = {
        "system": problem.name,
        "estimates": [estimate.to_dict() for estimate in estimates],
        "brute_force": [estimate.to_dict() for estimate in others],
        "runs": {folder.name: read_json(folder / "result.json").get("run") for folder in finished_runs(out)},
    }
    known = reference_of(problem)
    if known is not None:
        computed = [result["temperature_k"] for result in (*data["estimates"], *data["brute_force"])]
        low, high = 0.97 * min(computed), 1.03 * max(computed)
        wanted = sorted({*computed, *(1.0 / np.linspace(1.0 / high, 1.0 / low, 30)).tolist()})
        data["known"] = {"label": known.label, "temperature_k": wanted, "rate_per_ps": [float(known.rate(t)) for t in wanted]}
    write_json(out / "scan.json", data, checked=True)
    write_scan_report(out)

"""Rates over a range of temperatures, each started from the model of the next hotter one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..committor.model import CommittorModel
from ..config.run import RunConfig, build_system
from ..config.stored import write_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.run_folder import check_new
from ..io.files import remove_stale, write_json
from ..io.progress import shows_progress
from ..io.tasks import Noting, Progress
from ..io.text import format_count, format_value
from ..problem import RareEventSystem
from ..rates.estimate import RateEstimate
from ..report import plots
from ..report.rate import figure_block, grid_block, notice, page, pretty, read_json
from ..report.rate_figures import FigureFile
from ..systems.known_rates import reference_of
from .rate import run_rate

__all__ = ["channel_table", "run_scan", "scan_table", "write_scan_report"]


@shows_progress
def run_scan(
    config: RunConfig,
    temperatures: Sequence[float],
    out: str | Path,
    resume: bool = False,
    brute_force: Sequence[float] = (),
    progress: Progress | None = None,
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
    (out / "figures").mkdir(parents=True, exist_ok=True)
    remove_stale(out / "figures")
    write_config(config, out)
    progress = Noting(progress)  # says what holds at all temperatures only once
    return _rates(system, config, temperatures, brute_force, out, resume, progress)


def _rates(
    system: RareEventSystem,
    config: RunConfig,
    temperatures: Sequence[float],
    brute_force: Sequence[float],
    out: Path,
    resume: bool,
    progress: Progress,
) -> list[RateEstimate]:
    """One run after the other, hottest first, each with the model of the one before."""
    estimates: list[RateEstimate] = []
    others: list[RateEstimate] = []
    model = None
    for temperature in sorted(set(temperatures), reverse=True):
        folder = out / f"{temperature:g}K"
        stages = _Stages(progress, f"{temperature:g} K: ")
        estimates.append(run_rate(config.with_options(temperature_k=temperature), folder, resume, stages, model))
        model = CommittorModel.load(folder / "model.npz", system.fingerprint())
        _write(out, system, estimates, others)
    for temperature in sorted(set(brute_force), reverse=True):
        stages = _Stages(progress, f"{temperature:g} K: ")
        at = config.with_options(temperature_k=temperature, method="brute_force", no_reweighting=False)
        others.append(run_rate(at, out / f"{temperature:g}K_brute_force", resume, stages))
        _write(out, system, estimates, others)
    return estimates


def scan_table(scan: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of a scan.

    Parameters
    ----------
    scan : mapping
        What ``scan.json`` holds.
    """
    known = scan.get("known")
    rates = {} if known is None else dict(zip(known["temperature_k"], known["rate_per_ps"], strict=True))
    computed = {result["temperature_k"]: result for result in scan["estimates"]}
    counted = {result["temperature_k"]: result for result in scan["brute_force"]}
    columns: dict[str, Callable[[float], str]] = {
        "T (K)": lambda t: f"{t:g}",
        "k (1/ps)": lambda t: _rate(computed.get(t)),
        "error": lambda t: f"{100 * computed[t]['rate_stderr'] / computed[t]['rate_per_ps']:.1f} %" if t in computed else "",
    }
    if known is not None:
        columns[known["label"]] = lambda t: format_value(rates[t])
    if counted:
        columns["brute force"] = lambda t: _rate(counted.get(t))
    if any(result["no_reweighting"] for result in scan["estimates"]):
        columns["no weights"] = lambda t: _rate((computed.get(t) or {}).get("no_reweighting"))
    columns["walker-steps"] = lambda t: format_count(computed[t]["walker_steps"]) if t in computed else ""
    columns["reliable"] = lambda t: ("yes" if computed[t]["reliable"] else "NO") if t in computed else ""
    temperatures = sorted({*computed, *counted}, reverse=True)
    return list(columns), [[cell(t) for cell in columns.values()] for t in temperatures]


def channel_table(scan: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the channels' shares in percent; no rows for a system without channels."""
    names = list(dict.fromkeys(name for result in scan["estimates"] for name in result["channels"]))
    if names == ["all"]:
        return [], []
    rows = []
    for result in scan["estimates"]:
        shares = (result["channels"].get(name) for name in names)
        cells = (s and format_value(100 * s["fraction"], 100 * s["fraction_stderr"]) for s in shares)
        rows.append([f"{result['temperature_k']:g}", *(cell or "0" for cell in cells)])
    return ["T (K)", *(f"{name} (%)" for name in names)], rows


def write_scan_report(folder: str | Path) -> Path:
    """Draw the Arrhenius figure again and write ``report.html`` of a scan, from ``scan.json`` alone.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    folder = Path(folder)
    scan = read_json(folder / "scan.json")
    _require_own(folder, scan.get("runs", {}))
    title = f"{scan['system']}: rate constants and temperature"
    warnings = [f"{result['temperature_k']:g} K: {sentence}" for result in scan["estimates"] for sentence in result["warnings"]]
    caption = (
        "Rate constants against the inverse temperature, with 95 % intervals. A straight line is Arrhenius' law. "
        "Kramers-Langer theory, where it is drawn, is harmonic and counts arrivals in the minimum of B, not in its region."
    )
    figure = FigureFile(_draw(scan, folder / "figures"), "Arrhenius plot", caption)
    header, channels = channel_table(scan)
    links = ", ".join(f'<a href="{t:g}K/report.html">{t:g} K</a>' for t in _temperatures(scan["estimates"]))
    body = [
        f"<h1>{pretty(title)}</h1>",
        '<p class="soft">Each temperature started from the model of the one before it. Computed by openmm-rare.</p>',
        notice(warnings),
        grid_block("Rates in 1/ps", *scan_table(scan)),
        figure_block(figure),
        grid_block("Channels", header, channels) if channels else "",
        f"<h2>Reports of the single runs</h2><p>{links}</p>",
    ]
    return page(folder / "report.html", title, body)


def _folders(out: Path) -> list[Path]:
    """Those of the runs of a scan that are finished."""
    return sorted(path.parent for path in out.glob("*K*/result.json"))


def _require_own(out: Path, runs: Mapping[str, str | None]) -> None:
    """Refuse the results of other runs than those in the folders of the temperatures."""
    for folder in _folders(out):
        if folder.name in runs and read_json(folder / "result.json").get("run") != runs[folder.name]:
            raise InputError(
                f"{out / 'scan.json'} is not of the run in {folder}: restore what was moved there from a copy, or continue the "
                "scan with --resume, which writes both again"
            )


class _Stages:
    """Progress whose stages say which temperature they belong to."""

    def __init__(self, progress: Progress, prefix: str) -> None:
        self._progress, self._prefix = progress, prefix
        self.update, self.note = progress.update, progress.note

    def stage(self, name: str, total: float | None = None) -> None:
        """A new stage, named with its temperature."""
        self._progress.stage(self._prefix + name, total)


def _write(out: Path, system: RareEventSystem, estimates: list[RateEstimate], others: list[RateEstimate]) -> None:
    data: dict[str, Any] = {
        "system": system.name,
        "estimates": [estimate.to_dict() for estimate in estimates],
        "brute_force": [estimate.to_dict() for estimate in others],
        "runs": {folder.name: read_json(folder / "result.json").get("run") for folder in _folders(out)},
    }
    known = reference_of(system)
    if known is not None:
        computed = _temperatures([*data["estimates"], *data["brute_force"]])
        low, high = 0.97 * min(computed), 1.03 * max(computed)
        wanted = sorted({*computed, *(1.0 / np.linspace(1.0 / high, 1.0 / low, 30)).tolist()})
        data["known"] = {"label": known.label, "temperature_k": wanted, "rate_per_ps": [float(known.rate(t)) for t in wanted]}
    write_json(out / "scan.json", data, checked=True)
    write_scan_report(out)


def _draw(scan: Mapping[str, Any], folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    known, counted = scan.get("known"), scan["brute_force"]
    curves = {} if known is None else {known["label"]: (known["temperature_k"], known["rate_per_ps"])}
    figure, (ax,) = plots.new_figure(height=4.4)
    points = {"brute force": _columns(counted)} if counted else {}
    plots.plot_arrhenius(ax, *_columns(scan["estimates"]), curves=curves, points=points)
    plots.save_figure(figure, folder / "arrhenius.png")
    return folder / "arrhenius.png"


def _rate(result: Mapping[str, Any] | None) -> str:
    return "" if result is None else format_value(result["rate_per_ps"], result.get("rate_stderr"))


def _columns(results: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array([r[key] for r in results]) for key in ("temperature_k", "rate_per_ps", "rate_stderr"))


def _temperatures(results: Sequence[Mapping[str, Any]]) -> list[float]:
    return [result["temperature_k"] for result in results]

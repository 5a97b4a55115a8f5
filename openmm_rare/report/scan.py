"""The page about rates over temperatures: tables, an Arrhenius plot, and links to the single runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..io.text import format_count, format_value
from . import plots
from .interactive.rates import explored_arrhenius
from .page import FigureFile, Grid, write_page
from .results import read_json

__all__ = ["channel_table", "finished_runs", "scan_table", "write_scan_report"]


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
    caption = (
        "Rate constants against the inverse temperature, with 95 % intervals. A straight line is Arrhenius' law. "
        "Kramers-Langer theory, where it is drawn, is harmonic and counts arrivals in the minimum of B, not in its region."
    )
    path, explored = _draw(scan, folder / "figures")
    figure = FigureFile(path, "Arrhenius plot", caption, explored)
    header, channels = channel_table(scan)
    return write_page(
        folder / "report.html",
        "scan.html",
        title=f"{scan['system']}: rate constants and temperature",
        warnings=[f"{each['temperature_k']:g} K: {sentence}" for each in scan["estimates"] for sentence in each["warnings"]],
        tables=[Grid("Rates in 1/ps", *scan_table(scan)), *([Grid("Channels", header, channels)] if channels else [])],
        figures=[figure],
        temperatures=[f"{each['temperature_k']:g}" for each in scan["estimates"]],
    )


def finished_runs(out: Path) -> list[Path]:
    """Folders of the runs of a scan that are finished."""
    return sorted(path.parent for path in out.glob("*K*/result.json"))


def _require_own(out: Path, runs: Mapping[str, str | None]) -> None:
    """Refuse the results of other runs than those in the folders of the temperatures."""
    for folder in finished_runs(out):
        if folder.name in runs and read_json(folder / "result.json").get("run") != runs[folder.name]:
            raise InputError(
                f"{out / 'scan.json'} is not of the run in {folder}: restore what was moved there from a copy, or continue the "
                "scan with --resume, which writes both again"
            )


def _draw(scan: Mapping[str, Any], folder: Path) -> tuple[Path, Mapping[str, Any]]:
    folder.mkdir(exist_ok=True)
    known, counted = scan.get("known"), [each for each in scan["brute_force"] if each["rate_per_ps"] > 0.0]
    curves = {} if known is None else {known["label"]: (known["temperature_k"], known["rate_per_ps"])}
    figure, (ax,) = plots.new_figure(height=4.4)
    points = {"brute force": _columns(counted)} if counted else {}
    plots.plot_arrhenius(ax, *_columns(scan["estimates"]), curves=curves, points=points)
    plots.save_figure(figure, folder / "arrhenius.png")
    series = {"importance sampling": _columns(scan["estimates"]), **points}
    return folder / "arrhenius.png", explored_arrhenius(series, curves)


def _rate(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return ""
    below = result.get("rate_below_per_ps")
    return format_value(result["rate_per_ps"], result.get("rate_stderr")) if below is None else f"< {format_value(below)}"


def _columns(results: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, ...]:
    return tuple(np.array([r[key] for r in results]) for key in ("temperature_k", "rate_per_ps", "rate_stderr"))

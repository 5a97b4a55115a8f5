"""A result in words and numbers for people: the rows of the summary table, on the terminal and in the report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .progress import duration
from .terminal_text import printable

__all__ = ["Group", "format_columns", "format_count", "format_table", "format_value", "summary_groups"]

Group = tuple[str, list[tuple[str, str]]]
"""A heading and its rows (label, value)."""

_METHODS = {
    "importance": "importance sampling",
    "splitting": "splitting",
    "brute_force": "brute force",
    "barrier": "windows and shots from the barrier",
}

_PARTS = {"flux": "windows", "production": "points and shots"}


def format_value(value: float, stderr: float | None = None, digits: int = 3) -> str:
    """A number with its standard error to two digits of the error, e.g. ``(4.41 ± 0.12)e-04``, or ``83.1 ± 1.2``."""
    if value is None or not math.isfinite(value):
        return "unknown"
    exponent = math.floor(math.log10(abs(value))) if value != 0.0 else 0
    shift = exponent if not -3 <= exponent < 5 else 0
    scale = 10.0**shift
    decimals = max(0, digits - 1 - exponent + shift)
    if stderr is not None and math.isfinite(stderr) and stderr > 0.0:
        decimals = max(0, 1 - math.floor(math.log10(stderr / scale)))
        number = f"{value / scale:.{decimals}f} ± {stderr / scale:.{decimals}f}"
        return f"({number})e{shift:+03d}" if shift else number
    return f"{value / scale:.{decimals}f}" + (f"e{shift:+03d}" if shift else "")


def format_count(number: float) -> str:
    """A large count: ``950``, ``12.3 thousand``, ``4.56 million``, ``1.20e+12``."""
    for limit, scale, word in (
        (1e4, 1.0, ""),
        (1e6, 1e3, " thousand"),
        (1e9, 1e6, " million"),
        (1e12, 1e9, " billion"),
    ):
        if number < limit:
            return f"{number:.0f}" if scale == 1.0 else f"{number / scale:.3g}{word}"
    return f"{number:.2e}"


def summary_groups(result: Mapping[str, Any], references: Sequence[Mapping[str, Any]] = ()) -> list[Group]:
    """The summary table of a result.

    Parameters
    ----------
    result : mapping
        What ``result.json`` holds.
    references : sequence of mapping
        Known values: ``label`` and ``rate_per_ps``, and ``rate_stderr`` of those that have an error.

    Returns
    -------
    list of (heading, rows)
    """
    groups = [("Result", _rate_rows(result, references))]
    if result.get("missing") and not result["n_roots"]:  # nothing but counts of unaided walkers
        return [*groups, ("Cost", _cost_rows(result))]
    groups.append(("Where it comes from", _barrier_rows(result) if result["method"] == "barrier" else _part_rows(result)))
    if result["method"] == "barrier":
        groups.append(("How far to trust it", _barrier_trust_rows(result)))
    if result["method"] == "importance":
        groups.append(("How far to trust it", _trust_rows(result)))
    if result["method"] == "splitting":
        groups.append(("How far to trust it", _splitting_rows(result)))
    if result.get("saved_paths"):  # not in the results of earlier versions
        groups.append(("Paths from A to B", _saved_rows(result["saved_paths"])))
    return [*groups, ("Cost", _cost_rows(result))]


def format_table(groups: Sequence[Group]) -> str:
    """The groups as aligned text."""
    width = max(len(label) for _, rows in groups for label, _ in rows) + 2
    blocks = ["\n".join([heading, *(f"  {label:<{width}}{value}" for label, value in rows)]) for heading, rows in groups]
    return printable("\n\n".join(blocks))


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %" if abs(fraction) < 0.1 else f"{100 * fraction:.0f} %"


def _rate_rows(result: Mapping[str, Any], references: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    k, error, below = result["rate_per_ps"], result["rate_stderr"], result.get("rate_below_per_ps")
    rows = [
        ("system", f"{result['system']} at {result['temperature_k']:g} K, by {_METHODS[result['method']]}"),
        ("rate constant k", _rate_text(k, error) if below is None else f"below {format_value(below)} 1/ps  (95 %)"),
    ]
    if below is None:
        rows.append(("95 % interval", " to ".join(map(format_value, result["rate_ci95"])) + " 1/ps"))
    if below is None and result.get("rate_reduced") is not None:
        rows.append(("in reduced units", format_value(result["rate_reduced"], result["rate_reduced_stderr"])))
    if result.get("reverse"):  # not in the results of earlier versions
        rows += _reverse_rows(result["reverse"])
    if result.get("missing"):  # not in the results of earlier versions
        rows.append(("not finished", result["missing"]))
    if k:
        rows.append(("mean waiting time 1/k", _time(1.0 / k)))
    for reference in references:
        known = reference["rate_per_ps"]
        value = format_value(known, reference.get("rate_stderr"))
        rows.append((reference["label"], f"{value} 1/ps  (ours / this = {k / known:.2f})"))
    without = result.get("no_reweighting")
    if without:
        ratio = f"{without['rate_per_ps'] / k:.3g} times k" if k else ""
        rows.append(("without reweighting", f"{format_value(without['rate_per_ps'])} 1/ps  ({ratio})"))
    return rows


def _reverse_rows(back: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The way from B to A, and what both say."""
    if back["rate_below_per_ps"] is not None:
        return [("rate constant from B to A", f"below {format_value(back['rate_below_per_ps'])} 1/ps  (95 %)")]
    rows = [
        ("rate constant from B to A", _rate_text(back["rate_per_ps"], back["rate_stderr"])),
        ("K = k_AB / k_BA", format_value(back["k_ratio"], back["k_ratio_stderr"])),
        ("free energy of B, less A", f"{format_value(back['delta_g_kj_mol'], back['delta_g_stderr'])} kJ/mol"),
    ]
    if back["folder"]:
        rows.append(("  of its own run", f"{back['folder']}/report.html"))
    counted = back.get("populations")
    if counted:
        rows.append(("  from populations", f"{format_value(counted['delta_g_kj_mol'], counted['delta_g_stderr'])} kJ/mol"))
    return rows


def _rate_text(k: float, error: float) -> str:
    return f"{format_value(k, error)} 1/ps" + (f"  (± {_percent(error / k)})" if k else "")


def _time(picoseconds: float) -> str:
    units = (("fs", 1e-3), ("ps", 1.0), ("ns", 1e3), ("µs", 1e6), ("ms", 1e9), ("s", 1e12))
    name, scale = next((pair for pair in reversed(units) if picoseconds >= pair[1]), units[0])
    return f"{format_value(picoseconds / scale)} {name}"


def _part_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("flux out of A", f"{format_value(result['flux_per_ps'], result['flux_stderr'])} 1/ps"),
        ("P(B before A)", format_value(result["p_ab"], result["p_ab_stderr"])),
    ]
    plain = (result.get("no_reweighting") or {}).get("channels", {})
    channels = result["channels"]
    for name, share in channels.items() if set(channels) != {"all"} else ():
        text = f"{format_value(100 * share['fraction'], 100 * share['fraction_stderr'])} %"
        ending = f"  (without reweighting {100 * plain[name]:.0f} %)" if name in plain else ""
        rows.append((f"channel {name}", text + ending))
    return rows


def _trust_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    pareto, ess, n_roots = result["pareto_k"], result["ess"], result["n_roots"]
    of = f" of {n_roots} roots" if ess <= n_roots else ", by walkers of all stages"  # roots are those of the last stage
    rows = [
        ("effective sample size", f"{ess:.0f}{of}  (100 at least)"),
        ("Pareto k of the tail", ("no tail" if pareto is None else f"{pareto:.2f}") + "  (0.7 at most)"),
        ("mean path weight E[w]", f"{format_value(result['mean_weight'], result['mean_weight_stderr'])}  (1 is right)"),
        ("error from roots, pool", " and ".join(_percent(result[f"{p}_relative_error"]) for p in ("roots", "pool"))),
        ("exits in the pool", format_count(result["n_exits"])),
        ("bias strength", f"{result['strength']:g}"),
    ]
    if "window_power" in result:  # not in the results of earlier versions
        rows.append(("power of I in windows", f"{result['window_power']:g}"))
    return [*rows, *_mixing_rows(result.get("mixing"))]


def _barrier_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = result["barrier"]
    ratio, unit = found["z_b_over_p_a"], found["unit"] and f" {found['unit']}"
    rows = [
        ("population of b over A", format_value(ratio, ratio * found["z_b_over_p_a_relative_error"])),
        ("b", f"a Gaussian of width {found['width']:.3g}{unit} at {found['along']} = {found['place']:.4g}{unit}"),
        ("transition paths", f"{found['transition_paths']} of {found['points']} points, {_time(found['path_ps'])} on average"),
    ]
    if "rate_back_per_ps" in found and not result.get("reverse"):  # of earlier versions
        rows.append(("rate from B to A", f"{format_value(found['rate_back_per_ps'], found['rate_back_stderr'])} 1/ps"))
        rows.append(("free energy of B, less A", f"{format_value(found['delta_g_kj_mol'], found['delta_g_stderr'])} kJ/mol"))
    return rows


def _barrier_trust_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    found, pareto = result["barrier"], result["pareto_k"]
    sets = zip(found["of_sets"].items(), found["relative_errors_of_sets"].values(), strict=True)
    return [
        ("error from windows, shots", " and ".join(_percent(result[f"{p}_relative_error"]) for p in ("pool", "roots"))),
        *((f"b over A, windows from {side}", format_value(value, value * error)) for (side, value), error in sets),
        ("these differ by", f"{abs(found['sets_differ_kt']):.2g} kT"),
        ("least overlap of windows", f"{found['least_overlap']:.2f} of {len(found['windows'])} windows  (0.03 at least)"),
        ("effective number of paths", f"{result['ess']:.0f}"),
        ("Pareto k of the tail", ("no tail" if pareto is None else f"{pareto:.2f}") + "  (0.7 at most)"),
    ]


def _splitting_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    found, pareto = result["crossing"], result["pareto_k"]
    rows = [
        ("effective sample size", f"{result['ess']:.0f} of {result['n_roots']} roots"),
        ("effective blocks of the flux", f"{found['ess_blocks']:.0f} of {found['blocks']}  (30 at least)"),
        ("Pareto k of the tail", ("no tail" if pareto is None else f"{pareto:.2f}") + "  (0.7 at most)"),
        ("error from roots, pool", " and ".join(_percent(result[f"{p}_relative_error"]) for p in ("roots", "pool"))),
        ("exits in the pool", format_count(result["n_exits"])),
        ("direction", found["direction"]),
        ("look ahead", f"{format_value(found['look_ahead_ps'])} ps"),
    ]
    if "seen" in found:
        low, high = (format_value(bound) for bound in found["seen"]["ci95"])
        n, value = found["seen"]["arrivals"], format_value(found["seen"]["rate_per_ps"])
        rows.append(("k as the flux run counted it", f"{value} 1/ps from {n} arrivals  ({low} to {high})"))
    if "gain" in found:
        rows.append(("fewer steps than brute force", f"{format_value(found['gain'], found['gain_stderr'])} times"))
    return rows


def _saved_rows(saved: Mapping[str, Any]) -> list[tuple[str, str]]:
    folder, n = saved["folder"], saved["paths"]
    if not n:
        return [("saved", "none: nothing came to B")]
    return [
        ("saved", f"{n} that stand for {saved['of']} trees, a frame every {_time(saved['frame_ps'])}, in {folder}/"),
        ("to look at one", f"vmd {folder}/topology.pdb {folder}/path-001.dcd"),
        ("their weights", f"{folder}/paths.csv; {folder}/frames.csv says how far along each frame is"),
    ]


def _mixing_rows(mixing: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How well flux walkers agree on A; nothing in the results of earlier versions."""
    if not mixing:
        return []
    starts, walkers = mixing["r_hat_between_starts"], mixing["r_hat_between_walkers"]
    largest = {name: max(starts[name] or 1.0, walkers[name] or 1.0) for name in starts}
    name = max(largest, key=largest.get)
    rows = [
        ("largest R-hat in A", f"{largest[name]:.2f}, of {name}  (1.1 between starts, 1.15 between walkers at most)"),
        ("flux walkers from", ", ".join(f"{start}: {n}" for start, n in mixing["walkers_by_start"].items())),
    ]
    weighted = mixing.get("weighted")
    if weighted:
        text = f"{weighted['walkers']} walkers, worth {weighted['ess']:.0f}, annealed from {weighted['from_k']:.0f} K"
        rows.append(("parts of A weighted by", text))
    return rows


def _training_rows(training: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How long a model was trained, and why no longer; nothing in the results of earlier versions."""
    if not training:
        return []
    rounds, sweeps = training["rounds"], training["sweeps"]
    text = f"{' + '.join(map(str, rounds))} at falling temperatures" if len(rounds) > 1 else f"{rounds[0]}"
    rows = [("rounds of training", text + (f", {sweeps} sweeps of the final fit" if sweeps else ""))]
    return [*rows, ("no more, because", training["stopped"])]


def _cost_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    total = result["walker_steps"]
    rows = [("walker-steps", format_count(total))]
    for part in ("training", "flux", "pilot", "production"):
        steps = result[f"{part}_walker_steps"]
        if steps:
            name = _PARTS.get(part, part) if result["method"] == "barrier" else part
            rows.append((f"  {name}", f"{format_count(steps)}  ({100 * steps / total:.0f} %)"))
    rows += _training_rows(result.get("training"))
    rows.append(("wall time", duration(result["wall_seconds"])))
    backend = result.get("backend", "python")  # not in the results of earlier versions
    rows.append(("seed, platform, backend", f"{result['seed']}, {result['platform']}, {backend}"))
    return rows


def format_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = (header, ["-" * width for width in widths], *rows)
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return printable("\n".join(shown))

"""One self-contained HTML page per run: numbers, warnings, figures and what they mean."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.stored import require_result_of_run, stored_config
from ..errors import InputError
from ..io.checksums import parse_checked_json, unchecked_note
from ..io.files import write_text
from ..io.run_file import RunFile
from ..io.text import Group, format_value, summary_groups
from .rate_figures import FigureFile, make_figures

__all__ = [
    "details_block",
    "figure_block",
    "grid_block",
    "notes_block",
    "notes_of",
    "notice",
    "page",
    "pretty",
    "read_json",
    "read_result",
    "table_block",
    "write_run_report",
]

_ADVICE = "restore it from a copy, or continue the run with --resume, which writes it again"
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --page: #ffffff; --box: #f9fafb;
  --accent: #0072b2; --bad: #b42318; --bad-box: #fef3f2; --good: #05603a; --good-box: #ecfdf3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --soft: #9ca3af; --line: #374151; --page: #111827;
  --box: #1f2937; --accent: #56b4e9; --bad: #fda29b; --bad-box: #3b1512; --good: #6ce9a6; --good-box: #0b2e20; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 54rem; margin: 0 auto; padding: 2rem 1.1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .5rem; }
p { margin: .5rem 0; }
.soft, figcaption { color: var(--soft); font-size: .92rem; }
.headline { margin: 1.4rem 0 .8rem; }
.headline strong { font-size: 1.75rem; color: var(--accent); font-weight: 650; font-variant-numeric: tabular-nums; }
.notice { border-left: 4px solid; border-radius: 4px; padding: .7rem 1rem; margin: 1.1rem 0; }
.notice.bad { color: var(--bad); background: var(--bad-box); }
.notice.good { color: var(--good); background: var(--good-box); }
.notice ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.scroll { overflow-x: auto; scrollbar-width: thin; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
.grid td:not(:first-child) { white-space: nowrap; }
.grid td:first-child { min-width: 8rem; overflow-wrap: anywhere; }
.rows th { color: var(--soft); font-weight: 400; width: 15rem; }
sup { line-height: 0; }
figure { margin: .6rem 0 0; }
figure img { display: block; max-width: min(100%, 44rem); height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem; }
figcaption { margin-top: .5rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .7rem 0; background: var(--box); }
summary { cursor: pointer; padding: .55rem .9rem; font-weight: 600; }
details > :not(summary) { margin: 0; padding: 0 .9rem .8rem; }
pre { overflow-x: auto; font: .83rem/1.45 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media (max-width: 34rem) { .rows th, .rows td { display: block; width: auto; padding-right: 0; }
  .rows th { border: 0; padding-bottom: 0; font-size: .85rem; } .headline strong { font-size: 1.35rem; } }
"""

_METHOD_TEXT = {
    "importance": (
        "The rate constant is the product of two measured numbers: k = (flux out of A) × P(B before A). The flux "
        "counts how often unbiased dynamics leaves A. The probability comes from trajectories that start at those "
        "exits and are pushed towards B by a learned importance function; each carries a weight that undoes the push "
        "exactly, so the push changes the cost and never the answer. The error bar comes from resampling independent "
        "walkers with everything that descends from them."
    ),
    "brute_force": (
        "The rate constant is the number of transitions from A to B divided by the time that unbiased dynamics spent "
        "with A as the state visited last. The error bar comes from the spread among independent walkers."
    ),
}


def write_run_report(folder: str | Path, run: RunFile | None = None) -> Path:
    """Draw the figures of a finished run again and write its ``report.html``, from ``run.nc`` and ``result.json`` alone.

    Parameters
    ----------
    folder : path
        A run folder.
    run : RunFile, optional
        Its ``run.nc``, where that is open already: opening one reads all names in it.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    FileNotFoundError
        If the run is not finished or this is no run folder.
    ValueError
        If a file is damaged.
    """
    folder = Path(folder)
    result = read_result(folder)
    run = run or RunFile.open(folder / "run.nc")
    config = stored_config(folder, run.attributes.get("config"))  # must be what the run recorded
    if config is not None:
        require_result_of_run(folder / "result.json", result, config, run.attributes.get("run"), _ADVICE)
    if result.get("records", run.kinds) != run.kinds:  # earlier versions did not say it
        raise InputError(
            f"{folder / 'result.json'} and {run.path} are of different times: one of them was put back, or the run went on and "
            "is not finished; continue it with --resume"
        )
    with run.opened():
        figures = make_figures(run, result, folder / "figures")
        groups = summary_groups(result, run.load("reference"))
    rate = format_value(result["rate_per_ps"], result["rate_stderr"])
    title = f"{result['system']} at {result['temperature_k']:g} K"
    body = [
        f"<h1>Rate constant of {_escape(title)}</h1>",
        '<p class="soft">From state A to state B, computed by openmm-rare.</p>',
        f'<p class="headline"><strong>k = {pretty(rate)} ps<sup>−1</sup></strong></p>',
        notice(result["warnings"]),
        notes_block(notes_of(result, folder)),
        f"<p>{_METHOD_TEXT[result['method']]}</p>",
        table_block(groups),
        *(figure_block(figure) for figure in figures),
        "<h2>To repeat this run</h2>",
        details_block("Configuration (config.toml)", str(run.attributes.get("config", ""))),
        details_block("Versions", "\n".join(f"{name} {version}" for name, version in result["versions"].items())),
    ]
    return page(folder / "report.html", title, body)


def notes_of(result: Mapping[str, Any], folder: Path) -> list[str]:
    """The notes of a result, and which files of its folder have no checksum."""
    return list(dict.fromkeys([*result.get("notes", ()), *filter(None, [unchecked_note(folder)])]))


def read_result(folder: Path) -> dict[str, Any]:
    """``result.json`` of a run folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it cannot be read.
    """
    path = folder / "result.json"
    if not path.is_file():
        hint = (
            f"the run in {folder} is not finished: continue it with --resume"
            if (folder / "run.nc").is_file()
            else f"{folder} is no run folder: it has no run.nc, no shots.npz and no result.json"
        )
        raise FileNotFoundError(hint)
    return read_json(path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that this package wrote.

    Raises
    ------
    ValueError
        If it is damaged, or was edited.
    """
    return parse_checked_json(path, _ADVICE)


def page(path: Path, title: str, body: Sequence[str]) -> Path:
    """Write a page of these blocks of HTML."""
    text = (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
    )
    write_text(path, text + "\n".join(body) + "\n</main>\n</body>\n</html>\n")
    return path


def notice(warnings: Sequence[str], otherwise: str = "nothing speaks against the error bar.") -> str:
    """The warnings, or that there are none."""
    if not warnings:
        return f'<div class="notice good">All checks passed: {_escape(otherwise)}</div>'
    items = "".join(f"<li>{_escape(sentence)}</li>" for sentence in warnings)
    return f'<div class="notice bad"><strong>Do not trust these numbers yet.</strong><ul>{items}</ul></div>'


def notes_block(notes: Sequence[str]) -> str:
    """What should be known, and is no fault."""
    return "".join(f'<p class="soft">{_escape(sentence)}</p>' for sentence in notes)


def table_block(groups: Sequence[Group]) -> str:
    """The summary table, group by group."""
    parts = []
    for heading, rows in groups:
        named = ((_escape(label).replace("  ", "&emsp;"), pretty(value)) for label, value in rows)
        cells = "".join(f"<tr><th>{label}</th><td>{value}</td></tr>" for label, value in named)
        parts.append(f'<h2>{_escape(heading)}</h2><div class="scroll"><table class="rows">{cells}</table></div>')
    return "\n".join(parts)


def grid_block(heading: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a header row."""
    top = "".join(f"<th>{pretty(cell)}</th>" for cell in header)
    lines = "".join("<tr>" + "".join(f"<td>{pretty(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f'<table class="grid"><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<h2>{pretty(heading)}</h2><div class="scroll">{table}</div>'


def figure_block(figure: FigureFile) -> str:
    """A figure with its caption, embedded."""
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    return (
        f"<h2>{_escape(figure.title)}</h2><figure>"
        f'<img alt="{_escape(figure.title)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{_escape(figure.caption)}</figcaption></figure>"
    )


def pretty(text: str) -> str:
    """HTML of a value: powers of ten and units as they are printed in books."""
    escaped = _escape(text)
    escaped = re.sub(r"(?<=[\d)])e([+-])0*(\d+)", lambda m: f" × 10<sup>{'−' if m[1] == '-' else ''}{m[2]}</sup>", escaped)
    return re.sub(r"\b1/ps\b", "ps<sup>−1</sup>", escaped)


def details_block(title: str, text: str) -> str:
    """Text under a title that unfolds it."""
    return f"<details><summary>{_escape(title)}</summary><pre>{_escape(text)}</pre></details>"


def _escape(text: str) -> str:
    return html.escape(text, quote=True)

"""One self-contained HTML page per run: numbers, warnings, figures and what they mean."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from ..io.run_file import RunFile
from ..io.text import format_value, summary_groups
from .page import write_page
from .rate_figures import make_figures
from .results import notes_of, result_of_run

__all__ = ["write_rate_report"]

_HARMONIC = "Kramers-Langer"
_ABOUT_HARMONIC = (
    "Kramers-Langer theory is harmonic around minima and saddles, and counts arrivals in the minimum of B, not in its region: "
    "the rate need not agree with it, the less so the higher the temperature."
)


def write_rate_report(folder: str | Path, run: RunFile | None = None) -> Path:
    """Draw the figures of a run again and write its ``report.html``, from ``run.nc`` and ``result.json`` alone.

    Of a run that is not finished there is one figure, and the page loads itself again.

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
        If the run has no result yet or this is no run folder.
    ValueError
        If a file is damaged.
    """
    folder = Path(folder)
    run, result = result_of_run(folder, run)
    below = result.get("rate_below_per_ps")
    with run.opened():
        figures = make_figures(run, result, folder / "figures")
        references = run.load("reference")
    notes = notes_of(result, folder)
    if any(known["label"] == _HARMONIC for known in references):
        notes.append(_ABOUT_HARMONIC)
    return write_page(
        folder / "report.html",
        "rate.html",
        title=f"{result['system']} at {result['temperature_k']:g} K",
        rate=format_value(result["rate_per_ps"], result["rate_stderr"]) if below is None else format_value(below),
        interval=" to ".join(map(format_value, result["rate_ci95"])),
        written=datetime.now().strftime("%Y-%m-%d %H:%M:%S"),
        relation="=" if below is None else "<",
        result=result,
        notes=notes,
        groups=summary_groups(result, references),
        figures=figures,
        config=str(run.attributes.get("config", "")),
        versions=result["versions"],
    )

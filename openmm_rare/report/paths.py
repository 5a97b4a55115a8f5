"""The page about a path sampling run: yields, path times, where paths and shooting points lie, and how to repeat it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from ..committor.base import Committor
from ..config.run import RunConfig, build_system
from ..errors import UntrustedCodeError
from ..folders.path_files import read_first_paths
from ..folders.path_folder import PathRecord, ensemble_of, load_run, model_of_run, path_settings, result_of_run
from ..folders.path_summary import path_rows, summarize_paths
from ..folders.run_folder import variable_units
from ..io.text import format_value
from ..paths.ensemble import PathEnsemble
from ..paths.statistics import path_density, path_statistics
from ..paths.ways import Ways
from ..rates.summary import versions
from ..states.outlines import outlines_of
from . import mechanism_plots, plots
from .interactive.mechanism import explored_density
from .interactive.molecules import MOLECULE_CAPTION, drawn_atoms, explored_molecule, tracks_of_paths
from .page import Drawn, saved_figures, write_page
from .path_plots import make_room, plot_fraction, plot_line_density, plot_outlines, plot_shooting_points, plot_weights
from .rate_figures import axis_label
from .results import notes_of
from .style import ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..problem import RareEventSystem

__all__ = ["write_path_report"]

_LOG = logging.getLogger(__name__)

_SHOTS = 600  # that are drawn, the latest
_FRAMES_PER_BIN = 5  # of the density of paths, on average


def write_path_report(
    folder: str | Path,
    problem: RareEventSystem | None = None,
    trust: bool = False,
    note: Callable[[str], None] | None = None,
) -> Path:
    """Draw the figures of a path sampling run, finished or not, and write its ``report.html``.

    Parameters
    ----------
    folder : path
    problem : RareEventSystem, optional
        That of the run, where it is there already.
    trust : bool
        Whether code that the folder names or holds may run to make it. Without that the figure of the paths in the variables
        of the states is the one that the run drew.
    note : callable, optional
        Is told what the report lacks without that code.

    Raises
    ------
    ValueError
        If the folder holds no such run, or a file is damaged.
    """
    folder = Path(folder)
    config, record = load_run(folder, trust)
    finished = result_of_run(folder, config, record)
    notes = notes_of(finished, folder)
    try:
        problem = problem or build_system(config)
    except UntrustedCodeError as error:
        if not (folder / "figures" / "paths.png").is_file():
            notes.append(f"Without code of this folder there is no figure of paths in the variables of the states: {error}")
            (note or _LOG.info)(notes[-1])
    about, settings = config.system, path_settings(config)
    model = model_of_run(folder, record.model_of["fingerprint"] if problem is None else problem.fingerprint(), record)
    ensemble = ways = None
    if any(record.trials["accepted"]):
        ensemble = ensemble_of(record, folder, settings, about.timestep_ps)
        if problem is not None:
            ways = Ways.of(problem, model, ensemble, read_first_paths(folder, record.digests))
    figures = [*saved_figures(_drawn(problem, record, ensemble, model), folder / "figures")]
    result = summarize_paths(record, ensemble, model, settings, bool(about.inertial), ways)
    if problem is None:
        result = _with_doubts_of(finished, result)
    return write_page(
        folder / "report.html",
        "paths.html",
        title=f"Transition paths of {about.name or 'user'}",
        temperature=f"{about.temperature_k:.4g}",
        headline=_headline(result),
        result=result,
        otherwise=_UNSEEN if settings.method == "chains" else _UNSEEN_BY_WALKERS,
        notes=notes,
        groups=[("Result", path_rows(result)), ("Run", _run_rows(folder, config, result))],
        figures=figures,
        folder=quote(str(folder)),
        config=config.to_toml(folder),
        versions=finished.get("versions") or versions(),
    )


def _with_doubts_of(finished: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """The result with what the run itself found to distrust: without its variables not all can be found again."""
    found = finished.get("warnings", ()) if finished.get("trials") == result["trials"] else ()
    warnings = list(dict.fromkeys([*found, *result["warnings"]]))
    return result | {"warnings": warnings, "reliable": not warnings}


def _headline(result: dict[str, Any]) -> str:
    yielded = format_value(result["yield"], result["yield_stderr"])
    if "walkers" in result:
        return f"{result['accepted']} weighted paths of {result['trials']} trials; {yielded} transition paths a trial"
    return f"{result['accepted']} paths accepted of {result['trials']} trials; {yielded} transition paths a trial"


def _as_named(folder: Path, place: str) -> str:
    """A first path as a choice, or as a file from the folder of the run; one far from there by its name."""
    if not Path(place).is_absolute():
        return place
    here = folder.resolve()
    return os.path.relpath(place, here) if Path(place).is_relative_to(here.parent) else Path(place).name


def _run_rows(folder: Path, config: RunConfig, result: dict[str, Any]) -> list[tuple[str, str]]:
    settings = path_settings(config)
    return [
        ("shooting points", settings.selector if settings.method == "chains" else f"of walkers, reach {settings.reach:g}"),
        ("frames", f"every {settings.steps_per_frame} steps; {result['frames']} made"),
        ("first path", ", ".join(_as_named(folder, place) for place in settings.initial_path)),
        ("seed, platform", f"{config.sampling.seed}, {config.sampling.platform}"),
    ]


def _drawn(
    problem: RareEventSystem | None, record: PathRecord, ensemble: PathEnsemble | None, model: Committor
) -> Iterator[Drawn]:
    """Everything there is to draw, without a figure for what needs the system that is missing."""
    counted = record.table("relaxed")
    if counted.any():
        connects = ((record.table("n_a") > 0) & (record.table("n_b") > 0))[counted]
        figure, axes = plots.new_figure(1, 2, width=8.6, height=3.6)
        plot_fraction(axes[0], connects, "transition paths per trial", record.table("expected")[counted], limit=True)
        if ensemble is not None and ensemble.kind == "walker":
            plot_weights(axes[1], ensemble.weights)
            yield Drawn("yield", "Yield, and weights of paths", _YIELD_OF_WALKERS, figure)
        else:
            plot_fraction(axes[1], record.table("accepted")[counted], "acceptance")
            yield Drawn("yield", "Yield and acceptance", _YIELD, figure)
    if ensemble is None:
        return
    logits = [model.logit(path) for path in ensemble.paths]
    try:
        statistics = path_statistics(ensemble, logits)
    except ValueError:  # paths without a frame between the states
        return
    figure, axes = plots.new_figure(1, 2, width=8.6, height=3.6)
    mechanism_plots.plot_transition_time(axes[0], statistics)
    mechanism_plots.plot_q_density(axes[1], statistics)
    yield Drawn("time", "Path times, and paths along the committor", _TIME, figure)
    plane, explored = (None, None) if problem is None else _plane(problem, record, ensemble)
    yield Drawn("paths", "Where paths run, and where shots began", _PATHS, plane, explored)
    if problem is not None:
        molecule = explored_molecule(problem, drawn_atoms(problem), tracks_of_paths(ensemble, logits, problem.states))
        if molecule is not None:
            yield Drawn("molecule", "The paths of the molecule", MOLECULE_CAPTION, None, molecule=molecule)


def _plane(problem: RareEventSystem, record: PathRecord, ensemble: PathEnsemble) -> tuple[Figure, Mapping[str, Any] | None]:
    """Density of paths over the first two variables of the states, or the only one; of two also to explore."""
    states, units = problem.states, variable_units(problem.states.variables)
    outlines, of = outlines_of(states), states.variables.names
    values = [states.variables(path) for path in ensemble.paths]
    points = states.variables(np.array(record.shots.positions))
    connects = (np.array(record.shots.reached) > 0).all(1)
    names = [axis_label(name, unit) for name, unit in units.items()]
    figure, (ax,) = plots.new_figure(width=6.6, height=4.8)
    if len(names) == 1:
        weights = np.repeat(ensemble.weights, [len(each) for each in values])
        plot_line_density(ax, np.concatenate(values)[:, 0], weights, outlines, of[0], points[:, 0])
        ax.set_xlabel(names[0])
        return figure, None
    bins = int(np.clip(np.sqrt(sum(map(len, values)) / _FRAMES_PER_BIN), 15, 60))
    density, x, y = path_density(ensemble, [each[:, :2] for each in values], bins)
    mechanism_plots.plot_path_density(ax, density, x, y, (names[0], names[1]))
    plot_shooting_points(ax, points[:, :2], connects)
    make_room(ax, outlines, of[:2])
    plot_outlines(ax, outlines, of[:2])
    latest = slice(-_SHOTS, None)
    shots = {
        label: (color, points[latest][chosen[latest], :2])
        for label, color, chosen in (("shots without one", "#FFFFFF", ~connects), ("gave a transition path", ORANGE, connects))
    }
    return figure, explored_density(density, (x, y), (names[0], names[1]), shots, outlines, of[:2])


_UNSEEN = (
    "enough paths, made by the dynamics alone, in every chain. Chains, and first paths that were found by other means, pass "
    "the transition region in the same places. A way that no chain and no first path has taken cannot be seen here."
)
_UNSEEN_BY_WALKERS = (
    "enough paths, made by the dynamics alone, in every walker; walkers agree with each other and with themselves. A way that "
    "no walker and no first path has come to cannot be seen here."
)
_YIELD = (
    "Averages over the latest trials, of those from paths that the dynamics has made. Left: how many trials gave a transition "
    "path, and how many the committor of that time expected; where the two agree, the committor is right where it shoots "
    "from. 1/2 (dashed) is the most that decorrelated trials from transition states can give. Right: how many were accepted, "
    "which is what moves the chain. Dotted: averages over all."
)
_YIELD_OF_WALKERS = (
    "Left: averages over the latest trials of how many gave a transition path, and of how many the committor of that time "
    "expected; with momenta there may be more. Dotted: the average over all. Right: weights of the paths over their mean; the "
    "more uneven they are, the fewer paths of equal weight they count as."
)
_TIME = (
    "Left: running mean of the time that transition paths take; it should have settled. Right: how paths are spread over the "
    "predicted logit; trials from frames with |q| below 1 become transition paths most often."
)
_PATHS = (
    "Density of the frames of accepted paths over the variables in which A and B are defined, and the latest shooting points. "
    "Shots should begin where both states are within reach; paths should fill every channel that you know of."
)

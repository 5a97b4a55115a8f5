"""From the records of a run to its figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.run_file import RunFile
from ..states.outlines import Outline, outlines_from_text
from . import plots
from .barrier_plots import BARRIER_FIGURES
from .committor_map import MAP_CAPTION, CommittorMap, draw_map, explored_map
from .crossing_plots import CROSSING_FIGURE, CURVE_FIGURE, draw_crossing, draw_curve
from .interactive.rates import explored_convergence
from .page import Drawn, FigureFile, saved_figures
from .path_plots import make_room, plot_outlines
from .saved_paths import SAVED_PATHS_FIGURE, SAVED_PATHS_MOVIE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Explored = tuple[Figure | None, Mapping[str, Any] | None, ...]  # and a molecule

__all__ = ["axis_label", "convergence", "make_figures", "root_contributions"]

_POINTS = 40
_TRAINING_CURVES = {"heldout_loss": "held-out loss", "sd_log_importance": "sd(ln I)", "residual": "residual"}
_GREEK = {"mu": "μ", "phi": "φ", "psi": "ψ", "theta": "θ", "omega": "ω"}


def make_figures(run: RunFile, result: Mapping[str, Any], folder: str | Path) -> list[FigureFile]:
    """Draw every figure for which the run has data.

    Parameters
    ----------
    run : RunFile
    result : mapping
        What ``result.json`` holds.
    folder : path
        Where the PNG files go; made if missing.

    Returns
    -------
    list of FigureFile
        In the order in which a reader wants them; of a run that is not finished the convergence alone.
    """
    wanted = [figure for figure in _FIGURES if figure[0] == "convergence" or not result.get("missing")]
    drawn = (_drawn(name, title, caption, draw(run, result)) for name, draw, title, caption in wanted)
    return [*saved_figures((each for each in drawn if each.figure is not None or each.molecule), Path(folder))]


def _drawn(name: str, title: str, caption: str, found: Figure | Explored | None) -> Drawn:
    return Drawn(name, title, caption, *(found if isinstance(found, tuple) else (found,)))


def root_contributions(run: RunFile) -> np.ndarray:
    """Contribution of every root of the production, shape (n_roots,), in the order in which they were started.

    Descendants of a root may arrive in later rounds: each record lists the roots that it touched.
    """
    records = run.load("production", ("root", "touched", "contribution"))
    total = np.zeros(sum(len(record["root"]) for record in records))
    for record in records:
        total[record["touched"]] += record["contribution"]
    return total


def convergence(run: RunFile, result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The estimate from the first roots, for growing numbers of them.

    The flux and the pool are those of the end of the run, so that the rate is proportional to the mean contribution, with
    interfaces times the means of what walkers brought to these: of the same part of all walkers that started for each.

    Returns
    -------
    walker_steps, rate, stderr : ndarray, shape (n_points,)
        Steps with everything before production counted; rates in 1/ps.
    """
    contributions = root_contributions(run)
    part = np.unique(np.linspace(max(len(contributions) // _POINTS, 1), len(contributions), _POINTS).astype(int))
    part = part / len(contributions)
    stages = [_first(values, part) for values in (contributions, *_brought(run))]
    means, variances = (np.array(columns) for columns in zip(*stages, strict=True))
    seen = (means > 0.0).all(0)
    part, means, variances = part[seen], means[:, seen], variances[:, seen]
    rate = result["rate_per_ps"] * (means / means[:, -1:]).prod(0)
    relative = np.sqrt((variances / means**2).sum(0) + result["pool_relative_error"] ** 2)
    before = result["walker_steps"] - result["production_walker_steps"]
    return before + result["production_walker_steps"] * part, rate, rate * relative


def _first(values: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of the first parts of these values, and the variances of the means."""
    count = np.ceil(part * len(values) - 1e-9).astype(int)
    mean, square = (np.cumsum(values**power)[count - 1] / count for power in (1, 2))
    return mean, np.maximum(square - mean**2, 0.0) / np.maximum(count - 1, 1)


def _brought(run: RunFile) -> list[np.ndarray]:
    """What walkers brought to each interface, in the order in which they started."""
    n = max((int(record.get("n_interfaces", 0)) for record in run.load("production", ("n_interfaces",))), default=0)
    names = [f"interface{i}_value" for i in range(n)]
    records = [record for record in run.load("production", tuple(names)) if names and names[0] in record]
    return [np.concatenate([record[name] for record in records]) for name in names]


def _brute_force_convergence(run: RunFile, result: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`convergence`; the first stretch only equilibrates and is not part of the estimate."""
    records = run.load("brute_force", ("transitions", "frames_last_a", "walker_steps"))
    steps = np.cumsum([record["walker_steps"] for record in records])[1:]
    events = np.cumsum([record["transitions"].sum() for record in records[1:]])
    frames = np.cumsum([record["frames_last_a"].sum() for record in records[1:]])
    seen = events > 0
    per_frame = events[seen] / frames[seen]
    rate = result["rate_per_ps"] * per_frame / per_frame[-1]
    return steps[seen], rate, rate / np.sqrt(events[seen])


def _draw_convergence(run: RunFile, result: Mapping[str, Any]) -> Any:
    if run.kinds.get("production"):
        curve = convergence(run, result)
    elif run.kinds.get("brute_force", 0) > 1 and result["rate_per_ps"] > 0.0:
        curve = _brute_force_convergence(run, result)
    else:
        return None
    if not len(curve[1]):  # nothing has arrived
        return None
    known = [(record["label"], record["rate_per_ps"]) for record in run.load("reference")]
    figure, (ax,) = plots.new_figure()
    plots.plot_convergence(ax, *curve, reference=known[0] if known else None)
    return figure, explored_convergence(*curve, known)


def _draw_planes(run: RunFile, result: Mapping[str, Any]) -> Any:
    records = run.load("plane")
    if not records:
        return None
    last = records[-1]
    planes = {title: last[title] for title in ("learned", "exact")}
    figure, axes = plots.new_figure(1, 2, width=8.0, height=3.6)
    marks = {"A": tuple(last["center_a"]), "B": tuple(last["center_b"])}
    plots.plot_importance_planes(axes, last["x"], last["y"], planes, marks=marks)
    return figure


def _draw_paths(run: RunFile, result: Mapping[str, Any]) -> Any:
    found = _PathFrames.of(run)
    if found is None:
        return None
    figure, (ax,) = plots.new_figure(height=4.4)
    plots.plot_paths(ax, found.values, found.ln_importance, found.path_id, found.labels)
    make_room(ax, found.outlines, found.names)
    plot_outlines(ax, found.outlines, found.names)
    return figure


def _draw_map(run: RunFile, result: Mapping[str, Any]) -> Any:
    found = _PathFrames.of(run) if result["method"] == "importance" else None
    if found is None:
        return None
    cells = CommittorMap.of(found.values, np.exp(found.ln_importance), found.outlines, found.names)
    about = (found.outlines, found.names, found.labels)
    return draw_map(cells, *about), explored_map(cells, *about)


@dataclass(frozen=True)
class _PathFrames:
    """Frames of sampled paths over the first two variables, frame by frame, and what these are called."""

    values: np.ndarray
    ln_importance: np.ndarray
    path_id: np.ndarray
    names: tuple[str, str]
    labels: tuple[str, str]
    outlines: Mapping[str, Outline]

    @classmethod
    def of(cls, run: RunFile) -> _PathFrames | None:
        """None where there are no paths or no two variables."""
        records = run.load("production", ("path_values", "path_ln_importance", "path_id", "path_variables"))
        records = [record for record in records if "path_values" in record and record["path_values"].shape[1] >= 2]
        if not records:
            return None
        first, second = records[0]["path_variables"].split(",")[:2]
        units = dict(entry.split("=") for entry in str(run.attributes.get("variable_units", "")).split(",") if "=" in entry)
        offsets = np.cumsum([0, *(record["path_id"].max() + 1 for record in records)])
        return cls(
            np.concatenate([record["path_values"][:, :2] for record in records]),
            np.concatenate([record["path_ln_importance"] for record in records]),
            np.concatenate([record["path_id"] + offset for record, offset in zip(records, offsets, strict=False)]),
            (first, second),
            (axis_label(first, units.get(first, "")), axis_label(second, units.get(second, ""))),
            outlines_from_text(str(run.attributes.get("outlines", ""))),
        )


def axis_label(name: str, unit: str) -> str:
    """Name of a variable with its unit, Greek where it is Greek."""
    for latin, greek in _GREEK.items():
        if name.startswith(latin):
            name = greek + name[len(latin) :]
    return f"{name} ({unit})" if unit else name


def _draw_weights(run: RunFile, result: Mapping[str, Any]) -> Any:
    records = run.load("production", ("log_weights",))
    weights = [record["log_weights"] for record in records if len(record.get("log_weights", ()))]
    if not weights:
        return None
    figure, axes = plots.new_figure(1, 2, width=8.0, height=3.4)
    plots.plot_weights(axes[0], np.concatenate(weights))
    plots.plot_contributions(axes[1], root_contributions(run))
    return figure


def _draw_training(run: RunFile, result: Mapping[str, Any]) -> Any:
    records = run.load("training", ("temperature_k", *_TRAINING_CURVES))
    if not records:
        return None
    values = {key: np.array([record[key] for record in records]) for key in records[0]}
    curves = {label: values[key] for key, label in _TRAINING_CURVES.items() if key in values}
    figure, axes = plots.new_figure(len(curves), 1, height=2.2 * len(curves))
    plots.plot_training(axes, values["temperature_k"], curves)
    return figure


def _draw_barrier(draw: Callable[[Mapping[str, Any]], Any]) -> Callable[[RunFile, Mapping[str, Any]], Any]:
    return lambda run, result: draw(result["barrier"]) if result.get("barrier") else None


def _draw_crossing(run: RunFile, result: Mapping[str, Any]) -> Any:
    return draw_crossing(result["crossing"]) if result.get("crossing") else None


def _draw_curve(run: RunFile, result: Mapping[str, Any]) -> Any:
    """From shots, and beside other runs; that of splitting alone is the figure of its probability."""
    found = result.get("curve")
    if not found or not found["levels"] or (result["method"] == "splitting" and not found.get("beside")):
        return None
    return draw_curve(found, result["method"], result["rate_per_ps"])


_FIGURES: tuple[tuple[str, Callable[[RunFile, Mapping[str, Any]], Any], str, str], ...] = (
    *((name, _draw_barrier(draw), title, caption) for name, draw, title, caption in BARRIER_FIGURES),
    (CROSSING_FIGURE[0], _draw_crossing, *CROSSING_FIGURE[1:]),
    (CURVE_FIGURE[0], _draw_curve, *CURVE_FIGURE[1:]),
    (
        "convergence",
        _draw_convergence,
        "Convergence of the estimate",
        "The rate constant from the roots followed so far, with its 95 % interval, against the work done. "
        "A curve that settles inside its band, and a band that narrows, are what one wants to see; late jumps mean "
        "that rare, heavy paths were still being found.",
    ),
    (
        "planes",
        _draw_planes,
        "The learned importance function beside the exact one",
        "ln I over the part of the plane that paths visit, on one color scale. Where the two pictures agree, walkers "
        "are steered as well as possible. Differences cost efficiency, never correctness: the path weights make up "
        "for them.",
    ),
    ("map", _draw_map, "The committor over two variables", MAP_CAPTION),
    (
        "paths",
        _draw_paths,
        "Transition paths",
        "Some of the sampled paths from A to B over two collective variables, colored by the learned ln I, which rises to 0 on "
        "the way to B. A and B are outlined as far as they are ranges or discs of these variables.",
    ),
    SAVED_PATHS_FIGURE,
    SAVED_PATHS_MOVIE,
    (
        "weights",
        _draw_weights,
        "Weights and contributions",
        "Left: the weights of the paths that reached B. Right: how many roots lie in each range of contributions, and "
        "how much of the answer they carry. When a few roots on the far right carry most of it, the error bar is too "
        "small; the Pareto k of the table measures exactly that.",
    ),
    (
        "training",
        _draw_training,
        "Training",
        "Held-out loss, spread of ln I and residual over the training rounds, by temperature stage. The loss compares "
        "each model with the one before it, and has the squared residual times its weight added: a round with nothing "
        "left to learn ends at 1 plus that. The spread should grow as the temperature falls and level off within each "
        "stage; a spread near zero means that nothing was learned. The residual is that of the backward equation over "
        "residual_steps steps, its root mean square before the last sweep of the round; the smaller, the more even are "
        "the weights of biased paths.",
    ),
)

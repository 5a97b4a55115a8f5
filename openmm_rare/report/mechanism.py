"""One self-contained page about a mechanism."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.whole_frames import to_look_at
from ..folders.run_folder import variable_units
from ..io.text import format_value
from ..mechanism.formula import FormulaFront
from ..mechanism.validation import FEWEST, Calibration
from ..paths.ensemble import PathEnsemble
from ..paths.statistics import path_density
from ..states.outlines import outlines_of
from . import mechanism_plots, plots
from .interactive.mechanism import explored_calibration, explored_density, explored_formulas, explored_relevance
from .interactive.molecules import MOLECULE_CAPTION, Track, drawn_atoms, explored_molecule, tracks_of_paths
from .page import Drawn, Grid, saved_figures, write_page
from .path_plots import make_room, plot_outlines
from .rate_figures import axis_label
from .style import RED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..mechanism.findings import Mechanism
    from ..problem import RareEventSystem

__all__ = ["molecule_figure", "summary_rows", "write_mechanism_report"]

_MOST_ROWS, _MOST_BARS, _OTHERS = 12, 20, 3
_LEAST_SHARE = 5e-4  # of the gradient, or of the largest relevance; less is 0.000
_FLAT = 1e-2  # second extent of a molecule that is a line, relative to the first


def write_mechanism_report(
    out: Path,
    problem: RareEventSystem,
    found: Mechanism,
    paths: PathEnsemble,
    structures: np.ndarray,
    logits: Sequence[np.ndarray],
) -> Path:
    """Draw the figures and write ``report.html``.

    Parameters
    ----------
    out : Path
    problem : RareEventSystem
    found : Mechanism
    paths : PathEnsemble
    structures : ndarray, shape (n, n_atoms, 3), nm
        Transition states.
    logits : sequence of ndarray, shape (n_frames,)
        Of the frames of each path.
    """
    figures = [*saved_figures(_drawn(problem, found, paths, structures, logits), out / "figures")]
    return write_page(
        out / "report.html",
        "mechanism.html",
        title=f"Mechanism of {problem.name}",
        temperature=f"{problem.temperature:.4g}",
        found=found,
        rows=summary_rows(found),
        tables=[] if any(figure.title == _OF_ATOMS for figure in figures) else [_atom_table(found)],
        figures=figures,
    )


def summary_rows(found: Mechanism) -> list[tuple[str, str]]:
    """The answers in short: label and value."""
    relevance, statistics = found.relevance, found.paths
    above = [name for name, seen in zip(relevance.names, relevance.above_floor, strict=True) if seen]
    rows = [
        ("Inputs that matter", ", ".join(above) or "none beyond the noise"),
        ("Shots of the learned committor, loss per shot", f"{relevance.loss:.4f}"),
    ]
    if found.front is not None:
        front = found.front
        best = front.formulas[front.chosen]
        rows += [
            ("Formula for the logit q = ln p_B/(1 − p_B)", f"q = {best.text}"),
            ("Its held-out loss per shot", f"{format_value(best.held_out, best.held_out_stderr)}"),
            ("Held-out loss of the network", f"{format_value(front.network_held_out, front.network_held_out_stderr)}"),
            ("Formula minus network", f"{best.gap:+.4f} ± {best.gap_stderr:.4f}"),
        ]
    if found.calibration is not None:
        c = found.calibration
        rows += [
            ("RMSE of the committor against fresh shots", _rmse(c)),
            ("RMSE of the committor of the run", _rmse(found.run_calibration)),
            ("Slope of the sampled logit (1 is perfect)", _slope(c)),
        ]
    time = f"{format_value(statistics.mean_time, statistics.mean_time_stderr)} ps"
    return [
        *rows,
        ("Transition path time", time),
        (
            "Transition paths",
            f"{statistics.n_paths} of {statistics.n_chains} {statistics.kind}{'s' if statistics.n_chains > 1 else ''}",
        ),
        ("Predicted yield per trial, uniform selection", f"{statistics.yield_uniform:.3f}"),
        ("Predicted yield per trial, learned selection", f"{statistics.yield_lorentzian:.3f}"),
    ]


def _slope(calibration: Calibration) -> str:
    if np.isfinite(calibration.slope_stderr):
        return f"{calibration.slope:.2f} ± {calibration.slope_stderr:.2f}"
    return f"unknown: {len(calibration.predicted)} configurations, {FEWEST} at least"


def _rmse(calibration: Calibration) -> str:
    return f"{calibration.rmse:.3f} ± {calibration.rmse_stderr:.3f}"


def _relevance_table(found: Mechanism) -> Grid:
    rows = [
        [row["name"], f"{row['normalized']:.3f}", f"{row['increase']:.4f} ± {row['stderr']:.4f}", _yes(row["above_noise"])]
        for row in found.relevance.rows()[: min(_MOST_ROWS, _n_shown(found))]
    ]
    more = len(found.relevance.names) - len(rows)
    first = f"input ({more} more in relevance.csv)" if more else "input"
    return Grid("Relevance of the inputs", [first, "relevance", "increase of the loss", "above the noise"], rows)


def _formula_table(front: FormulaFront) -> Grid:
    rows = [
        [f"q = {each.text}", str(each.complexity), f"{each.held_out:.4f}", f"{each.gap:+.4f} ± {each.gap_stderr:.4f}"]
        for each in front.formulas
    ]
    return Grid("Formulas", ["formula", "complexity", "held-out loss", "minus the network's"], rows)


def _atom_table(found: Mechanism) -> Grid:
    order = [i for i in np.argsort(-found.atoms.share)[:_MOST_ROWS] if found.atoms.share[i] >= _LEAST_SHARE]
    rows = [[found.atom_names[i], f"{found.atoms.share[i]:.3f} ± {found.atoms.stderr[i]:.3f}"] for i in order]
    return Grid(_OF_ATOMS, ["atom", "share of the gradient of the logit"], rows)


def _n_shown(found: Mechanism) -> int:
    """Inputs to show: those that are worth something, and a few others beside them."""
    return int(np.clip((found.relevance.normalized >= _LEAST_SHARE).sum() + _OTHERS, 0, _MOST_BARS))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _drawn(
    problem: RareEventSystem, found: Mechanism, paths: PathEnsemble, structures: np.ndarray, logits: Sequence[np.ndarray]
) -> Iterator[Drawn]:
    """Everything there is to draw."""
    shown = min(len(found.relevance.names), _n_shown(found))
    figure, (ax,) = plots.new_figure(height=1.2 + 0.27 * shown)
    mechanism_plots.plot_relevance(ax, found.relevance, shown)
    explored = explored_relevance(found.relevance, shown)
    yield Drawn("relevance", "Relevance of the inputs", _RELEVANCE, figure, explored, table=_relevance_table(found))
    if found.calibration is not None:
        figure, (ax,) = plots.new_figure(height=4.6)
        mechanism_plots.plot_calibration(ax, found.calibration)
        explored = explored_calibration(found.calibration)
        yield Drawn("calibration", "The committor against fresh shots", _CALIBRATION, figure, explored)
    if found.front is not None:
        figure, (ax,) = plots.new_figure()
        mechanism_plots.plot_formula_front(ax, found.front)
        explored, table = explored_formulas(found.front), _formula_table(found.front)
        yield Drawn("formulas", "Formulas of growing complexity", _FORMULAS, figure, explored, table=table)
    yield from _molecules(problem, found, paths, structures, logits)
    names = problem.states.variables.names
    if len(names) >= 2:
        yield _path_density(problem, paths, structures)
    figure, axes = plots.new_figure(1, 2, width=8.0, height=3.4)
    mechanism_plots.plot_q_density(axes[0], found.paths)
    mechanism_plots.plot_transition_time(axes[1], found.paths)
    yield Drawn("paths", "Paths along the committor, and their time", _PATHS, figure)


def _molecules(
    problem: RareEventSystem, found: Mechanism, paths: PathEnsemble, structures: np.ndarray, logits: Sequence[np.ndarray]
) -> Iterator[Drawn]:
    """Contributions of the atoms, and how paths go."""
    figure = molecule_figure(problem, found, structures[found.atoms.representative])
    if figure is not None:
        atoms, state = drawn_atoms(problem, found.atoms.relative), structures[[found.atoms.representative]]
        typical = Track("transition state", state, ["a typical transition state: what is darker contributes more"])
        colors = mechanism_plots.contribution_colors(found.atoms.relative[atoms])
        molecule = explored_molecule(problem, atoms, [typical], colors)
        yield Drawn("atoms", _OF_ATOMS, _ATOMS, figure, molecule=molecule, table=_atom_table(found))
    movie = explored_molecule(problem, drawn_atoms(problem), tracks_of_paths(paths, logits, problem.states))
    if movie is not None:
        yield Drawn("molecule", "Transition paths of the molecule", MOLECULE_CAPTION, None, molecule=movie)


def _path_density(problem: RareEventSystem, paths: PathEnsemble, structures: np.ndarray) -> Drawn:
    """Where paths run over the first two variables of the states."""
    names = [axis_label(name, unit) for name, unit in variable_units(problem.states.variables).items()]
    values = [problem.states.variables(path)[:, :2] for path in paths.paths]
    near = problem.states.variables(structures)[:, :2]
    figure, (ax,) = plots.new_figure(width=6.6, height=4.8)
    density, x, y = path_density(paths, values)
    mechanism_plots.plot_path_density(ax, density, x, y, (names[0], names[1]), near)
    outlines, of = outlines_of(problem.states), problem.states.variables.names
    make_room(ax, outlines, of[:2])
    plot_outlines(ax, outlines, of[:2])
    explored = explored_density(density, (x, y), (names[0], names[1]), {"transition states": (RED, near)}, outlines, of[:2])
    return Drawn("path_density", "Where transition paths run", _DENSITY, figure, explored)


def molecule_figure(problem: RareEventSystem, found: Mechanism, structure: np.ndarray) -> Figure | None:
    """The solute and the water that contributes most, with what their atoms do; None where they have no extent in a plane."""
    drawn = drawn_atoms(problem, found.atoms.relative)
    places = structure[drawn] if problem.topology is None else to_look_at(structure[None], problem)[0, drawn]
    extent = np.linalg.svd(places - places.mean(0), compute_uv=False)
    if len(extent) < 2 or not extent[1] > _FLAT * extent[0]:
        return None
    place = {atom: index for index, atom in enumerate(drawn)}
    bonds = [] if problem.topology is None else [(a.index, b.index) for a, b in problem.topology.bonds()]
    bonds = [(place[a], place[b]) for a, b in bonds if a in place and b in place]
    labels = [found.atom_names[index].partition("-")[2] or found.atom_names[index] for index in drawn]
    figure, (ax,) = plots.new_figure(height=4.6)
    mechanism_plots.plot_atoms(ax, places, bonds, found.atoms.relative[drawn], labels)
    return figure


_OF_ATOMS = "Contributions of the atoms"
_RELEVANCE = (
    "How much worse the network predicts the shots when one input is replaced by noise, relative to the largest, with 95 % "
    "intervals. Blue inputs raise the loss of shots that were left out when they are shuffled, too, beyond what an input that "
    "does not matter would do by chance. Atoms in the names of inputs are numbered from 0; x0 is the coordinate x of atom 0."
)
_CALIBRATION = (
    "Configurations of transition paths, spread over the predicted committor: the fraction of fresh shots that reached B. "
    "Single configurations scatter by the binomial noise of few shots; the pooled squares should lie on the diagonal."
)
_FORMULAS = (
    "For the logit q = ln p_B/(1 − p_B) of the committor p_B: loss per shot on shots that the coefficients were not fitted to. "
    "The band is the network, trained without the same shots. Structures were found with all shots."
)
_ATOMS = (
    "Length of the gradient of the logit with respect to each atom in the transition state ensemble, on a typical transition "
    "state; of water the molecules that contribute most. The same numbers are the B-factors of atoms.pdb."
)
_DENSITY = (
    "Density of the frames of transition paths, and configurations that the committor calls transition states; A and B as far "
    "as they are ranges or discs of these variables."
)
_PATHS = (
    "Left: how transition paths are spread over the predicted logit q = ln p_B/(1 − p_B); trials from frames with |q| below 1 "
    "become transition paths most often. Right: running mean of the transition path time."
)

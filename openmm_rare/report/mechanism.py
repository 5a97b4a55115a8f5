"""One self-contained page about a mechanism."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.whole_frames import to_look_at
from ..io.text import format_value
from ..mechanism.validation import FEWEST, Calibration
from ..paths.ensemble import PathEnsemble
from ..paths.statistics import path_density
from ..structure.molecules import WATER_NAMES
from . import mechanism_plots, plots
from .page import Drawn, Grid, saved_figures, write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..mechanism.findings import Mechanism
    from ..problem import RareEventSystem

__all__ = ["molecule_figure", "summary_rows", "write_mechanism_report"]

_MOST_ROWS, _MOST_BARS, _OTHERS = 12, 20, 3
_LEAST_SHARE = 5e-4  # of the gradient, or of the largest relevance; less is 0.000
_FLAT = 1e-2  # second extent of a molecule that is a line, relative to the first
_MOST_WATER, _LEAST_OF_WATER = 12, 0.1  # molecules that are drawn, and the contribution of one, relative to the largest


def write_mechanism_report(
    out: Path, problem: RareEventSystem, found: Mechanism, paths: PathEnsemble, structures: np.ndarray
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
    """
    return write_page(
        out / "report.html",
        "mechanism.html",
        title=f"Mechanism of {problem.name}",
        temperature=f"{problem.temperature:g}",
        found=found,
        rows=summary_rows(found),
        tables=_tables(found),
        figures=[*saved_figures(_drawn(problem, found, paths, structures), out / "figures")],
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
            ("Formula for the logit", f"q = {best.text}"),
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


def _tables(found: Mechanism) -> Iterator[Grid]:
    rows = [
        [row["name"], f"{row['normalized']:.3f}", f"{row['increase']:.4f} ± {row['stderr']:.4f}", _yes(row["above_noise"])]
        for row in found.relevance.rows()[: min(_MOST_ROWS, _n_shown(found))]
    ]
    yield Grid("Relevance of the inputs", ["input", "relevance", "increase of the loss", "above the noise"], rows)
    if found.front is not None:
        rows = [
            [f"q = {each.text}", str(each.complexity), f"{each.held_out:.4f}", f"{each.gap:+.4f} ± {each.gap_stderr:.4f}"]
            for each in found.front.formulas
        ]
        yield Grid("Formulas", ["formula", "complexity", "held-out loss", "minus the network's"], rows)
    order = [i for i in np.argsort(-found.atoms.share)[:_MOST_ROWS] if found.atoms.share[i] >= _LEAST_SHARE]
    names = found.atom_names
    rows = [[names[i], f"{found.atoms.share[i]:.3f} ± {found.atoms.stderr[i]:.3f}"] for i in order]
    yield Grid("Atoms", ["atom", "share of the gradient of the logit"], rows)


def _n_shown(found: Mechanism) -> int:
    """Inputs to show: those that are worth something, and a few others beside them."""
    return int(np.clip((found.relevance.normalized >= _LEAST_SHARE).sum() + _OTHERS, 0, _MOST_BARS))


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _drawn(problem: RareEventSystem, found: Mechanism, paths: PathEnsemble, structures: np.ndarray) -> Iterator[Drawn]:
    """Everything there is to draw."""
    shown = min(len(found.relevance.names), _n_shown(found))
    figure, (ax,) = plots.new_figure(height=1.2 + 0.27 * shown)
    mechanism_plots.plot_relevance(ax, found.relevance, shown)
    yield Drawn("relevance", "Relevance of the inputs", _RELEVANCE, figure)
    if found.calibration is not None:
        figure, (ax,) = plots.new_figure(height=4.6)
        mechanism_plots.plot_calibration(ax, found.calibration)
        yield Drawn("calibration", "The committor against fresh shots", _CALIBRATION, figure)
    if found.front is not None:
        figure, (ax,) = plots.new_figure()
        mechanism_plots.plot_formula_front(ax, found.front)
        yield Drawn("formulas", "Formulas of growing complexity", _FORMULAS, figure)
    figure = molecule_figure(problem, found, structures[found.atoms.representative])
    if figure is not None:
        yield Drawn("atoms", "Contributions of the atoms", _ATOMS, figure)
    names = problem.states.variables.names
    if len(names) >= 2:
        figure, (ax,) = plots.new_figure(height=4.6)
        values = [problem.states.variables(path)[:, :2] for path in paths.paths]
        near = problem.states.variables(structures)[:, :2]
        mechanism_plots.plot_path_density(ax, *path_density(paths, values), (names[0], names[1]), near)
        yield Drawn("path_density", "Where transition paths run", _DENSITY, figure)
    figure, axes = plots.new_figure(1, 2, width=8.0, height=3.4)
    mechanism_plots.plot_q_density(axes[0], found.paths)
    mechanism_plots.plot_transition_time(axes[1], found.paths)
    yield Drawn("paths", "Paths along the committor, and their time", _PATHS, figure)


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


def drawn_atoms(problem: RareEventSystem, relative: np.ndarray) -> np.ndarray:
    """Indices of the atoms that are not water, and of the molecules of water that contribute; all without a topology."""
    if problem.topology is None:
        return np.arange(len(problem.positions))
    residues = [[atom.index for atom in residue.atoms()] for residue in problem.topology.residues()]
    is_water = np.array([residue.name in WATER_NAMES for residue in problem.topology.residues()])
    most = np.where(is_water, [relative[atoms].max() for atoms in residues], 0.0)
    seen = [number for number in np.argsort(-most)[:_MOST_WATER] if most[number] >= _LEAST_OF_WATER]
    return np.sort(np.concatenate([residues[number] for number in [*np.flatnonzero(~is_water), *seen]]).astype(np.int64))


_RELEVANCE = (
    "How much worse the network predicts the shots when one input is replaced by noise, relative to the largest, with 95 % "
    "intervals. Blue inputs raise the loss of shots that were left out when they are shuffled, too, beyond what an input that "
    "does not matter would do by chance."
)
_CALIBRATION = (
    "Configurations of transition paths, spread over the predicted committor: the fraction of fresh shots that reached B. "
    "Single configurations scatter by the binomial noise of few shots; the pooled squares should lie on the diagonal."
)
_FORMULAS = (
    "Loss per shot on shots that the coefficients were not fitted to. The band is the network, trained without the same "
    "shots. Structures were found with all shots."
)
_ATOMS = (
    "Length of the gradient of the logit with respect to each atom in the transition state ensemble, on a typical transition "
    "state; of water the molecules that contribute most. The same numbers are the B-factors of atoms.pdb."
)
_DENSITY = "Density of the frames of transition paths, and configurations that the committor calls transition states."
_PATHS = (
    "Left: how transition paths are spread over the predicted logit; trials from frames with |q| below 1 become transition "
    "paths most often. Right: running mean of the transition path time."
)

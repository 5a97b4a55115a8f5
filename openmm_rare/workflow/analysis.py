"""The whole analysis of a path sampling run: from shots, paths and a committor to numbers, figures and one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..committor.base import Committor
from ..committor.fitting import as_tested_for, require_fitting
from ..dynamics.checks import require_runnable
from ..folders.path_warnings import ensemble_warnings
from ..io.files import remove_stale
from ..io.log import logged
from ..io.progress import shows_progress
from ..io.tasks import Noting, Progress
from ..learning.shots import Shots
from ..mechanism.atoms import atom_contributions, transition_states
from ..mechanism.cross_fit import CrossFit, cross_fit
from ..mechanism.findings import Mechanism, write_findings
from ..mechanism.formula import FormulaFront, find_formulas, folds
from ..mechanism.options import AnalysisOptions
from ..mechanism.relevance import Relevance, input_relevance
from ..mechanism.structure_search import MISSING, is_installed
from ..mechanism.table import Logit, ShotTable, logit_function, shot_losses
from ..mechanism.validation import FEWEST, Calibration, calibrate, spread_over_q
from ..parallel.executors import Executor
from ..paths.direct_committor import direct_committor
from ..paths.ensemble import PathEnsemble
from ..paths.statistics import PathStatistics, path_statistics
from ..paths.ways import Ways
from ..report.mechanism import write_mechanism_report
from ..states.states import NEITHER

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["AnalysisOptions", "Mechanism", "analyze"]

_MOST_STRUCTURES = 500  # for atom contributions


@shows_progress
def analyze(
    problem: RareEventSystem,
    model: Committor,
    shots: Shots,
    paths: PathEnsemble,
    out: str | Path,
    options: AnalysisOptions | None = None,
    *,
    progress: Progress | None = None,
    doubts: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    executor: Executor | None = None,
) -> Mechanism:
    """Analyze the mechanism and write everything to a folder.

    The folder then holds ``report.html``, ``analysis.json``, a CSV file for each table, ``atoms.pdb`` with contributions as
    B-factors, and ``figures``. Fresh shots are kept in ``fresh_shots.jsonl``: the same call goes on from there.

    Parameters
    ----------
    problem : RareEventSystem
    model : CommittorModel or CommittorEnsemble
        Trained on the shots.
    shots : Shots
    paths : PathEnsemble
    out : path
        Made if it is missing.
    options : AnalysisOptions, optional
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    doubts : sequence of str, optional
        What the run says against its paths; by default what the paths themselves do.
    notes : sequence of str
        What should be known about the run, and is no fault.
    executor : Executor, optional
        Runs the fresh shots; default: as many processes as the options say.

    Raises
    ------
    ValueError
        If the model is of another system, there is nothing to analyze, or fresh shots cannot be right.
    """
    out, options, progress = Path(out), options or AnalysisOptions(), Noting(progress)
    problem = as_tested_for(problem, model)
    if model.fingerprint:
        require_fitting(model, problem, "the committor model")
    for note in [*notes, *(require_runnable(problem, "paths") if options.configurations else ())]:
        progress.note(note)
    if doubts is None:
        doubts = ensemble_warnings(paths, Ways.of(problem, model, paths))
    table = ShotTable.of(model, shots)
    out.mkdir(parents=True, exist_ok=True)
    with logged(out):
        found, logits, structures = _mechanism(problem, model, shots, table, paths, out, options, progress, doubts, executor)
        progress.stage("report")
        write_findings(out, problem, found, structures, options)
        write_mechanism_report(out, problem, found, paths, structures, logits)
    return found


def _mechanism(
    problem: RareEventSystem,
    model: Committor,
    shots: Shots,
    table: ShotTable,
    paths: PathEnsemble,
    out: Path,
    options: AnalysisOptions,
    progress: Noting,
    doubts: Sequence[str],
    executor: Executor | None,
) -> tuple[Mechanism, list[np.ndarray], np.ndarray]:
    """What was found, logits of all frames of each path, and transition states, shape (n, n_atoms, 3), nm."""
    streams = _Streams.of(options.seed)
    remove_stale(out)
    held_out = _fitted_anew(model, shots, table, options, streams, progress)
    analyzed = held_out.ensemble() if options.refit else model
    if options.refit:
        analyzed.save(out / "model.npz")
    relevance = _relevance(held_out if options.refit else logit_function(model), table, options, streams, progress)
    progress.stage("paths")
    logits = [analyzed.logit(path) for path in paths.paths]
    statistics, between = path_statistics(paths, logits), _Between.states(problem, paths, logits)
    nearest = between.take(transition_states(between.q, options.state_width)[:_MOST_STRUCTURES])
    atoms = atom_contributions(analyzed, nearest.frames, nearest.weights)
    found = Mechanism(relevance, statistics, atoms, atom_names(problem), held_out, notes=progress.notes)
    found.warnings += [*doubts, *_doubts(relevance, statistics, nearest.q)]
    found.front = _formulas(analyzed, held_out, table, found, options, progress)
    if options.configurations:
        tested = between.take(spread_over_q(between.q, options.configurations, streams.configurations))
        found.calibration, found.run_calibration = _calibrations(
            problem, tested, model, paths, out, options, progress, executor
        )
    found.warnings += _calibration_doubts(found.calibration)
    return found, logits, nearest.frames


@dataclass(frozen=True)
class _Streams:
    """A generator for each thing that is drawn, so that no option changes what is drawn for another."""

    noise: np.random.Generator
    parts: np.random.Generator
    configurations: np.random.Generator
    shuffles: np.random.Generator

    @classmethod
    def of(cls, seed: int) -> _Streams:
        """All from one seed."""
        return cls(*(np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(4)))


@dataclass(frozen=True)
class _Between:
    """Frames of all paths that lie in no state, their logits q, and the weights of their paths."""

    frames: np.ndarray
    q: np.ndarray
    weights: np.ndarray

    @classmethod
    def states(cls, problem: RareEventSystem, paths: PathEnsemble, logits: list[np.ndarray]) -> _Between:
        """All frames of the paths between the states."""
        frames, q = np.concatenate(paths.paths), np.concatenate(logits)
        free = problem.states.classify(frames) == NEITHER
        weights = np.repeat(paths.weights, [len(path) for path in paths.paths])
        return cls(frames[free], q[free], weights[free])

    def take(self, indices: np.ndarray) -> _Between:
        """Some of the frames."""
        return _Between(self.frames[indices], self.q[indices], self.weights[indices])


def _fitted_anew(
    model: Committor, shots: Shots, table: ShotTable, options: AnalysisOptions, streams: _Streams, progress: Progress
) -> CrossFit:
    """Models of the same kind, each without a part of the shots."""
    parts = folds(len(table), min(options.n_folds, len(table)), streams.parts)
    candidates = options.fits()
    progress.stage("fits", float(len(candidates) * len(parts)))
    return cross_fit(model, shots, parts, options.seed, candidates, lambda: progress.update())


def _relevance(logit: Logit, table: ShotTable, options: AnalysisOptions, streams: _Streams, progress: Progress) -> Relevance:
    """Of the inputs by the method of the options; a permutation has to confirm what matters."""
    progress.stage("relevance")
    relevance = input_relevance(logit, table, streams.noise, method=options.method, groups=options.groups)
    shuffled = input_relevance(logit, table, streams.shuffles, method="permutation", groups=options.groups)
    return relevance.confirmed_by(shuffled)


def _doubts(relevance: Relevance, statistics: PathStatistics, near: np.ndarray) -> list[str]:
    """Sentences about what the data do not support."""
    doubts = []
    if not relevance.above_floor.any():
        doubts.append("No input stands out from the noise: run more trials, or describe the system by other inputs.")
    if not np.isfinite(statistics.mean_time_stderr):
        doubts.append("There are too few paths for an error of the transition path time.")
    if np.abs(near).max() > 1.0:
        doubts.append(f"Only {int((np.abs(near) < 1.0).sum())} frames of paths are near a transition state (|q| < 1).")
    return doubts


def _formulas(
    model: Committor, held_out: CrossFit, table: ShotTable, found: Mechanism, options: AnalysisOptions, progress: Progress
) -> FormulaFront | None:
    if not options.formula_inputs:
        return None
    searches = options.n_searches if is_installed() else 0
    if searches < options.n_searches:
        progress.note(f"Only linear formulas were tried: {MISSING}.")
    progress.stage("formulas", float(searches))
    losses = shot_losses(held_out(table.inputs), table.n_a, table.n_b)
    above = [c for c, relevant in zip(found.relevance.columns, found.relevance.above_floor, strict=True) if relevant]
    columns = [column for group in (above or found.relevance.columns[:1]) for column in group][: options.formula_inputs]
    return find_formulas(
        logit_function(model),
        losses,
        table,
        columns,
        held_out.parts,
        options.seed,
        penalty=options.penalty,
        functions=options.functions,
        n_searches=searches,
        on_search=lambda: progress.update(1.0),
    )


def _calibrations(
    problem: RareEventSystem,
    tested: _Between,
    model: Committor,
    paths: PathEnsemble,
    out: Path,
    options: AnalysisOptions,
    progress: Progress,
    executor: Executor | None,
) -> tuple[Calibration, Calibration]:
    """The committor that was analyzed, and that of the run, beside fresh shots from these frames.

    States are tested where path sampling tested them: at frames.
    """
    n_a, n_b = direct_committor(
        problem,
        tested.frames,
        options.fresh_shots,
        seed=options.seed,
        machine=options.platform,
        steps_per_test=max(round(paths.frame_time / problem.timestep), 1),
        workers=options.workers,
        executor=executor,
        record=out / "fresh_shots.jsonl",
        progress=progress,
    )
    return calibrate(tested.q, n_a, n_b), calibrate(model.logit(tested.frames), n_a, n_b)


def _calibration_doubts(calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return ["The committor was not tested against fresh shots."]
    if not np.isfinite(calibration.slope_stderr):
        n = len(calibration.predicted)
        return [
            f"The committor was tested at {n} configurations, {FEWEST} at least: raise --configurations, or run more trials."
        ]
    off = abs(calibration.slope - 1.0) > 3.0 * calibration.slope_stderr
    if calibration.rmse - 2.0 * calibration.rmse_stderr > 0.1 or (off and abs(calibration.slope - 1.0) > 0.2):
        return [
            f"Fresh shots disagree with the learned committor: RMSE {calibration.rmse:.3f}, slope {calibration.slope:.2f} ± "
            f"{calibration.slope_stderr:.2f} instead of 1. Run more trials, or train with more weight decay."
        ]
    return []


def atom_names(problem: RareEventSystem) -> list[str]:
    """Names of the atoms, with residue names and numbers where there is a topology."""
    if problem.topology is None:
        return [f"P{number}" for number in range(len(problem.positions))]
    return [f"{atom.residue.name}{atom.residue.id}-{atom.name}" for atom in problem.topology.atoms()]

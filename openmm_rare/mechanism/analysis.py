"""The whole analysis of a path sampling run: from shots, paths and a committor to numbers, figures and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..committors import Committor
from ..files import write_csv, write_json
from ..fitting import FitOptions
from ..fresh_shots import shoot
from ..path_ensemble import PathEnsemble
from ..shots import Shots
from ..states import NEITHER
from ..tasks import Progress, Silent
from .atoms import AtomContributions, atom_contributions, transition_states, write_pdb
from .cross_fit import CrossFit, cross_fit
from .formula import FormulaFront, find_formulas, folds
from .path_statistics import PathStatistics, path_statistics
from .relevance import Relevance, input_relevance
from .report import write_report
from .structure_search import MISSING, is_installed
from .table import ShotTable, logit_function, shot_losses
from .validation import Calibration, calibrate, spread_over_q

if TYPE_CHECKING:
    from ..systems.base import RareEventSystem

__all__ = ["AnalysisOptions", "Mechanism", "analyze"]

_MOST_STRUCTURES = 500  # for atom contributions


@dataclass(frozen=True)
class AnalysisOptions:
    """What to do and how thoroughly.

    Attributes
    ----------
    seed : int
    method : str
        Of :func:`~openmm_rare.mechanism.relevance.input_relevance`.
    groups : mapping from name to columns, optional
        Inputs that are randomized together.
    formula_inputs : int
        Most inputs for formulas, the most relevant ones; 0: no formulas.
    functions : tuple of str
        That formulas may hold.
    penalty : float
        Loss per shot that one more number, input or operation in a formula must save.
    n_searches : int
        Independent searches for structures.
    n_folds : int
        Of the cross-validation.
    gate_strengths, weight_decays : tuple of float
        How strongly inputs are weeded out, and weights held down, when the committor is fitted anew; see
        :class:`~openmm_rare.fitting.FitOptions`. Those that predict left-out shots best are taken.
    refit : bool
        Analyze the committor that is fitted anew, one member for each fold. Otherwise that of the run, which knows all
        shots: what it says about them is too good.
    configurations, fresh_shots : int
        How many configurations are shot from afresh, and how often each; 0: no calibration.
    state_width : float
        Transition states are configurations of paths with a logit below this.
    platform : str
        OpenMM platform of the fresh shots.
    workers : int
        Processes for the fresh shots of a large system.
    """

    seed: int = 1
    method: str = "noise"
    groups: Mapping[str, Sequence[int]] | None = None
    formula_inputs: int = 3
    functions: tuple[str, ...] = ("exp", "log")
    penalty: float = 1e-3
    n_searches: int = 3
    n_folds: int = 5
    gate_strengths: tuple[float, ...] = (0.3, 0.6, 1.2)
    weight_decays: tuple[float, ...] = (0.3, 1.0)
    refit: bool = True
    configurations: int = 50
    fresh_shots: int = 40
    state_width: float = 0.5
    platform: str = "Reference"
    workers: int = 1

    def __post_init__(self) -> None:
        for name, least in (("configurations", 0), ("fresh_shots", 0), ("formula_inputs", 0), ("n_folds", 2), ("workers", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least {least}")
        if self.configurations and self.fresh_shots < 2:
            raise ValueError(f"fresh_shots = {self.fresh_shots} must be at least 2 from each configuration")
        if not self.state_width > 0.0:
            raise ValueError(f"state_width = {self.state_width} must be positive: a logit")
        if self.penalty < 0.0:
            raise ValueError(f"penalty = {self.penalty} must not be negative")


@dataclass
class Mechanism:
    """What :func:`analyze` found.

    Attributes
    ----------
    relevance : Relevance
    paths : PathStatistics
    atoms : AtomContributions
    atom_names : list of str
    fit : CrossFit or None
        Models of parts of the shots, and how they were fitted.
    front : FormulaFront or None
    calibration : Calibration or None
    run_calibration : Calibration or None
        Of the committor that the run has learned, by the same shots.
    warnings : list of str
        What speaks against the numbers, or is missing.
    """

    relevance: Relevance
    paths: PathStatistics
    atoms: AtomContributions
    atom_names: list[str]
    fit: CrossFit | None = None
    front: FormulaFront | None = None
    calibration: Calibration | None = None
    run_calibration: Calibration | None = None
    warnings: list[str] = field(default_factory=list)


def analyze(
    system: RareEventSystem,
    model: Committor,
    shots: Shots,
    paths: PathEnsemble,
    out: str | Path,
    options: AnalysisOptions | None = None,
    progress: Progress | None = None,
) -> Mechanism:
    """Analyze the mechanism and write everything to a folder.

    The folder then holds ``report.html``, ``analysis.json``, a CSV file for each table, ``atoms.pdb`` with contributions as
    B-factors, and ``figures``. Fresh shots are kept in ``fresh_shots.jsonl``: the same call goes on from there.

    Parameters
    ----------
    system : RareEventSystem
    model : CommittorModel or CommittorEnsemble
        Trained on the shots.
    shots : Shots
    paths : PathEnsemble
    out : path
        Made if it is missing.
    options : AnalysisOptions, optional
    progress : Progress, optional

    Raises
    ------
    ValueError
        If the model is of another system, or there is nothing to analyze.
    """
    out, options, progress = Path(out), options or AnalysisOptions(), progress or Silent()
    if model.fingerprint and model.fingerprint != system.fingerprint():
        raise ValueError("the committor model was trained for another system, other states or other dynamics")
    table = ShotTable.of(model, shots)
    out.mkdir(parents=True, exist_ok=True)
    streams = [np.random.default_rng(each) for each in np.random.SeedSequence(options.seed).spawn(4)]
    parts = folds(len(table), min(options.n_folds, len(table)), streams[1])
    candidates = [FitOptions(*each) for each in product(options.gate_strengths, options.weight_decays)]
    progress.stage("fits", float(len(candidates) * len(parts)))
    held_out = cross_fit(model, shots, parts, options.seed, candidates, lambda: progress.update())
    run_model = model
    if options.refit:
        model = held_out.ensemble()
        model.save(out / "model.npz")
    progress.stage("relevance")
    logit = held_out if options.refit else logit_function(model)
    relevance = input_relevance(logit, table, streams[0], method=options.method, groups=options.groups)
    shuffled = input_relevance(logit, table, streams[3], method="permutation", groups=options.groups)
    relevance = relevance.confirmed_by(shuffled)
    progress.stage("paths")
    logits = [model.logits(path) for path in paths.paths]
    statistics = path_statistics(paths, logits)
    frames, q = _between_states(system, paths, logits)
    nearest = transition_states(q, options.state_width)[:_MOST_STRUCTURES]
    contributions = atom_contributions(model, frames[nearest])
    found = Mechanism(relevance, statistics, contributions, atom_names(system))
    found.warnings += _doubts(relevance, statistics, q[nearest])
    found.fit = held_out
    found.front = _formulas(model, held_out, table, found, options, progress)
    tested = _fresh_shots(system, frames, q, paths, out, options, streams[2], progress)
    if tested is not None:
        chosen, n_a, n_b = tested
        found.calibration = calibrate(q[chosen], n_a, n_b)
        found.run_calibration = calibrate(run_model.logits(frames[chosen]), n_a, n_b)
    found.warnings += _calibration_doubts(found.calibration)
    _write_files(out, system, found, frames[nearest], options)
    progress.stage("report")
    write_report(out, system, model, found, paths, frames[nearest])
    return found


def _between_states(system: RareEventSystem, paths: PathEnsemble, logits: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Frames of all paths that lie in no state, and their logits."""
    frames, q = np.concatenate(paths.paths), np.concatenate(logits)
    free = system.states.classify(frames) == NEITHER
    return frames[free], q[free]


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
        found.warnings.append(f"Only linear formulas were tried: {MISSING}.")
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


def _fresh_shots(
    system: RareEventSystem,
    frames: np.ndarray,
    q: np.ndarray,
    paths: PathEnsemble,
    out: Path,
    options: AnalysisOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Frames that were chosen, and how many fresh shots from each reached A and B.

    States are tested where path sampling tested them: at frames.
    """
    if not options.configurations:
        return None
    chosen = spread_over_q(q, options.configurations, rng)
    n_a, n_b = shoot(
        system,
        frames[chosen],
        options.fresh_shots,
        options.seed,
        options.platform,
        steps_per_test=max(round(paths.frame_time / system.timestep), 1),
        workers=options.workers,
        record=out / "fresh_shots.jsonl",
        progress=progress,
    )
    return chosen, n_a, n_b


def _calibration_doubts(calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return ["The committor was not tested against fresh shots."]
    off = abs(calibration.slope - 1.0) > 3.0 * calibration.slope_stderr
    if calibration.rmse - 2.0 * calibration.rmse_stderr > 0.1 or (off and abs(calibration.slope - 1.0) > 0.2):
        return [
            f"Fresh shots disagree with the learned committor: RMSE {calibration.rmse:.3f}, slope {calibration.slope:.2f} ± "
            f"{calibration.slope_stderr:.2f} instead of 1. Run more trials, or train with more weight decay."
        ]
    return []


def _write_files(
    out: Path, system: RareEventSystem, found: Mechanism, structures: np.ndarray, options: AnalysisOptions
) -> None:
    """JSON, CSV and PDB."""
    atoms, names = found.atoms, found.atom_names
    write_pdb(out / "atoms.pdb", system.topology, structures[atoms.representative], atoms.relative)
    rows = zip(range(len(names)), names, atoms.share, atoms.stderr, strict=True)
    tables: dict[str, list[dict[str, Any]]] = {
        "relevance": found.relevance.rows(),
        "atoms": [dict(zip(("index", "name", "share", "stderr"), row, strict=True)) for row in rows],
        "transition_time": [
            dict(zip(("steps", "mean_ps", "stderr_ps"), map(float, row), strict=True))
            for row in zip(found.paths.running_weight, found.paths.running_time, found.paths.running_stderr, strict=True)
        ],
    }
    if found.front is not None:
        tables["formulas"] = [each.row() for each in found.front.formulas]
    if found.calibration is not None:
        tables["calibration"] = found.calibration.rows()
    for name, table in tables.items():
        write_csv(out / f"{name}.csv", table)
    front = found.front
    write_json(
        out / "analysis.json",
        {
            "system": system.name,
            "fingerprint": system.fingerprint(),
            "options": asdict(options),
            "fit": None if found.fit is None else {**asdict(found.fit.options), "held_out_loss": found.fit.loss},
            "relevance": {"loss": found.relevance.loss, "noise_floor": found.relevance.floor, "inputs": tables["relevance"]},
            "paths": found.paths.summary(),
            "atoms": tables["atoms"],
            "formulas": None
            if front is None
            else {
                "inputs": front.inputs,
                "chosen": front.chosen,
                "penalty": front.penalty,
                "network_held_out": front.network_held_out,
                "network_held_out_stderr": front.network_held_out_stderr,
                "front": tables["formulas"],
            },
            "calibration": None if found.calibration is None else found.calibration.summary(),
            "calibration_of_run": None if found.run_calibration is None else found.run_calibration.summary(),
            "warnings": found.warnings,
        },
    )


def atom_names(system: RareEventSystem) -> list[str]:
    """Names of the atoms, with residue names and numbers where there is a topology."""
    if system.topology is None:
        return [f"P{number + 1}" for number in range(len(system.positions))]
    return [f"{atom.residue.name}{atom.residue.id}-{atom.name}" for atom in system.topology.atoms()]

"""What an analysis of the mechanism has found, and the files that say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.files import write_csv, write_json
from ..paths.statistics import PathStatistics
from ..structure.trajectory_file import topology_to_show, write_structures
from .atoms import AtomContributions
from .cross_fit import CrossFit
from .formula import FormulaFront
from .options import AnalysisOptions
from .relevance import Relevance
from .validation import Calibration

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Mechanism", "write_findings"]

Rows = list[dict[str, Any]]


@dataclass
class Mechanism:
    """What :func:`~openmm_rare.workflow.analysis.analyze` found.

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
        What speaks against the numbers.
    notes : list of str
        What should be known about the dynamics of the fresh shots, and what was not tried, and why.
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
    notes: list[str] = field(default_factory=list)

    @property
    def reliable(self) -> bool:
        """Whether nothing that was looked at speaks against the numbers."""
        return not self.warnings


def write_findings(
    out: Path, problem: RareEventSystem, found: Mechanism, structures: np.ndarray, options: AnalysisOptions
) -> None:
    """Write ``analysis.json``, a CSV file for each table, and ``atoms.pdb``.

    Parameters
    ----------
    out : Path
        A folder.
    problem : RareEventSystem
    found : Mechanism
    structures : ndarray, shape (n, n_atoms, 3), nm
        Transition states.
    options : AnalysisOptions
    """
    topology, shown = topology_to_show(problem.topology, problem.system), structures[[found.atoms.representative]]
    write_structures(out / "atoms.pdb", topology, shown, found.atoms.relative[None])
    tables = _tables(found)
    for name, table in tables.items():
        write_csv(out / f"{name}.csv", table)
    write_json(out / "analysis.json", _summary(problem, found, tables, options))


def _tables(found: Mechanism) -> dict[str, Rows]:
    """Rows of every table; those of formulas and of the calibration only where there are any."""
    atoms, names = found.atoms, found.atom_names
    rows = zip(range(len(names)), names, atoms.share, atoms.stderr, strict=True)
    tables: dict[str, Rows] = {
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
    return tables


def _summary(
    problem: RareEventSystem, found: Mechanism, tables: Mapping[str, Rows], options: AnalysisOptions
) -> dict[str, Any]:
    """The content of analysis.json."""
    relevance = found.relevance
    return {
        "system": problem.name,
        "fingerprint": problem.fingerprint(),
        "options": asdict(options),
        "fit": None if found.fit is None else {**asdict(found.fit.options), "held_out_loss": found.fit.loss},
        "relevance": {"loss": relevance.loss, "noise_floor": relevance.floor, "inputs": tables["relevance"]},
        "paths": found.paths.summary(),
        "atoms": tables["atoms"],
        "formulas": None if found.front is None else found.front.summary(),
        "calibration": None if found.calibration is None else found.calibration.summary(),
        "calibration_of_run": None if found.run_calibration is None else found.run_calibration.summary(),
        "reliable": found.reliable,
        "warnings": found.warnings,
        "notes": found.notes,
    }

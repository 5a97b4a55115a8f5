"""The command `openmm-rare export`: the paths of a run in files of the field, with what is known of each of their frames."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..committor.base import Committor
from ..config.run import build_system
from ..config.stored import stored_config
from ..dynamics.whole_frames import to_look_at
from ..errors import InputError
from ..folders.path_files import is_of_paths
from ..folders.path_folder import ensemble_of, load_run, model_of_run, path_settings
from ..folders.path_record import PathRecord
from ..folders.saved_paths import read_saved_paths, shown
from ..folders.shown_paths import ShownPaths, write_shown_paths
from ..io.checksums import naming_contents
from ..io.files import write_csv, write_text
from ..io.progress import shows_progress
from ..io.tasks import Progress
from ..mechanism.atoms import atom_contributions, transition_states
from ..report.latent import is_of_latent
from ..report.results import result_of_run
from ..structure.trajectory_file import require_trajectory_format, topology_to_show, write_structures, write_trajectory
from ..trust.policy import NO_CODE
from .export_text import POINTS, TRANSITION_STATES, manifest, of_points, of_sampled_paths, of_saved_paths

if TYPE_CHECKING:
    from ..learning.shots import Shots
    from ..paths.ensemble import PathEnsemble
    from ..problem import RareEventSystem
    from ..rates.keeping.saved_paths import SavedPaths

__all__ = ["Exported", "export_run"]

_STATES, _WIDTH = 20, 0.5  # transition states in one file, and how near to q = 0 they are, if there are enough


@dataclass(frozen=True)
class Exported:
    """What :func:`export_run` wrote.

    Attributes
    ----------
    folder : Path
    kind : str
        Format of the trajectories.
    contents : dict of str
        What each file is, by its name.
    n_paths, n_points : int
        Paths, and shooting points.
    """

    folder: Path
    kind: str
    contents: dict[str, str]
    n_paths: int
    n_points: int = 0

    @property
    def first_path(self) -> str:
        """Name of the file of the first path."""
        return min(each.name for each in self.folder.glob(f"path-*.{self.kind}"))


@shows_progress
def export_run(
    folder: str | Path, out: str | Path | None = None, kind: str = "xtc", trust: bool = False, progress: Progress | None = None
) -> Exported:
    """Write the paths of a run, and its shooting points, into files that MDAnalysis, mdtraj, VMD, PyMOL and nglview read.

    Molecules are whole, around the one that the states are about; boxes are those of the System, times are in ps, positions in
    the unit of the format. The run itself stays as it is, finished or not.

    Parameters
    ----------
    folder : path
        Of a path sampling run, by chains or points, or of a finished rate with ``--save-paths``.
    out : path, optional
        New folder; default: ``export`` within that of the run.
    kind : str
        "xtc", "dcd" or "pdb".
    trust : bool
        Whether code that the folder names or holds may run: builders, functions, programs within the System.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.

    Raises
    ------
    ValueError
        If the format holds no box, there is something at `out`, or the folder holds no run, one without paths, or a damaged
        one; nothing is left at `out` then.
    """
    folder, kind = Path(folder), require_trajectory_format(kind)
    out = folder / "export" if out is None else Path(out)
    if out.exists() or out.is_symlink():
        raise InputError(f"{out} exists: choose another folder with --out, or remove it")
    _require_paths(folder)
    with naming_contents(folder):
        run = _Sampled.read(folder, trust) if is_of_paths(folder) else _Saved.read(folder, trust)
    with _new_folder(out) as place:
        contents = run.write(place, kind, progress)
        write_text(place / "README.md", manifest(folder, kind, contents))
    return Exported(out, kind, contents, run.n_paths, run.n_points)


def _require_paths(folder: Path) -> None:
    """Refuse what holds no run of which there are paths."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give that of a run")
    if (folder / "scan.json").is_file():
        raise InputError(f"{folder} holds runs at several temperatures: export one of the folders in it")
    if is_of_latent(folder) or not (is_of_paths(folder) or (folder / "run.nc").is_file()):
        raise InputError(
            f"{folder} holds no run with transition paths: it has no shots.npz (of openmm-rare tps) and no run.nc (of "
            "openmm-rare rate)"
        )


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder under another name, which gets its own when all is in it, and is gone if that fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    place = out.with_name(f".{out.name}.{os.getpid()}.part")
    place.mkdir()
    try:
        yield place
        place.rename(out)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


@dataclass(frozen=True)
class _Sampled:
    """A run of path sampling."""

    problem: RareEventSystem
    model: Committor
    record: PathRecord
    ensemble: PathEnsemble

    @classmethod
    def read(cls, folder: Path, trust: bool) -> _Sampled:
        """Of a path sampling run."""
        config, record = load_run(folder, trust)
        problem, settings = build_system(config), path_settings(config)
        ensemble = ensemble_of(record, folder, settings, problem.timestep).from_a_to_b(problem.states)
        return cls(problem, model_of_run(folder, problem.fingerprint(), record), record, ensemble)

    @property
    def n_paths(self) -> int:
        """Transition paths."""
        return len(self.ensemble.paths)

    @property
    def n_points(self) -> int:
        """Shooting points."""
        return len(self.record.shots)

    def write(self, place: Path, kind: str, progress: Progress) -> dict[str, str]:
        """Paths and shooting points."""
        ensemble, model = self.ensemble, self.model
        progress.stage("paths")
        about = {
            "weight": ensemble.weights,
            "share": ensemble.weights / ensemble.weights.sum(),
            ensemble.kind: ensemble.chains,
            "trial": _accepted_trials(self.record),
        }
        times = [ensemble.frame_time * np.arange(len(path)) for path in ensemble.paths]
        along = {"committor": [_committor(model, path) for path in ensemble.paths]}
        write_shown_paths(place, ShownPaths(ensemble.paths, times, ensemble.frame_time, about, along), self.problem, kind)
        contents = of_sampled_paths(kind, ensemble.kind)
        if self.n_points:
            progress.stage("shooting points")
            _write_points(place, self.problem, model, self.record, ensemble.kind, kind)
            contents |= of_points(kind, _write_transition_states(place, self.problem, model, self.record.shots))
        return contents


@dataclass(frozen=True)
class _Saved:
    """A rate with saved paths."""

    problem: RareEventSystem
    saved: SavedPaths
    n_points: int = 0

    @classmethod
    def read(cls, folder: Path, trust: bool) -> _Saved:
        """Of a rate with saved paths."""
        run, result = result_of_run(folder)
        config = stored_config(folder, run.attributes.get("config"), trust)
        if config is None:
            raise InputError(f"{folder} holds no run: config.toml is missing")
        if not trust:
            config = replace(config, trust=NO_CODE)
        _require_saved(folder, config.sampling.method, config.sampling.settings.save_paths, result.get("saved_paths"))
        problem = build_system(config)
        return cls(problem, read_saved_paths(run, result, config.sampling.settings, problem.timestep))

    @property
    def n_paths(self) -> int:
        """Transition paths."""
        return len(self.saved.positions)

    def write(self, place: Path, kind: str, progress: Progress) -> dict[str, str]:
        """Paths."""
        progress.stage("paths")
        write_shown_paths(place, shown(self.saved, self.problem.timestep), self.problem, kind)
        return of_saved_paths(kind)


def _accepted_trials(record: PathRecord) -> np.ndarray:
    """The trial that made each path, in the order of :func:`~openmm_rare.folders.path_folder.ensemble_of`."""
    chain, cycle, accepted = (record.table(name) for name in ("chain", "cycle", "accepted"))
    return np.concatenate([cycle[(chain == number) & accepted] for number in range(len(record.states))])


def _committor(model: Committor, positions: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(model.logit(positions), -700.0, 700.0)))


def _write_points(place: Path, problem: RareEventSystem, model: Committor, record: PathRecord, series: str, kind: str) -> None:
    """Shooting points with an outcome, and their table."""
    positions = np.array(record.shots.positions)
    committor, values = _committor(model, positions), problem.states.variables(positions)
    outcome = record.table("n_a") + record.table("n_b") > 0
    columns = {
        series: record.table("chain")[outcome],
        "trial": record.table("cycle")[outcome],
        "reached_a": record.table("n_a")[outcome],
        "reached_b": record.table("n_b")[outcome],
        "accepted": record.table("accepted")[outcome].astype(int),
        "expected": record.table("expected")[outcome],
        "committor": committor,
        **{name: values[:, number] for number, name in enumerate(problem.states.variables.names)},
    }
    rows = zip(*columns.values(), strict=True)
    table = [
        {"frame": number, **dict(zip(columns, (value.item() for value in row), strict=True))}
        for number, row in enumerate(rows, 1)
    ]
    write_csv(place / f"{POINTS}.csv", table)
    topology, whole = topology_to_show(problem.topology, problem.system), to_look_at(positions, problem)
    path = place / f"{POINTS}.{kind}"
    if kind == "pdb":
        write_structures(path, topology, whole, np.broadcast_to(committor[:, None], whole.shape[:2]))
    else:
        write_trajectory(path, topology, whole, 1.0)


def _write_transition_states(place: Path, problem: RareEventSystem, model: Committor, shots: Shots) -> int:
    """Shooting points nearest to transition states, contributions of atoms as B-factors; how many, 0 if nothing is known."""
    positions = np.array(shots.positions)
    nearest = positions[transition_states(model.logit(positions), _WIDTH)[:_STATES]]
    try:
        relative = atom_contributions(model, nearest).relative
    except InputError:  # of a model that knows nothing yet
        return 0
    topology, whole = topology_to_show(problem.topology, problem.system), to_look_at(nearest, problem)
    write_structures(place / TRANSITION_STATES, topology, whole, np.broadcast_to(relative, whole.shape[:2]))
    return len(nearest)


def _require_saved(folder: Path, method: str, wanted: int, saved: dict | None) -> None:
    if method in ("brute_force", "barrier"):
        raise InputError(
            f"{folder} is a rate by the method {method!r}, which keeps no paths: sample some with openmm-rare tps, or compute "
            "the rate with --save-paths N by importance sampling or splitting"
        )
    if not wanted:
        raise InputError(f"no paths were saved in {folder}: compute the rate with --save-paths N in another folder")
    if not saved or not saved["paths"]:
        raise InputError(f"no path came to B in {folder}: go on with --resume and more steps")

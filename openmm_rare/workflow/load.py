"""Runs read back from their folders, as arrays: for figures and numbers of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config.run import RunConfig
from ..config.stored import stored_config
from ..errors import InputError
from ..folders import path_folder
from ..folders.path_files import is_of_paths
from ..io.checksums import naming_contents
from ..io.run_file import RunFile
from ..paths.ensemble import PathEnsemble
from ..paths.trial import TRIALS
from ..rates.estimate import RateEstimate
from ..rates.production import Production
from ..report.results import estimate_of, result_of_run

__all__ = ["PathRun", "RateRun", "load_run"]

_FLUX = ("exits", "exit_cluster", "exit_weight", "weighted_frames", "exit_block", "exit_walker", "frames")


@dataclass(frozen=True, eq=False)
class RateRun:
    """What the run of a rate recorded. Arrays that its method does not make are empty.

    Attributes
    ----------
    folder : Path
    config : RunConfig
    estimate : RateEstimate or None
        None as long as the run has none; of one that is not finished it says what is `missing`, and may be of fewer records.
    exits : ndarray of float32, shape (n_exits, n_atoms, 3), nm
        Where unbiased dynamics left A.
    exit_walkers : ndarray of int, shape (n_exits,)
        Flux walker, or cluster of dependent ones, that made each exit.
    exit_weights : ndarray, shape (n_exits,)
        Of that walker; 1 unless the parts of A are weighted.
    time_ps : ndarray, shape (n_stretches, n_walkers)
        Time that each walker spent with A visited last, by stretch, weighted as its exits. The flux is the sum of
        ``exit_weights`` over the sum of this.
    transitions : ndarray of int, shape (n_stretches, n_walkers)
        From A to B, where they were counted (brute force). The rate is their sum over that of ``time_ps``, both without the
        first fifth of the stretches.
    roots : ndarray of int, shape (n_roots,)
        Exit that each root of production started from.
    start_weights : ndarray, shape (n_roots,)
        Weight that it started with.
    contributions, returned : ndarray, shape (n_roots,)
        Summed weights of its descendants that reached B, and that returned to A.
    channel_contributions : ndarray, shape (n_roots, n_channels)
    log_weights : ndarray of float32, shape (n_arrivals,)
        Natural logarithm of the weight of each path that reached B.
    variables : tuple of str
        Columns of `paths`.
    paths : tuple of ndarray, each of shape (n_frames, n_variables)
        Some of the paths to B, in the variables of the states.
    path_log_importance : tuple of ndarray, each of shape (n_frames,)
        ln I along each of them.
    training : mapping of str to ndarray, shape (n_rounds,)
        Loss and other numbers of each round of training.
    """

    folder: Path
    config: RunConfig
    estimate: RateEstimate | None
    exits: np.ndarray
    exit_walkers: np.ndarray
    exit_weights: np.ndarray
    time_ps: np.ndarray
    transitions: np.ndarray
    roots: np.ndarray
    start_weights: np.ndarray
    contributions: np.ndarray
    returned: np.ndarray
    channel_contributions: np.ndarray
    log_weights: np.ndarray
    variables: tuple[str, ...]
    paths: tuple[np.ndarray, ...]
    path_log_importance: tuple[np.ndarray, ...]
    training: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class PathRun:
    """What a run of path sampling recorded.

    Attributes
    ----------
    folder : Path
    config : RunConfig
    result : mapping
        The content of ``result.json``; empty as long as the run is not finished.
    trials : mapping of str to ndarray, shape (n_trials,)
        By column, of all chains or walkers: ``chain``, ``cycle`` (its number in the chain, from 1), ``n_a`` and ``n_b`` (shots
        that reached A and B), ``expected`` (probability of a transition path, by the model of its time), ``accepted``,
        ``relaxed`` (whether it started from a path that the dynamics made), ``n_frames``, ``weight`` and ``moved``.
    shooting_points : ndarray, shape (n_shots, n_atoms, 3), nm
        Of the trials whose shots ended.
    reached : ndarray of int, shape (n_shots, 2)
        Shots from each of them that reached A and B.
    ensemble : PathEnsemble or None
        The accepted paths with their weights; None as long as there is none.
    """

    folder: Path
    config: RunConfig
    result: Mapping[str, Any]
    trials: Mapping[str, np.ndarray]
    shooting_points: np.ndarray
    reached: np.ndarray
    ensemble: PathEnsemble | None


def load_run(folder: str | Path) -> RateRun | PathRun:
    """What a run left in its folder, finished or not; no code that the folder names runs.

    The committor is read by ``load_committor(folder / "model.npz")``.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no run, or one of several temperatures, or a file is damaged or of another run.
    """
    with naming_contents(folder):
        folder = Path(folder)
        if (folder / "scan.json").is_file():
            raise InputError(f"{folder} holds runs at several temperatures: load one of the folders in it")
        return _path_run(folder) if is_of_paths(folder) else _rate_run(folder)


def _path_run(folder: Path) -> PathRun:
    config, record = path_folder.load_run(folder)
    result, trials = path_folder.result_of_run(folder, config, record), {name: record.table(name) for name in TRIALS}
    ensemble = None
    if trials["accepted"].any():
        settings = path_folder.path_settings(config)
        ensemble = path_folder.ensemble_of(record, folder, settings, config.system.timestep_ps)
    shots = record.shots.arrays()
    return PathRun(folder, config, result, trials, shots["positions"], shots["reached"], ensemble)


def _rate_run(folder: Path) -> RateRun:
    if not (folder / "run.nc").is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it has no run.nc and no shots.npz")
    run = RunFile.open(folder / "run.nc")
    config = stored_config(folder, run.attributes.get("config"))
    if config is None or config.system.timestep_ps is None:
        raise InputError(f"{run.path} was not written by a run: it lacks a configuration with a time step")
    finished = result_of_run(folder, run)[1] if (folder / "result.json").is_file() else None
    with run.opened():
        return RateRun(
            folder,
            config,
            None if finished is None else estimate_of(finished),
            **_flux_arrays(run, config.system.timestep_ps),
            **_production_arrays(run),
            **_path_arrays(run),
            training=_training_arrays(run),
        )


def _flux_arrays(run: RunFile, timestep: float) -> dict[str, np.ndarray]:
    counted = run.load("brute_force", ("frames_last_a", "transitions"))
    flux = [_whole_stretch(record) for record in run.load("flux", _FLUX)]
    frames = [record["frames_last_a"] for record in counted] or [row for record in flux for row in record["weighted_frames"]]
    return {
        "exits": _joined([record["exits"] for record in flux], (0, 0, 3), np.float32),
        "exit_walkers": _joined([record["exit_cluster"] for record in flux], (0,), np.int64),
        "exit_weights": _joined([record["exit_weight"] for record in flux], (0,)),
        "time_ps": _stacked(frames) * timestep,
        "transitions": _stacked([record["transitions"] for record in counted]).astype(np.int64),
    }


def _whole_stretch(record: Mapping) -> Mapping:
    """A record of the flux run with a row of weighted times for each of its stretches; walkers of blocks all count alike."""
    if "exit_block" not in record:
        return {**record, "weighted_frames": record["weighted_frames"].sum(0)[None]}
    walkers = record["exit_walker"]
    return {**record, "exit_cluster": walkers, "exit_weight": np.ones(len(walkers)), "weighted_frames": record["frames"]}


def _production_arrays(run: RunFile) -> dict[str, np.ndarray]:
    rounds = run.load("production")
    made = Production(len(rounds[0]["arrivals"]) if rounds else 0)
    for each in rounds:
        made.add(each)
    return {
        "roots": made.root,
        "start_weights": made.start_weight,
        "contributions": made.contribution,
        "returned": made.returned,
        "channel_contributions": made.channel_contribution,
        "log_weights": _joined([each["log_weights"] for each in rounds], (0,), np.float32),
    }


def _path_arrays(run: RunFile) -> dict[str, Any]:
    records = run.load("production", ("path_values", "path_ln_importance", "path_id", "path_variables"))
    names: tuple[str, ...] = ()
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for each in (record for record in records if "path_values" in record):
        ends = np.flatnonzero(np.diff(each["path_id"])) + 1
        parts += zip(np.split(each["path_values"], ends), np.split(each["path_ln_importance"], ends), strict=True)
        names = tuple(each["path_variables"].split(","))
    return {
        "variables": names,
        "paths": tuple(values for values, _ in parts),
        "path_log_importance": tuple(log_importance for _, log_importance in parts),
    }


def _training_arrays(run: RunFile) -> dict[str, np.ndarray]:
    rounds = run.load("training")
    single = [
        name for name, value in (rounds[0] if rounds else {}).items() if isinstance(value, int | float) and "/" not in name
    ]
    return {name: np.array([each[name] for each in rounds]) for name in single}


def _joined(parts: Sequence[np.ndarray], empty: tuple[int, ...], kind: type = np.float64) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=kind)


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """One row for each stretch; walkers that came later have zeros before."""
    table = np.zeros((len(rows), max(map(len, rows), default=0)))
    for number, row in enumerate(rows):
        table[number, : len(row)] = row
    return table

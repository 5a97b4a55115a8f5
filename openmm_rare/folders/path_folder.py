"""The folder of a path sampling run: what is written after each round, and what an analysis reads from it.

Needs no OpenPathSampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..committor.base import Committor
from ..committor.load import load_committor
from ..config.run import RunConfig, build_system
from ..config.stored import require_result_of_run, stored_config
from ..errors import InputError
from ..io.checksums import naming_damage, parse_checked_json
from ..io.files import require_whole_npz, resolved
from ..learning.shots import Shots
from ..paths.ensemble import PathEnsemble
from ..settings.paths import INITIAL_PATHS, PathSettings
from ..trust.policy import NO_CODE
from .path_files import chain_folder, read_paths
from .path_record import PathRecord

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = [
    "PathRecord",
    "doubts_of_run",
    "initial_paths_of",
    "load_path_sampling",
    "load_run",
    "model_of_run",
    "path_settings",
    "read_path_ensemble",
    "result_of_run",
    "with_path_settings",
]


def path_settings(config: RunConfig) -> PathSettings:
    """The section ``[path_sampling]``, or its defaults."""
    return config.path_sampling or PathSettings()


def initial_paths_of(config: RunConfig) -> tuple[str, ...]:
    """Where first paths come from; files are looked up from the folder of the configuration."""
    return _places(path_settings(config).initial_path, config.folder)


def _places(choices: Sequence[str], folder: str | Path) -> tuple[str, ...]:
    return tuple(each if each in INITIAL_PATHS else str(resolved(Path(folder, each))) for each in choices)


def with_path_settings(config: RunConfig, **options: Any) -> RunConfig:
    """A configuration with ``[path_sampling]``, and with these of its settings; None keeps what there is.

    Files of initial paths are looked up where the program runs.
    """
    given = {key: value for key, value in options.items() if value is not None}
    if "initial_path" in given:
        choices = given["initial_path"]
        given["initial_path"] = _places([choices] if isinstance(choices, str) else choices, Path.cwd())
    return replace(config, path_sampling=replace(path_settings(config), **given))


def ensemble_of(record: PathRecord, folder: Path, settings: PathSettings, timestep: float) -> PathEnsemble:
    """The accepted paths of a run and their weights.

    Raises
    ------
    ValueError
        If there is none yet, or one is missing.
    """
    chain, cycle, accepted = (record.table(name) for name in ("chain", "cycle", "accepted"))
    paths: list[np.ndarray] = []
    weights, chains, trials = [], [], []
    for number in range(len(record.states)):
        mine = (chain == number) & accepted
        cycles = cycle[mine]
        current = np.diff(np.append(cycles, record.cycles + 1))  # steps
        rounds = sorted(set(((cycles - 1) // settings.trials_per_round).tolist()))
        found = {
            key: path
            for each in rounds
            for key, path in read_paths(folder, number, each, record.digests, record.cycles).items()
        }
        missing = [each for each in cycles.tolist() if each not in found]
        if missing:
            raise InputError(f"{chain_folder(folder, number)} lacks the paths of the steps {missing[:5]}: copy a backup back")
        paths += [found[each] for each in cycles.tolist()]
        weights += (record.table("weight")[mine] if settings.method == "points" else current).tolist()
        trials += cycles.tolist()
        chains += [number] * len(cycles)
    if not paths:
        raise InputError(f"no transition path has been accepted in {folder} yet: run more trials with --resume")
    scaled = np.array(weights, dtype=np.float64) * _path_weights(settings, paths)
    made = np.array(trials) if settings.method == "points" else None
    return PathEnsemble(paths, scaled, np.array(chains), settings.steps_per_frame * timestep, made)


def _path_weights(settings: PathSettings, paths: Sequence[np.ndarray]) -> np.ndarray:
    """Weights that make up for what the acceptance does not: aimless shooting without correction samples P n_pairs."""
    if settings.selector != "aimless" or settings.corrected:
        return np.ones(len(paths))
    return 1.0 / np.array([len(path) - 2 - settings.offset for path in paths])


def read_path_ensemble(folder: str | Path) -> PathEnsemble:
    """The transition paths that a run accepted.

    Weights are the numbers of steps for which each path was the current one of its chain, or, from shooting points that walkers
    sampled, its own; the first path, which no dynamics has made, is left out. Positions are in single precision.

    Raises
    ------
    ValueError
        If the folder holds no path sampling run, there is no path in it yet, or a file is damaged.
    """
    config, record = load_run(Path(folder))
    return ensemble_of(record, Path(folder), path_settings(config), config.system.timestep_ps)


def load_path_sampling(folder: str | Path, trust: bool = False) -> tuple[RareEventSystem, Committor, Shots, PathEnsemble]:
    """System, learned committor, shots and paths of a run.

    Parameters
    ----------
    folder : path
    trust : bool
        Whether code that the folder names or holds may run: builders, functions, programs within the System.

    Raises
    ------
    ValueError
        As :func:`read_path_ensemble`, and if code would have to run that is not trusted.
    """
    folder = Path(folder)
    config, record = load_run(folder, trust)
    system = build_system(config)
    model = model_of_run(folder, system.fingerprint(), record)
    return system, model, record.shots, ensemble_of(record, folder, path_settings(config), system.timestep)


def load_run(folder: Path, trust: bool = False) -> tuple[RunConfig, PathRecord]:
    """Configuration and record of a run, which must agree; no code that the configuration names may run, or all of it.

    Raises
    ------
    ValueError
        If the folder holds no path sampling run that has begun, or a file is damaged.
    """
    if not (folder / "config.toml").is_file() and not (folder / "shots.npz").is_file():
        raise InputError(f"{folder} holds no run: config.toml is missing")
    record = PathRecord.load(folder)
    config = stored_config(folder, record.config, trust)
    if config is None:
        raise InputError(f"{folder} holds no run: config.toml is missing")
    if config.path_sampling is None:
        raise InputError(f"{folder} holds a run of another kind: its config.toml has no section [path_sampling]")
    if config.system.temperature_k is None or config.system.timestep_ps is None:
        raise InputError(f"{folder / 'config.toml'} was not written by a run: it lacks temperature or timestep")
    return config if trust else replace(config, trust=NO_CODE), record


def model_of_run(folder: Path, fingerprint: str, record: PathRecord) -> Committor:
    """The committor that a run left, of the system with this fingerprint.

    Raises
    ------
    ValueError
        If it is damaged, of another system, or of another run.
    """
    path, advice = folder / "model.npz", "continue the run with --resume, which fits it again"
    with naming_damage(path, advice):
        require_whole_npz(path)
    model = load_committor(path, fingerprint)
    if not record.knows(model):
        raise InputError(f"{path} is another model than this run wrote there; {advice}")
    return model


def result_of_run(folder: Path, config: RunConfig, record: PathRecord) -> dict[str, Any]:
    """The content of ``result.json``, empty where there is none yet.

    Raises
    ------
    ValueError
        If it is damaged, or of another run than the record.
    """
    path, advice = folder / "result.json", "continue the run with --resume, which writes it again"
    if not path.is_file():
        return {}
    result, n_trials = parse_checked_json(path, advice), len(record.trials["chain"])
    require_result_of_run(path, result, config, record.run, advice)
    if result.get("trials", 0) > n_trials:
        raise InputError(f"{path} has {result['trials']} trials, but {folder / 'shots.npz'} has {n_trials}; {advice}")
    return result


def doubts_of_run(folder: str | Path) -> list[str] | None:
    """The warnings in result.json; None where there are none yet, of all trials that the folder has.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    config, record = load_run(Path(folder))
    result = result_of_run(Path(folder), config, record)
    return result.get("warnings") if result.get("trials") == len(record.trials["chain"]) else None

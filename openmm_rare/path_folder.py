"""The folder of a path sampling run: what is written after each round, and what an analysis reads from it.

Needs no OpenPathSampling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checksums import naming_damage, parse_checked_json
from .committors import Committor, load_committor
from .config import RunConfig, build_system
from .errors import InputError
from .files import read_npz, require_whole_npz, resolved, write_npz
from .path_ensemble import PathEnsemble
from .path_settings import INITIAL_PATHS, PathSettings
from .path_shapes import require_path, require_shapes
from .shots import Shots
from .stored_config import SHOTS_ADVICE, stored_config
from .trust import NO_CODE

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = [
    "TRIALS",
    "PathRecord",
    "doubts_of_run",
    "initial_paths_of",
    "load_path_sampling",
    "load_run",
    "model_of_run",
    "path_settings",
    "read_first_paths",
    "read_path_ensemble",
    "storage_of_chain",
    "with_path_settings",
    "write_first_paths",
    "write_paths",
]

_FIRST = "first-paths.npz"
TRIALS = {
    "chain": np.int64,
    "cycle": np.int64,
    "n_a": np.int64,
    "n_b": np.int64,
    "expected": np.float64,
    "accepted": np.bool_,
    "relaxed": np.bool_,
    "n_frames": np.int64,
}
"""Columns of the table of trials, one row for each Monte Carlo step of each chain."""


@dataclass
class PathRecord:
    """Everything that a run knows after a number of trials, apart from the paths that it accepted.

    Attributes
    ----------
    shots : Shots
        Of all chains, in the order of stretches, which are rounds or parts of them, then of chains, then of trials.
    trials : dict of list
        Table with the columns :data:`TRIALS`, in the same order.
    states : list of mapping
        Arrays of each chain: its current path and what else it needs to go on.
    trainer : mapping
        Arrays of the trainer, the model included.
    metadata : dict
        Of the model.
    notes : list of str
        What should be known about the run, since it began.
    config : str or None
        TOML of the run, against which ``config.toml`` is checked; versions before checksums kept none.
    """

    shots: Shots = field(default_factory=Shots)
    trials: dict[str, list] = field(default_factory=lambda: {name: [] for name in TRIALS})
    states: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    trainer: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    config: str | None = None

    def save(self, folder: Path) -> None:
        """Write ``shots.npz``, atomically: with it a stretch is done."""
        arrays = {"metadata": np.array(json.dumps(self.metadata)), "notes": np.array(json.dumps(self.notes))}
        arrays |= {} if self.config is None else {"config": np.array(self.config)}
        arrays |= {f"shots/{name}": value for name, value in self.shots.arrays().items()}
        arrays |= {f"trials/{name}": np.array(self.trials[name], dtype=kind) for name, kind in TRIALS.items()}
        arrays |= {f"trainer/{name}": value for name, value in self.trainer.items()}
        for number, state in enumerate(self.states):
            arrays |= {f"state/{number}/{name}": value for name, value in state.items()}
        arrays["chain"] = self.table("chain")[self.table("n_a") + self.table("n_b") > 0]
        write_npz(folder / "shots.npz", arrays)

    @property
    def cycles(self) -> int:
        """Trials that each chain has made."""
        return len(self.trials["chain"]) // max(len(self.states), 1)

    @property
    def model_of(self) -> Mapping[str, Any]:
        """Metadata of the model, or of the first member of an ensemble: its descriptor and its system's fingerprint."""
        return self.metadata.get("members", [self.metadata])[0]

    def table(self, name: str) -> np.ndarray:
        """A column of the table of trials."""
        return np.array(self.trials[name], dtype=TRIALS[name])

    @classmethod
    def load(cls, folder: Path) -> PathRecord:
        """Read ``shots.npz``.

        Raises
        ------
        ValueError
            If it is missing or damaged.
        """
        path = folder / "shots.npz"
        if not path.exists():
            raise InputError(f"{folder} holds no path sampling run that has begun: {path} is missing")
        arrays = read_npz(path, SHOTS_ADVICE)
        with naming_damage(path, SHOTS_ADVICE):
            states = [_part(arrays, f"state/{number}/") for number in range(len(_chains(arrays)))]
            columns = {name: arrays[f"trials/{name}"] for name in TRIALS}
            shots = _part(arrays, "shots/")
            require_shapes(shots, columns, states)
            return cls(
                Shots.from_arrays(shots),
                {name: column.tolist() for name, column in columns.items()},
                states,
                _part(arrays, "trainer/"),
                json.loads(str(arrays["metadata"])),
                json.loads(str(arrays.get("notes", "[]"))),  # 0.1.0 kept none
                str(arrays["config"]) if "config" in arrays else None,
            )


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def _chains(arrays: Mapping[str, np.ndarray]) -> set[str]:
    return {name.split("/")[1] for name in arrays if name.startswith("state/")}


def chain_folder(folder: Path, chain: int) -> Path:
    """Folder of a chain."""
    return folder / f"chain-{chain}"


def storage_of_chain(folder: Path, chain: int) -> Path:
    """File of the OpenPathSampling storage of a chain."""
    return chain_folder(folder, chain) / "steps.db"


def _paths_file(folder: Path, chain: int, number: int) -> Path:
    return chain_folder(folder, chain) / f"paths-{number:06d}.npz"


def write_paths(folder: Path, chain: int, number: int, paths: Mapping[int, np.ndarray], done: int = 0) -> None:
    """Write the paths, by their cycle, that a chain accepted in a round; before its trials count as done.

    Those of its first `done` cycles, from an earlier stretch of the same round, are kept.
    """
    file = _paths_file(folder, chain, number)
    if done:
        paths = {cycle: path for cycle, path in read_paths(folder, chain, number).items() if cycle <= done} | dict(paths)
    if paths:
        write_npz(file, {f"{cycle}": path for cycle, path in paths.items()})
    else:
        file.unlink(missing_ok=True)


def read_paths(folder: Path, chain: int, number: int) -> dict[int, np.ndarray]:
    """What :func:`write_paths` wrote, nothing if it wrote nothing.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    return _read_paths(_paths_file(folder, chain, number))


def write_first_paths(folder: Path, paths: Sequence[np.ndarray]) -> None:
    """Write the first paths that were found before sampling began, in single precision; chains start from some of them."""
    write_npz(folder / _FIRST, {f"{number}": path.astype(np.float32) for number, path in enumerate(paths)})


def read_first_paths(folder: Path) -> list[np.ndarray]:
    """What :func:`write_first_paths` wrote, nothing of a run that looked for none.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    return [path for _, path in sorted(_read_paths(folder / _FIRST).items())]


def _read_paths(file: Path) -> dict[int, np.ndarray]:
    try:
        arrays = read_npz(file, "copy a backup of it back")
    except FileNotFoundError:
        return {}
    with naming_damage(file, "copy a backup of it back"):
        return {int(name): require_path(path) for name, path in arrays.items()}


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
    weights, chains = [], []
    for number in range(len(record.states)):
        cycles = cycle[(chain == number) & accepted]
        current = np.diff(np.append(cycles, record.cycles + 1))  # steps
        rounds = sorted(set(((cycles - 1) // settings.trials_per_round).tolist()))
        found = {key: path for each in rounds for key, path in read_paths(folder, number, each).items()}
        missing = [each for each in cycles.tolist() if each not in found]
        if missing:
            raise InputError(f"{chain_folder(folder, number)} lacks the paths of the steps {missing[:5]}: copy a backup back")
        paths += [found[each] for each in cycles.tolist()]
        weights += current.tolist()
        chains += [number] * len(cycles)
    if not paths:
        raise InputError(f"no transition path has been accepted in {folder} yet: run more trials with --resume")
    scaled = np.array(weights, dtype=np.float64) * _path_weights(settings, paths)
    return PathEnsemble(paths, scaled, np.array(chains), settings.steps_per_frame * timestep)


def _path_weights(settings: PathSettings, paths: Sequence[np.ndarray]) -> np.ndarray:
    """Weights that make up for what the acceptance does not: aimless shooting without correction samples P n_pairs."""
    if settings.selector != "aimless" or settings.corrected:
        return np.ones(len(paths))
    return 1.0 / np.array([len(path) - 2 - settings.offset for path in paths])


def read_path_ensemble(folder: str | Path) -> PathEnsemble:
    """The transition paths that a run accepted.

    Weights are the numbers of steps for which each path was the current one of its chain; the first path, which no dynamics
    has made, is left out. Positions are in single precision.

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
    model = model_of_run(folder, system.fingerprint())
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


def model_of_run(folder: Path, fingerprint: str) -> Committor:
    """The committor that a run left, of the system with this fingerprint.

    Raises
    ------
    ValueError
        If it is damaged, or of another system.
    """
    path = folder / "model.npz"
    with naming_damage(path, "continue the run with --resume, which fits it again"):
        require_whole_npz(path)
    return load_committor(path, fingerprint)


def doubts_of_run(folder: str | Path) -> list[str] | None:
    """The warnings in result.json; None where there are none yet, of all trials that the folder has.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    place, record = Path(folder, "result.json"), PathRecord.load(Path(folder))
    if not place.is_file():
        return None
    result = parse_checked_json(place, "continue the run with --resume, which writes it again")
    return result.get("warnings") if result.get("trials") == len(record.trials["chain"]) else None

"""The record of a path sampling run: all that it knows after a number of trials, apart from paths.

It is one table of trials, to which each stretch adds rows, and what takes the place of its older self: where chains stand, the
model and its trainer (:mod:`openmm_rare.io.growing_file`). Between two sessions all of it is in ``shots.npz``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.stored import SHOTS_ADVICE
from ..errors import InputError
from ..io.checksums import digest_of, naming_damage
from ..io.growing_file import GrowingFile, Grown
from ..learning.shots import Shots
from ..paths.trial import TRIALS, Trial
from .path_files import holds_paths
from .path_shapes import require_columns, require_shapes, require_texts

if TYPE_CHECKING:
    from ..committor.base import Committor

__all__ = ["PathRecord"]

_IN_TRIALS = {"cycle", "reached", "expected"}  # columns of shots
_ABSENT = {"weight": 1.0, "moved": float("nan")}  # of runs of versions that knew no walkers


@dataclass
class PathRecord:
    """Everything that a run knows after a number of trials, apart from the paths that it accepted.

    Attributes
    ----------
    shots : Shots
        The trials with an outcome, for the trainer.
    trials : dict of list
        Table with the columns :data:`~openmm_rare.paths.trial.TRIALS`, of all chains, in the order of stretches, which are
        rounds or parts of them, then of chains, then of trials.
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
    run : str or None
        Which run it is, since it began; as in ``result.json``. Earlier versions kept none.
    digests : dict of str
        Of the paths in each file of :mod:`~openmm_rare.folders.path_files`, as far as they are known.
    models : list of str
        Digests of the latest model and the one before it: ``model.npz`` has one of these, whenever the run is killed.
    """

    shots: Shots = field(default_factory=Shots)
    trials: dict[str, list] = field(default_factory=lambda: {name: [] for name in TRIALS})
    states: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    trainer: Mapping[str, np.ndarray] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    config: str | None = None
    run: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    _file: GrowingFile | None = field(default=None, init=False, repr=False, compare=False)
    _stored: tuple[int, int, Mapping[str, str]] = field(default=(0, 0, {}), init=False, repr=False, compare=False)

    def knows(self, model: Committor) -> bool:
        """Whether a model is one that the run wrote lately, as far as that is known."""
        return not self.models or digest_of(model.tensors()) in self.models

    def add_model(self, model: Committor) -> bool:
        """Remember a model, before it is written; whether it is a new one."""
        digest = digest_of(model.tensors())
        if self.models[-1:] == [digest]:
            return False
        self.models = [*self.models[-1:], digest]
        return True

    def add(self, chain: int, trial: Trial) -> None:
        """One more row."""
        for name, column in self.trials.items():
            column.append(chain if name == "chain" else getattr(trial, name))
        if trial.has_outcome:
            self.shots.add(trial.cycle, trial.point, (trial.n_a, trial.n_b), trial.expected, trial.passages)

    def save(self, folder: Path) -> None:
        """Write all of it to ``shots.npz``, atomically."""
        texts = {"metadata": json.dumps(self.metadata), "notes": json.dumps(self.notes), "config": self.config, "run": self.run}
        arrays = {name: np.array(text) for name, text in texts.items() if text is not None}
        self._file = _file_in(folder)
        self._file.write(arrays | self._rows(0, 0, self.digests) | self._rest())
        self._mark()

    def grow(self, folder: Path) -> None:
        """Add to what is in the folder, atomically, the rows that are new there, and renew the rest: a stretch is done.

        Notes and configuration stay as they were saved or loaded.
        """
        if self._file is None or self._file.path != _file_in(folder).path:
            self.save(folder)
            return
        n_trials, n_shots, digests = self._stored
        new = {name: digest for name, digest in self.digests.items() if digests.get(name) != digest}
        self._file.append(self._rows(n_trials, n_shots, new), self._rest())
        self._mark()

    def _mark(self) -> None:
        """All that there is now is in the folder."""
        self._stored = len(self.trials["chain"]), len(self.shots), dict(self.digests)

    def _rows(self, n_trials: int, n_shots: int, digests: Mapping[str, str]) -> dict[str, np.ndarray]:
        """The table without its first rows: numbers of all trials, points and passages of those with an outcome."""
        arrays = {"digests": np.array(json.dumps(digests, sort_keys=True))}
        arrays |= {f"trials/{name}": np.array(self.trials[name][n_trials:], dtype=kind) for name, kind in TRIALS.items()}
        points = self.shots.take(range(n_shots, len(self.shots))).arrays()
        return arrays | {f"shots/{name}": value for name, value in points.items() if name not in _IN_TRIALS}

    def _rest(self) -> dict[str, np.ndarray]:
        """What takes the place of its older self."""
        arrays = {"models": np.array(json.dumps(self.models))}
        arrays |= {f"trainer/{name}": value for name, value in self.trainer.items()}
        for number, state in enumerate(self.states):
            arrays |= {f"state/{number}/{name}": value for name, value in state.items()}
        return arrays

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
        """Read ``shots.npz`` and what has been added since, or the ``shots.npz`` of an earlier version.

        Raises
        ------
        ValueError
            If it is missing or damaged.
        """
        file = _file_in(folder)
        path = file.path
        if not path.exists():
            if holds_paths(folder):
                raise InputError(f"{path}, the record of the path sampling run in {folder}, is missing: {SHOTS_ADVICE}")
            raise InputError(f"{folder} holds no path sampling run that has begun: {path} is missing")
        grown = file.load()
        with naming_damage(file.parts if grown.blocks else path, SHOTS_ADVICE):
            digests = _digests_of(grown)
            arrays = grown.joined()
            states = [_part(arrays, f"state/{number}/") for number in range(len(_chains(arrays)))]
            columns = {name: _column(arrays, name) for name in TRIALS}
            require_columns(columns, TRIALS)
            shots = _shots(arrays, columns)
            require_shapes(shots, columns, states)
            metadata = _json(arrays, "metadata", {})
            require_texts({"fingerprint": metadata.get("members", [metadata])[0]["fingerprint"]}, "metadata")
            record = cls(
                Shots.from_arrays(shots),
                {name: column.tolist() for name, column in columns.items()},
                states,
                _part(arrays, "trainer/"),
                metadata,
                require_texts(_json(arrays, "notes", []), "notes"),  # 0.1.0 kept none
                _text(arrays, "config"),
                _text(arrays, "run"),
                digests,
                require_texts(_json(arrays, "models", []), "models"),
            )
        record._file = file
        record._mark()
        return record


def _file_in(folder: Path) -> GrowingFile:
    return GrowingFile(folder / "shots.npz", SHOTS_ADVICE)


def _digests_of(grown: Grown) -> dict[str, str]:
    """Digests of the files of paths, which each block may say anew of some."""
    digests: dict[str, str] = {}
    for arrays in (grown.start, *grown.blocks):
        digests |= require_texts(_json(arrays, "digests", {}), "digests")
        arrays.pop("digests", None)
    return digests


def _shots(arrays: Mapping[str, np.ndarray], trials: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As from :meth:`Shots.arrays`: the trials with an outcome."""
    outcome = trials["n_a"] + trials["n_b"] > 0
    reached = np.stack([trials["n_a"], trials["n_b"]], axis=1)[outcome]
    own = {"cycle": trials["cycle"][outcome], "expected": trials["expected"][outcome], "reached": reached}
    return _part(arrays, "shots/") | own  # files of earlier versions have these, too


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str | None:
    """A text; None if there is none."""
    if name not in arrays:
        return None
    if arrays[name].shape or arrays[name].dtype.kind != "U":
        raise ValueError(f"{name} is no text")
    return str(arrays[name])


def _json(arrays: Mapping[str, np.ndarray], name: str, default: dict | list) -> Any:
    """A table or a list, as the default is."""
    text = _text(arrays, name)
    value = default if text is None else json.loads(text)
    if type(value) is not type(default):
        raise ValueError(f"{name} is no {'table' if isinstance(default, dict) else 'list'}")
    return value


def _column(arrays: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    key = f"trials/{name}"
    if key not in arrays and name in _ABSENT:
        return np.full(len(arrays["trials/cycle"]), _ABSENT[name])
    return arrays[key]


def _chains(arrays: Mapping[str, np.ndarray]) -> set[str]:
    return {name.split("/")[1] for name in arrays if name.startswith("state/")}

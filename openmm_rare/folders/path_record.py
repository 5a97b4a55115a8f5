"""The record of a path sampling run, ``shots.npz``: all that it knows after a number of trials, apart from paths."""

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
from ..io.files import read_npz, write_npz
from ..learning.shots import Shots
from .path_files import holds_paths
from .path_shapes import require_columns, require_shapes, require_texts

if TYPE_CHECKING:
    from ..committor.load import Committor

__all__ = ["TRIALS", "PathRecord"]

TRIALS = {
    "chain": np.int64,
    "cycle": np.int64,
    "n_a": np.int64,
    "n_b": np.int64,
    "expected": np.float64,
    "accepted": np.bool_,
    "relaxed": np.bool_,
    "n_frames": np.int64,
    "weight": np.float64,
    "moved": np.float64,
}
"""Columns of the table of trials, one row for each Monte Carlo step of each chain, or for each trial of each walker."""

_ABSENT = {"weight": 1.0, "moved": float("nan")}  # of runs of versions that knew no walkers


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

    def save(self, folder: Path) -> None:
        """Write ``shots.npz``, atomically: with it a stretch is done."""
        arrays = {"metadata": np.array(json.dumps(self.metadata)), "notes": np.array(json.dumps(self.notes))}
        arrays |= {"digests": np.array(json.dumps(self.digests, sort_keys=True)), "models": np.array(json.dumps(self.models))}
        arrays |= {name: np.array(value) for name, value in (("config", self.config), ("run", self.run)) if value is not None}
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
            if holds_paths(folder):
                raise InputError(f"{path}, the record of the path sampling run in {folder}, is missing: {SHOTS_ADVICE}")
            raise InputError(f"{folder} holds no path sampling run that has begun: {path} is missing")
        arrays = read_npz(path, SHOTS_ADVICE)
        with naming_damage(path, SHOTS_ADVICE):
            states = [_part(arrays, f"state/{number}/") for number in range(len(_chains(arrays)))]
            columns = {name: _column(arrays, name) for name in TRIALS}
            shots = _part(arrays, "shots/")
            require_columns(columns, TRIALS)
            require_shapes(shots, columns, states)
            metadata = _json(arrays, "metadata", {})
            require_texts({"fingerprint": metadata.get("members", [metadata])[0]["fingerprint"]}, "metadata")
            return cls(
                Shots.from_arrays(shots),
                {name: column.tolist() for name, column in columns.items()},
                states,
                _part(arrays, "trainer/"),
                metadata,
                require_texts(_json(arrays, "notes", []), "notes"),  # 0.1.0 kept none
                _text(arrays, "config"),
                _text(arrays, "run"),
                require_texts(_json(arrays, "digests", {}), "digests"),
                require_texts(_json(arrays, "models", []), "models"),
            )


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

"""Shooting points and where the shots from them ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .saved_model import SavedModel

__all__ = ["Passages", "Shots", "require_same_model", "training_effort", "yields"]


@dataclass(frozen=True, eq=False)
class Passages:
    """Frames that shots passed, and the state that each shot reached from there.

    Where the dynamics has no momenta, what follows on a frame is one more shot from it: where it ends is drawn with the
    committor of the frame, whatever came before. Frames must be chosen without regard to what came after them.

    Attributes
    ----------
    positions : ndarray of float32, shape (n, n_atoms, 3), nm
    state : ndarray of int, shape (n,)
    """

    positions: np.ndarray
    state: np.ndarray

    @classmethod
    def none(cls, n_atoms: int) -> Passages:
        """No passages."""
        return cls(np.zeros((0, n_atoms, 3), dtype=np.float32), np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, shots: Sequence[tuple[np.ndarray, int]], every: int) -> Passages:
        """Of shots, each given by its frames up to the first in a state and by that state, every so many frames."""
        parts = [np.asarray(frames[every - 1 : -1 : every], dtype=np.float32) for frames, _ in shots]
        states = [np.full(len(part), state) for part, (_, state) in zip(parts, shots, strict=True)]
        return cls(np.concatenate(parts), np.concatenate(states))


@dataclass
class Shots:
    """Shooting points with their outcomes, in the order of the trials.

    Attributes
    ----------
    cycle : list of int
        Number of the Monte Carlo step.
    positions : list of ndarray, shape (n_atoms, 3), nm
    reached : list of ndarray of int, shape (n_states,)
        Shots from each point that reached each state; A and B, if there are two.
    expected : list of float
        Probability of a transition path that the model of that time gave to each trial, :math:`2p(1-p)` for two states.
    passed : list of ndarray of float32, shape (n_passed, n_atoms, 3), nm
        Frames that the shots of each trial passed on their way, chosen without regard to what came after them.
    passed_to : list of ndarray of int, shape (n_passed,)
        State that the shot reached from there, numbered as the columns of `reached`.
    """

    cycle: list[int] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    reached: list[np.ndarray] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    passed: list[np.ndarray] = field(default_factory=list)
    passed_to: list[np.ndarray] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.positions)

    def add(
        self,
        cycle: int,
        positions: np.ndarray,
        reached: Sequence[int] | np.ndarray,
        expected: float,
        passages: Passages | None = None,
    ) -> None:
        """One more trial."""
        positions = np.asarray(positions, dtype=np.float64)
        passages = passages or Passages.none(len(positions))
        self.cycle.append(int(cycle))
        self.positions.append(positions)
        self.reached.append(np.asarray(reached, dtype=np.int64))
        self.expected.append(float(expected))
        self.passed.append(passages.positions)
        self.passed_to.append(passages.state)

    def take(self, rows: Sequence[int] | np.ndarray) -> Shots:
        """Some of the trials."""
        columns = (self.cycle, self.positions, self.reached, self.expected, self.passed, self.passed_to)
        return Shots(*([column[row] for row in rows] for column in columns))

    def outcomes(self, passage_weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a committor is fitted to: shots, and then passages, which count for a part of a shot each.

        Returns
        -------
        positions : ndarray, shape (n + n_passed, n_atoms, 3), nm
        counts : ndarray, shape (n + n_passed, n_states)
        trial : ndarray of int, shape (n + n_passed,)
            The trial that each belongs to.
        """
        reached, state = np.array(self.reached, dtype=np.float64), np.concatenate(self.passed_to)
        passed = passage_weight * np.eye(reached.shape[1])[state]
        positions = np.concatenate([np.array(self.positions), *self.passed])
        trial = np.repeat(np.arange(len(self)), [len(each) for each in self.passed_to])
        return positions, np.concatenate([reached, passed]), np.concatenate([np.arange(len(self)), trial])

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, positions of shape ``(n, n_atoms, 3)``, reached ``(n, n_states)``."""
        return {
            "cycle": np.array(self.cycle, dtype=np.int64),
            "positions": np.array(self.positions),
            "reached": np.array(self.reached, dtype=np.int64),
            "expected": np.array(self.expected),
            "passed": np.concatenate(self.passed) if self.passed else np.zeros((0, 0, 3), dtype=np.float32),
            "passed_to": np.concatenate(self.passed_to) if self.passed_to else np.zeros(0, dtype=np.int64),
            "n_passed": np.array([len(each) for each in self.passed_to], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Shots:
        """Inverse of :meth:`arrays`."""
        cycle, expected = (np.asarray(arrays[name]).tolist() for name in ("cycle", "expected"))
        n = len(cycle)
        n_passed = arrays.get("n_passed", np.zeros(n, dtype=np.int64))  # old files know no passages
        empty = Passages.none(np.shape(arrays["positions"])[1] if n else 0)
        everything = arrays.get("passed", empty.positions), arrays.get("passed_to", empty.state)
        passed, passed_to = (np.split(each, np.cumsum(n_passed)[:-1]) for each in everything)
        # without any trial, split makes one part
        return cls(cycle, list(arrays["positions"]), list(arrays["reached"]), expected, passed[:n], passed_to[:n])


def yields(shots: Shots, window: int) -> tuple[float, float]:
    """Numbers of transition paths among the last trials, seen and expected by the models of their time."""
    seen = sum(np.count_nonzero(reached) > 1 for reached in shots.reached[-window:])
    return float(seen), float(sum(shots.expected[-window:]))


def training_effort(shots: Shots, window: int) -> float:
    r"""How much there is to learn now: :math:`\min[1, (1 - n_\mathrm{seen}/n_\mathrm{expected})^2]` (Jung et al.).

    It is 1 for fewer than 10 trials.
    """
    seen, expected = yields(shots, window)
    return 1.0 if len(shots) < 10 else min(1.0, (1.0 - seen / max(expected, 1e-12)) ** 2)


def require_same_model(path: str | Path, theirs: Mapping[str, Any], model: SavedModel) -> None:
    """Refuse a checkpoint, with this metadata of its model, for another model.

    Raises
    ------
    ValueError
        If descriptor, number of atoms, states, network, members or fingerprint differ.
    """
    mine = _flat(model.metadata())
    theirs = _flat(theirs)
    different = [key for key in sorted(mine | theirs) if mine.get(key) != theirs.get(key)]
    if different:
        raise ValueError(
            f"{path} holds a model with another {' and '.join(different)}: use the model that it was made with, or another file"
        )


def _flat(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a model must have in common with a checkpoint; members of an ensemble are all alike."""
    members = metadata.get("members", [metadata])
    free = ("version", "temperature_k")
    return {"format": metadata["format"], "members": len(members)} | {k: v for k, v in members[0].items() if k not in free}

"""Shooting points and where the shots from them ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from .passages import Passages

__all__ = ["Shots", "training_effort", "yields"]


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
    passages : list of Passages
        Frames that the shots of each trial passed on their way.
    """

    cycle: list[int] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    reached: list[np.ndarray] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)
    passages: list[Passages] = field(default_factory=list)

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
        self.cycle.append(int(cycle))
        self.positions.append(np.asarray(positions, dtype=np.float64))
        self.reached.append(np.asarray(reached, dtype=np.int64))
        self.expected.append(float(expected))
        self.passages.append(passages or Passages.none())

    def take(self, rows: Sequence[int] | np.ndarray) -> Shots:
        """Some of the trials."""
        columns = (self.cycle, self.positions, self.reached, self.expected, self.passages)
        return Shots(*([column[row] for row in rows] for column in columns))

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays, positions of shape ``(n, n_atoms, 3)``, reached ``(n, n_states)``."""
        passed = Passages.join(self.passages)
        return {
            "cycle": np.array(self.cycle, dtype=np.int64),
            "positions": np.array(self.positions),
            "reached": np.array(self.reached, dtype=np.int64),
            "expected": np.array(self.expected),
            "n_passed": np.array([len(each) for each in self.passages], dtype=np.int64),
            **{f"passed_{each.name}": getattr(passed, each.name) for each in fields(Passages)},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Shots:
        """Inverse of :meth:`arrays`."""
        cycle, expected = (np.asarray(arrays[name]).tolist() for name in ("cycle", "expected"))
        n_passed = arrays.get("n_passed", np.zeros(len(cycle), dtype=np.int64))  # old files know no passages
        nothing, ends = Passages.none(), np.cumsum(n_passed)[:-1]
        names = [each.name for each in fields(Passages)]
        columns = [np.split(arrays.get(f"passed_{name}", getattr(nothing, name)), ends) for name in names]
        passages = [Passages(*parts) for parts in zip(*columns, strict=True)][: len(cycle)]
        return cls(cycle, list(arrays["positions"]), list(arrays["reached"]), expected, passages)


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

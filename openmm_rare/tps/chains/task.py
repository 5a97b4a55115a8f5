"""What a stretch of a series of trials starts from and gives: plain data, which goes from one process to another.

Nothing here imports OpenPathSampling, of 150 MB: a process that hands out work and waits for it does without.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames
from ...parallel.executors import SentOnce
from ...settings.paths import PathSettings

if TYPE_CHECKING:
    from ...problem import RareEventSystem
    from .point_task import WalkerState

__all__ = ["ChainState", "ChainTask", "PathProblem"]


@dataclass(frozen=True, eq=False)
class PathProblem(SentOnce):
    """What stays the same for all chains and rounds.

    Attributes
    ----------
    system : RareEventSystem
        Its states are tested at frames.
    settings : PathSettings
        With the number of steps between two frames, where that was left to the system.
    platform : str
    """

    system: RareEventSystem
    settings: PathSettings
    platform: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", self.settings.for_system(self.system))
        object.__setattr__(self, "system", self.system.with_check_interval(self.settings.steps_per_frame))

    @cached_property
    def key(self) -> str:
        """Equal for problems with the same course."""
        content = (self.system.fingerprint(), self.system.temperature, self.settings.course(), self.platform)
        return hashlib.sha256(repr(content).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class ChainState:
    """Where a chain stands between two rounds.

    Attributes
    ----------
    path : Frames
        The current path, in the precision of the dynamics.
    names : tuple of int
        Identities, for OpenPathSampling, of the path and then of its frames; empty for a path that it has not seen yet.
    relaxed : bool
        Whether the current path was made by the dynamics, and by no hand.
    pair : int
        First frame of the pair of aimless shooting; -1 for others, and for a path that has none yet.
    """

    path: Frames
    names: tuple[int, ...] = ()
    relaxed: bool = False
    pair: int = -1

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        names = np.array([str(name) for name in self.names], dtype=np.str_)
        return {**self.path.arrays(), "names": names, "relaxed": np.array(self.relaxed), "pair": np.array(self.pair)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ChainState:
        """Inverse of :meth:`arrays`."""
        names = tuple(int(name) for name in arrays["names"])
        return cls(Frames.from_arrays(arrays), names, bool(arrays["relaxed"]), int(arrays["pair"]))


@dataclass(frozen=True, eq=False)
class ChainTask:
    """A stretch of a chain, or of a walker.

    Attributes
    ----------
    problem : PathProblem
    chain, round : int
        Both numbered from 0; with the seed they fix all random numbers.
    seed : int
        Of the whole run.
    state : ChainState or WalkerState
        Before the stretch.
    model : bytes
        What ``to_bytes`` of the model returned, frozen for the stretch.
    density : tuple of float or None
        For the selector.
    storage : str or None
        File of the chain's OpenPathSampling storage; None for no storage.
    owner : str
        What the storage belongs to: the run and the chain.
    done, until : int
        Trials of the round before the stretch, and at its end; 0: all of them. A stretch that begins within a round has random
        numbers of its own.
    """

    problem: PathProblem
    chain: int
    round: int
    seed: int
    state: ChainState | WalkerState
    model: bytes
    density: tuple[float, ...] | None = None
    storage: str | None = None
    owner: str = ""
    done: int = 0
    until: int = 0

    @property
    def origin(self) -> tuple[int, ...]:
        """What its random numbers follow from, beside the seed."""
        return (self.chain, self.round, self.done) if self.done else (self.chain, self.round)

    @property
    def cycles(self) -> range:
        """Numbers of its trials in the chain, from 1."""
        whole = self.problem.settings.trials_per_round
        before = self.round * whole
        return range(before + self.done + 1, before + (self.until or whole) + 1)

"""Units of work that are computed once: the basis of resuming a run bit for bit."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

__all__ = ["Memory", "Noting", "Progress", "Recorder", "Silent", "Task", "TaskLog"]

Task = Callable[[str, Callable[[np.random.SeedSequence], Mapping]], Mapping]
"""Runs a named unit of work once: ``task(kind, compute)`` returns what ``compute(seed)`` returned, now or in an earlier run."""


class Recorder(Protocol):
    """Keeps records by kind, in order; :class:`openmm_rare.io.run_file.RunFile` keeps them on disk."""

    def append(self, kind: str, data: Mapping) -> None:
        """Add a record of arrays and scalars."""

    def load(self, kind: str) -> list[Mapping]:
        """All records of a kind, in the order they were appended."""


class Progress(Protocol):
    """Receives the progress of a run."""

    def stage(self, name: str, total: float | None = None) -> None:
        """A new stage begins; ``total`` is the amount of work, when it is known."""

    def update(self, n: float = 1.0, **postfix: object) -> None:
        """``n`` more of the work is done; the named values are worth showing."""

    def note(self, sentence: str) -> None:
        """Something that should be known, and is no fault."""


class Memory:
    """A recorder that forgets when the process ends."""

    def __init__(self) -> None:
        self._records: dict[str, list[Mapping]] = {}

    def append(self, kind: str, data: Mapping) -> None:
        """Add a record."""
        self._records.setdefault(kind, []).append(data)

    def load(self, kind: str) -> list[Mapping]:
        """All records of a kind."""
        return list(self._records.get(kind, []))


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: float | None = None) -> None:
        """Ignore."""

    def update(self, n: float = 1.0, **postfix: object) -> None:
        """Ignore."""

    def note(self, sentence: str) -> None:
        """Ignore."""


class Noting:
    """Hands progress on, and keeps the notes for the result.

    Parameters
    ----------
    progress : Progress

    Attributes
    ----------
    notes : list of str
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self.notes = progress, []
        self.stage, self.update = progress.stage, progress.update

    def note(self, sentence: str) -> None:
        """Say and keep it, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            self._progress.note(sentence)


class TaskLog:
    """Runs tasks in a fixed order and replays those that an earlier run has recorded.

    Each task has its own random stream, spawned from the one seed by its kind and number, so that a run resumed after any
    number of tasks continues exactly as if it had never stopped.

    Parameters
    ----------
    recorder : Recorder
    seed : int
    """

    def __init__(self, recorder: Recorder, seed: int) -> None:
        self._recorder, self._seed = recorder, seed
        self._recorded_seconds, self._lap = 0.0, time.monotonic()
        self._done: dict[str, list[Mapping]] = {}
        self._count: dict[str, int] = {}

    def start_clock(self) -> None:
        """A session begins: its wall time counts from here."""
        self._lap = time.monotonic()

    def wall_seconds(self) -> float:
        """Wall time so far: of this session, and of earlier ones up to the last task that each recorded."""
        return self._recorded_seconds + time.monotonic() - self._lap

    def recorded(self, kind: str) -> int:
        """How many tasks of this kind an earlier run has recorded."""
        if kind not in self._done:
            self._done[kind] = self._recorder.load(kind)
        return len(self._done[kind])

    def __call__(self, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """The record of the next task of this kind: replayed, or computed and recorded."""
        self.recorded(kind)
        number = self._count[kind] = self._count.get(kind, -1) + 1
        if number < len(self._done[kind]):
            record, self._done[kind][number] = self._done[kind][number], {}  # handed over: large arrays are not kept twice
            self._recorded_seconds += record.get("wall_seconds", 0.0)  # older runs did not record it
            return record
        seed = np.random.SeedSequence(self._seed, spawn_key=(zlib.crc32(kind.encode()), number))
        result, lap = compute(seed), time.monotonic()
        record = {**result, "wall_seconds": lap - self._lap}
        self._recorded_seconds, self._lap = self._recorded_seconds + record["wall_seconds"], lap
        self._recorder.append(kind, record)
        return record

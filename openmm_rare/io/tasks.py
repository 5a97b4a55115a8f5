"""Units of work that are computed once: the basis of resuming a run bit for bit."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
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

    def left(self, kind: str) -> int:
        """How many of these are still to be replayed."""
        return self.recorded(kind) - self._count.get(kind, -1) - 1

    def __call__(self, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """The record of the next task of this kind: replayed, or computed and recorded."""
        number = self._next(kind)
        if number < len(self._done[kind]):
            return self._replayed(kind, number)
        return self._keep(kind, compute(self._seed_of(kind, number)))

    def batch(self, kind: str, map: Callable, function: Callable[..., Mapping], tasks: Sequence[tuple]) -> list[Mapping]:
        """As several calls, one for each task, which do not need each other's results and may be computed at the same time.

        Parameters
        ----------
        kind : str
        map : callable
            That of an :class:`~openmm_rare.parallel.executors.Executor`.
        function : callable
            Of a module; it takes what is in a task, and the seed.
        tasks : sequence of tuple
        """
        numbers = [self._next(kind) for _ in tasks]
        records = [self._replayed(kind, number) for number in numbers if number < len(self._done[kind])]
        first, ready = len(records), {}
        left = [(*task, self._seed_of(kind, number)) for task, number in zip(tasks[first:], numbers[first:], strict=True)]
        for which, result in map(function, left) if left else ():
            ready[which] = result
            while len(records) - first in ready:  # recorded in the order of the tasks, whoever is first
                records.append(self._keep(kind, ready.pop(len(records) - first)))
        return records

    def _next(self, kind: str) -> int:
        self.recorded(kind)
        self._count[kind] = self._count.get(kind, -1) + 1
        return self._count[kind]

    def _seed_of(self, kind: str, number: int) -> np.random.SeedSequence:
        return np.random.SeedSequence(self._seed, spawn_key=(zlib.crc32(kind.encode()), number))

    def _replayed(self, kind: str, number: int) -> Mapping:
        record, self._done[kind][number] = self._done[kind][number], {}  # handed over: large arrays are not kept twice
        self._recorded_seconds += record.get("wall_seconds", 0.0)  # older runs did not record it
        return record

    def _keep(self, kind: str, result: Mapping) -> Mapping:
        lap = time.monotonic()
        record = {**result, "wall_seconds": lap - self._lap}
        self._recorded_seconds, self._lap = self._recorded_seconds + record["wall_seconds"], lap
        self._recorder.append(kind, record)
        return record

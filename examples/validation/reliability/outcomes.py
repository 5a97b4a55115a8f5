"""What cases of a campaign came to: their kinds, the record on disk that a stopped campaign goes on from, and the table."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

__all__ = ["BAD", "Case", "Outcome", "Record", "outcomes_of", "table"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "right": ("right", "right, warned"),
    "refused or warned": ("refused", "wrong, warned"),
    "repaired, said so": ("repaired",),
    "wrong in silence, or lost": ("silent", "lost"),
    "tracebacks": ("traceback",),
    "crashes, hangs": ("signal", "hang"),
    "too much memory": ("memory",),
}
"""The kinds of outcomes that each column of the table counts."""

BAD: frozenset[str] = frozenset({"silent", "lost", "traceback", "signal", "hang", "memory"})
"""Kinds that must not be."""


@dataclass(frozen=True)
class Outcome:
    """What a case came to.

    Attributes
    ----------
    campaign, group, case : str
        Which case: all three together are its name.
    kind : str
        One of those in :data:`COLUMNS`.
    note : str
        What was seen, in a line.
    count : int
        How many cases this is: all kills of a run have one outcome.
    memory_gb, cpu_s : float
        Peak of the largest process in GB, and CPU time of all.
    """

    campaign: str
    group: str
    case: str
    kind: str
    note: str = ""
    count: int = 1
    memory_gb: float = 0.0
    cpu_s: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """The name of the case."""
        return self.campaign, self.group, self.case


class Case(Protocol):
    """Something to try, as a process receives it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Campaign, group and name."""

    def run(self, work: Path) -> Outcome:
        """Try it; what is left of a bad case stays below `work`."""


class Record:
    """Outcomes in a file of JSON lines.

    Parameters
    ----------
    path : Path
        Made if it is missing; a last line that a kill cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        self.outcomes = [Outcome(**json.loads(line)) for line in whole.splitlines()]
        self._stream = open(path, "w", encoding="utf-8")  # noqa: SIM115
        for outcome in self.outcomes:
            self._write(outcome)

    def add(self, outcome: Outcome) -> None:
        """Keep one more."""
        self.outcomes.append(outcome)
        self._write(outcome)

    def of(self, keys: Iterable[tuple[str, str, str]]) -> list[Outcome]:
        """Those of these cases."""
        wanted = set(keys)
        return [outcome for outcome in self.outcomes if outcome.key in wanted]

    def _write(self, outcome: Outcome) -> None:
        self._stream.write(json.dumps(asdict(outcome)) + "\n")
        self._stream.flush()


def outcomes_of(
    cases: Iterable[Case], record: Record, work: Path, processes: int, seconds: float = math.inf
) -> Iterator[Outcome]:
    """Try the cases that the record lacks, several at a time; each outcome is recorded, then handed on.

    After so many seconds no further one begins.
    """
    end = time.monotonic() + seconds
    known = {outcome.key for outcome in record.outcomes}
    # a fork has everything imported already; the pool makes its processes before its first thread
    pool = ProcessPoolExecutor(processes, mp_context=get_context("fork"))
    try:
        futures = [pool.submit(case.run, work) for case in cases if case.key not in known]
        for future in as_completed(futures):
            if future.cancelled():
                continue
            record.add(future.result())
            yield record.outcomes[-1]
            if time.monotonic() > end:
                for later in futures:
                    later.cancel()
    finally:
        pool.shutdown(cancel_futures=True)


def table(outcomes: Iterable[Outcome]) -> list[list[str]]:
    """Header and rows: one for each group of a campaign, and one for all."""
    rows: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        rows.setdefault(f"{outcome.campaign}: {outcome.group}", []).append(outcome)
    rows = dict(sorted(rows.items()))
    rows["all"] = [outcome for group in rows.values() for outcome in group]
    return [["campaign", "cases", *COLUMNS, "memory, GB", "CPU-minutes"], *(_row(name, group) for name, group in rows.items())]


def _row(name: str, group: list[Outcome]) -> list[str]:
    counts = [sum(each.count for each in group if each.kind in kinds) for kinds in COLUMNS.values()]
    memory, cpu = max((each.memory_gb for each in group), default=0.0), sum(each.cpu_s for each in group)
    return [name, *(str(count) for count in (sum(counts), *counts)), f"{memory:.2f}", f"{cpu / 60.0:.1f}"]

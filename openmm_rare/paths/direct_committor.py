"""Fresh shots: unbiased dynamics with new velocities from given configurations until A or B, counted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dynamics.checks import require_runnable
from ..errors import InputError, RunError
from ..io.regular_file import regular_file
from ..io.tasks import Progress, Silent
from ..parallel.cores import available_cores
from ..parallel.executors import Executor, Here, SentOnce
from ..parallel.local import Processes
from ..parallel.processes import require_importable, require_own_process
from ..states.states import IN_A, IN_B, NEITHER
from ..walkers.machine import Machine
from ..walkers.phase_slots import PhaseSlots

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ShotRecord", "direct_committor"]

_FORMAT, _UNCHECKED = "openmm_rare fresh shots 2", "openmm_rare fresh shots 1"
_PARTICLES = 5000  # of all copies of a small system in one Context
_BLOCK = 500  # shots of a small system that are recorded together
_SMALL = 200  # atoms


def direct_committor(
    problem: RareEventSystem,
    positions: np.ndarray,
    n_shots: int,
    *,
    seed: int = 1,
    machine: Machine | str | None = None,
    steps_per_test: int | None = None,
    max_steps: int = 10_000_000,
    workers: int = 1,
    executor: Executor | None = None,
    record: str | Path | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Sample the committor of configurations by direct simulation.

    Small non-periodic systems run as many copies in one Context, others one shot after another; the numbers are the same
    wherever that is.

    Parameters
    ----------
    problem : RareEventSystem
        With its states and dynamics: Langevin dynamics with Maxwell-Boltzmann velocities, or overdamped.
    positions : ndarray, shape (n, n_atoms, 3), nm
        Between the states.
    n_shots, seed : int
        Shots from each configuration, and what their noise follows from.
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    steps_per_test : int, optional
        Between two tests of the states; default: those of the problem. Path sampling tests at frames: so does its committor.
    max_steps : int
        Of one shot.
    workers : int
        Processes of this machine.
    executor : Executor, optional
        Instead of them: :class:`~openmm_rare.parallel.dask_cluster.Dask`, within its ``with`` block.
    record : path, optional
        File to which results are appended as they come; the same call goes on from it, also after ``kill -9``.
    progress : Progress, optional

    Returns
    -------
    n_a, n_b : ndarray of int, shape (n,)
        Shots that reached A and B.

    Raises
    ------
    ValueError
        For arguments out of range, a configuration in a state, a record of other shots, and what cannot be run.
    RuntimeError, FloatingPointError
        If a shot reaches neither state within `max_steps`; if positions become NaN, constraints break or molecules fly apart.
    """
    require_own_process()
    positions = np.asarray(positions, dtype=np.float64)
    interval = problem.check_interval if steps_per_test is None else steps_per_test
    _check(problem, positions, n_shots, interval, max_steps)
    run = ShotRun(problem, Machine.choose(machine), interval, max_steps, int(seed), _are_copied(problem))
    with _computed_by(executor, workers, run) as where:
        return _shot(run, positions, n_shots, where, record, progress or Silent())


def _are_copied(problem: RareEventSystem) -> bool:
    """Whether many shots run in one Context."""
    return PhaseSlots.can_copy(problem) and len(problem.positions) <= _SMALL


@contextmanager
def _computed_by(executor: Executor | None, workers: int, run: ShotRun) -> Iterator[Executor]:
    """The given executor, or as many processes of this machine as are wanted, and have a core."""
    workers = min(workers, available_cores())
    own = Here() if workers <= 1 else Processes(workers, run.machine.platform)
    with nullcontext(executor) if executor is not None else own as where:
        if not isinstance(where, Here):
            require_importable(run.system, where.elsewhere)
        yield where


def _shot(
    run: ShotRun, positions: np.ndarray, n_shots: int, executor: Executor, record: str | Path | None, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`direct_committor`, with what has been checked."""
    start, size = np.tile(np.arange(len(positions)), n_shots), _BLOCK if run.copied else 1
    blocks = [start[first : first + size] for first in range(0, len(start), size)]
    progress.stage("fresh shots", float(len(start)))
    with closing(ShotRecord(record, _plan(run, positions, n_shots))) as log:
        progress.update(float(sum(len(blocks[number]) for number in log.results)))
        tasks = [(number, positions[block]) for number, block in enumerate(blocks) if number not in log.results]
        for which, status in executor.map(run, tasks):
            log.add(tasks[which][0], status)
            progress.update(float(len(status)))
        status = np.concatenate([log.results[number] for number in range(len(blocks))])
    return tuple(np.bincount(start[status == state], minlength=len(positions)) for state in (IN_A, IN_B))


def _check(problem: RareEventSystem, positions: np.ndarray, n_shots: int, interval: int, max_steps: int) -> None:
    """Refuse what cannot be run."""
    require_runnable(problem, "paths")
    expected = problem.positions.shape
    if positions.ndim != 3 or positions.shape[1:] != expected or not len(positions):
        raise InputError(f"positions must have shape (n, {expected[0]}, 3) with n > 0, not {positions.shape}")
    if not np.isfinite(positions).all():
        frame = int(np.argmax(~np.isfinite(positions).all((1, 2))))
        raise InputError(f"configuration {frame} has positions that are not finite")
    for name, value in (("n_shots", n_shots), ("steps_per_test", interval), ("max_steps", max_steps)):
        if value < 1:
            raise InputError(f"{name} = {value} must be at least 1")
    inside = np.flatnonzero(problem.states.classify(positions) != NEITHER)
    if len(inside):
        raise InputError(f"configurations {inside[:10].tolist()} lie in A or B, where the committor is known: leave them out")


def _plan(run: ShotRun, positions: np.ndarray, n_shots: int) -> dict[str, Any]:
    """What tells these shots from all others."""
    return {
        "fingerprint": run.system.fingerprint(),
        "temperature_k": run.system.temperature,
        "positions": hashlib.sha256(positions.tobytes()).hexdigest(),
        "n_shots": int(n_shots),
        "steps_per_test": int(run.interval),
        "seed": run.seed,
    }


class ShotRun(SentOnce):
    """How blocks of shots are run: plain data, and one Context that is made when it is first needed.

    The noise of a block depends on the seed and its number alone, so that an interrupted block is repeated and not redrawn:
    redrawing would favor the outcomes of short shots.
    """

    def __init__(
        self, problem: RareEventSystem, machine: Machine, interval: int, max_steps: int, seed: int, copied: bool
    ) -> None:
        self.system, self.machine, self.seed = problem, machine, seed
        self.interval, self.max_steps, self.copied = interval, max_steps, copied

    def __call__(self, number: int, positions: np.ndarray) -> np.ndarray:
        """Where the shots from positions ``(n, n_atoms, 3)`` of block `number` end: A or B, int8 of shape ``(n,)``."""
        n_slots = min(max(_PARTICLES // positions.shape[1], 1), len(positions)) if self.copied else 1
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        dynamics = PhaseSlots(self.system, n_slots, self.machine, rng)
        status, slot, steps = np.zeros(len(positions), dtype=np.int8), np.arange(n_slots), np.zeros(n_slots, dtype=np.int64)
        dynamics.restart(slot, positions[:n_slots])
        waiting = n_slots
        while True:
            dynamics.step(self.interval)
            steps += self.interval
            now = self.system.states.classify(dynamics.positions())
            over = np.flatnonzero((slot >= 0) & (now != NEITHER))
            status[slot[over]] = now[over]
            slot[over] = -1
            if (slot < 0).all() and waiting == len(positions):
                return status
            if steps[slot >= 0].max(initial=0) >= self.max_steps:
                raise RunError(
                    f"a shot reached neither A nor B of {self.system.name} in {self.max_steps} steps: raise max_steps, or look "
                    "for a third state that holds it"
                )
            free = np.flatnonzero(slot < 0)
            new = min(len(free), len(positions) - waiting)
            if new and (len(free) > 0.1 * n_slots or len(free) == n_slots):
                slot[free[:new]] = np.arange(waiting, waiting + new)
                steps[free[:new]] = 0
                dynamics.restart(free[:new], positions[waiting : waiting + new])
                waiting += new


def _digest(entry: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entry).encode()).hexdigest()


class ShotRecord:
    """Outcomes of blocks of shots in a text file, one line each with its checksum, flushed to disk; without a path only kept.

    Parameters
    ----------
    path : path, optional
    plan : mapping
        What the shots are; the first line of the file.

    Attributes
    ----------
    results : dict
        Block number to ndarray of int8.

    Raises
    ------
    ValueError
        If the file is of another plan, or no such file.
    """

    def __init__(self, path: str | Path | None, plan: Mapping) -> None:
        self.results: dict[int, np.ndarray] = {}
        self._stream = None
        if path is None:
            return
        path = Path(path)
        header = json.dumps({"format": _FORMAT, **plan})
        whole = self._read(path, header) if path.exists() else 0
        self._stream = open(path, "r+b" if path.exists() else "w+b")  # noqa: SIM115
        self._stream.truncate(whole)  # what a killed process wrote in part
        self._stream.seek(whole)
        if not whole:
            self._write(header)

    def _read(self, path: Path, header: str) -> int:
        """Take up the lines of a file; returns the length of those that are whole."""
        lines = regular_file(path).read_bytes().split(b"\n")[:-1]
        if not lines:
            return 0
        checked = lines[0].decode("utf-8", "replace") == header
        if not checked and lines[0].decode("utf-8", "replace") != header.replace(_FORMAT, _UNCHECKED):
            raise InputError(f"{path} holds other shots, or none: remove it, or give another name for the record")
        for line in lines[1:]:
            try:
                entry = json.loads(line)
                if entry.pop("sha256", None) != _digest(entry) and checked:
                    raise ValueError(f"the checksum of block {entry.get('block')} does not fit")
                self.results[int(entry["block"])] = np.array([int(digit) for digit in entry["ends"]], dtype=np.int8)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} is damaged ({error}): remove it to run its shots again") from error
        return sum(len(line) + 1 for line in lines)

    def add(self, number: int, status: np.ndarray) -> None:
        """One more block."""
        self.results[number] = status
        entry = {"block": int(number), "ends": "".join(map(str, status.tolist()))}
        self._write(json.dumps(entry | {"sha256": _digest(entry)}))

    def _write(self, line: str) -> None:
        if self._stream is not None:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

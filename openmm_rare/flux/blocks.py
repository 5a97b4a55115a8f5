"""The flux run in blocks: a few walkers, each for long, whose blocks are the independent units of error bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dynamics.copies.replication import fits_in_slots
from ..dynamics.frames import Frames
from ..errors import RunError
from ..io.progress import reached
from ..io.tasks import Progress, Task
from ..parallel.executors import Executor
from ..settings.rates import RateSettings
from ..statistics import ratio_of_sums
from ..walkers.machine import Machine
from .flux import FluxState, run_flux
from .pool import Pool

if TYPE_CHECKING:
    from ..bias.importance import ImportanceFunction
    from ..problem import RareEventSystem

__all__ = ["BlockFlux"]

_DRIFT = 2.5  # standard errors between stretches
_FIRST = 2  # blocks of the first stretch of equilibration at least, and of the flux run
_LONGEST = 2.0  # times as long a flux run may get at once


_BY_BLOCK = ("frames", "transitions")
"""Columns of a record that have a row for each block; those of exits begin with their name."""


def _grows(name: str) -> bool:
    """Whether the rows of later blocks follow those of earlier ones."""
    return name.startswith("exit") or name in _BY_BLOCK


class _Unknown:
    """Importance of which nothing is known yet."""

    def log_importance(self, positions: np.ndarray, velocities: np.ndarray | None = None) -> np.ndarray:
        """The same everywhere."""
        return np.zeros(len(positions))


@dataclass
class BlockFlux:
    """Flux walkers that move with momenta, or one at a time, and what they have given.

    Every block of every walker is a cluster of its own in the pool: with few walkers these are what error bars can be made of,
    as long as a block is longer than A's memory.

    Attributes
    ----------
    problem : RareEventSystem
    settings : RateSettings
    n_walkers : int
    machine : Machine
    executor : Executor
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; tasks of the kinds "equilibration" and "flux": where walkers move one at a time
        each is one block, so that dynamics which breaks down loses no more than that.
    progress : Progress
    importance : ImportanceFunction
        Of the exits; :meth:`judge` sets it once it is known.
    pool : Pool
    state : FluxState
        Of the walkers now.
    n_blocks : int
        Of the flux run after equilibration.
    counts : list of ndarray, shape (n_blocks, n_walkers)
        Exits by block, in each stretch.
    transitions : int
        Arrivals in B that the flux run itself has seen.
    """

    problem: RareEventSystem
    settings: RateSettings
    n_walkers: int
    machine: Machine
    executor: Executor
    task: Task
    progress: Progress
    importance: ImportanceFunction = field(default_factory=_Unknown)
    pool: Pool = field(init=False)
    state: FluxState = field(init=False)
    n_blocks: int = 0
    counts: list[np.ndarray] = field(default_factory=list)
    transitions: int = 0
    _told: dict[str, Any] = field(default_factory=dict)

    def equilibrate(self, spent: Callable[[], bool]) -> None:
        """Run in A, in stretches of growing length, until the flux is steady.

        Parameters
        ----------
        spent : callable
            Whether all steps are used up.

        Raises
        ------
        RuntimeError
            If no walker leaves A, or steps are used up while the flux still changes.
        """
        self.state, before, steps, planned = FluxState.start(self.problem, self.n_walkers), None, 0, 0
        n_blocks = max(_FIRST, round(0.5 * self.settings.equilibration_ps / self.problem.timestep / self._block_steps))
        for number in range(self.settings.equilibration_tries):
            if number != 1:  # two stretches at least
                planned += n_blocks * (1 if number else 2)
                self.progress.stage("equilibration in A", planned)
            record = self._stretch("equilibration", n_blocks)
            exits = self._exits(record, n_blocks).ravel().astype(float)
            now = ratio_of_sums(exits, np.asarray(record["frames"]).ravel() * self.problem.timestep)
            steps += int(record["walker_steps"])
            self._tell(flux_per_ps=f"{now[0]:.3g}")
            steady = before is not None and now[0] > 0.0 and abs(now[0] - before[0]) < _DRIFT * np.hypot(now[1], before[1])
            if steady:
                break
            if before is not None and spent():
                raise RunError(
                    f"the limit of {self.settings.max_walker_steps:.3g} walker-steps was passed while the flux out of A of "
                    f"{self.problem.name} still changed, from {before[0]:.3g} to {now[0]:.3g} per ps: allow more with "
                    "--max-steps and resume, or start from a structure of equilibrium"
                )
            before, n_blocks = now, n_blocks * (2 if number else 1)
        if now[0] == 0.0:
            raise RunError(
                f"no walker left A of {self.problem.name} in {steps:.3g} steps: make A smaller, or blocks longer (block_ps)"
            )
        self.pool = Pool.empty(self.state.frames, 0)

    def extend(self, n_blocks: int = _FIRST) -> None:
        """Run so many blocks of every walker longer."""
        record = self._stretch("flux", n_blocks)
        first = len(self.pool.time_ps)
        self.pool.widen(first + n_blocks * self.n_walkers)
        frames = np.concatenate([np.zeros(first), np.asarray(record["frames"]).ravel()])
        cluster = first + np.asarray(record["exit_block"]) * self.n_walkers + np.asarray(record["exit_walker"])
        seen = {"exit_cluster": cluster, "exit_weight": np.ones(len(cluster)), "weighted_frames": frames[None], **record}
        self.pool.extend(seen, self.importance, self.problem.timestep)
        self.n_blocks += n_blocks
        self.counts.append(self._exits(record, n_blocks))
        self.transitions += int(np.asarray(record["transitions"]).sum())

    def extend_until(self, wanted: float, fewest: int, spent: Callable[[], bool]) -> bool:
        """Run until the pool's part of the relative error is at most `wanted`, with at least so many exits, or steps are spent.

        Returns
        -------
        bool
            Whether that was reached.
        """
        self.progress.stage("flux and exit pool")
        self._told = {"exits": len(self.pool.exits)}
        while True:
            error, exits = self._error(), len(self.pool.exits)
            reached_it = error <= wanted and exits >= fewest
            if self.n_blocks and (reached_it or spent()):
                return reached_it
            more = _LONGEST - 1.0
            if exits:
                more = min(more, max((min(error, 10.0) / wanted) ** 2, fewest / exits) - 1.0)
            self.extend(max(_FIRST, int(np.ceil(more * self.n_blocks))))
            self._tell(**reached(self._error(), wanted), exits=len(self.pool.exits))

    def judge(self, importance: ImportanceFunction) -> None:
        """Take another importance function for the exits, of now and later."""
        self.importance = importance
        self.pool.judge(importance)

    def _exits(self, record: Mapping, n_blocks: int) -> np.ndarray:
        """Numbers of exits, shape (n_blocks, n_walkers)."""
        clusters = np.asarray(record["exit_block"]) * self.n_walkers + np.asarray(record["exit_walker"])
        return np.bincount(clusters, minlength=n_blocks * self.n_walkers).reshape(n_blocks, self.n_walkers)

    def _error(self) -> float:
        return self.pool.relative_error(self.settings.uniform_fraction) if len(self.pool.exits) else np.inf

    @property
    def _block_steps(self) -> int:
        return self.settings.block_steps(self.problem.timestep)

    def _tell(self, **values: object) -> None:
        """Show what is known, and go on to show it; the work that is left is judged now alone."""
        self.progress.update(0, **values)
        self._told = {name: value for name, value in values.items() if name != "target"}

    def _advance(self, n_blocks: int, n_exits: int) -> None:
        """Show so many blocks more, and their exits where exits are shown."""
        if "exits" in self._told:
            self._told["exits"] += n_exits
        self.progress.update(n_blocks, **self._told)

    def _stretch(self, kind: str, n_blocks: int) -> Mapping:
        """The record of so many blocks; the state becomes that at their end."""
        parts, done, together = [], 0, fits_in_slots(self.problem)
        while done < n_blocks:
            record = self._blocks(kind, n_blocks - done if together else 1)
            parts.append({**record, "exit_block": done + np.asarray(record["exit_block"])})
            done += len(record["frames"])  # more than one, of earlier versions
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if _grows(name)}
        return {**parts[-1], **joined, "walker_steps": sum(int(part["walker_steps"]) for part in parts)}

    def _blocks(self, kind: str, n_blocks: int) -> Mapping:
        """The record of a task."""
        shown = 0

        def compute(seed: np.random.SeedSequence) -> Mapping:
            nonlocal shown
            chunks, state, rng = [], self.state, np.random.default_rng(seed)
            for _ in range(n_blocks):
                number = int(rng.integers(2**31))
                chunk = run_flux(self.problem, state, self._block_steps, self.machine, number, None, executor=self.executor)
                chunks.append(chunk)
                state = chunk.state
                shown += 1
                self._advance(1, len(chunk.exits))
            return {
                **Frames.join(chunk.exits for chunk in chunks).astype(np.float32).arrays("exits"),
                "exit_walker": np.concatenate([chunk.exit_walker for chunk in chunks]),
                "exit_block": np.repeat(np.arange(n_blocks), [len(chunk.exits) for chunk in chunks]),
                "frames": np.array([chunk.frames_last_a for chunk in chunks]),
                "transitions": np.array([chunk.transitions for chunk in chunks]),
                "walker_steps": sum(chunk.walker_steps for chunk in chunks),
                **state.record(),
            }

        record = self.task(kind, compute)
        if len(record["frames"]) > shown:  # replayed
            self._advance(len(record["frames"]) - shown, len(record["exit_block"]))
        self.state = FluxState.from_record(record)
        return record

"""One stretch of a walker near the barrier, and the shots from it: a plain function of plain data.

A walker samples equilibrium times a function b of the learned logit. Each trial takes the place where it is, draws velocities
anew and shoots in both directions; a transition path weighs 1 over the sum of b over its frames between the ends. See "Shooting
points sampled directly" in docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import exp
from pathlib import Path

import numpy as np
import openpathsampling as paths

from ...committor.base import Committor, in_batches
from ...committor.load import load_committor
from ...dynamics.frames import Frames
from ...learning.passages import Passages
from ...ops.engine import RareEventEngine
from ...ops.point_storage import WeightedPathStorage
from ...ops.seeding import seed_path_sampling
from ...ops.shooting import shoot_to_state
from ...ops.snapshots import frames_of, trajectory_of
from ...ops.storage_code import require_no_code
from ...ops.volumes import state_volumes
from ...paths.trial import Trial
from .barrier_bias import log_path_weight
from .biased_walk import BiasedWalk
from .chain import fixed_identities, known_code, make_engine
from .point_task import WalkerState
from .task import ChainTask, PathProblem

__all__ = ["run_walker"]

_MOVES = 20  # of a walker in the time that a transition path takes


def run_walker(task: ChainTask) -> tuple[WalkerState, list[Trial]]:
    """A stretch of one walker: the state after it, and its trials in order.

    The result depends on the task alone, whatever was computed before and by which process. A storage that has the stretch
    already is left as it is.
    """
    with fixed_identities(task.problem.key, task.seed):
        tools = _tools(task.problem)
    noise = seed_path_sampling(int(np.random.SeedSequence(task.seed, spawn_key=task.origin).generate_state(1)[0]))
    tools.renew(noise, task.state.frames)
    walker = _Walker(tools, task)
    with fixed_identities(task.problem.key, task.seed, *task.origin):
        trials = [walker.trial(cycle) for cycle in task.cycles]
        if task.storage is not None:
            tools.storage(Path(task.storage), task.owner).save(walker.made)
    return walker.state, trials


_TOOLS: dict[str, _Tools] = {}


def _tools(problem: PathProblem) -> _Tools:
    """The engine of a process, made once for all walkers."""
    if problem.key not in _TOOLS:
        _TOOLS[problem.key] = _Tools(problem)
    return _TOOLS[problem.key]


class _Tools:
    """What the walkers of a process share."""

    def __init__(self, problem: PathProblem) -> None:
        self.engine: RareEventEngine = make_engine(problem)
        self.engine.no_velocities()  # made now, it is the same object for all rounds
        self.volumes = list(state_volumes(problem.system.states))
        (self.ensemble,) = paths.TPSNetwork.from_states_all_to_all(self.volumes).sampling_ensembles
        self._storages: dict[Path, WeightedPathStorage] = {}

    def renew(self, noise: int, frames: Frames) -> None:
        """A Context that nothing of before has left a trace in."""
        self.engine.integrator.setRandomNumberSeed(noise)
        self.engine.simulation.context.reinitialize()
        self.engine.current_snapshot = trajectory_of(frames[:1], self.engine)[0]

    def storage(self, path: Path, owner: str) -> WeightedPathStorage:
        """The open storage of a walker."""
        if path not in self._storages:
            if path.exists():
                require_no_code(path, known_code(self.volumes, self.engine))
            self._storages[path] = WeightedPathStorage(path, self.engine, self.ensemble, owner)
        return self._storages[path]


@dataclass(frozen=True, eq=False)
class _Shots:
    """Two shots from one configuration: frames beyond it, and the state that each reached."""

    start: Frames
    forward: Frames
    backward: Frames
    last: int
    first: int

    @cached_property
    def path(self) -> Frames | None:
        """The transition path, if it is one."""
        return None if self.first == self.last else Frames.join([self.backward.reversed, self.start, self.forward])


class _Walker:
    """The trials of a stretch."""

    def __init__(self, tools: _Tools, task: ChainTask) -> None:
        self.engine, self.volumes, self.settings = tools.engine, tools.volumes, task.problem.settings
        self.model: Committor = load_committor(task.model)
        self.state: WalkerState = task.state
        self.made: list[tuple[int, Frames, float]] = []
        self._rng = paths.default_rng()

    def trial(self, cycle: int) -> Trial:
        """The next trial."""
        walks, counts = self.state.walked >= 0, self.state.walked >= self.settings.start_up
        moved, way, frame = self._walk() if walks else (float("nan"), 0, self._frame_of_path())
        point, expected = frame.positions[0], float(self.model.transition_probability(frame.positions)[0])
        try:
            shots = self._shoot(frame)
        except paths.engines.EngineMaxLengthError:
            self._next(None)
            return Trial(cycle, point, 0, 0, expected, False, counts, way, weight=0.0, moved=moved)
        self._next(shots)
        path, weight, ends = None, 0.0, (shots.first, shots.last)
        if shots.path is not None and counts:
            path = shots.path.positions.astype(np.float32)
            weight = exp(log_path_weight(self.model.logit(shots.path.positions[1:-1]), self.settings.reach))
            self.made.append((cycle, shots.path, weight))
        n_frames = way + len(shots.forward) + 1 + len(shots.backward)
        n_a, passages = ends.count(0), self._passages(shots)
        return Trial(cycle, point, n_a, 2 - n_a, expected, path is not None, counts, n_frames, path, passages, weight, moved)

    def _next(self, shots: _Shots | None) -> None:
        """The state after a trial."""
        if self.state.walked >= 0:
            self.state = replace(self.state, walked=self.state.walked + 1)
        elif shots is not None and shots.path is not None:
            self.state = replace(self.state, frames=shots.path, made=True)

    def _frame_of_path(self) -> Frames:
        """A frame between the ends of the path where the walker begins, likely one near q = 0."""
        path = self.state.frames
        near = 1.0 / (self.model.logit(path.positions[1:-1]) ** 2 + 1.0)
        index = 1 + int(self._rng.choice(len(near), p=near / near.sum()))
        return path[index : index + 1]

    def _drawn(self, frame: Frames) -> Frames:
        """The same configuration with new velocities, where there are any."""
        snapshot = self.engine.randomize_velocities(trajectory_of(frame, self.engine)[0])
        return frames_of([snapshot], not self.engine.overdamped)

    def _walk(self) -> tuple[float, int, Frames]:
        """Move on: the part of the moves that were kept, the frames made, and where the walker is now."""
        wait = self.settings.wait or self.state.length
        frame = self._drawn(self.state.frames) if self.state.walked == 0 else self.state.frames
        stride = max(1, round(self.state.length / _MOVES))
        walk = BiasedWalk(self.engine, self.volumes, self.model, self.settings.reach, stride, self._rng)
        n_moves = max(1, round(wait / stride))
        frame, kept = walk.go(frame, n_moves)
        self.state = replace(self.state, frames=frame)
        return kept / n_moves, n_moves * stride, frame

    def _shoot(self, frame: Frames) -> _Shots:
        start = self._drawn(frame)
        snapshot = trajectory_of(start, self.engine)[0]
        forward, last = shoot_to_state(self.engine, self.volumes, snapshot)
        backward, first = shoot_to_state(self.engine, self.volumes, snapshot.reversed)
        return _Shots(start, forward, backward, last, first)

    def _passages(self, shots: _Shots) -> Passages | None:
        number = self.settings.passages
        if not number:
            return None
        both = [(shots.forward, shots.last), (shots.backward, shots.first)]
        return Passages.of(both, max(1, self.state.length // number), partial(in_batches, self.model.descriptor))

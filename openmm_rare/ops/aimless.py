"""Aimless shooting, of flexible and of fixed length: movers and strategy for OPS ("Path sampling" in docs/theory.md)."""

from __future__ import annotations

from typing import Any

import openpathsampling as paths
from openpathsampling.pathmover import SampleMaxLengthError

from ..dynamics.frames import Frames
from ..errors import InputError
from .engine import RareEventEngine
from .shooting import ShootingMover, TwoWayShootingStrategy
from .snapshots import frames_of, trajectory_of
from .volumes import which_state

__all__ = ["AimlessShootingMover", "AimlessShootingStrategy", "FixedLengthAimlessMover", "recall_pairs"]


class AimlessShootingMover(ShootingMover):
    r"""Aimless shooting (Peters & Trout 2006; Mullen, Shea & Peters 2015), of flexible length.

    A path carries a frame k and the one `offset` frames later. The next trial starts from one of the two, drawn with even odds,
    and on the new path the shooting point is again the one or the other of such a pair, with even odds. Both frames of the new
    pair have to lie between the states.

    A path of L frames can carry :math:`n_k = L - 2 - \Delta` such pairs. Accepting all transition paths samples them with
    :math:`P[X]\, n_k(X)`: with ``corrected`` a trial is accepted with :math:`\min(1, n_k(\mathrm{old})/n_k(\mathrm{new}))`,
    which samples :math:`P[X]`; without, averages need the weights :meth:`weight`. Paths that carry no pair, those of fewer than
    :math:`\Delta + 3` frames, are never sampled: keep the offset small against the shortest transition paths.

    Parameters
    ----------
    ensemble, modifier, engine, states
        As for :class:`~openmm_rare.ops.shooting.ShootingMover`.
    offset : int
        Frames between the two, at least 1.
    corrected : bool
    """

    def __init__(
        self,
        ensemble: paths.Ensemble,
        modifier: paths.SnapshotModifier,
        engine: RareEventEngine,
        states: list[paths.Volume],
        offset: int = 1,
        corrected: bool = True,
    ) -> None:
        if offset < 1:
            raise InputError(f"offset = {offset} must be a number of frames, at least 1")
        super().__init__(ensemble, paths.UniformSelector(), modifier, engine, states)
        self.offset, self.corrected = int(offset), bool(corrected)
        self._pair: dict[str, int] = {}

    def pairs(self, trajectory: paths.Trajectory) -> range:
        """The first frames of all pairs that a path can carry."""
        return range(1, len(trajectory) - 1 - self.offset)

    def weight(self, trajectory: paths.Trajectory) -> float:
        """Weight of a path in averages over transition paths: 1 with, 1/n_k without corrected acceptance."""
        return 1.0 if self.corrected else 1.0 / len(self.pairs(trajectory))

    def remember(self, trajectory: paths.Trajectory, first: int) -> None:
        """Put the pair of a path at its frames `first` and `first` + offset.

        Raises
        ------
        ValueError
            If the path cannot carry it there.
        """
        if first not in self.pairs(trajectory):
            raise InputError(
                f"a path of {len(trajectory)} frames cannot carry a pair at its frames {first} and {first + self.offset}"
            )
        self._pair = {str(trajectory.__uuid__): int(first)}

    def knows(self, trajectory: paths.Trajectory) -> bool:
        """Whether it is known where the pair of a path is."""
        return str(trajectory.__uuid__) in self._pair

    def first_of(self, trajectory: paths.Trajectory) -> int:
        """Where the pair of a path starts: as an earlier trial left it, or in its middle."""
        if not self.knows(trajectory):
            pairs = self.pairs(trajectory)
            if not pairs:
                raise InputError(
                    f"a path of {len(trajectory)} frames is too short for aimless shooting with an offset of {self.offset} "
                    "frames: store frames more often, or reduce the offset"
                )
            self.remember(trajectory, pairs[len(pairs) // 2])
        first = self._pair[str(trajectory.__uuid__)]
        self._pair = {str(trajectory.__uuid__): first}  # the pairs of rejected paths are not needed any more
        return first

    def __call__(self, input_sample: paths.Sample) -> tuple[list[paths.Sample], dict[str, Any]]:
        """One trial."""
        old = input_sample.trajectory
        index = self.first_of(old) + self._zero_or_offset()
        try:
            new, details = self._run(old, index)
        except paths.engines.EngineMaxLengthError as error:  # a shot that reached no state: a rejected trial
            trial, details = self._build_sample(input_sample, index, error.last_trajectory, "max_length")
            raise SampleMaxLengthError("a shot reached no state", trial, details) from error
        first = self._new_first(details["shooting_index"])
        bias = 0.0
        if first in self.pairs(new):
            bias = min(1.0, len(self.pairs(old)) / len(self.pairs(new))) if self.corrected else 1.0
            self._pair[str(new.__uuid__)] = first
        details |= {"initial_trajectory": old, "shooting_snapshot": old[index], "aimless_index": first}
        trial = paths.Sample(
            replica=input_sample.replica,
            trajectory=new,
            ensemble=self.target_ensemble,
            parent=input_sample,
            mover=self,
            bias=bias,
        )
        return [trial], details

    def _zero_or_offset(self) -> int:
        """A frame of a pair, with even odds."""
        return self.offset * int(paths.default_rng().integers(2))

    def _new_first(self, shooting_index: int) -> int:
        """Where the pair of a new path starts, which has its shooting point at this frame."""
        return shooting_index - self._zero_or_offset()


class FixedLengthAimlessMover(AimlessShootingMover):
    r"""Aimless shooting with paths of a fixed number of frames (Peters & Trout 2006).

    Sampled are the paths of `length` frames whose first and last frame lie in states that the ensemble allows, by their
    probability :math:`P[X]` in equilibrium; in between they may enter and leave any state. Every path carries one pair, in its
    middle: frames k and :math:`k + \Delta`. A trial takes one of the two, draws velocities, and makes it frame k or
    :math:`k + \Delta` of the new path, both with even odds; that fixes how many frames are integrated forward and backward.

    Detailed balance: of a path of stationary dynamics with configuration x at frame c the others follow from x in both
    directions, :math:`P[X] = \rho(x)\, p(X | x, c)`, with :math:`p` the same at every c. From X with x at c to X' with x at c'
    the trial has the probability :math:`\frac12 \cdot \frac12\, p(X' | x, c')`, and backward
    :math:`\frac12 \cdot \frac12\, p(X | x, c)`: as :math:`P[X']` to :math:`P[X]`. All paths of the ensemble are accepted, and
    none needs a weight.

    The outcome of a shot is the first state that it reaches; a shot that reaches none has no outcome, and neither has a trial
    from within a state. Both shots run for all their frames, whatever states they pass. Shots that are cut off before a state
    tell nothing about the slow ones: with a length of few transition-path times a committor learns from the fast ones.

    Parameters
    ----------
    ensemble, modifier, engine, states, offset
        As for :class:`AimlessShootingMover`.
    length : int
        Frames of each path, at least `offset` + 3.
    """

    def __init__(
        self,
        ensemble: paths.Ensemble,
        modifier: paths.SnapshotModifier,
        engine: RareEventEngine,
        states: list[paths.Volume],
        length: int,
        offset: int = 1,
    ) -> None:
        super().__init__(ensemble, modifier, engine, states, offset)
        if length < self.offset + 3:
            raise InputError(f"paths of length = {length} frames carry no pair with an offset of {offset}: make them longer")
        self.length = int(length)
        self._first = (self.length - 1 - self.offset) // 2

    def pairs(self, trajectory: paths.Trajectory) -> range:
        """The one pair in the middle."""
        return range(self._first, self._first + 1)

    def _new_first(self, shooting_index: int) -> int:
        return self._first

    def _run(self, trajectory: paths.Trajectory, shooting_index: int) -> tuple[paths.Trajectory, dict[str, Any]]:
        start = self.modifier(trajectory[shooting_index])
        index = self._first + self._zero_or_offset()
        forward, backward = self._frames(start, self.length - 1 - index), self._frames(start.reversed, index)
        path = trajectory_of(backward.reversed, self.engine) + paths.Trajectory([start]) + trajectory_of(forward, self.engine)
        reached = []
        if which_state(self.states, frames_of([start], not self.engine.overdamped), self.engine)[0] < 0:
            reached = [state for state in map(self._arrival, (forward, backward)) if state >= 0]
        return path, {
            "modified_shooting_snapshot": start,
            "shooting_index": index,
            "n_frames": len(path),
            "reached": reached,
        }

    def _frames(self, start: Any, n_frames: int) -> Frames:
        self.engine.current_snapshot = start
        return self.engine.block(n_frames, start, [])

    def _arrival(self, shot: Frames) -> int:
        """The first state that a shot is in; -1 if it comes to none."""
        found = which_state(self.states, shot, self.engine)
        inside = found >= 0
        return int(found[inside.argmax()]) if inside.any() else -1

    def _judged(self, path: paths.Trajectory) -> paths.Trajectory:
        return path


class AimlessShootingStrategy(TwoWayShootingStrategy):
    """Makes a mover of aimless shooting for each ensemble.

    Of flexible length, :class:`AimlessShootingMover`, for a ``TPSNetwork``, and of fixed length,
    :class:`FixedLengthAimlessMover`, for a ``FixedLengthTPSNetwork``.

    Parameters
    ----------
    modifier : openpathsampling.SnapshotModifier
    engine : RareEventEngine
    offset : int
        Frames between the two candidates.
    corrected : bool
        Flexible length: accept with the correction that samples transition paths by their probability. Paths of a fixed length
        need none.
    ensembles, group, replace
        As in OpenPathSampling.
    """

    networks = (paths.TPSNetwork, paths.FixedLengthTPSNetwork)

    def __init__(
        self,
        modifier: paths.SnapshotModifier,
        engine: RareEventEngine,
        offset: int = 1,
        corrected: bool = True,
        ensembles: Any = None,
        group: str = "shooting",
        replace: bool = True,
    ) -> None:
        super().__init__(modifier, engine, ensembles, group, replace)
        self.offset, self.corrected = offset, corrected

    def _mover(
        self, network: paths.TransitionNetwork, ensemble: paths.Ensemble, states: list[paths.Volume]
    ) -> AimlessShootingMover:
        if isinstance(network, paths.FixedLengthTPSNetwork):
            length = network.sampling_transitions[0].length
            return FixedLengthAimlessMover(ensemble, self.modifier, self.engine, states, length, self.offset)
        return AimlessShootingMover(ensemble, self.modifier, self.engine, states, self.offset, self.corrected)


def recall_pairs(simulation: paths.PathSampling) -> None:
    """Let aimless shooting go on with the pairs that the storage of a continued simulation knows.

    :class:`~openmm_rare.ops.hooks.TrainingHook` does so by itself. A script without it calls this once, between
    ``restart_at_step`` and ``run``; otherwise shooting goes on from the middle of the last path.

    Parameters
    ----------
    simulation : openpathsampling.PathSampling
        With its storage.
    """
    for mover in simulation.root_mover:
        if not isinstance(mover, AimlessShootingMover):
            continue
        for sample in simulation.sample_set:
            if sample.ensemble == mover.ensemble and not mover.knows(sample.trajectory):
                first = _stored_pair(simulation.storage, sample.trajectory)
                if first is not None:
                    mover.remember(sample.trajectory, first)


def _stored_pair(storage: Any, trajectory: paths.Trajectory) -> int | None:
    """Where the pair of a path was when it was accepted; None for a path that no aimless shooting has made."""
    steps = [] if storage is None else storage.steps
    for index in range(len(steps) - 1, 0, -1):  # step 0 is the start
        change = steps[index].change.canonical
        if change.accepted and any(trial.trajectory == trajectory for trial in change.trials):
            return getattr(change.details, "aimless_index", None)
    return None

"""Two-way shooting from frames that a selector chooses: mover, strategy and scheme for OpenPathSampling.

See "Path sampling" in docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import openpathsampling as paths
from openpathsampling.pathmover import EngineMover
from openpathsampling.strategies import OrganizeByMoveGroupStrategy, SingleEnsembleMoveStrategy, levels
from torch import Tensor

from ..committor.base import in_batches
from ..dynamics.frames import Frames
from ..errors import InputError
from ..learning.passages import Passages
from .engine import RareEventEngine
from .snapshots import trajectory_of
from .volumes import which_state

__all__ = ["FreshShotsStrategy", "ShootingMover", "ShootingStrategy", "shoot_to_state", "shooting_scheme"]

_STEPS_PER_TEST, _MOST_AT_ONCE = 200, 16


class ShootingMover(EngineMover):
    """Two shots from a frame of the path, forward and backward with new velocities, until each is in a state.

    Both shots always run to a state, also when the first has already spoiled the path: their outcomes are what a committor is
    learned from. A path between different states is accepted with the ratio of the selector's probabilities. Of a rejected
    trial only both ends and the shooting point stay: storing the others is most of the cost of a model system.

    Parameters
    ----------
    ensemble : openpathsampling.Ensemble
        Paths between states, of any length, as those of a ``TPSNetwork``.
    selector : openpathsampling.ShootingPointSelector
    modifier : openpathsampling.SnapshotModifier
        Draws the velocities; ``NoModification`` for overdamped dynamics.
    engine : RareEventEngine
    states : list of openpathsampling.Volume
        :class:`~openmm_rare.ops.volumes.StateVolume` is asked for many frames at once; other volumes cost more.
    """

    def __init__(
        self,
        ensemble: paths.Ensemble,
        selector: paths.ShootingPointSelector,
        modifier: paths.SnapshotModifier,
        engine: RareEventEngine,
        states: list[paths.Volume],
    ) -> None:
        super().__init__(ensemble, ensemble, selector, engine, modifier)
        self.states = list(states)
        self._relaxing = False
        self._kept: set[int] = set()  # frames of the latest trial that its details speak of: SimStore does not look there
        self._latest: tuple[str, tuple[Frames, Frames], int] | None = None

    def relax(self, relaxing: bool) -> None:
        """Accept every transition path for now: to get away from a first path that no dynamics has made."""
        self._relaxing = relaxing

    @property
    def direction(self) -> str:
        """Both."""
        return "bidirectional"

    def passages(
        self, change: paths.MoveChange, states: Sequence[paths.Volume], descriptor: Callable[[Tensor], Tensor], number: int
    ) -> Passages | None:
        """Frames that the shots of the latest trial passed, and where each shot went from there.

        Parameters
        ----------
        change : openpathsampling.MoveChange
            Of this mover.
        states : sequence of openpathsampling.Volume
            In the order by which they are to be numbered.
        descriptor : callable
            From positions ``(n, n_atoms, 3)`` in nm to features ``(n, n_features)``.
        number : int
            About how many; their distance follows from the length of the path that was shot from, and shots longer than it
            pass more.

        Returns
        -------
        Passages or None
            None for another trial than the latest, and for one whose shots did not both reach one of the states.
        """
        point = getattr(change.details, "modified_shooting_snapshot", None)
        if not number or point is None or self._latest is None or self._latest[0] != str(point.__uuid__):
            return None
        _, shots, length = self._latest
        path = change.trials[0].trajectory
        reached = [i for end in (path[-1], path[0]) for i, state in enumerate(states) if state(end)]
        if len(reached) != len(shots):  # the network may have states that nobody asks for
            return None
        return Passages.of(list(zip(shots, reached, strict=True)), max(1, length // number), partial(in_batches, descriptor))

    def _run(self, trajectory: paths.Trajectory, shooting_index: int) -> tuple[paths.Trajectory, dict[str, Any]]:
        start = self.modifier(trajectory[shooting_index])
        forward, last = shoot_to_state(self.engine, self.states, start)
        backward, first = shoot_to_state(self.engine, self.states, start.reversed)
        self._latest = (str(start.__uuid__), (forward, backward), len(trajectory))
        before, after = backward.reversed, forward
        details = {
            "modified_shooting_snapshot": start,
            "shooting_index": len(before),
            "n_frames": len(before) + 1 + len(after),
        }
        if first == last:
            before, after = before[:1], after[-1:]
        self._kept = {len(before)}
        return trajectory_of(before, self.engine) + paths.Trajectory([start]) + trajectory_of(after, self.engine), details

    def metropolis(self, trials: list[paths.Sample]) -> tuple[bool, dict[str, Any]]:
        """Accept or reject, as OpenPathSampling does, and leave only a few frames of a rejected path."""
        (trial,) = trials
        path = trial.trajectory
        bias = float(trial.bias > 0.0) if self._relaxing else trial.bias
        accepted, details = super().metropolis([paths.Sample(trial.replica, self._judged(path), trial.ensemble, bias)])
        if not accepted:
            trial.trajectory = paths.Trajectory([path[index] for index in sorted({0, *self._kept, len(path) - 1})])
        return accepted, details

    def _judged(self, path: paths.Trajectory) -> paths.Trajectory:
        """What the ensemble gets to see of a path: one frame of the many between the states.

        Where a shot ends is known already, and what an ensemble of paths between states says depends on nothing else.
        """
        return paths.Trajectory([path[0], path[len(path) // 2], path[-1]])


def shoot_to_state(engine: RareEventEngine, states: list[paths.Volume], start: Any) -> tuple[Frames, int]:
    """The frames after a given one up to the first in a state, and the number of that state.

    Raises
    ------
    EngineMaxLengthError
        If there are too many before.
    """
    # a test of states costs about as much as 200 steps of one particle; frames beyond a state are lost work
    every = min(max(_STEPS_PER_TEST // (engine.system.getNumParticles() * engine.n_steps_per_frame), 1), _MOST_AT_ONCE)
    frames, state = engine.shoot(start, lambda block: which_state(states, block, engine), every)
    if state < 0:
        trajectory = paths.Trajectory([start]) + trajectory_of(frames[-1:], engine)
        raise paths.engines.EngineMaxLengthError(f"no state within {engine.n_frames_max} frames", trajectory)
    return frames, state


class FreshShotsStrategy(SingleEnsembleMoveStrategy):
    """One mover for each ensemble of a network, which shoots in both directions.

    Attributes
    ----------
    networks : tuple of type
        Networks whose paths the mover samples.
    """

    _level = levels.MOVER
    networks: tuple[type, ...] = (paths.TPSNetwork,)

    def __init__(
        self, modifier: paths.SnapshotModifier, engine: RareEventEngine, ensembles: Any, group: str, replace: bool
    ) -> None:
        super().__init__(ensembles=ensembles, group=group, replace=replace)
        self.modifier, self.engine = modifier, engine

    def make_movers(self, scheme: paths.MoveScheme) -> list[ShootingMover]:
        """The movers of a scheme.

        Raises
        ------
        ValueError
            If the network is none of those whose paths the mover samples.
        """
        network = scheme.network
        if type(network) not in self.networks:
            raise InputError(
                f"shooting from state to state samples the paths of a {' or '.join(each.__name__ for each in self.networks)}, "
                f"not those of a {type(network).__name__}"
            )
        states = list(dict.fromkeys([*network.initial_states, *network.final_states]))
        ensembles = [ensemble for (ensemble,) in self.get_per_mover_ensembles(scheme)]
        return [self._mover(network, ensemble, states).named(f"{self.group} {ensemble.name}") for ensemble in ensembles]

    def _mover(self, network: paths.TransitionNetwork, ensemble: paths.Ensemble, states: list[paths.Volume]) -> ShootingMover:
        raise TypeError(f"{type(self).__name__} does not say which mover it makes")


class ShootingStrategy(FreshShotsStrategy):
    """Makes a :class:`ShootingMover` for each ensemble.

    Parameters
    ----------
    selector : openpathsampling.ShootingPointSelector
    modifier : openpathsampling.SnapshotModifier
    engine : RareEventEngine
    ensembles, group, replace
        As in OpenPathSampling.
    """

    def __init__(
        self,
        selector: paths.ShootingPointSelector,
        modifier: paths.SnapshotModifier,
        engine: RareEventEngine,
        ensembles: Any = None,
        group: str = "shooting",
        replace: bool = True,
    ) -> None:
        super().__init__(modifier, engine, ensembles, group, replace)
        self.selector = selector

    def _mover(self, network: paths.TransitionNetwork, ensemble: paths.Ensemble, states: list[paths.Volume]) -> ShootingMover:
        return ShootingMover(ensemble, self.selector, self.modifier, self.engine, states)


def shooting_scheme(network: paths.TransitionNetwork, strategy: FreshShotsStrategy) -> paths.MoveScheme:
    """A move scheme of nothing but the shooting moves of one strategy.

    Use a network with all states to all states, as ``TPSNetwork.from_states_all_to_all([a, b])``: a path then may turn round.
    """
    scheme = paths.MoveScheme(network)
    scheme.append([strategy, OrganizeByMoveGroupStrategy()])
    scheme.build_move_decision_tree()
    return scheme

"""Two-way shooting from frames that a selector chooses: mover, strategy and scheme for OpenPathSampling.

See "Path sampling" in docs/theory.md.
"""

from __future__ import annotations

from typing import Any

import openpathsampling as paths
from openpathsampling.pathmover import EngineMover
from openpathsampling.strategies import OrganizeByMoveGroupStrategy, SingleEnsembleMoveStrategy, levels

from ..dynamics.frames import Frames
from ..errors import InputError
from .engine import RareEventEngine
from .snapshots import trajectory_of
from .volumes import which_state

__all__ = ["TwoWayShootingStrategy", "ShootingMover", "ShootingStrategy", "shoot_to_state", "shooting_scheme"]

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

    Notes
    -----
    The details of a move say what it saw: ``reached``, the number in `states` of what the shot forward reached, and of what the
    one backward did; ``n_frames`` of both with the shooting point; ``shooting_index``, the place of that on the whole path.
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
        self._keeps_frames = False

    def relax(self, relaxing: bool) -> None:
        """Accept every transition path for now: to get away from a first path that no dynamics has made."""
        self._relaxing = relaxing

    @property
    def direction(self) -> str:
        """Both."""
        return "bidirectional"

    def keep_frames(self) -> None:
        """From now on the details of a trial hold the frames of both shots as ``_frames``, until somebody takes them away.

        No storage keeps what has such a name.
        """
        self._keeps_frames = True

    def move_core(self, samples: list[paths.Sample]) -> paths.MoveChange:
        """A move, of which only a few frames are left where it was rejected."""
        change = super().move_core(samples)
        index = getattr(change.details, "shooting_index", None)
        if not change.accepted and index is not None:
            (trial,) = change.trials
            path = trial.trajectory
            index = min(index, len(path) - 2)  # one that turned round has three frames only
            trial.trajectory = paths.Trajectory([path[frame] for frame in sorted({0, index, len(path) - 1})])
        return change

    def _run(self, trajectory: paths.Trajectory, shooting_index: int) -> tuple[paths.Trajectory, dict[str, Any]]:
        start = self.modifier(trajectory[shooting_index])
        forward, last = shoot_to_state(self.engine, self.states, start)
        backward, first = shoot_to_state(self.engine, self.states, start.reversed)
        before, after = backward.reversed, forward
        details = {
            "modified_shooting_snapshot": start,
            "shooting_index": len(before),
            "n_frames": len(before) + 1 + len(after),
            "reached": [last, first],  # by the shot forward and the one backward
        }
        if self._keeps_frames:
            details["_frames"] = (forward, backward)
        if first == last:
            before, after = before[:1], after[-1:]
        return trajectory_of(before, self.engine) + paths.Trajectory([start]) + trajectory_of(after, self.engine), details

    def metropolis(self, trials: list[paths.Sample]) -> tuple[bool, dict[str, Any]]:
        """Accept or reject, as OpenPathSampling does."""
        (trial,) = trials
        bias = float(trial.bias > 0.0) if self._relaxing else trial.bias
        return super().metropolis([paths.Sample(trial.replica, self._judged(trial.trajectory), trial.ensemble, bias)])

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


class TwoWayShootingStrategy(SingleEnsembleMoveStrategy):
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


class ShootingStrategy(TwoWayShootingStrategy):
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


def shooting_scheme(network: paths.TransitionNetwork, strategy: TwoWayShootingStrategy) -> paths.MoveScheme:
    """A move scheme of nothing but the shooting moves of one strategy.

    Use a network with all states to all states, as ``TPSNetwork.from_states_all_to_all([a, b])``: a path then may turn round.
    """
    scheme = paths.MoveScheme(network)
    scheme.append([strategy, OrganizeByMoveGroupStrategy()])
    scheme.build_move_decision_tree()
    return scheme

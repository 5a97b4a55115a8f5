"""Two-way shooting and aimless shooting: movers, strategies and schemes for OpenPathSampling (THEORY: section 7)."""

from __future__ import annotations

from typing import Any

import openpathsampling as paths
from openpathsampling.pathmover import EngineMover, SampleMaxLengthError
from openpathsampling.strategies import OrganizeByMoveGroupStrategy, SingleEnsembleMoveStrategy, levels

from .engine import RareEventEngine
from .frames import Frames
from .volumes import which_state

__all__ = ["AimlessShootingMover", "AimlessShootingStrategy", "ShootingMover", "ShootingStrategy", "shooting_scheme"]

_STEPS_PER_TEST, _MOST_AT_ONCE = 200, 16


class ShootingMover(EngineMover):
    """Two shots from a frame of the path, forward and backward with new velocities, until each is in a state.

    Both shots always run to a state, also when the first has already spoiled the path: their outcomes are what a committor is
    learned from. A path between different states is accepted with the ratio of the selector's probabilities. Of a rejected
    trial only both ends and one frame between them stay: storing the others is most of the cost of a model system.

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

    def relax(self, relaxing: bool) -> None:
        """Accept every transition path for now: to get away from a first path that no dynamics has made."""
        self._relaxing = relaxing

    @property
    def direction(self) -> str:
        """Both."""
        return "bidirectional"

    def _run(self, trajectory: paths.Trajectory, shooting_index: int) -> tuple[paths.Trajectory, dict[str, Any]]:
        start = self.modifier(trajectory[shooting_index])
        forward, last = self._shoot(start)
        backward, first = self._shoot(start.reversed)
        before, after = backward.reversed, forward
        details = {
            "modified_shooting_snapshot": start,
            "shooting_index": len(before),
            "n_frames": len(before) + 1 + len(after),
        }
        if first == last:
            before, after = before[:1], after[-1:]
        return before.trajectory(self.engine) + paths.Trajectory([start]) + after.trajectory(self.engine), details

    def _shoot(self, start: Any) -> tuple[Frames, int]:
        engine = self.engine
        # a test of states costs about as much as 200 steps of one particle; frames beyond a state are lost work
        every = min(max(_STEPS_PER_TEST // (engine.system.getNumParticles() * engine.n_steps_per_frame), 1), _MOST_AT_ONCE)
        frames, state = engine.shoot(start, lambda block: which_state(self.states, block, engine), every)
        if state < 0:
            trajectory = paths.Trajectory([start]) + frames[-1:].trajectory(engine)
            raise paths.engines.EngineMaxLengthError(f"no state within {engine.n_frames_max} frames", trajectory)
        return frames, state

    def metropolis(self, trials: list[paths.Sample]) -> tuple[bool, dict[str, Any]]:
        """Accept or reject, as OpenPathSampling does; but the ensemble sees one frame of the many between the states.

        Where a shot ends is known already, and what an ensemble of paths between states says depends on nothing else. All
        that is left of a rejected path are these frames.
        """
        (trial,) = trials
        path = trial.trajectory
        sketch = paths.Trajectory([path[0], path[len(path) // 2], path[-1]])
        bias = float(trial.bias > 0.0) if self._relaxing else trial.bias
        accepted, details = super().metropolis([paths.Sample(trial.replica, sketch, trial.ensemble, bias)])
        if not accepted:
            trial.trajectory = sketch
        return accepted, details


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
        As for :class:`ShootingMover`.
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
            raise ValueError(f"offset = {offset} must be a number of frames, at least 1")
        super().__init__(ensemble, paths.UniformSelector(), modifier, engine, states)
        self.offset, self.corrected = int(offset), bool(corrected)
        self._pair: dict[str, int] = {}

    def n_pairs(self, trajectory: paths.Trajectory) -> int:
        """How many pairs a path can carry."""
        return len(trajectory) - 2 - self.offset

    def weight(self, trajectory: paths.Trajectory) -> float:
        """Weight of a path in averages over transition paths: 1 with, 1/n_k without corrected acceptance."""
        return 1.0 if self.corrected else 1.0 / self.n_pairs(trajectory)

    def remember(self, trajectory: paths.Trajectory, first: int) -> None:
        """Put the pair of a path at its frames `first` and `first` + offset.

        Raises
        ------
        ValueError
            If the path has no such pair between its ends.
        """
        if not 1 <= first <= self.n_pairs(trajectory):
            raise ValueError(
                f"a path of {len(trajectory)} frames has no pair of frames {first} and {first + self.offset} between its ends"
            )
        self._pair = {str(trajectory.__uuid__): int(first)}

    def __call__(self, input_sample: paths.Sample) -> tuple[list[paths.Sample], dict[str, Any]]:
        """One trial."""
        old, rng = input_sample.trajectory, paths.default_rng()
        index = self.first_of(old) + self.offset * int(rng.integers(2))
        try:
            new, details = self._run(old, index)
        except paths.engines.EngineMaxLengthError as error:  # a shot that reached no state: a rejected trial
            trial, details = self._build_sample(input_sample, index, error.last_trajectory, "max_length")
            raise SampleMaxLengthError("a shot reached no state", trial, details) from error
        first = details["shooting_index"] - self.offset * int(rng.integers(2))
        bias = 0.0
        if 1 <= first <= self.n_pairs(new):
            bias = min(1.0, self.n_pairs(old) / self.n_pairs(new)) if self.corrected else 1.0
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

    def first_of(self, trajectory: paths.Trajectory) -> int:
        """Where the pair of a path starts: as an earlier trial left it, or in its middle."""
        key = str(trajectory.__uuid__)
        if key not in self._pair:
            if self.n_pairs(trajectory) < 1:
                raise ValueError(
                    f"a path of {len(trajectory)} frames is too short for aimless shooting with an offset of {self.offset} "
                    "frames: store frames more often, or reduce the offset"
                )
            self._pair[key] = 1 + self.n_pairs(trajectory) // 2
        first = self._pair[key]
        self._pair = {key: first}
        return first


class _Strategy(SingleEnsembleMoveStrategy):
    """One mover for each ensemble of a network, which shoots until a state of the network is reached."""

    _level = levels.MOVER

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
            If the network is not one of transition paths of any length.
        """
        network = scheme.network
        if type(network) is not paths.TPSNetwork:
            raise ValueError(
                f"shooting from state to state samples the paths of a TPSNetwork, not those of a {type(network).__name__}"
            )
        states = list(dict.fromkeys([*network.initial_states, *network.final_states]))
        ensembles = [ensemble for (ensemble,) in self.get_per_mover_ensembles(scheme)]
        return [self._mover(ensemble, states).named(f"{self.group} {ensemble.name}") for ensemble in ensembles]

    def _mover(self, ensemble: paths.Ensemble, states: list[paths.Volume]) -> ShootingMover:
        raise TypeError(f"{type(self).__name__} does not say which mover it makes")


class ShootingStrategy(_Strategy):
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

    def _mover(self, ensemble: paths.Ensemble, states: list[paths.Volume]) -> ShootingMover:
        return ShootingMover(ensemble, self.selector, self.modifier, self.engine, states)


class AimlessShootingStrategy(_Strategy):
    """Makes an :class:`AimlessShootingMover` for each ensemble.

    Parameters
    ----------
    modifier : openpathsampling.SnapshotModifier
    engine : RareEventEngine
    offset : int
        Frames between the two candidates.
    corrected : bool
        Accept with the correction that samples transition paths by their probability.
    ensembles, group, replace
        As in OpenPathSampling.
    """

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

    def _mover(self, ensemble: paths.Ensemble, states: list[paths.Volume]) -> AimlessShootingMover:
        return AimlessShootingMover(ensemble, self.modifier, self.engine, states, self.offset, self.corrected)


def shooting_scheme(network: paths.TransitionNetwork, strategy: _Strategy) -> paths.MoveScheme:
    """A move scheme of nothing but the shooting moves of one strategy.

    Use a network with all states to all states, as ``TPSNetwork.from_states_all_to_all([a, b])``: a path then may turn round.
    """
    scheme = paths.MoveScheme(network)
    scheme.append([strategy, OrganizeByMoveGroupStrategy()])
    scheme.build_move_decision_tree()
    return scheme

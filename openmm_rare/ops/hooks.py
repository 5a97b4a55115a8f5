"""Learning while sampling: a hook for path simulators that trains the committor behind a selector."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openpathsampling as paths
from openpathsampling.beta.hooks import PathSimulatorHook
from torch import Tensor

from ..committor.base import Committor, in_batches
from ..errors import InputError
from ..io.checksums import naming_damage
from ..io.growing_file import GrowingFile
from ..learning.passages import Passages
from ..learning.shot_trainer import ShotTrainer
from ..learning.shots import Shots, yields
from .aimless import recall_pairs
from .selector import CommittorSelector
from .shooting import ShootingMover
from .snapshots import positions_of
from .volumes import number_in

__all__ = ["TrainingHook", "outcome", "take_passages"]

_LOG = logging.getLogger(__name__)
_ADVICE = "remove it: the shots are taken from the storage then, and the model is trained again"


def outcome(step: Any, states: Sequence[paths.Volume]) -> tuple[np.ndarray, np.ndarray] | None:
    """Shooting point of a step and where its two shots ended, accepted or not.

    Returns
    -------
    tuple of (ndarray of shape (n_atoms, 3) in nm, ndarray of int, shape (n_states,)), or None
        Positions, and shots that reached each state; None for a step that was no shot or committed to no state.
    """
    change = step.change.canonical
    snapshot = getattr(change.details, "shooting_snapshot", None) if change.details is not None else None
    if snapshot is None or not change.trials:
        return None
    numbers = _reached(change, states)
    reached = np.array([numbers.count(number) for number in range(len(states))])
    return (positions_of([snapshot])[0], reached) if reached.any() else None


def take_passages(
    change: paths.MoveChange, states: Sequence[paths.Volume], descriptor: Callable[[Tensor], Tensor], number: int
) -> Passages | None:
    """Frames that the shots of a trial passed, and where each shot went from there; the frames are gone then.

    Parameters
    ----------
    change : openpathsampling.MoveChange
        As its mover made it, after :meth:`~openmm_rare.ops.shooting.ShootingMover.keep_frames`; what a storage knows has no
        frames.
    states : sequence of openpathsampling.Volume
        In the order by which they are to be numbered.
    descriptor : callable
        From positions ``(n, n_atoms, 3)`` in nm to features ``(n, n_features)``.
    number : int
        About how many; their distance follows from the length of the path that was shot from, and shots longer than it pass
        more.

    Returns
    -------
    Passages or None
        None without frames, and for a trial whose shots did not both reach one of the states.
    """
    frames = vars(change.details).pop("_frames", None)
    if not number or frames is None:
        return None
    reached = _reached(change, states)
    if min(reached) < 0:  # the network may have states that nobody asks for
        return None
    every = max(1, len(change.details.initial_trajectory) // number)
    return Passages.of(list(zip(frames, reached, strict=True)), every, partial(in_batches, descriptor))


def _reached(change: paths.MoveChange, states: Sequence[paths.Volume]) -> list[int]:
    """The number of the state that each shot reached, as its mover says; -1 for others."""
    details = change.details
    if hasattr(details, "reached"):
        return [number_in(states, change.mover.states[number]) for number in details.reached]
    # by other movers, and by those of earlier versions
    path = change.trials[0].trajectory
    ends = getattr(details, "arrivals", (path[-1], path[0]))
    return [number for end in ends for number, state in enumerate(states) if state(end)]


class TrainingHook(PathSimulatorHook):
    """Trains the committor of a selector on the shots of a path simulation, between its steps.

    After each step the shooting point and where its shots ended, accepted or not, join the data. The model is fitted anew
    when its trainer says that it is due. What is new is written after each step, atomically; a simulation that is continued
    with the same file goes on from there, and a new one begins with what it says.

    Parameters
    ----------
    selector : CommittorSelector
    states : sequence of openpathsampling.Volume
        A and B; or those of a model of more states, in its order.
    checkpoint : path
        File for model and data; what has been added lately lies in ``<checkpoint>.parts`` beside it
        (:mod:`openmm_rare.io.growing_file`).
    trainer : ShotTrainer, optional
        By default one that begins with the first shots; for a model that knows something, ``ShotTrainer(model, given=True)``.
    every : int
        Look after every so many trials whether a fit is due.
    passages : int
        About how many frames that the shots of a trial pass count as shots as well (:mod:`openmm_rare.learning.passages`).

    Raises
    ------
    ValueError
        If the model knows other states.
    """

    implemented_for = ["before_simulation", "after_step", "after_simulation"]

    def __init__(
        self,
        selector: CommittorSelector,
        states: Sequence[paths.Volume],
        checkpoint: str | Path,
        trainer: ShotTrainer | None = None,
        every: int = 1,
        passages: int = 4,
    ) -> None:
        super().__init__()
        self.selector, self.states = selector, list(states)
        names = getattr(selector.model, "state_names", None)
        if len(self.states) != len(names or "AB"):
            raise InputError(f"the model is one of the states {', '.join(names or 'AB')}, not of {len(self.states)} states")
        self.checkpoint = Path(checkpoint)
        self.trainer = trainer or ShotTrainer(selector.model)
        self.every, self.passages = int(every), int(passages)
        self.shots = Shots()
        self._file, self._stored = GrowingFile(self.checkpoint, _ADVICE), 0

    def before_simulation(self, sim: Any, **kwargs: Any) -> None:
        """Take up the checkpoint, what the storage knows beyond it, and the pairs of aimless shooting."""
        recall_pairs(sim)
        for mover in sim.root_mover:
            if isinstance(mover, ShootingMover):
                mover.keep_frames()
        if self.checkpoint.exists():
            self._take_up()
            self.selector.model_changed()
        stored = [] if sim.storage is None else sim.storage.steps
        for index in range(max(self.shots.cycle, default=0) + 1, len(stored)):  # step 0 is the start
            self._add(stored[index])

    def after_step(self, sim: Any, step_number: int, step_info: Any, state: Any, results: Any, hook_state: Any) -> None:
        """Add the trial to the data, train, and write the checkpoint."""
        if not self._add(results):
            return
        if len(self.shots) % self.every == 0 and self.trainer.due(self.shots):
            self._fit()
        if self._stored:
            self._file.append(self._rows(self._stored), self._rest())
            self._stored = len(self.shots)
        else:
            self._write()

    def after_simulation(self, sim: Any, hook_state: Any = None) -> None:
        """Join what has been added to the checkpoint with it, once there is more of it than there was before."""
        if self._stored and self._file.size_of_parts > self.checkpoint.stat().st_size:
            self._write()

    def committor(self) -> Committor:
        """A committor fitted to all shots, with more effort than between the steps; that of the selector stays as it is.

        Raises
        ------
        ValueError
            If there are no shots.
        """
        return self.trainer.final(self.shots)

    def _add(self, step: Any) -> bool:
        found = outcome(step, self.states)
        if found is None:
            return False
        positions, reached = found
        passages = take_passages(step.change.canonical, self.states, self.selector.model.descriptor, self.passages)
        expected = self.selector.model.transition_probability(positions[None])[0] if reached.sum() > 1 else 0.0
        self.shots.add(step.mccycle, positions, reached, expected, passages)
        return True

    def _fit(self) -> None:
        self.trainer.fit(self.shots)
        self.selector.model_changed()
        seen, expected = yields(self.shots, self.trainer.window)
        _LOG.info("fitted to %d shots; of the latest %g made transition paths, %g expected", len(self.shots), seen, expected)

    def _rows(self, first: int) -> dict[str, np.ndarray]:
        """The shots from this one on."""
        return {f"shots/{name}": each for name, each in self.shots.take(range(first, len(self.shots))).arrays().items()}

    def _rest(self) -> dict[str, np.ndarray]:
        return {f"trainer/{name}": value for name, value in self.trainer.state().items()}

    def _write(self) -> None:
        """The whole checkpoint."""
        metadata = {"metadata": np.array(json.dumps(self.selector.model.metadata()))}
        self._file.write(metadata | self._rows(0) | self._rest())
        self._stored = len(self.shots)

    def _take_up(self) -> None:
        grown = self._file.load()
        with naming_damage(self.checkpoint, _ADVICE):
            arrays = grown.joined()
            self.selector.model.require_same(self.checkpoint, json.loads(str(arrays["metadata"])))
            self.shots = Shots.from_arrays({n[6:]: v for n, v in arrays.items() if n.startswith("shots/")})
            self.trainer.set_state({n[8:]: v for n, v in arrays.items() if n.startswith("trainer/")})
        self._stored = len(self.shots) if self._file.is_sealed else 0  # that of a version before checksums is written anew

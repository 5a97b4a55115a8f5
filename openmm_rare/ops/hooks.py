"""Learning while sampling: a hook for path simulators that trains the committor behind a selector."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import openpathsampling as paths
from openpathsampling.beta.hooks import PathSimulatorHook

from ..files import write_npz
from ..shots import Shots, ShotTrainer, require_same_model, training_effort, yields
from .aimless import recall_pairs
from .selector import CommittorSelector, positions_of

__all__ = ["TrainingHook", "outcome"]

_LOG = logging.getLogger(__name__)


def outcome(step: Any, state_a: paths.Volume, state_b: paths.Volume) -> tuple[np.ndarray, int, int] | None:
    """Shooting point of a step and where its two shots ended, accepted or not.

    Returns
    -------
    tuple of (ndarray of shape (n_atoms, 3) in nm, int, int), or None
        Positions, shots that reached A, shots that reached B; None for a step that was no shot or committed to no state.
    """
    change = step.change.canonical
    snapshot = getattr(change.details, "shooting_snapshot", None) if change.details is not None else None
    if snapshot is None or not change.trials:
        return None
    path = change.trials[0].trajectory
    ends = getattr(change.details, "arrivals", (path[0], path[-1]))  # shots of a fixed length go on after they arrive
    n_a, n_b = (sum(bool(state(end)) for end in ends) for state in (state_a, state_b))
    if n_a + n_b == 0:
        return None
    return positions_of([snapshot])[0], n_a, n_b


class TrainingHook(PathSimulatorHook):
    """Trains the committor of a selector on the shots of a path simulation, between its steps.

    After each step the shooting point and where its shots ended, accepted or not, join the data. The model is trained when
    fewer transition paths are seen than it expects: the learning rate falls with (1 - seen/expected)^2 (Jung et al.). Model,
    optimizer and data are written to one file after each step, atomically; a simulation that is continued with the same file
    goes on from there.

    Parameters
    ----------
    selector : CommittorSelector
    state_a, state_b : openpathsampling.Volume
    checkpoint : path
        File for model, optimizer and data.
    trainer : ShotTrainer, optional
    updates : int
        Gradient steps per training.
    every : int
        Train after every so many trials.
    window : int
        Trials over which yields are compared.
    """

    implemented_for = ["before_simulation", "after_step"]

    def __init__(
        self,
        selector: CommittorSelector,
        state_a: paths.Volume,
        state_b: paths.Volume,
        checkpoint: str | Path,
        trainer: ShotTrainer | None = None,
        updates: int = 20,
        every: int = 1,
        window: int = 100,
    ) -> None:
        super().__init__()
        self.selector, self.states = selector, (state_a, state_b)
        self.checkpoint = Path(checkpoint)
        self.trainer = trainer or ShotTrainer(selector.model)
        self.updates, self.every, self.window = updates, every, window
        self.shots = Shots()

    def before_simulation(self, sim: Any, **kwargs: Any) -> None:
        """Take up the checkpoint, what the storage knows beyond it, and the pairs of aimless shooting."""
        recall_pairs(sim)
        if self.checkpoint.exists():
            arrays = self._read()
            require_same_model(self.checkpoint, json.loads(str(arrays["metadata"])), self.selector.model)
            self.shots = Shots.from_arrays({n[6:]: v for n, v in arrays.items() if n.startswith("shots/")}).up_to(sim.step)
            self.trainer.set_state({n[8:]: v for n, v in arrays.items() if n.startswith("trainer/")})
            self.selector.model_changed()
        stored = [] if sim.storage is None else sim.storage.steps
        for index in range(max(self.shots.cycle, default=0) + 1, len(stored)):  # step 0 is the start
            self._learn_from(stored[index])

    def after_step(self, sim: Any, step_number: int, step_info: Any, state: Any, results: Any, hook_state: Any) -> None:
        """Add the trial to the data, train, and write the checkpoint."""
        if not self._learn_from(results):
            return
        if len(self.shots) % self.every == 0:
            self._train()
        shots = {f"shots/{name}": value for name, value in self.shots.arrays().items()}
        trainer = {f"trainer/{name}": value for name, value in self.trainer.state().items()}
        metadata = {"metadata": np.array(json.dumps(self.selector.model.metadata()))}
        write_npz(self.checkpoint, metadata | shots | trainer)

    def _learn_from(self, step: Any) -> bool:
        found = outcome(step, *self.states)
        if found is None:
            return False
        positions, n_a, n_b = found
        p = 1.0 / (1.0 + np.exp(-self.selector.model.logits(positions[None])[0]))
        self.shots.add(step.mccycle, positions, n_a, n_b, 2.0 * p * (1.0 - p))
        return True

    def _train(self) -> None:
        loss = self.trainer.fit(self.shots, self.updates, training_effort(self.shots, self.window))
        self.selector.model_changed()
        _LOG.info("%d shots, %g of %g transition paths, loss %.4f", len(self.shots), *yields(self.shots, self.window), loss)

    def _read(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.checkpoint, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{self.checkpoint} is no readable checkpoint ({error}); remove it: the shots are taken from the storage then, "
                "and the model is trained again"
            ) from error

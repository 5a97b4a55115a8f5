"""Rounds of walkers near the barrier and of shots from where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from .chains.barrier_bias import log_bias
from .chains.point_task import WalkerState
from .chains.stretches import run_walker
from .chains.task import ChainTask
from .sampler import PathSampler

if TYPE_CHECKING:
    from ..paths.trial import Trial

__all__ = ["PointSampler"]

_PLACES = 2**31 + 2  # stream of random numbers, beside those of PathSampler


class PointSampler(PathSampler):
    """Rounds of path sampling in one folder, by shots from points that walkers sample.

    At first each walker shoots from frames of its path, the first one and then each that a trial makes, until the model has
    learned from these shots and half of the walkers have a path of the dynamics. Then all begin to walk, from frames of these
    paths. The bias is that of the model of the round.
    """

    def _first_state(self, path: Frames) -> WalkerState:
        return WalkerState(path, len(path))

    def _arrays_of(self, state: WalkerState) -> dict[str, np.ndarray]:
        return state.arrays(self.settings.start_up)

    def _state_of(self, arrays: Mapping[str, np.ndarray]) -> WalkerState:
        return WalkerState.from_arrays(arrays)

    def _task(self) -> Callable[[ChainTask], tuple[WalkerState, list[Trial]]]:
        return run_walker

    def _between_rounds(self) -> None:
        """Let all walk as soon as there is somewhere to begin."""
        made = [state.frames for state in self.states if state.made]
        if self.states[0].walked >= 0 or not self.trainer.fitted or 2 * len(made) < len(self.states):
            return
        rng = np.random.default_rng(self._random(_PLACES))
        length = round(np.mean([len(path) for path in made]))
        paths = [state.frames if state.made else made[number % len(made)] for number, state in enumerate(self.states)]
        self.states = [WalkerState(self._place(path, rng), length, True, 0) for path in paths]

    def _place(self, path: Frames, rng: np.random.Generator) -> Frames:
        """A frame of a path, drawn as the bias would have it."""
        bias = np.exp(log_bias(self.model.logit(path.positions[1:-1]), self.settings.reach))
        index = 1 + int(rng.choice(len(bias), p=bias / bias.sum()))
        return path[index : index + 1]

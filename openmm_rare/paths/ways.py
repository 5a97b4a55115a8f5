"""Where paths pass the transition region: whether chains agree about it, and first paths that pass where no chain went.

A chain in path space may stay on one way from A to B for ever, and all that it knows of itself looks right. Two chains that
stay on different ways contradict each other, and a first path by a way that no chain takes contradicts them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..states.states import IN_A
from .inputs import PathInputs
from .separation import Separation, independent, median, rounding, separation

if TYPE_CHECKING:
    from ..committor.base import Committor
    from ..problem import RareEventSystem
    from .ensemble import PathEnsemble

__all__ = ["Ways"]

_HALF = 20  # paths of half a chain that is compared with other halves
_VISITS = 3  # of a chain, from which on it counts as having been there
_GAP = 2.0  # standard deviations to the nearest path, of several first paths by another way; more where few are independent
_GAP_ALONE = 3.0  # of a single one, which may still have the heat that made it in what is slow
_NORMAL = 1.4826  # standard deviations in a median absolute deviation


@dataclass(frozen=True, eq=False)
class Ways:
    """Inputs of each path where it passes the transition region.

    Attributes
    ----------
    names : tuple of str
        Of the inputs.
    values : ndarray, shape (n_paths, n_inputs)
    weights, chains : ndarray, shape (n_paths,)
        As of :class:`~openmm_rare.paths.ensemble.PathEnsemble`.
    first : ndarray, shape (n_first, n_inputs)
        The same of first paths, of the dynamics, that were found before sampling began.
    n_channels : int
        Inputs at the end that are 1 for paths by a channel and 0 for others.
    steps : ndarray, shape (n_inputs,), or None
        How much the inputs change from one frame to the next there: places that are less apart are not told apart.
    kind : str
        "chain", or "walker", whose paths have weights and no time for which they are current.
    text : callable
        Of a column and a value: the value in words.
    """

    names: tuple[str, ...]
    values: np.ndarray
    weights: np.ndarray
    chains: np.ndarray
    first: np.ndarray
    n_channels: int = 0
    steps: np.ndarray | None = None
    kind: str = "chain"
    text: Callable[[int, float], str] = lambda column, value: f"{value:.3g}"

    @classmethod
    def of(cls, problem: RareEventSystem, model: Committor, paths: PathEnsemble, first: Sequence[np.ndarray] = ()) -> Ways:
        """At the frame between the states that a committor says is nearest to 1/2, with the channels that the states define.

        Parameters
        ----------
        problem : RareEventSystem
        model : CommittorModel or CommittorEnsemble
        paths : PathEnsemble
        first : sequence of ndarray, shape (n_frames, n_atoms, 3), nm
        """
        inputs, every = PathInputs(problem, model.descriptor), [*paths.paths, *first]
        numbers = [_nearest_to_half(model, path) for path in every]
        places = [path[[number, number + 1]] for path, number in zip(every, numbers, strict=True)]
        values, names, n_channels = inputs.unwrapped(inputs(np.concatenate(places))), inputs.names, 0
        steps, values = np.median(np.abs(values[1::2] - values[::2]), axis=0), values[::2]
        if problem.states.channels is not None:
            labels = np.array([_channel(problem, path) for path in every])
            n_channels = len(problem.states.channel_names)
            values = np.hstack([values, labels[:, None] == np.arange(n_channels)])
            names += tuple(f"channel {name}" for name in problem.states.channel_names)
        n = len(paths.paths)
        return cls(names, values[:n], paths.weights, paths.chains, values[n:], n_channels, steps, paths.kind, inputs.text)

    def warnings(self) -> Iterator[str]:
        """What speaks against averages over these paths."""
        apart = separation(self.values, self.weights, self.chains)
        if apart is not None:
            yield self._disagreement(apart)
            return
        drift = separation(self.values, self.weights, 2 * self.chains + ~self._early(), _HALF)
        if drift is not None:
            yield self._drift(drift)
        yield from self._unseen()

    def _disagreement(self, found: Separation) -> str:
        shown = ", ".join(
            f"{self.text(found.column, value)} in {self.kind} {name}"
            for name, value in zip(np.unique(self.chains[self.weights > 0.0]), found.medians, strict=True)
            if np.isfinite(value)
        )
        return (
            f"The {self.kind}s disagree about where paths pass the transition region: {self.names[found.column]} there is "
            f"{shown} (medians; R-hat {found.r_hat:.2g} instead of 1). Each has seen a part of the ways only, and their shares "
            f"are not known. Run more trials until the {self.kind}s agree, {self._instead}."
        )

    def _drift(self, found: Separation) -> str:
        lowest, highest = (self.text(found.column, edge(found.medians)) for edge in (np.nanmin, np.nanmax))
        return (
            f"Early and late paths pass the transition region at different places: the median of {self.names[found.column]} "
            f"there goes from {lowest} to {highest} between halves of the {self.kind}s (R-hat {found.r_hat:.2g} instead of 1). "
            f"The shares of different ways are not known. Run more trials, {self._instead}."
        )

    @property
    def _instead(self) -> str:
        return "or sample with --method points" if self.kind == "chain" else "or start anew with a larger reach"

    def _early(self) -> np.ndarray:
        return self._position() <= 0.5

    def _position(self) -> np.ndarray:
        """Where in its chain each path ends to be the current one, from 0 to 1."""
        position = np.zeros(len(self.weights))
        for name in np.unique(self.chains):
            mine = self.chains == name
            total = np.cumsum(self.weights[mine] if self.kind == "chain" else np.ones(mine.sum()))
            position[mine] = total / max(total[-1], np.finfo(float).tiny)
        return position

    def _unseen(self) -> Iterator[str]:
        """The first path that is farthest from all chains, if several are where no chain goes."""
        strange = self._strangeness() if len(self.first) else np.zeros(0)
        if not strange.any():
            return
        number, column = np.unravel_index(np.argmax(strange), strange.shape)
        value, middle = self.first[number, column], median(self.values[:, column], self.weights)
        visits, several = self._visits(self._beyond(column, value, middle)), len(np.unique(self.chains)) > 1
        went = f"came {'once' if visits == 1 else f'{visits} times'} only" if visits else "never went"
        yield (
            f"First paths pass the transition region where the {self.kind}{'s' if several else ''} {went}: "
            f"{self.names[column]} is {self.text(column, value)} in one of them, {self.text(column, middle)} (median) in what "
            f"was sampled. How many take that way is not known: run more trials, more {self.kind}s, {self._instead}."
        )

    def _strangeness(self) -> np.ndarray:
        """How far first paths are from where chains go, shape (n_first, n_inputs); 0 where that may be chance."""
        strange, n_numbers = np.zeros_like(self.first), self.first.shape[1] - self.n_channels
        for column, values in enumerate(self.values.T):
            middle, first = median(values, self.weights), self.first[:, column]
            rare = np.array([self._visits(self._beyond(column, value, middle)) < _VISITS for value in first], dtype=bool)
            if column >= n_numbers:  # a channel that the states define
                strange[:, column] = np.where(rare & (first > middle), np.inf, 0.0)
                continue
            spread = _NORMAL * median(np.abs(values - middle), self.weights)
            spread = spread if self.steps is None else np.hypot(spread, self.steps[column])
            if spread > rounding(values):
                for side in (first < middle, first > middle):
                    strange[side & rare, column] = self._gaps(column, middle, spread, first[side & rare])
        return strange

    def _gaps(self, column: int, middle: float, spread: float, first: np.ndarray) -> np.ndarray:
        """How many spreads first paths on one side are from the nearest path near the middle; 0 where that may be chance."""
        values = self.values[:, column]
        n = independent(values, self.weights, self.chains)
        gaps = np.array([np.abs(each - values[~self._beyond(column, each, middle)]).min() / spread for each in first])
        far = gaps > _GAP * np.sqrt(1.0 + 1.0 / n)
        alone = gaps > _GAP_ALONE * np.sqrt(1.0 + _GAP_ALONE**2 / n)
        return np.where(alone | (far & (far.sum() > 1)), gaps, 0.0)

    def _beyond(self, column: int, value: float, middle: float) -> np.ndarray:
        """Which paths lie beyond half the way from the middle of all to a value."""
        return (self.values[:, column] - 0.5 * (value + middle)) * (value - middle) > 0.0

    def _visits(self, there: np.ndarray) -> int:
        """How often chains came to where these paths are; those that began there came once."""
        parts = (there[self.chains == name].astype(int) for name in np.unique(self.chains))
        return sum(int(part[0]) + int((np.diff(part) > 0).sum()) for part in parts)


def _nearest_to_half(model: Committor, path: np.ndarray) -> int:
    """Of the frames between the states; the first of a path that has none."""
    return 1 + int(np.argmin(np.abs(model.logit(path[1:-1])))) if len(path) > 2 else 0


def _channel(problem: RareEventSystem, path: np.ndarray) -> int:
    """The channel by which a path reaches B."""
    if problem.states.classify(path[:1])[0] != IN_A:
        path = path[::-1]
    labels = np.zeros(1, dtype=np.int64)
    for frame in path:
        _, labels = problem.states.observe(frame[None], labels)
    return int(labels[0])

"""Two independent sets of windows: one whose walkers came up from A, one whose walkers came down from B."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from ...dynamics.frames import Frames
from .bench import Bench
from .free_energy import FreeEnergy, Sample
from .ladder import stretch
from .route import Route
from .windows import Window, shift_of_stiff_windows

__all__ = ["SIDES", "WindowSets"]

SIDES = ("A", "B")
"""Where the walkers of each set came from."""

_OVERLAP = 0.03  # of neighbours, below which nothing carries over from one to the other (Klimovich, Shirts & Mobley 2015)
_BINS, _EMPTY = 4, 0.05  # parts of the distance of two windows, and of the mean number of frames in such a part

Batch = Callable[[str, Callable[..., Mapping[str, Any]], Sequence[tuple]], Sequence[Mapping[str, Any]]]
"""Runs tasks of a kind: see :meth:`~openmm_rare.io.tasks.TaskLog.batch`."""


class WindowSets:
    """All that windows have seen so far.

    Parameters
    ----------
    bench : Bench
    route : Route
    windows : sequence of Window
        In order from A to B.
    starts : sequence of sequence of Frames
        Where the walkers of each set begin in each window.
    batch : callable

    Attributes
    ----------
    windows : list of Window
    n_frames : int
        Frames of each walker so far, between A and the top.
    """

    def __init__(
        self,
        bench: Bench,
        route: Route,
        windows: Sequence[Window],
        starts: Sequence[Sequence[Frames]],
        batch: Batch,
    ) -> None:
        self._bench, self._route, self._batch = bench, route, batch
        self.windows, self.n_frames = list(windows), 0
        self._frames = [list(frames) for frames in starts]
        self._seen: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        self._top: int | None = None

    @property
    def ordered(self) -> list[int]:
        """Numbers of the windows that make the way, from A to B."""
        own = [number for number in range(len(self.windows)) if number != self._top]
        return sorted(own, key=lambda number: self._route.sign * self.windows[number].place)

    def extend(self, n_frames: int, beyond: float | None = None) -> None:
        """Go on in all windows, or from A as far as the second one beyond a place."""
        order, sign = self.ordered, self._route.sign
        if beyond is not None:
            order = order[: sum(sign * self.windows[number].place < sign * beyond for number in order) + 2]
        self._run([(side, number) for side in range(len(SIDES)) for number in order], n_frames)
        self.n_frames += n_frames

    def _run(self, which: list[tuple[int, int]], n_frames: int) -> None:
        tasks = [(self._bench, self.windows[number], self._frames[side][number], n_frames) for side, number in which]
        for (side, number), record in zip(which, self._batch("barrier_windows", stretch, tasks), strict=True):
            self.add(side, number, record)
            self._frames[side][number] = Frames.from_arrays(record)

    def add(self, side: int, number: int, record: Mapping[str, Any]) -> None:
        """Frames of the walkers of one window and set."""
        self._seen.setdefault((side, number), []).append((np.asarray(record["s"]), np.asarray(record["status"])))

    def add_top(self, window: Window) -> int:
        """A window of its own kind, in which shooting points are drawn; its number."""
        self.windows.append(window)
        self._top = len(self.windows) - 1
        return self._top

    def nearest(self, place: float, side: int) -> Frames:
        """Where the walkers of a set are that are nearest to a place."""
        number = min(self.ordered, key=lambda each: abs(self.windows[each].place - place))
        return self._frames[side][number]

    def series(self, side: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The coordinate and the status of all frames of a window and set, shape ``(n_walkers, n_frames)``."""
        s, status = zip(*self._seen[side, number], strict=True)
        return np.hstack(s), np.hstack(status)

    def shift(self, place: float) -> float:
        """By how many kT finite steps put ln Z_b/p_A, with b there, too low: :func:`shift_of_stiff_windows`; 0 with momenta."""
        problem, order = self._bench.problem, self.ordered
        if problem.inertial:
            return 0.0
        both = order[0], min(order, key=lambda number: abs(self.windows[number].place - place))
        squares = [np.mean([np.mean(np.diff(self.series(side, each)[0]) ** 2) for side in range(len(SIDES))]) for each in both]
        return shift_of_stiff_windows(self.windows[both[0]].stiffness, squares, problem.check_interval, problem.kt)

    def free_energy(self) -> FreeEnergy:
        """What all windows of both sets say."""
        parts = [Sample.of_walkers(*self.series(*key), window=key[1], side=key[0]) for key in sorted(self._seen)]
        sample = parts[0].join(*parts[1:])
        return FreeEnergy(sample, self.windows, self._bench.problem.kt, self._bench.coordinate.period)

    def cut(self, least: float) -> tuple[float, float] | None:
        """Where the way from A to B is cut, if it is.

        That is between windows without overlap, and over more than the least distance where hardly any walker stays, though
        windows are near: springs that are weaker than a barrier let walkers go.
        """
        found, order = self.free_energy(), self.ordered
        overlap, places = found.overlap()[np.ix_(order, order)], np.array([self.windows[number].place for number in order])
        _, part = connected_components(np.minimum(overlap, overlap.T) >= _OVERLAP)
        if np.diff(part).any():
            where = int(np.flatnonzero(np.diff(part))[0])
            return tuple(places[where : where + 2].tolist())
        edges = np.interp(np.arange(_BINS * (len(places) - 1) + 1) / _BINS, np.arange(len(places)), np.sort(places))
        empty = np.histogram(found.sample.s, edges)[0] < _EMPTY * len(found.sample) / len(places) / _BINS
        starts, ends = (np.flatnonzero(np.diff(np.concatenate([[0], empty, [0]])) == sign) for sign in (1, -1))
        gaps = [(float(edges[i]), float(edges[j])) for i, j in zip(starts, ends, strict=True) if edges[j] - edges[i] > least]
        return gaps[0] if gaps else None

"""The way of walkers through the windows, from A to B and back: where windows are, and what each of two sets starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...dynamics.frames import Frames
from ...errors import RunError
from ...states.states import IN_B
from .bench import Bench
from .route import Route
from .windows import Window

__all__ = ["Scouted", "climb", "descend", "scout"]

_ARRIVED = 0.25  # of the frames in a window, where the way ends
_BEYOND, _HALVINGS = 0.9, 3  # distances of windows that walkers may stay behind, and how often windows are doubled then
_FARTHEST = 3  # times the way that was expected, after which B is given up
_LONGER = 4  # times the frames of other windows that walkers get where they turn round
_RELAXED = 4  # times what a window's own motion takes


@dataclass(frozen=True)
class Scouted:
    """What free walkers in A tell.

    Attributes
    ----------
    start : float
        Mean of the coordinate in A.
    step : float
        Root mean square change of it from one frame to the next.
    """

    start: float
    step: float

    def frames_to_relax(self, spacing: float) -> int:
        """Frames after which walkers in a window of this size have forgotten where they began, if they diffuse."""
        return int(np.ceil(_RELAXED * (spacing / self.step) ** 2)) if self.step > 0.0 else 0


def scout(bench: Bench, n_walkers: int, n_frames: int, seed: np.random.SeedSequence) -> dict[str, Any]:
    """Free walkers in A, started from its given structures."""
    starts = bench.problem.starts[np.arange(n_walkers) % len(bench.problem.starts)]
    free = Window(0.0, 0.0, 0.0, 0.0)
    held = bench.held(free, Frames(starts), seed)
    s, _ = held.run(n_frames)
    half = s[:, n_frames // 2 :]
    record = {"start": float(half.mean()), "step": float(np.sqrt(np.mean(np.diff(half, axis=1) ** 2)))}
    return record | {"walker_steps": held.walker_steps} | held.frames.arrays()


def climb(
    bench: Bench, route: Route, spacing: float, scouted: Mapping, n_frames: int, reverse: bool, seed: np.random.SeedSequence
) -> dict[str, Any]:
    """From A window by window until a quarter of the frames is in B.

    Walkers that stay behind, where the barrier is stronger than the springs, begin again with twice as many windows.

    Returns
    -------
    dict
        ``places`` and ``spacing`` of the windows, and frames ``window_0`` and so on that walkers end with in each.

    Raises
    ------
    RunError
        If B is not where the coordinate leads.
    """
    start, frames = float(scouted["start"]), Frames.from_arrays(scouted)
    places, ends, halvings = [start], [], 0
    held = bench.held(route.window(start, spacing, first=True), frames, seed)
    while True:
        _, status = held.run(n_frames)
        ends.append(held.frames)
        if len(places) > 2 and (status[:, n_frames // 2 :] == IN_B).mean() > _ARRIVED:
            break
        if route.beyond_edge(places[-1]) > _BEYOND * spacing and halvings < _HALVINGS:
            spacing, halvings, places, ends = 0.5 * spacing, halvings + 1, [start], []
            held.begin(route.window(start, spacing, first=True), frames)
            continue
        if abs(places[-1] - places[0]) > _FARTHEST * route.length(places[0]):
            raise RunError(route.nowhere(places[-1], bench.problem, held.frames.positions))
        places.append(places[-1] + route.sign * spacing)
        held.move_to(route.window(places[-1], spacing))
    if reverse:
        held.move_to(route.window(places[-1], spacing, last=True))
        held.run(_LONGER * n_frames)
        ends[-1] = held.frames
    return {"places": np.array(places), "spacing": spacing, "walker_steps": held.walker_steps} | _named(ends)


def descend(bench: Bench, windows: list[Window], start: Frames, n_frames: int, seed: np.random.SeedSequence) -> dict[str, Any]:
    """From B back to A through the same windows, after a longer stay in the last one."""
    held, ends = bench.held(windows[-1], start, seed), []
    held.run(_LONGER * n_frames)
    for window in windows[::-1]:
        held.move_to(window)
        held.run(n_frames)
        ends.append(held.frames)
    return {"walker_steps": held.walker_steps} | _named(ends[::-1])


def stretch(bench: Bench, window: Window, start: Frames, n_frames: int, seed: np.random.SeedSequence) -> dict[str, Any]:
    """Walkers in one window, watched: ``s`` and ``status`` of all frames, shape ``(n_walkers, n_frames)``."""
    held = bench.held(window, start, seed)
    s, status = held.run(n_frames)
    return {"s": s, "status": status, "walker_steps": held.walker_steps} | held.frames.arrays()


def _named(ends: list[Frames]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for number, frames in enumerate(ends):
        found |= frames.arrays(f"window_{number}")
    return found

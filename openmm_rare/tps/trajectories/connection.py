"""Frames that connect two states, and where frames lie that do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames
from ...errors import InputError
from ...states.region_text import values_text
from ...states.states import IN_A, IN_B, NEITHER
from ...structure.box import default_box

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["between_states", "crossings", "frames_at_rest", "where_frames_lie"]


def between_states(problem: RareEventSystem, positions: np.ndarray, source: str) -> slice | None:
    """The first stretch from the last frame in one state to the first in the other.

    Parameters
    ----------
    problem : RareEventSystem
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    source : str
        For the message.

    Returns
    -------
    slice, or None if no stretch of the frames connects the states

    Raises
    ------
    ValueError
        If a frame is not finite or lies in both states.
    """
    bad = ~np.isfinite(positions).all(axis=(1, 2))
    if bad.any():
        raise InputError(f"{source}: frame {int(np.argmax(bad))} holds NaN or infinite positions")
    return next(crossings(problem.states.classify(positions)), None)


def crossings(status: np.ndarray) -> Iterator[slice]:
    """Every stretch from the last frame in one state to the first in the other, of frames (n_frames,) in these states."""
    inside = np.flatnonzero(status != NEITHER)
    for last, first in zip(inside[:-1], inside[1:], strict=True):
        if status[last] != status[first] and first - last > 1:
            yield slice(int(last), int(first) + 1)


def where_frames_lie(problem: RareEventSystem, positions: np.ndarray) -> str:
    """In which states the ends of positions ``(n_frames, n_atoms, 3)`` lie, in words."""
    words = {NEITHER: "in neither state", IN_A: "in A", IN_B: "in B"}
    status, values = problem.states.classify(positions), problem.states.variables(positions)
    ends = []
    for frame in dict.fromkeys((0, len(positions) - 1)):
        shown = values_text(problem.states.variables, values[frame])
        ends.append(f"frame {frame} lies {words[int(status[frame])]}: {shown}")
    visited = [f"{int((status == state).sum())} {words[state]}" for state in (IN_A, IN_B)]
    return f"{'; '.join(ends)}. Of all {len(positions)} frames {', '.join(visited)}, and a path needs frames between"


def frames_at_rest(problem: RareEventSystem, positions: np.ndarray, boxes: np.ndarray | None = None) -> Frames:
    """Frames with velocities of zero, which shooting draws anew anyway."""
    if boxes is None:
        boxes = np.repeat(default_box(problem.system)[None], len(positions), axis=0)
    velocities = np.zeros_like(positions) if problem.inertial else None
    return Frames(np.ascontiguousarray(positions, dtype=np.float64), velocities, np.asarray(boxes, dtype=np.float64))

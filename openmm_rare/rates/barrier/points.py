"""Shooting points from walkers near the top, and two shots from each: what k = Z_b/(2 p_A dt) E[1_TP / sum b] averages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...dynamics.frames import Frames
from ...errors import RunError
from ...states.states import IN_A, IN_B, NEITHER
from .bench import Bench
from .windows import Window

__all__ = ["shoot"]

_FREE = 0.1  # of the slots: so many are filled together

_Bias = Callable[[np.ndarray, np.ndarray], np.ndarray]


def shoot(
    bench: Bench, top: Window, start: Frames, n_points: int, wait: int, max_frames: int, seed: np.random.SeedSequence
) -> dict[str, Any]:
    """Walkers near the top, each of which lends a shooting point every `wait` frames.

    Walkers sample equilibrium times b, which is the Gaussian of the window and 0 in A and B: who is there lends none.

    Returns
    -------
    dict
        ``s`` and ``status`` of the walkers' frames as :func:`~openmm_rare.rates.barrier.ladder.stretch`, and of each point
        ``walker``, ``at`` (the coordinate), ``first`` and ``last`` (the states that both shots reached), ``total`` (the sum of
        b over the frames between), ``top`` (the highest level of these), ``length`` (their number) and ``frames`` (those that
        were made).
    """
    walk_seed, shot_seed = seed.spawn(2)
    held = bench.held(top, start, walk_seed)
    shots = _Slots(bench, 1 if len(start) == 1 else 2 * len(start), shot_seed)
    s, status, points = [], [], []
    for _ in range(n_points):
        walked = held.run(wait)
        s.append(walked[0])
        status.append(walked[1])
        between = np.flatnonzero(walked[1][:, -1] == NEITHER)
        if len(between):
            rows = _two_way(bench, shots, top, held.frames.positions[between], max_frames)
            points.append({"walker": between, "at": walked[0][between, -1]} | rows)
    found = {name: np.concatenate([each[name] for each in points]) for name in points[0]} if points else _nothing()
    steps = held.walker_steps + int(found["frames"].sum()) * bench.problem.check_interval
    return {"s": np.hstack(s), "status": np.hstack(status), "walker_steps": steps} | found | held.frames.arrays()


def _nothing() -> dict[str, np.ndarray]:
    numbers = ("walker", "first", "last", "length", "frames")
    return {name: np.zeros(0, dtype=np.int64) for name in numbers} | {name: np.zeros(0) for name in ("at", "total", "top")}


class _Slots:
    """Slots for shots."""

    def __init__(self, bench: Bench, n: int, seed: np.random.SeedSequence) -> None:
        self.dynamics, self.n = bench.free(n, seed), n

    def with_velocities(self, positions: np.ndarray) -> Frames:
        """The places with new velocities, which satisfy the constraints."""
        parts = []
        for first in range(0, len(positions), self.n):
            some = positions[first : first + self.n]
            if len(some) < self.n:  # all slots hold a place that the dynamics allows
                some = np.concatenate([some, np.repeat(some[:1], self.n - len(some), axis=0)])
            self.dynamics.restart(np.arange(self.n), some)
            parts.append(self.dynamics.frames())
        return Frames.join(parts)[: len(positions)]


def _two_way(bench: Bench, slots: _Slots, top: Window, positions: np.ndarray, max_frames: int) -> dict[str, np.ndarray]:
    """Both shots from each of these places: see :func:`shoot`."""
    n, kt = len(positions), bench.problem.kt

    def b(s: np.ndarray, status: np.ndarray) -> np.ndarray:
        return np.exp(-top.energy(s, bench.coordinate.period) / kt) * (status == NEITHER)

    forward = slots.with_velocities(positions)
    backward = Frames(positions, None if forward.velocities is None else -forward.velocities)
    followed = _follow(bench, slots, Frames.join([forward, backward]), b, max_frames)
    (last, first), (ahead, behind), (onward, back), (after, before) = (each.reshape(2, n) for each in followed)
    s, status = bench.observe(positions)
    return {
        "first": first.astype(np.int64),
        "last": last.astype(np.int64),
        "total": b(s, status) + ahead + behind,
        "top": np.maximum(bench.coordinate.level(s), np.maximum(onward, back)),
        "length": after + before - 1,
        "frames": after + before,
    }


def _follow(
    bench: Bench, slots: _Slots, starts: Frames, b: _Bias, max_frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Unbiased dynamics from each start to A or B: which, the sum of b and the highest level on the way, and the frames."""
    n_slots, n, dynamics = slots.n, len(starts), slots.dynamics
    end, total, top, length = np.zeros(n, dtype=np.int8), np.zeros(n), np.full(n, -np.inf), np.zeros(n, dtype=np.int64)
    shot, waiting = np.full(n_slots, -1), 0
    while True:
        free = np.flatnonzero(shot < 0)
        new = min(len(free), n - waiting)
        if new and (len(free) > _FREE * n_slots or len(free) == n_slots):
            shot[free[:new]] = np.arange(waiting, waiting + new)
            dynamics.load(free[:new], starts[slice(waiting, waiting + new)])
            waiting += new
        if (shot < 0).all():
            return end, total, top, length
        dynamics.step(bench.problem.check_interval)
        s, status = bench.observe(dynamics.frames().positions)
        active = np.flatnonzero(shot >= 0)
        rows = shot[active]
        total[rows] += b(s[active], status[active])
        level = np.where(status[active] == NEITHER, bench.coordinate.level(s[active]), -np.inf)
        top[rows] = np.maximum(top[rows], level)
        length[rows] += 1
        done = status[active] != NEITHER
        end[rows[done]] = status[active[done]]
        shot[active[done]] = -1
        if length[rows].max() >= max_frames:
            raise RunError(
                f"a shot reached neither A nor B of {bench.problem.name} in {max_frames} frames: raise max_frames in "
                "[barrier], or look for a third state that holds it"
            )


def is_transition(record: dict[str, np.ndarray]) -> np.ndarray:
    """Which points gave a transition path, booleans of shape ``(n_points,)``."""
    return (record["first"] != record["last"]) & np.isin(record["first"], (IN_A, IN_B))

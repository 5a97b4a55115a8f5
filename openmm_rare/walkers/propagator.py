"""The propagator: populations of any size, moved in Contexts of the fitting size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from ..bias.force import is_compiled
from ..dynamics.frames import Frames
from ..parallel.teams import TEAM, together
from .absorbing import AbsorbingSlots, absorbing_slots, run_without_python
from .machine import Machine
from .population import Block, Moved, Walkers

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Propagator"]

_FEW = 64  # walkers
_FEWEST, _FEWEST_COMPILED = 20, 100  # slots of the smallest Contexts


class Propagator:
    """Advances populations of any size in Contexts of the fitting size.

    Where nothing of a step is left to Python, a population is divided among teams, each with Contexts of its own, that
    move at the same time, as far as there are cores for them.

    Parameters
    ----------
    problem : RareEventSystem
    bias : Bias, optional
        Without it the dynamics is unbiased.
    n_slots : int
        Walkers that have a slot at the same time.
    machine : Machine
    seed : numpy.random.SeedSequence
        The same seed gives the same trajectories on the Reference platform, on any number of cores.
    """

    def __init__(
        self,
        problem: RareEventSystem,
        bias: Bias | None,
        n_slots: int,
        machine: Machine,
        seed: np.random.SeedSequence,
    ) -> None:
        self.problem, self.bias, self.n_slots, self.machine = problem, bias, n_slots, machine
        unbiased_or_compiled = bias is None or is_compiled(bias.force, bias.importance)
        self.compiled = machine.backend == "native" and not problem.inertial and unbiased_or_compiled
        n_teams = -(-n_slots // TEAM) if run_without_python(problem, machine, bias) else 1
        self._teams = [_Team(self, -(-n_slots // n_teams), team_seed) for team_seed in seed.spawn(n_teams)]

    def advance(self, walkers: Walkers, n_steps: int) -> Block:
        """Move all walkers ``n_steps`` steps, or to the frame where they arrive in A or B."""
        teams = self._teams[: max(1, len(walkers) // _FEW)]
        shares = np.array_split(np.arange(len(walkers)), len(teams))
        first, *others = together(
            lambda team, rows: team.advance(walkers.frames[rows], walkers.labels[rows], n_steps), teams, shares
        )
        moved = first.join(*others)
        after = replace(
            walkers,
            frames=moved.frames,
            log_weights=walkers.log_weights + moved.log_weights,
            clocks=walkers.clocks + moved.steps,
            labels=moved.labels,
        )
        return Block(after, moved.status, int(moved.steps.sum()))


class _Team:
    """Moves its share of a population, at most ``n_slots`` walkers at a time."""

    def __init__(self, propagator: Propagator, n_slots: int, seed: np.random.SeedSequence) -> None:
        self._propagator, self.n_slots, self._seed = propagator, n_slots, seed
        self._contexts: dict[int, AbsorbingSlots] = {}

    def advance(self, frames: Frames, labels: np.ndarray, n_steps: int) -> Moved:
        """As :meth:`openmm_rare.walkers.absorbing.AbsorbingSlots.advance`, for any number of walkers."""
        n, most = len(frames), self.n_slots
        first, *others = (
            self._fitting(min(most, n - start)).advance(frames[start : start + most], labels[start : start + most], n_steps)
            for start in range(0, n, most)
        )
        return first.join(*others)

    def _fitting(self, n: int) -> AbsorbingSlots:
        # making a Context takes as long as some hundred steps: few sizes, so that idle slots cost about as much as new ones
        size, of = self.n_slots, self._propagator
        while size > (_FEWEST_COMPILED if of.compiled else _FEWEST) and 2 * size // 5 >= n:
            size = 2 * size // 5
        if size not in self._contexts:
            bias = of.bias
            if bias is not None and size <= _FEW and not of.compiled:
                # a step of a handful of walkers costs its Python calls alone: the last, slow ones keep gradients longer
                bias = replace(bias, interval=5 * bias.interval)
            (seed,) = self._seed.spawn(1)
            number = int(seed.generate_state(1)[0] >> 1)
            self._contexts[size] = absorbing_slots(of.problem, size, of.machine, number, bias)
        return self._contexts[size]

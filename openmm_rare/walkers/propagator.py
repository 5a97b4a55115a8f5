"""Walkers: a population of weighted copies of a small System, moved in Contexts of the fitting size."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from ..bias.force import is_compiled
from ..parallel.teams import TEAM, together
from .absorbing import AbsorbingSlots, absorbing_slots, run_without_python
from .backends import choose_backend

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Block", "Propagator", "Walkers"]

_FEW = 64  # walkers
_FEWEST, _FEWEST_COMPILED = 20, 100  # slots of the smallest Contexts


@dataclass(frozen=True)
class Walkers:
    """A population of walkers, one row each.

    Attributes
    ----------
    positions : ndarray, shape (n, n_atoms, 3), nm
    log_weights : ndarray, shape (n,)
        ln of the path weight, unbiased over biased, with branching.
    clocks : ndarray of int64, shape (n,)
        Steps since the root.
    labels : ndarray of int64, shape (n,)
        Channel labels.
    roots : ndarray of int64, shape (n,)
        Which root each walker descends from.
    """

    positions: np.ndarray
    log_weights: np.ndarray
    clocks: np.ndarray
    labels: np.ndarray
    roots: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def total_weight(self) -> float:
        """Sum of the path weights."""
        return float(np.exp(self.log_weights).sum())

    @classmethod
    def start(cls, positions: np.ndarray, roots: np.ndarray, log_weights: np.ndarray | None = None) -> Walkers:
        """New walkers at the positions of their roots, with weight 1 unless given."""
        n = len(positions)
        zeros = np.zeros(n, dtype=np.int64)
        weights = np.zeros(n) if log_weights is None else np.asarray(log_weights, dtype=np.float64)
        return cls(np.array(positions, dtype=np.float64), weights, zeros, zeros.copy(), np.asarray(roots, dtype=np.int64))

    def take(self, parents: np.ndarray) -> Walkers:
        """Copies of the walkers ``parents`` (repeated to clone, left out to kill); the others are untouched."""
        return Walkers(*(getattr(self, field.name)[parents] for field in fields(self)))

    def join(self, others: Walkers) -> Walkers:
        """This population followed by another."""
        pairs = ((getattr(self, field.name), getattr(others, field.name)) for field in fields(self))
        return Walkers(*(np.concatenate(pair) for pair in pairs))


@dataclass(frozen=True)
class Block:
    """What one block of steps did to each walker.

    Attributes
    ----------
    walkers : Walkers
        The same walkers after the block (arrived ones at the frame of arrival).
    status : ndarray of int8
        0 still between the states, 1 in A, 2 in B.
    walker_steps : int
        Force evaluations spent, summed over walkers until arrival.
    """

    walkers: Walkers
    status: np.ndarray
    walker_steps: int


class Propagator:
    """Advances populations of any size in Contexts of the fitting size.

    Where nothing of a step is left to Python, a population is divided among teams, each with Contexts of its own, that
    move at the same time, as far as there are cores for them.

    Parameters
    ----------
    target : RareEventSystem
    bias : Bias, optional
        Without it the dynamics is unbiased.
    n_slots : int
        Walkers that have a slot at the same time.
    platform : str
    seed : numpy.random.SeedSequence
        The same seed gives the same trajectories on the Reference platform, on any number of cores.
    backend : str
        One of :data:`openmm_rare.walkers.backends.BACKENDS`, or "auto".
    """

    def __init__(
        self,
        target: RareEventSystem,
        bias: Bias | None,
        n_slots: int,
        platform: str,
        seed: np.random.SeedSequence,
        backend: str = "python",
    ) -> None:
        self.target, self.bias, self.n_slots = target, bias, n_slots
        self.platform, self.backend = platform, choose_backend(backend, platform)
        self.compiled = self.backend == "native" and (bias is None or is_compiled(bias.force, bias.importance))
        n_teams = -(-n_slots // TEAM) if run_without_python(target, platform, bias, self.backend) else 1
        self._teams = [_Team(self, -(-n_slots // n_teams), team_seed) for team_seed in seed.spawn(n_teams)]

    def advance(self, walkers: Walkers, n_steps: int) -> Block:
        """Move all walkers ``n_steps`` steps, or to the frame where they arrive in A or B."""
        teams = self._teams[: max(1, len(walkers) // _FEW)]
        shares = np.array_split(np.arange(len(walkers)), len(teams))
        parts = together(lambda team, rows: team.advance(walkers.positions[rows], walkers.labels[rows], n_steps), teams, shares)
        end, gained, status, labels, steps = (np.concatenate(column) for column in zip(*parts, strict=True))
        moved = replace(
            walkers,
            positions=end,
            log_weights=walkers.log_weights + gained,
            clocks=walkers.clocks + steps,
            labels=labels,
        )
        return Block(moved, status, int(steps.sum()))


class _Team:
    """Moves its share of a population, at most ``n_slots`` walkers at a time."""

    def __init__(self, propagator: Propagator, n_slots: int, seed: np.random.SeedSequence) -> None:
        self._propagator, self.n_slots, self._seed = propagator, n_slots, seed
        self._contexts: dict[int, AbsorbingSlots] = {}

    def advance(self, positions: np.ndarray, labels: np.ndarray, n_steps: int) -> tuple[np.ndarray, ...]:
        """As :meth:`openmm_rare.walkers.absorbing.AbsorbingSlots.advance`, for any number of walkers."""
        n, most = len(positions), self.n_slots
        parts = [
            self._fitting(min(most, n - first)).advance(positions[first : first + most], labels[first : first + most], n_steps)
            for first in range(0, n, most)
        ]
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

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
            self._contexts[size] = absorbing_slots(of.target, size, of.platform, number, bias, of.backend)
        return self._contexts[size]

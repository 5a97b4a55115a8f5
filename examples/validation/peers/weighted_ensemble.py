"""The weighted ensemble with recycling: Huber & Kim, Biophys. J. 70, 97 (1996); thresholds of splitting as in WESTPA.

Walkers move tau steps, those that have come to B begin again in A, and each bin is resampled to a fixed number of walkers. The
weight that comes to B in an iteration, over its time, is the rate once the flux is steady.
"""

from __future__ import annotations

import heapq
import math

import numpy as np
from forward_flux import Found
from problems import PeerProblem
from scipy.stats import t as student

from openmm_rare.dynamics.frames import Frames
from openmm_rare.states.states import IN_B
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.population import Walkers
from openmm_rare.walkers.propagator import Propagator

__all__ = ["resample", "resample_bin", "steady_rate", "weighted_ensemble"]

_BURN_IN = 0.2  # of the iterations
_N_BLOCKS = 8
_SPLIT, _MERGE = 2.0, 1.0  # of the ideal weight in a bin: heavier walkers are split, light ones merged up to it


def resample_bin(weights: np.ndarray, target: int, rng: np.random.Generator) -> tuple[list[int], list[float]]:
    """Split and merge the walkers of one bin until there are ``target`` of them.

    Parameters
    ----------
    weights : ndarray, shape (n,)
    target : int
    rng : numpy.random.Generator

    Returns
    -------
    parents : list of int
        Of which of the walkers each new one is a copy.
    weights : list of float
        The same sum; each walker keeps its weight on average over what might have been drawn.
    """
    ideal = float(weights.sum()) / target
    heap = []
    for parent, weight in enumerate(weights.tolist()):
        copies = math.ceil(weight / ideal) if weight > _SPLIT * ideal else 1
        heap += [(weight / copies, parent)] * copies
    heapq.heapify(heap)
    while len(heap) > 1 and heap[0][0] + min(heap[1:3])[0] <= _MERGE * ideal:
        _merge_lightest(heap, rng)
    while len(heap) > target:
        _merge_lightest(heap, rng)
    falling = [(-weight, parent) for weight, parent in heap]
    heapq.heapify(falling)
    while len(falling) < target:
        weight, parent = falling[0]
        heapq.heapreplace(falling, (0.5 * weight, parent))
        heapq.heappush(falling, (0.5 * weight, parent))
    return [parent for _, parent in falling], [-weight for weight, _ in falling]


def _merge_lightest(heap: list[tuple[float, int]], rng: np.random.Generator) -> None:
    """Put one walker in the place of the two lightest: one of them, drawn by weight, with the weight of both."""
    light, parent = heapq.heappop(heap)
    other, other_parent = heap[0]
    heapq.heapreplace(heap, (light + other, parent if _drawn(light, other, rng) else other_parent))


def _drawn(weight: float, other: float, rng: np.random.Generator) -> bool:
    """Whether it is the first of two walkers that lives on."""
    return rng.random() * (weight + other) < weight


def resample(weights: np.ndarray, bins: np.ndarray, per_bin: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Parents, shape (m,), and weights (m,) after all bins are resampled; ``bins`` (n,) are their numbers."""
    order = np.argsort(bins, kind="stable")
    parents, new = [], []
    for rows in np.split(order, np.flatnonzero(np.diff(bins[order])) + 1):
        chosen, its_weights = resample_bin(weights[rows], per_bin, rng)
        parents.append(rows[chosen])
        new += its_weights
    return np.concatenate(parents), np.array(new)


def weighted_ensemble(problem: PeerProblem, effort: float, seed: int) -> Found:
    """The rate with an error bar from blocks of the flux after the burn-in.

    Parameters
    ----------
    problem : PeerProblem
    effort : float
        Factor on the iterations.
    seed : int
    """
    sequence = np.random.SeedSequence(seed)
    noise, choices = sequence.spawn(2)
    rng, system = np.random.default_rng(choices), problem.only_b
    propagator = Propagator(system, None, (len(problem.bins) + 1) * problem.per_bin, Machine(), noise)
    frames = Frames(np.repeat(system.positions[None], problem.per_bin, axis=0))
    weights = np.full(problem.per_bin, 1.0 / problem.per_bin)
    flux, steps = np.zeros(max(2 * _N_BLOCKS, round(effort * problem.iterations))), 0
    for iteration in range(len(flux)):
        block = propagator.advance(Walkers.start(frames, np.arange(len(frames))), problem.tau)
        steps += block.walker_steps
        positions, arrived = block.walkers.frames.positions.copy(), block.status == IN_B
        flux[iteration] = weights[arrived].sum()
        positions[arrived] = system.positions
        bins = np.searchsorted(problem.bins, problem.progress(positions), side="right")
        parents, weights = resample(weights, bins, problem.per_bin, rng)
        frames = Frames(positions[parents])
    return steady_rate(flux / (problem.tau * system.timestep), steps)


def steady_rate(flux: np.ndarray, steps: int) -> Found:
    """Mean flux (1/ps) of the iterations after the burn-in, with Student's interval from the scatter of a few blocks."""
    late = flux[int(_BURN_IN * len(flux)) :]
    rate, blocks = float(late.mean()), np.array([block.mean() for block in np.array_split(late, _N_BLOCKS)])
    if rate == 0.0:
        return Found(0.0, math.nan, 0.0, math.inf, steps)
    error = float(blocks.std(ddof=1)) / math.sqrt(_N_BLOCKS)
    half = float(student.ppf(0.975, _N_BLOCKS - 1)) * error
    return Found(rate, error / rate, rate - half, rate + half, steps)

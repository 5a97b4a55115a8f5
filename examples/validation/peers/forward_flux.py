"""Forward flux sampling, the direct variant: Allen, Frenkel & ten Wolde, J. Chem. Phys. 124, 024102 (2006).

k = (flux out of A) times the product of the probabilities to come from one interface to the next, or else back to A. The border
of A is the first interface, so that the flux is counted by the same code as ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from problems import PeerProblem

from openmm_rare.dynamics.frames import Frames
from openmm_rare.flux.flux import FluxState, run_flux
from openmm_rare.states.states import IN_B, NEITHER
from openmm_rare.statistics import ratio_of_sums
from openmm_rare.walkers.machine import Machine
from openmm_rare.walkers.population import Walkers
from openmm_rare.walkers.propagator import Propagator

__all__ = ["Found", "forward_flux"]

_FLUX_WALKERS = 50
_EQUILIBRATION = 4000  # steps of each: some relaxation times in A
_SLOTS = 1000
_BLOCK = 500  # steps after which walkers that have stopped make room


@dataclass(frozen=True)
class Found:
    """What a run of a method found.

    Attributes
    ----------
    rate : float
        1/ps; 0 where nothing came to B.
    relative_error : float
        What the method itself claims, NaN where it cannot.
    low, high : float
        Its 95 % interval.
    steps : int
        Force evaluations of one walker, all counted.
    training_steps : int
        Those of them that only serve to learn.
    parts : tuple of float
        Flux and probabilities, where the rate is their product.
    """

    rate: float
    relative_error: float
    low: float
    high: float
    steps: int
    training_steps: int = 0
    parts: tuple[float, ...] = ()


def forward_flux(problem: PeerProblem, effort: float, seed: int) -> Found:
    """The rate with the textbook error bar: binomial for each stage, as if its starts were independent.

    Parameters
    ----------
    problem : PeerProblem
    effort : float
        Factor on flux steps and shots.
    seed : int
    """
    machine, sequence = Machine(), np.random.SeedSequence(seed)
    rng = np.random.default_rng(sequence.spawn(1)[0])
    starts, flux, flux_error, steps = _exits(problem, effort, machine, rng)
    n_shots, probabilities = max(10, round(effort * problem.shots)), []
    a, b = problem.walkers.states.a, problem.walkers.states.b
    for goal in (*(problem.beyond(level) for level in problem.interfaces), b):
        chosen = starts[rng.integers(len(starts), size=n_shots)]
        propagator = Propagator(problem.stopping_at(a, goal), None, _SLOTS, machine, sequence.spawn(1)[0])
        starts, spent = _shoot(propagator, chosen)
        steps += spent
        probabilities.append(len(starts) / n_shots)
        if len(starts) == 0:
            return Found(0.0, math.nan, 0.0, math.inf, steps, parts=(flux, *probabilities))
    rate = flux * math.prod(probabilities)
    error = math.sqrt((flux_error / flux) ** 2 + sum((1.0 - p) / (p * n_shots) for p in probabilities))
    low, high = (rate * math.exp(z * error) for z in (-1.96, 1.96))
    return Found(rate, error, low, high, steps, parts=(flux, *probabilities))


def _exits(problem: PeerProblem, effort: float, machine: Machine, rng: np.random.Generator) -> tuple[Frames, float, float, int]:
    """Frames at which walkers leave A, their number per ps and its error, and steps."""
    system, wanted = problem.walkers, max(1000, round(effort * problem.flux_steps / _FLUX_WALKERS))
    state, steps = FluxState.start(system, _FLUX_WALKERS), 0
    for n_steps in (_EQUILIBRATION, wanted):
        chunk = run_flux(system, state, n_steps, machine, int(rng.integers(2**31)), rng)
        state, steps = chunk.state, steps + chunk.walker_steps
    counts = np.bincount(chunk.exit_walker, minlength=_FLUX_WALKERS)
    flux, error = ratio_of_sums(counts, chunk.frames_last_a * system.timestep)
    return chunk.exits, flux, error, steps


def _shoot(propagator: Propagator, starts: Frames) -> tuple[Frames, int]:
    """Frames at which those shots arrived that came to the second state first, and steps."""
    walkers, steps, arrived = Walkers.start(starts, np.arange(len(starts))), 0, [starts[:0]]
    while len(walkers):
        block = propagator.advance(walkers, _BLOCK)
        steps += block.walker_steps
        arrived.append(block.walkers.frames[block.status == IN_B])
        walkers = block.walkers.take(block.status == NEITHER)
    return Frames.join(arrived), steps

"""The pilot: short runs that choose how production steers its walkers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import RunError
from ..io.tasks import Progress, Task
from ..statistics import effective_sample_size
from .branching import WeightWindow
from .roots import RootSampler, Steering

__all__ = ["choose_steering"]

_LONGER = 7  # times the age at which walkers were dropped, when none had reached B


def choose_steering(sampler: RootSampler, task: Task, progress: Progress) -> Steering:
    """The bias strength, then the power of the weight windows, of largest figure of merit.

    Parameters
    ----------
    sampler : RootSampler
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every pilot run is one task of kind "pilot".
    progress : Progress

    Raises
    ------
    RuntimeError
        If no walker reached B with any steering.
    """
    settings = sampler.settings
    longest, merits = settings.pilot_max_steps, _merits(sampler, settings.pilot_max_steps, task, progress)
    while max(merits.values()) == 0.0 and longest < settings.waiting_steps:  # paths may take longer than that
        longest = min(_LONGER * longest, settings.waiting_steps)
        merits = _merits(sampler, longest, task, progress)
    if max(merits.values()) == 0.0:
        raise RunError(
            f"no walker of the pilot reached B of {sampler.problem.name} in {longest} steps, with any bias strength: train "
            "longer (last_stage_rounds, last_updates), or check whether B lies on the far side of another state"
        )
    best = max(merits, key=merits.get)
    chosen = {"chosen_strength": best.strength, "chosen_power": best.window.power}
    progress.update(0, **chosen, figure_of_merit=f"{merits[best]:.2e}")
    return best


def _merits(sampler: RootSampler, longest: int, task: Task, progress: Progress) -> dict[Steering, float]:
    """Figures of merit of the bias strengths, then of the powers with the best of them; walkers are dropped at an age."""
    strengths, powers = sampler.settings.strengths, sampler.settings.window_powers
    progress.stage("pilot", len(strengths) + len(powers) - 1)
    merits: dict[Steering, float] = {}
    for strength in strengths:
        steering = Steering(strength, WeightWindow(power=powers[0]))
        merits[steering] = _try_steering(sampler, steering, longest, task, progress)
    best = max(merits, key=merits.get)
    for power in powers[1:]:
        steering = replace(best, window=WeightWindow(power=power))
        merits[steering] = _try_steering(sampler, steering, longest, task, progress)
    return merits


def _try_steering(sampler: RootSampler, steering: Steering, longest: int, task: Task, progress: Progress) -> float:
    """Figure of merit of one pilot run."""
    settings, level = sampler.settings, sampler.level(steering.window)
    tried = {"strength": steering.strength, "power": steering.window.power}

    def compute(seed: np.random.SeedSequence) -> Mapping:
        root, _, batch = sampler.follow(settings.pilot_roots, steering, level, seed, max_steps=longest)
        return {**tried, "contribution": batch.contribution, "root": root, "walker_steps": batch.walker_steps}

    record = task("pilot", compute)
    merit = _figure_of_merit(np.asarray(record["contribution"]), int(record["walker_steps"]))
    progress.update(**tried, figure_of_merit=f"{merit:.2e}")
    return merit


def _figure_of_merit(contribution: np.ndarray, walker_steps: int) -> float:
    """1/(relative variance of a root x walker-steps of a root); 0 if nothing reached B."""
    ess = effective_sample_size(contribution)
    # relative variance of one root is n/ess - 1; a pilot with a handful of effective roots proves nothing
    relative_variance = len(contribution) / ess - 1.0 if ess > 0.0 else np.inf
    return 1.0 / (max(relative_variance, 1e-3) * walker_steps / len(contribution))

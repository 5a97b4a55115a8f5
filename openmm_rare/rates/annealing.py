"""Training from nothing: find an easy temperature, train there, carry the model down to the wanted one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..committor.model import CommittorModel
from ..dynamics.frames import Frames
from ..io.tasks import Progress, Task
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from .crossing import suit_settings
from .heating import Start, easy_temperature, find_exits
from .pricing.looks import Pricing
from .stage import ROUNDS_OF_A_SWEEP, Stage, sweeps_of_final_fit

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["anneal", "temperature_ladder"]


def temperature_ladder(hot: float, cold: float, ratio: float) -> list[float]:
    """Temperatures from ``hot`` down to ``cold`` in equal ratios of about ``ratio``; both ends included."""
    if hot <= cold * 1.0001:
        return [cold]
    steps = max(1, int(np.ceil(np.log(hot / cold) / -np.log(ratio))))
    return [float(hot * (cold / hot) ** (i / steps)) for i in range(steps + 1)]


def anneal(
    problem: RareEventSystem,
    model: CommittorModel,
    settings: RateSettings,
    machine: Machine,
    task: Task,
    fresh: bool,
    progress: Progress,
    disperse: Callable[[RareEventSystem, RateSettings], RareEventSystem] | None = None,
    pricing: Pricing | None = None,
) -> RateSettings:
    """Train ``model`` in place down to the temperature of ``problem``; returns settings long enough for its motion.

    Parameters
    ----------
    problem : RareEventSystem
    model : CommittorModel
        Untrained (``fresh``), or trained at ``model.temperature``.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every round is one task of kind "training".
    fresh : bool
        Start from an easy temperature with random weights.
    progress : Progress
    disperse : callable, optional
        Gives the problem starts all over A, once it is known how long motion takes.
    pricing : Pricing, optional
        Decides how many of the rounds are taken; without it all of them are.
    """
    if settings.time_scale:
        settings = settings.slowed(settings.time_scale)
    start, settings = _start(problem, settings, machine, task, fresh, progress)
    exits, seen = (None, []) if start is None else (start.exits, [start.segments])
    ladder = _ladder(problem, model if start is None else start, settings)
    if disperse is not None:
        problem = disperse(problem, settings)
    if start is not None and not start.left_a:
        find_exits(problem, settings, machine, task)  # says at once that A has no exits, from wherever walkers start
    rounds = _rounds(settings, fresh, len(ladder))
    progress.stage("training", sum(rounds) + bool(rounds[-1]) * sweeps_of_final_fit(settings) * ROUNDS_OF_A_SWEEP)
    for number, temperature in enumerate(ladder):
        at = problem.with_temperature(temperature)
        first, last = fresh and number == 0, number == len(ladder) - 1
        if not first:
            model.cool(temperature)
        if rounds[number] == 0:  # a trained model, taken as it is
            continue
        if exits is None:
            exits = find_exits(at, settings, machine, task)
        if first:
            # paths that got far show the features' whole range, exits alone only a corner of it
            model.standardize(Frames.join([exits, *(part.end for part in seen)]).positions)
            model.temperature = temperature
        place = f"{temperature:.0f} K (stage {number + 1} of {len(ladder)})"
        stage = Stage(at, model, exits, settings, machine, task, progress, place, pricing)
        seen = stage.train(seen, first, last, rounds[number])
        settings, exits = stage.settings, None
    return settings


def _start(
    problem: RareEventSystem, settings: RateSettings, machine: Machine, task: Task, fresh: bool, progress: Progress
) -> tuple[Start | None, RateSettings]:
    """Where an untrained model starts, unless the settings say it, and settings that suit it."""
    if settings.annealing or not fresh:
        return None, settings
    progress.stage("first paths to B")
    start, settings = easy_temperature(problem, settings, machine, task, progress)
    if not settings.time_scale:
        settings = suit_settings(problem, start, settings, machine, task, progress)
    return start, settings


def _ladder(problem: RareEventSystem, first: Start | CommittorModel, settings: RateSettings) -> list[float]:
    """Temperatures (K) to train at: those of the settings, or from the easy one or the one below that of a trained model."""
    if settings.annealing:
        return [*settings.annealing, problem.temperature]
    ladder = temperature_ladder(first.temperature, problem.temperature, settings.ladder_ratio)
    return ladder if not isinstance(first, CommittorModel) else ladder[1:] or [problem.temperature]


def _rounds(settings: RateSettings, fresh: bool, n_stages: int) -> list[int]:
    """Planned rounds of every stage."""
    rounds = [settings.first_stage_rounds if fresh and number == 0 else settings.stage_rounds for number in range(n_stages)]
    return [*rounds[:-1], max(rounds[-1], settings.last_stage_rounds)]

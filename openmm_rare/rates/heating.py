"""Where training from nothing starts: a temperature at which unaided walkers cross to B, and their paths there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..errors import RunError
from ..flux.flux import FluxState, run_flux
from ..io.tasks import Progress, Task
from ..learning.segment_data import SegmentData
from ..settings.rates import RateSettings
from ..states.states import IN_B, NEITHER
from ..walkers.machine import Machine
from ..walkers.propagator import Propagator
from .segments import sample_segments

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["Start", "easy_temperature", "find_exits"]

_EASY = 0.01  # fraction of exits that reach B unaided at a temperature where training starts from nothing
_LONGEST = 16  # times the given lengths
_HOTTER = 2.0  # times the wanted temperature, up to which there need not be exits from A


@dataclass(frozen=True)
class Start:
    """Where training starts.

    Attributes
    ----------
    temperature : float
        K.
    exits : Frames
    segments : SegmentData
        Of unaided walkers from exits.
    crossing_steps : float
        Median number of steps of those that reached B.
    left_a : bool
        Whether walkers from the given structures left A at the wanted temperature.
    """

    temperature: float
    exits: Frames
    segments: SegmentData
    crossing_steps: float
    left_a: bool = True


def find_exits(problem: RareEventSystem, settings: RateSettings, machine: Machine, task: Task, needed: bool = True) -> Frames:
    """At most ``training_exits`` exits from a short flux run at the temperature of the problem; none are an error if needed."""

    def compute(seed: np.random.SeedSequence) -> Mapping:
        rng, wanted = np.random.default_rng(seed), settings.training_exits
        state, steps = FluxState.start(problem, settings.training_flux_walkers), 0
        found: list[Frames] = []
        n_steps = settings.training_flux_steps
        while sum(map(len, found[1:])) < wanted and steps < settings.training_flux_limit:
            chunk = run_flux(problem, state, n_steps, machine, int(rng.integers(2**31)), rng)
            state, steps = chunk.state, steps + chunk.walker_steps
            found.append(chunk.exits)
            n_steps = min(2 * n_steps, 8 * settings.training_flux_steps)
        # the first stretch only equilibrates, unless exits are so rare that every one counts
        pool = Frames.join(found[1:] if sum(map(len, found[1:])) >= wanted else found)
        if len(pool) == 0 and needed:
            raise RunError(
                f"no walker left state A of {problem.name} in {steps} steps at {problem.temperature:g} K: "
                "A may cover its whole basin; make it smaller"
            )
        pool = pool[rng.choice(len(pool), min(wanted, len(pool)), replace=False)]
        return {"temperature_k": problem.temperature, **pool.arrays("exits"), "walker_steps": steps}

    return Frames.from_arrays(task("training_exits", compute), "exits")


def easy_temperature(
    problem: RareEventSystem, settings: RateSettings, machine: Machine, task: Task, progress: Progress
) -> tuple[Start, RateSettings]:
    """The lowest of rising temperatures at which unaided exits reach B often enough, and settings long enough for that.

    Unless ``time_scale`` is given, lengths in steps are doubled while more walkers are still under way at the end than
    have reached B, and while that brings more of them to B.

    Raises
    ------
    RuntimeError
        If no temperature is high enough.
    """
    temperature, reached, left_a = problem.temperature, False, True
    enough = max(1, int(np.ceil(_EASY * settings.heating_roots)))
    given = settings.training_path_length
    for _ in range(settings.heating_tries):
        at = problem.with_temperature(temperature)
        exits = find_exits(at, settings, machine, task, needed=temperature > _HOTTER * problem.temperature)
        hits = -1
        left_a = left_a and (len(exits) > 0 or temperature > problem.temperature)
        while len(exits):  # from a part of A that has no way out but through others, there are some only when it is hotter
            record = _unaided(at, exits, settings, machine, task)
            before, hits, left = hits, int(record["hits"]), int(record.get("left", 0))
            reached, longest = reached or hits > 0, settings.training_path_length
            progress.update(temperature=f"{temperature:.0f} K", reached_B=f"{hits} of {settings.heating_roots}")
            if hits >= enough:
                segments, crossing = SegmentData.of_record(record), float(record.get("crossing_steps", 0.0))
                return Start(temperature, exits, segments, crossing, left_a), settings
            slow = left >= enough and left > hits > before and settings.training_path_length < _LONGEST * given
            if settings.time_scale or not slow:
                break
            settings = settings.slowed(2.0)
        temperature *= settings.heating_factor
    hottest = temperature / settings.heating_factor
    raise RunError(
        f"state B of {problem.name} was {'hardly' if reached else 'never'} reached from A at up to {hottest:.0f} K: "
        f"there {hits} of {settings.heating_roots} walkers came to B, and {left} "
        f"were still between the states after {longest} steps. Check that B is where you think it is (the run tested it on "
        "every frame), raise training_path_length if paths take longer than that, or give annealing temperatures"
    )


def _unaided(problem: RareEventSystem, exits: Frames, settings: RateSettings, machine: Machine, task: Task) -> Mapping:
    """The record of unbiased walkers from exits that go all the way, for `training_path_length` steps at most."""

    def compute(seed: np.random.SeedSequence) -> Mapping:
        rng = np.random.default_rng(seed)
        roots = exits[rng.integers(0, len(exits), settings.heating_roots)]
        plain = Propagator(problem, None, settings.n_slots, machine, seed)
        length = settings.training_path_length
        batch = sample_segments(plain, roots, settings.training_stride, length, int(rng.integers(2**31)))
        arrived = batch.status == IN_B
        return {
            "temperature_k": problem.temperature,
            "hits": int(arrived.sum()),
            "left": int((batch.status == NEITHER).sum()),
            "crossing_steps": float(np.median(batch.steps[arrived])) if arrived.any() else 0.0,
            "walker_steps": batch.walker_steps,
            **batch.segments.record(),
        }

    return task("training_heating", compute)

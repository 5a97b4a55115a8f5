"""How long walkers between the states take at the wanted temperature, seen before anything is trained.

Frames of hot paths to B are followed without a bias at the wanted temperature until they are in A or B. That tells how many
steps motion between the states takes, and whether walkers stay somewhere on the way: in a few seconds, where training for a
System that moves too slowly would end after minutes without an answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.checks import largest_curvature
from ..errors import RunError
from ..io.tasks import Progress, Task
from ..learning.segment_data import SegmentData
from ..settings.rates import RateSettings
from ..states.states import IN_B, NEITHER, States
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from .heating import Start

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["LongLivedState", "find_long_lived", "suit_settings", "values_in_words"]

_WALKERS = 50
_FIRST_BLOCK = 100  # steps; every block is twice as long as the one before
_MANY = 1000  # steps to A or B, from where on a longer time step is advised if there is one
_LIMIT = 50_000  # steps
_LONG = 2 * _LIMIT  # steps that no state may hold walkers for, unless waiting_steps is longer
_LATE = 45_000  # steps: what walkers do from there on shows whether they still move about
_SHARE = 0.2  # of the walkers, that a state must hold in the end to be called long-lived
_RADIUS = 0.5  # of such a state, in standard deviations of the places between A and B
_TYPICAL = 0.2  # of training_path_length: what half of the walkers may take
_SLOW = 1.5  # times that, from where on lengths are stretched
_HOTTER = 10.0  # of training_path_length over a typical hot crossing: no more of what a state slows down is due to the motion
_STABLE, _ACCURATE = 0.2, 0.05  # of the time step where the dynamics diverges: well below it, and good to a few percent


@dataclass(frozen=True)
class LongLivedState:
    """Where walkers stay on their way between A and B.

    Attributes
    ----------
    place : str
        Values of the state variables there, in words.
    walkers : int
        Of those followed, that were there in the end.
    steps : float
        For which a walker stays, on average.
    """

    place: str
    walkers: int
    steps: float


def suit_settings(
    problem: RareEventSystem,
    start: Start,
    settings: RateSettings,
    machine: Machine,
    task: Task,
    progress: Progress,
) -> RateSettings:
    """Settings long enough for the motion between the states.

    Parameters
    ----------
    problem : RareEventSystem
        At the wanted temperature.
    start : Start
        Paths of unaided walkers at a temperature where some reach B; a state that holds walkers only at the wanted
        temperature is no reason for longer segments.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; one task of kind "training_probe".
    progress : Progress

    Raises
    ------
    RuntimeError
        If walkers stay in a state between A and B for longer than ``waiting_steps``, or move so slowly that training would
        take hours.
    """
    record = task("training_probe", lambda seed: _follow(problem, start.segments, settings, machine, seed))
    status, steps = np.asarray(record["status"]), np.asarray(record["steps"])
    state = find_long_lived(problem.states, record)
    if state is not None and state.steps > max(settings.waiting_steps, _LONG):
        raise RunError(
            f"{problem.name} has a long-lived state near {state.place}: {state.walkers} of {len(steps)} walkers set out "
            f"between A and B at {problem.temperature:g} K were still there after {steps.max()} steps, and a walker stays for "
            f"about {state.steps:.1g} steps. Put it into A or B, or compute two steps, A to it and it to B; waiting_steps = "
            f"{5 * state.steps:.0g} follows walkers through it all the same, which takes long"
        )
    typical = float(np.quantile(np.where(status == NEITHER, np.inf, steps), 0.5, method="higher"))
    factor = typical / (_TYPICAL * settings.training_path_length)
    if state is not None or np.isfinite(typical):
        factor = min(factor, _HOTTER * start.crossing_steps / settings.training_path_length)
    advice = _advice(problem)
    if factor == np.inf:
        raise RunError(
            f"walkers between A and B of {problem.name} take far more than {steps.max()} steps of {problem.timestep:g} ps to A "
            f"or B at {problem.temperature:g} K, so that training would take hours: {advice or 'make A and B larger'}; or set "
            "time_scale, the factor on all lengths in steps, to train all the same"
        )
    told = {"paths_take": f"about {typical:.2g} steps" + (f" ({advice})" if advice and typical > _MANY else "")}
    if state is not None:
        told["long_lived_state"] = f"near {state.place}, left after about {state.steps:.2g} steps"
    progress.update(0, **told)
    return settings.slowed(factor) if factor > _SLOW else settings


def find_long_lived(states: States, record: Mapping) -> LongLivedState | None:
    """The state where many walkers are in the end, where they have long forgotten how they got there.

    Parameters
    ----------
    states : States
        Whose variables tell where walkers are.
    record : mapping
        ``start``, and ``late`` and ``end`` of walkers that were still between A and B: positions; ``steps`` of all walkers.
    """
    steps, variables = np.asarray(record["steps"]), states.variables
    if len(record["end"]) < _SHARE * len(steps):
        return None
    starts, late, end = (variables(np.asarray(record[name], dtype=float)) for name in ("start", "late", "end"))
    periodic = np.array([variable.period is not None for variable in variables.variables])
    periods = np.array([variable.period or 1.0 for variable in variables.variables])

    def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return one - other - np.where(periodic, periods * np.round((one - other) / periods), 0.0)

    spread = difference(starts, starts[0]).std(0)
    spread = np.where(spread > 0.0, spread, 1.0)
    apart = np.sqrt((((difference(end[:, None], end[None])) / spread) ** 2).mean(-1))
    center = int((apart < _RADIUS).sum(1).argmax())
    near = apart[center] < _RADIUS
    if near.sum() < _SHARE * len(steps):
        return None
    middle = end[center] + difference(end[near], end[center]).mean(0)
    now, before = (difference(each[near], middle) / spread for each in (end, late))
    if _still_there(before, now):  # slow motion, not a state
        return None
    # those that left after a tenth of the time had settled somewhere as well
    settled = steps > steps.max() / 10
    left = max(int((settled & (steps < steps.max())).sum()), 1)
    stay = float((steps[settled] - steps.max() / 10).sum() / left)
    return LongLivedState(values_in_words(variables.names, middle), int(near.sum()), stay)


def _still_there(before: np.ndarray, now: np.ndarray) -> bool:
    """Whether walkers, of which those near a place now were chosen, surely are where they were before."""
    squares = (now**2).sum()
    slope = (now * before).sum() / squares
    error = np.sqrt(((before - slope * now) ** 2).mean() / squares)
    return bool(slope - 2.0 * error > 0.5)


def values_in_words(names: Sequence[str], values: np.ndarray) -> str:
    """State variables of one place, as "x = 0.12, y = 1"."""
    return ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, values, strict=True))


def _follow(
    problem: RareEventSystem, hot: SegmentData, settings: RateSettings, machine: Machine, seed: np.random.SeedSequence
) -> Mapping:
    """Follow frames of hot paths to B, without a bias, to A or B."""
    rng = np.random.default_rng(seed)
    frames = hot.start[hot.status == IN_B]
    starts = frames[rng.integers(0, len(frames), _WALKERS)].astype(float)
    starts = starts[problem.states.classify(starts.positions) == NEITHER]
    plain = Propagator(problem, None, _WALKERS, machine, seed)
    walkers, interval = Walkers.start(starts, np.arange(len(starts))), problem.check_interval
    steps, status = np.zeros((2, len(starts)), dtype=np.int64)
    spent, done, late, block = 0, 0, starts, _FIRST_BLOCK
    while len(walkers) and done < _LIMIT:
        to = min(done + block, _LATE) if done < _LATE else _LIMIT
        n_steps = max(1, -(-(to - done) // interval)) * interval
        moved = plain.advance(walkers, n_steps)
        going = moved.status == NEITHER
        late, spent, done, block = walkers.frames[going], spent + moved.walker_steps, done + n_steps, 2 * block
        steps[moved.walkers.roots], status[moved.walkers.roots] = moved.walkers.clocks, moved.status
        walkers = moved.walkers.take(np.flatnonzero(going))
    return {
        **starts.arrays("start"),
        **late.arrays("late"),
        **walkers.frames.arrays("end"),
        "steps": steps,
        "status": status,
        "walker_steps": spent,
    }


def _advice(problem: RareEventSystem) -> str:
    """Which time step would take fewer steps, if a much longer one will do."""
    limit = 2.0 * problem.friction / max(largest_curvature(problem), 1e-300)
    if _ACCURATE * limit < 1.5 * problem.timestep:
        return ""
    return f"a time step up to {_STABLE * limit:.1g} ps is stable here, and {_ACCURATE * limit:.1g} ps still accurate"

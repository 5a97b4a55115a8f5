"""The pilot: short runs that choose how production steers its walkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RunError
from ..flux.root_density import RootDensity
from ..io.tasks import Progress, Task
from ..statistics import effective_sample_size
from .branching import WeightWindow
from .interfaces.gathering import gather
from .interfaces.interface import Interface, allotted
from .roots import RootSampler, Steering

__all__ = ["choose_steering", "ladder"]

_LONGER = 7  # times the age at which walkers were dropped, when none had reached B
_RUNG = 2.5  # nats between interfaces
_SURE = 0.9  # I at the last one, beyond which it is all but certain to come to B
_PART = 8  # of the roots of a pilot run: so many go on from an interface; their fates differ less, and cost more
_FEWEST = 20  # walkers that start for an interface


@dataclass(frozen=True, eq=False)
class _Trial:
    """One pilot run.

    Attributes
    ----------
    strength, power : float
    variances, steps : ndarray, shape (n_stages,)
        Relative variance of what one walker brings to the next interface, or at last to B, and its steps; fewer stages than
        there are, if they cost too much already.
    scales : ndarray, shape (n_stages,)
        ln of the mean importance at the end of each stage.
    """

    strength: float
    power: float
    variances: np.ndarray
    steps: np.ndarray
    scales: np.ndarray
    complete: bool

    @property
    def cost(self) -> float:
        """Steps for unit relative variance, when as many walkers move between interfaces as pays there; inf if not all did."""
        return float(np.sqrt(self.variances * self.steps).sum() ** 2) if self.complete else float("inf")

    def steering(self, levels: Sequence[float], n_roots: int, uniform_fraction: float) -> Steering:
        """With as many walkers in each stage as pays there, for rounds of so many roots."""
        window = WeightWindow(power=self.power)
        if not len(levels):
            return Steering(self.strength, window)
        densities = [RootDensity(float(scale), uniform_fraction) for scale in self.scales[:-1]]
        numbers = allotted(self.variances, self.steps, n_roots)
        return Steering(self.strength, window, tuple(map(Interface, levels, densities))).with_numbers(numbers)


def ladder(log_mean_importance: float) -> tuple[float, ...]:
    """Levels of ln I of the interfaces between exits of this mean importance and B."""
    n, top = int(np.ceil(-log_mean_importance / _RUNG)), float(np.log(_SURE))
    return (*(log_mean_importance * (1.0 - i / n) for i in range(1, n)), top) if log_mean_importance < top else ()


def choose_steering(sampler: RootSampler, task: Task, progress: Progress, levels: Sequence[float] = ()) -> Steering:
    """The bias strength, then the power of the weight windows, with which walkers cost least; and how many start where.

    Parameters
    ----------
    sampler : RootSampler
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every pilot run is one task of kind "pilot".
    progress : Progress
    levels : sequence of float
        ln I of interfaces; none: descendants of exits are followed to B at once.

    Raises
    ------
    RuntimeError
        If no walker reached B with any steering.
    """
    settings = sampler.settings
    longest, best = settings.pilot_max_steps, _best(sampler, levels, settings.pilot_max_steps, task, progress)
    while not best.complete and longest < settings.waiting_steps:  # paths may take longer than that
        longest = min(_LONGER * longest, settings.waiting_steps)
        best = _best(sampler, levels, longest, task, progress)
    if not best.complete:
        raise RunError(
            f"no walker of the pilot reached B of {sampler.problem.name} in {longest} steps, with any bias strength: train "
            "longer (last_stage_rounds, last_updates), or check whether B lies on the far side of another state"
        )
    chosen = {"chosen_strength": best.strength, "chosen_power": best.power}
    progress.update(0, **chosen, steps_for_unit_variance=f"{best.cost:.2e}")
    return best.steering(levels, settings.production_roots, settings.uniform_fraction)


def _best(sampler: RootSampler, levels: Sequence[float], longest: int, task: Task, progress: Progress) -> _Trial:
    """The cheapest of the bias strengths, then of the powers with it; walkers are dropped at an age."""
    strengths, powers = sampler.settings.strengths, sampler.settings.window_powers
    progress.stage("pilot", len(strengths) + len(powers) - 1)
    best: _Trial | None = None
    for i in range(len(strengths) + len(powers) - 1):
        late = max(0, i - len(strengths) + 1)
        strength = best.strength if late and best is not None else strengths[i]
        trial = _try_steering(sampler, levels, (strength, powers[late]), longest, best, task)
        cost = f"{trial.cost:.2e}" if trial.complete else "more"
        progress.update(strength=strength, power=trial.power, steps_for_unit_variance=cost)
        best = trial if best is None or trial.cost < best.cost else best
    assert best is not None
    return best


def _try_steering(
    sampler: RootSampler,
    levels: Sequence[float],
    tried: tuple[float, float],
    longest: int,
    best: _Trial | None,
    task: Task,
) -> _Trial:
    """One pilot run with a strength and a power, which ends where it has cost more than the best one before."""
    strength, power = tried
    most = float("inf") if best is None else best.cost

    def compute(seed: np.random.SeedSequence) -> Mapping:
        return _climb(sampler, levels, Steering(strength, WeightWindow(power=power)), longest, most, seed)

    record = task("pilot", compute)
    if "contribution" in record:  # of a version that knew no interfaces
        value = np.asarray(record["contribution"])
        record = _stages([_stage(value, int(record["walker_steps"]), 0.0)] if value.any() else [], bool(value.any()))
    columns = (np.asarray(record[name], dtype=np.float64) for name in ("variances", "steps", "scales"))
    return _Trial(strength, power, *columns, bool(record["complete"]))


def _climb(
    sampler: RootSampler,
    levels: Sequence[float],
    steering: Steering,
    longest: int,
    most: float,
    seed: np.random.SeedSequence,
) -> dict:
    """From exits to B by way of all interfaces: what each stage costs."""
    settings, rng = sampler.settings, np.random.default_rng(seed)
    propagator, branching = sampler.propagator(steering.strength, seed), sampler.branching(0.0, steering.window)
    starts, rows, spent, complete = sampler.exits(settings.pilot_roots, rng), [], 0, False
    for level in (*levels, float("inf")):
        found = gather(propagator, sampler.importance, starts, level, branching, longest, rng)
        spent, n = spent + found.walker_steps, len(starts.exit)
        if level == float("inf"):  # those that are too old are not waited for: it is only compared
            value = np.bincount(found.walkers.roots[found.arrived], found.weights[found.arrived], minlength=n)
        else:
            density = found.density(settings.uniform_fraction) if len(found.walkers) else sampler.density
            value = found.passage(density).value
        if not value.any():
            break
        rows.append(_stage(value, found.walker_steps, density.log_mean_importance if len(levels) else 0.0))
        complete = level == float("inf")
        if sum(np.sqrt(variance * steps) for variance, steps, _ in rows) ** 2 > most:
            complete = False
            break
        if not complete:
            starts = found.draw(density, max(_FEWEST, settings.pilot_roots // _PART), rng)
    tried = {"strength": steering.strength, "power": steering.window.power}
    return {**tried, **_stages(rows, complete), "walker_steps": spent}


def _stage(value: np.ndarray, walker_steps: int, scale: float) -> tuple[float, float, float]:
    """Relative variance and steps of one walker, and the scale."""
    n = len(value)
    # relative variance is n/ess - 1; a pilot with a handful of effective roots proves nothing
    return max(n / effective_sample_size(value) - 1.0, 1e-3), max(walker_steps, 1) / n, scale


def _stages(rows: list[tuple[float, float, float]], complete: bool) -> dict:
    """For the record of a pilot run."""
    columns = np.array(rows).reshape(-1, 3).T
    return {**dict(zip(("variances", "steps", "scales"), columns, strict=True)), "complete": complete}

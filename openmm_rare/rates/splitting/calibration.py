"""The pilot of a given direction: its scale from the pilot's own trees, round by round, and how far to look ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...bias.calibrated import CalibratedImportance, with_look_ahead
from ...bias.directions import Direction, ScaledDirection
from ...bias.level_table import LevelTable
from ...dynamics.copies.replication import fits_in_slots
from ...errors import RunError
from ...flux.blocks import BlockFlux
from ...flux.root_density import RootDensity
from ...io.tasks import Progress, Task
from ...statistics import effective_sample_size
from ..branching import WeightWindow
from ..crossings import Crossings
from ..roots import RootSampler, Steering
from ..weighted_paths import PathBatch
from .look_ahead import Outcomes, fitted_look_ahead

__all__ = ["Calibration", "Excursions", "calibrate"]

STEERING = Steering(0.0, WeightWindow())
"""No bias: weak friction leaves little noise to shift, and what a bias costs is more than it gives; see `strength.py`."""

_PLAIN = Steering(0.0, WeightWindow(1e-300, 1e300))  # nothing ever branches
_LEVELS = 60
_LOW = 0.01  # quantile of the exits' levels where the table begins
_MOST_EXCURSIONS = 2000
_MOST_ROUNDS = 10
_WORSE = 0.5  # of the figure of merit without a look ahead, below which that is done without: with few roots both are uncertain
_ARRIVED = 5.0  # effective roots that came to B, with which the table is complete


@dataclass(frozen=True, eq=False)
class Excursions:
    """Paths from exits without any branching, which cost next to nothing: most return at once.

    Attributes
    ----------
    exit : ndarray of int, shape (n,)
        Of the pool.
    top : ndarray, shape (n,)
        The highest level that each came to; infinity for B.
    """

    exit: np.ndarray
    top: np.ndarray


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the pilot has found.

    Attributes
    ----------
    importance : CalibratedImportance
    excursions : Excursions
        With the levels that it counts.
    crossed : ndarray, shape (n, n_levels)
        What each root of the pilot adds to the probability to come to each level of the table, times their number.
    steps_per_root : float
        Of the last round.
    p_ab : float
        Probability to reach B, or the level that was reached last, from an exit.
    arrived : bool
        Whether descendants of several roots reached B.
    seconds_per_step : float
        Wall time of the last round, for plans.
    roots_arrived : int
        Of how many roots of the last round descendants reached B, whatever they weigh.
    """

    importance: CalibratedImportance
    excursions: Excursions
    crossed: np.ndarray
    steps_per_root: float
    p_ab: float
    arrived: bool
    seconds_per_step: float
    roots_arrived: int = 0


def calibrate(
    sampler: RootSampler,
    flux: BlockFlux,
    direction: Direction,
    task: Task,
    progress: Progress,
    ended: Callable[[], bool] = lambda: False,
) -> Calibration:
    """Measure the scale of a direction.

    Excursions from the exits, without any branching, give the first table. Each round of trees then sees a few nats farther,
    with the table of the one before. A look ahead along the momenta is tried if it is likely to pay, and kept if it does.

    Parameters
    ----------
    sampler : RootSampler
        Its importance and density are of no account.
    flux : BlockFlux
        With exits.
    direction : Direction
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every pilot is one task of kind "calibration".
    progress : Progress
    ended : callable
        Whether no more rounds may be made than the first.

    Raises
    ------
    RuntimeError
        If the direction does not tell exits from each other, nor from what comes after them.
    """
    return _Pilot(sampler, flux, task, progress, ended).run(direction)


@dataclass(frozen=True, eq=False)
class _Scaled:
    """A direction whose scale was measured.

    Attributes
    ----------
    importance : CalibratedImportance
    records : list of mapping
        Of its excursions, and of all rounds of its trees.
    plain : mapping
        Of excursions whose levels are those that are counted.
    """

    importance: CalibratedImportance
    records: list[Mapping]
    plain: Mapping

    @property
    def arrived(self) -> bool:
        """Whether descendants of several roots reached B."""
        return effective_sample_size(_came_to_b(self.records[1:])) >= _ARRIVED

    def merit(self) -> float:
        """1/(relative variance of a root x its steps) of the rounds of trees after the first one, which knew little."""
        rounds = self.records[2:] or self.records[1:]
        steps = sum(int(each["walker_steps"]) for each in rounds)
        return effective_sample_size(_came_to_b(rounds)) / max(steps, 1)

    def calibration(self) -> Calibration:
        """What the pilot has found, with this direction."""
        last, levels = self.records[-1], self.importance.table.levels
        crossings, top = Crossings.of_record(self.plain), np.full(len(self.plain["exit"]), -np.inf)
        np.maximum.at(top, crossings.root, crossings.upto)
        crossed, steps = _crossed(self.records, levels), max(int(last["walker_steps"]), 1)
        came = _came_to_b(self.records) if self.arrived else crossed[:, -1]
        return Calibration(
            self.importance,
            Excursions(np.asarray(self.plain["exit"]), top),
            crossed,
            steps / len(last["exit"]),
            float(came.mean()),
            self.arrived,
            float(last["wall_seconds"]) / steps,
            int(np.count_nonzero(np.asarray(last["contribution"]))),
        )


class _Pilot:
    """Rounds of the pilot."""

    def __init__(
        self, sampler: RootSampler, flux: BlockFlux, task: Task, progress: Progress, ended: Callable[[], bool]
    ) -> None:
        self._sampler, self._flux, self._task, self._progress, self._ended = sampler, flux, task, progress, ended
        self._problem, self._rounds = sampler.problem, sampler.settings.calibration_rounds
        together = fits_in_slots(sampler.problem)
        self._n_roots = sampler.settings.pilot_roots if together else sampler.settings.calibration_roots

    def run(self, direction: Direction) -> Calibration:
        """All rounds by position, then those with a look ahead."""
        self._progress.stage("pilot: scale of the direction")
        plain = self._excursions(direction, 0.0)
        best = self._scaled(direction, 0.0, _table(direction, [plain]), plain)
        tau, ahead = 0.0, ScaledDirection(direction, best.importance.table)
        if self._problem.inertial:
            outcomes = [self._outcomes(direction, ahead, record) for record in best.records]
            tau, gain = fitted_look_ahead(outcomes, self._problem.timestep)
            self._progress.update(0, look_ahead_ps=f"{tau:.3g}", likelihood=f"{gain:.1f}")
        if tau > 0.0 and not self._ended():
            ends = best.importance.table.log_importance[[0, -1]]  # in nats the scale is right but for what momenta change
            looking = self._scaled(ahead, tau, LevelTable(ends, ends, False), self._excursions(ahead, tau))
            if looking.arrived and looking.merit() >= _WORSE * best.merit():
                best = replace(looking, importance=looking.importance.counting(best.importance.table.levels), plain=plain)
        self._flux.judge(best.importance)
        return best.calibration()

    def _scaled(self, direction: Direction, tau: float, table: LevelTable, plain: Mapping) -> _Scaled:
        """Rounds of trees, each with the scale that the one before has measured, until descendants arrive in B."""
        found = _Scaled(self._importance(direction, tau, table), [plain], plain)
        for number in range(_MOST_ROUNDS):
            records = [*found.records, self._trees(found.importance)]
            found = _Scaled(self._importance(direction, tau, _table(direction, records)), records, plain)
            if self._ended() or (found.arrived and number + 1 >= self._rounds):
                break
        return found

    def _importance(self, direction: Direction, tau: float, table: LevelTable) -> CalibratedImportance:
        return CalibratedImportance(direction, table, tau, self._problem.timestep)

    def _excursions(self, direction: Direction, tau: float) -> Mapping:
        """Exits that are followed without branching."""
        flat = self._importance(direction, tau, LevelTable(np.zeros(1), np.zeros(1), direction.logistic))
        sampler, pool = self._with(flat), self._flux.pool

        def compute(seed: np.random.SeedSequence) -> Mapping:
            n = min(len(pool.exits), _MOST_EXCURSIONS)
            which = np.sort(np.random.default_rng(seed).permutation(len(pool.exits))[:n])
            return _record(*sampler.follow(n, _PLAIN, 0.0, seed, which=which), per_exit=1.0)

        record = self._task("calibration", compute)
        self._progress.update(excursions=len(record["exit"]))
        return record

    def _trees(self, importance: CalibratedImportance) -> Mapping:
        """A round of trees."""
        sampler = self._with(importance)

        def compute(seed: np.random.SeedSequence) -> Mapping:
            density = sampler.density(sampler.pool.log_importance)
            found = sampler.follow(self._n_roots, STEERING, sampler.level(STEERING.window), seed)
            return _record(*found, per_exit=float(np.average(density, weights=sampler.pool.weight)))

        record = self._task("calibration", compute)
        highest, arrivals = Crossings.of_record(record).highest(), int(np.asarray(record["arrivals"]).sum())
        self._progress.update(reached=f"{highest:.3g}", arrivals=arrivals)
        return record

    def _with(self, importance: CalibratedImportance) -> RootSampler:
        self._flux.judge(importance)
        pool = self._flux.pool
        density = RootDensity.of_pool(pool.log_importance, self._sampler.settings.uniform_fraction, pool.weight)
        return replace(self._sampler, importance=importance, pool=pool, density=density)

    def _outcomes(self, direction: Direction, nats: ScaledDirection, record: Mapping) -> Outcomes:
        exits, levels = self._flux.pool.exits[np.asarray(record["exit"])], _grid(direction, [record])
        u, speed = with_look_ahead(nats, exits.positions, exits.velocities, 0.0, self._problem.timestep)
        return Outcomes(u, speed, np.asarray(record["start_weight"]), _crossed([record], levels), nats.table(levels))


def _record(root: np.ndarray, log_weight: np.ndarray, batch: PathBatch, per_exit: float) -> dict:
    """What a pilot run has given; `per_exit` is the mean density of the pool, which makes sums over roots those over exits."""
    assert batch.crossings is not None
    return {
        "contribution": batch.contribution,
        "arrivals": batch.arrivals,
        "start_weight": np.exp(log_weight),
        "exit": root,
        "walker_steps": batch.walker_steps,
        "per_exit": per_exit,
        **batch.crossings.record(),
    }


def _came_to_b(records: Sequence[Mapping]) -> np.ndarray:
    """What each root adds to the probability to reach B from an exit, times their number."""
    came = [np.asarray(each["contribution"]) * float(each["per_exit"]) for each in records]
    return np.concatenate([np.zeros(0), *came])


def _crossed(records: Sequence[Mapping], levels: np.ndarray) -> np.ndarray:
    """What each root adds to the probability to come to each level from an exit, times their number."""
    rows = [Crossings.of_record(each).on(levels, len(each["exit"])) * float(each["per_exit"]) for each in records]
    return np.concatenate(rows)


def _table(direction: Direction, records: Sequence[Mapping]) -> LevelTable:
    """The scale that all of these have measured: each is unbiased, and a lucky one does not count more than its roots."""
    levels = _grid(direction, records)
    return LevelTable.from_crossings(levels, _crossed(records, levels), direction.logistic)


def _grid(direction: Direction, records: Sequence[Mapping]) -> np.ndarray:
    """Levels from where exits are to the highest that was reached: half of them evenly, half where walkers come to new ones."""
    crossings = Crossings.none().join(*map(Crossings.of_record, records))
    reached = crossings.upto[np.isfinite(crossings.upto)]
    first = crossings.upto[np.isneginf(crossings.below) & np.isfinite(crossings.upto)]
    low, top = (float(np.quantile(first, _LOW)), float(reached.max())) if len(first) else (np.nan, np.nan)
    if not low < top:
        raise RunError(
            f"{direction.name} is the same at all exits of A and wherever they lead: give a model or a variable that grows "
            "from A to B"
        )
    often = np.quantile(reached, np.linspace(0.0, 1.0, _LEVELS // 2))
    levels = np.unique(np.concatenate([np.linspace(low, top, _LEVELS - _LEVELS // 2), often]))
    return levels[(levels >= low) & (levels <= top)]

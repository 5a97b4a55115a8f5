"""The pilot of a given direction: its scale from the pilot's own trees, round by round, and how far to look ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...bias.calibrated import CalibratedImportance, with_look_ahead
from ...bias.directions import Direction
from ...bias.level_table import LevelTable
from ...dynamics.replication import fits_in_slots
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
"""No bias: weak friction leaves little noise to shift, and what a bias costs is more than it gives."""

_PLAIN = Steering(0.0, WeightWindow(1e-300, 1e300))  # nothing ever branches
_LEVELS = 60
_LOW = 0.01  # quantile of the exits' levels where the table begins
_MOST_EXCURSIONS = 2000
_MOST_ROUNDS = 10
_ARRIVED = 3.0  # effective roots that came to B, with which the table is complete


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
        With the levels of that importance.
    steps_per_root : float
        Of the last round.
    p_ab : float
        Probability to reach B, or the level that was reached last, from an exit.
    arrived : bool
        Whether descendants of several roots reached B.
    seconds_per_step : float
        Wall time of the last round, for plans.
    """

    importance: CalibratedImportance
    excursions: Excursions
    steps_per_root: float
    p_ab: float
    arrived: bool
    seconds_per_step: float


def calibrate(sampler: RootSampler, flux: BlockFlux, direction: Direction, task: Task, progress: Progress) -> Calibration:
    """Measure the scale of a direction.

    Excursions from the exits, without any branching, give the first table. Each round of trees then sees a few nats farther,
    with the table of the one before. After the first two, the look ahead is chosen.

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

    Raises
    ------
    RuntimeError
        If the direction does not tell exits from each other, nor from what comes after them.
    """
    return _Pilot(sampler, flux, direction, task, progress).run()


class _Pilot:
    """Rounds of the pilot."""

    def __init__(self, sampler: RootSampler, flux: BlockFlux, direction: Direction, task: Task, progress: Progress) -> None:
        self._sampler, self._flux, self._direction = sampler, flux, direction
        self._task, self._progress = task, progress
        settings = sampler.settings
        self._n_roots = settings.pilot_roots if fits_in_slots(sampler.problem) else settings.calibration_roots

    def run(self) -> Calibration:
        """All rounds."""
        rounds = self._sampler.settings.calibration_rounds
        self._progress.stage("pilot: scale of the direction", 2 + rounds)
        tau, plain = 0.0, self._excursions(0.0)
        table, pilots = self._table(plain), [self._outcomes(plain, 0.0)]
        for number in range(_MOST_ROUNDS):
            record = self._trees(tau, table)
            table = self._table(record)
            arrived = effective_sample_size(np.asarray(record["contribution"])) >= _ARRIVED
            if number == 0:
                pilots.append(self._outcomes(record, tau))
            if number == 1 and self._sampler.problem.inertial:
                tau, gain = fitted_look_ahead(table, [*pilots, self._outcomes(record, tau)], self._sampler.problem.timestep)
                self._progress.update(0, look_ahead_ps=f"{tau:.3g}", likelihood=f"{gain:.1f}")
                if tau > 0.0:
                    plain = self._excursions(tau)
            if arrived and number + 1 >= rounds:
                break
        return self._found(tau, table, plain, record, arrived)

    def _found(self, tau: float, table: LevelTable, plain: Mapping, record: Mapping, arrived: bool) -> Calibration:
        importance = self._importance(tau, table)
        self._flux.judge(importance)
        crossings, top = Crossings.of_record(plain), np.full(len(plain["exit"]), -np.inf)
        np.maximum.at(top, crossings.root, crossings.upto)
        steps, seconds = int(record["walker_steps"]), float(record.get("wall_seconds", 0.0))
        reached = np.asarray(record["contribution"]).mean() if arrived else self._crossed(record, table.levels)[:, -1].mean()
        return Calibration(
            importance,
            Excursions(np.asarray(plain["exit"]), top),
            steps / self._n_roots,
            float(reached) * float(record["per_exit"]),
            arrived,
            seconds / max(steps, 1),
        )

    def _importance(self, tau: float, table: LevelTable) -> CalibratedImportance:
        return CalibratedImportance(self._direction, table, tau, self._sampler.problem.timestep)

    def _excursions(self, tau: float) -> Mapping:
        """Exits that are followed without branching."""
        flat = self._importance(tau, LevelTable(np.zeros(1), np.zeros(1), self._direction.logistic))
        sampler, pool = self._with(flat), self._flux.pool

        def compute(seed: np.random.SeedSequence) -> Mapping:
            n = min(len(pool.exits), _MOST_EXCURSIONS)
            which = np.sort(np.random.default_rng(seed).permutation(len(pool.exits))[:n])
            root, log_weight, batch = sampler.follow(n, _PLAIN, 0.0, seed, which=which)
            return self._record(root, log_weight, batch, 1.0)

        record = self._task("calibration", compute)
        self._progress.update(excursions=len(record["exit"]))
        return record

    def _trees(self, tau: float, table: LevelTable) -> Mapping:
        """A round of trees."""
        sampler = self._with(self._importance(tau, table))

        def compute(seed: np.random.SeedSequence) -> Mapping:
            level = sampler.level(STEERING.window)
            density = sampler.density(sampler.pool.log_importance)
            found = sampler.follow(self._n_roots, STEERING, level, seed)
            return self._record(*found, float(np.average(density, weights=sampler.pool.weight)))

        record = self._task("calibration", compute)
        self._progress.update(
            reached=f"{Crossings.of_record(record).highest():.3g}", arrivals=int(np.asarray(record["arrivals"]).sum())
        )
        return record

    def _with(self, importance: CalibratedImportance) -> RootSampler:
        self._flux.judge(importance)
        pool, settings = self._flux.pool, self._sampler.settings
        density = RootDensity.of_pool(pool.log_importance, settings.uniform_fraction, pool.weight)
        old = self._sampler
        return RootSampler(old.problem, importance, settings, old.machine, pool, density, old.executor)

    def _record(self, root: np.ndarray, log_weight: np.ndarray, batch: PathBatch, per_exit: float) -> dict:
        return {
            "contribution": batch.contribution,
            "arrivals": batch.arrivals,
            "start_weight": np.exp(log_weight),
            "exit": root,
            "walker_steps": batch.walker_steps,
            "per_exit": per_exit,
            **batch.crossings.record(),
        }

    def _crossed(self, record: Mapping, levels: np.ndarray) -> np.ndarray:
        return Crossings.of_record(record).on(levels, len(record["exit"]))

    def _table(self, record: Mapping) -> LevelTable:
        levels = self._grid(record)
        return LevelTable.from_crossings(levels, self._crossed(record, levels), self._direction.logistic)

    def _grid(self, record: Mapping) -> np.ndarray:
        """Levels from where exits are to the highest that was reached."""
        crossings = Crossings.of_record(record)
        first, top = crossings.upto[np.isneginf(crossings.below)], crossings.highest()
        low = float(np.quantile(first[np.isfinite(first)], _LOW)) if np.isfinite(first).any() else np.nan
        if not low < top:
            raise RunError(
                f"{self._direction.name} is the same at all exits of A and wherever they lead: give a model or a variable that "
                "grows from A to B"
            )
        return np.linspace(low, top, _LEVELS)

    def _outcomes(self, record: Mapping, tau: float) -> Outcomes:
        exits, levels = self._flux.pool.exits[np.asarray(record["exit"])], self._grid(record)
        level, speed = with_look_ahead(self._direction, exits.positions, exits.velocities, 0.0, self._sampler.problem.timestep)
        return Outcomes(level, speed, np.asarray(record["start_weight"]), self._crossed(record, levels), levels)

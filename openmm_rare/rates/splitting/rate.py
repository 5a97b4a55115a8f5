"""Rate constants along a given direction: of Systems with momenta, and of such as leave room for one walker in a Context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bias.directions import Direction
from ...errors import RunError
from ...flux.blocks import BlockFlux
from ...flux.pool import Pool
from ...flux.root_density import RootDensity
from ...parallel.threads import one_torch_thread
from ...settings.rates import RateSettings
from ...statistics import ClusteredRate, effective_sample_size
from ..both_ways.exchange import arrivals_of
from ..early.interim import Outlook, shortfall, unfinished
from ..enough.balance import Balance
from ..enough.lineages import FEWEST, lineages
from ..estimate import RateEstimate
from ..keeping.saved_paths import wanted
from ..production import NEGLIGIBLE, Production, production_round
from ..rate_run import RateRun
from ..roots import RootSampler, Steering
from ..saving import saved_paths
from ..summary import bootstrap_stream
from ..weighted_paths import Patience
from .calibration import Calibration, calibrate
from .estimate import splitting_estimate
from .planning import missing, plan
from .refined import Refined
from .strength import steering_of

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["SplittingRate"]

_POOL_SHARE = 0.7  # of the target error: what the pool may have before production, with positions alone to judge exits by
_FIRST_POOL = 0.3  # relative error of the flux with which the pilot begins
_FEWEST_EXITS = 100
_NO_PILOT = (
    "the limit of {:.3g} walker-steps was passed with {} exits from A, too few to begin with: allow more with --max-steps and "
    "resume, or make A smaller"
)
_MORE_FLUX = 0.5  # of the blocks there are, when the pool grows during production


@dataclass(frozen=True)
class _First:
    """The first round of production, for an early answer.

    Attributes
    ----------
    n_roots : int
        0: as many as in all rounds, and the flux run has come to its end already.
    then : callable
        The flux run to its end.
    estimate : callable
        From a production.
    """

    n_roots: int
    then: Callable[[], bool]
    estimate: Callable[[Production], RateEstimate]


class SplittingRate(RateRun):
    """Rate constant from A to B by flux and trees, along a direction that is given.

    Parameters
    ----------
    problem : RareEventSystem
        System, states, temperature and dynamics.
    direction : Direction
        From a learned committor or from a variable; its scale is measured.
    settings : RateSettings, optional
    seed : int
        The same seed gives the same result, in any number of processes, on the platforms Reference and CPU.
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    executor : Executor, optional
        Where walkers move of which only one fits into a Context; default: here.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    target_error : float
        Relative standard error at which to stop.
    recorder : Recorder, optional
        Keeps every finished round; a recorder with earlier rounds resumes the run.

    Raises
    ------
    ValueError
        For a target error outside (0, 1), an unknown platform, or whatever
        :func:`~openmm_rare.dynamics.checks.require_runnable` finds in the way.
    """

    _first_task, _counted_as, _unpushed = "equilibration", "splitting", {"flux": 0}

    def __init__(
        self, problem: RareEventSystem, direction: Direction, settings: RateSettings | None = None, **options: Any
    ) -> None:
        super().__init__(problem, settings, **options)
        self.direction = direction

    def _estimate(self) -> RateEstimate:
        """Flux, pilot, and rounds of roots until the target error is reached."""
        with one_torch_thread():
            flux = self._flux()
            flux.equilibrate(partial(self._spent_in, "equilibration"))
            spent = partial(self._spent_in, "flux")
            if not flux.extend_until(_FIRST_POOL, _FEWEST_EXITS, spent):
                raise RunError(_NO_PILOT.format(self.settings.max_walker_steps, len(flux.pool.exits)))
            calibration = self._calibrate(flux)
            rest = partial(flux.extend_until, _POOL_SHARE * self.target_error, _FEWEST_EXITS, spent)
            n_first = self._first_batch()
            if not n_first:
                rest()
            density = self._density(flux.pool)
            sampler = self._sampler(flux.pool, density, calibration)
            self._note(
                plan(
                    calibration.p_ab,
                    calibration.arrived,
                    self.target_error,
                    calibration.steps_per_root,
                    float(flux.pool.time_ps.sum()) / self.problem.timestep / len(flux.pool.exits),
                    calibration.seconds_per_step,
                    calibration.roots_arrived,
                )
            )
            steering = steering_of(sampler, calibration, partial(self._run_task, "pilot"), self.progress)
            found = partial(self._estimate_of, flux, calibration, density, steering)
            first = _First(n_first, rest, found)
            production, error = self._produce(sampler, flux, steering, Refined(calibration), first)
            self.saved_paths = saved_paths(production, sampler)
            self.arrivals = arrivals_of(self.problem, production.kept) if self.settings.reverse else None
        if error > self.target_error:
            steps = self.walker_steps["flux"] + self.walker_steps["production"]
            self._note(missing(error, self.target_error, production.n_roots, steps, calibration.seconds_per_step))
        return found(production)

    def _estimate_of(
        self, flux: BlockFlux, calibration: Calibration, density: RootDensity, steering: Steering, production: Production
    ) -> RateEstimate:
        return splitting_estimate(self._facts(), flux, calibration, density, steering, production)

    def _flux(self) -> BlockFlux:
        settings = self.settings
        n_walkers = settings.flux_walkers if self._together else settings.few_walkers
        self._equilibration_steps(n_walkers)
        task = partial(self._run_task, "flux")
        return BlockFlux(self.problem, settings, n_walkers, self.machine, self.executor, task, self.progress)

    def _calibrate(self, flux: BlockFlux) -> Calibration:
        any_density = RootDensity(0.0, self.settings.uniform_fraction)
        sampler = RootSampler(self.problem, flux.importance, self.settings, self.machine, flux.pool, any_density, self.executor)
        task = partial(self._run_task, "pilot")
        return calibrate(sampler, flux, self.direction, task, self.progress, self._pilot_ended)

    def _pilot_ended(self) -> bool:
        """Whether the pilot's steps are used up, or were when an earlier session went on to the next part."""
        return self._task.left("calibration") <= 0 and (self._spent() or self._task.recorded("density") > 0)

    def _sampler(self, pool: Pool, density: RootDensity, calibration: Calibration) -> RootSampler:
        given = self.problem, calibration.importance, self.settings, self.machine, pool, density, self.executor
        return RootSampler(*given)

    def _spent(self) -> bool:
        """Whether all steps that may be taken are used up."""
        return sum(self.walker_steps.values()) >= self.settings.max_walker_steps

    def _spent_in(self, kind: str) -> bool:
        """The same for walkers of the flux run: what an earlier session has is taken in any case, roots may start from it."""
        return self._spent() and self._task.left(kind) <= 0

    def _note(self, sentence: str) -> None:
        """Say what should be known, and keep it for the result."""
        self.notes = (*self.notes, sentence)
        self.progress.note(sentence)

    def _density(self, pool: Pool) -> RootDensity:
        """The density of roots, set once: a run continued to a smaller error has a larger pool, but the same density."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            density = RootDensity.of_pool(pool.log_importance, self.settings.uniform_fraction, pool.weight)
            return {"log_mean_importance": density.log_mean_importance, "walker_steps": 0}

        record = self._run_task("pilot", "density", compute)
        return RootDensity(float(record["log_mean_importance"]), self.settings.uniform_fraction)

    def _produce(
        self, sampler: RootSampler, flux: BlockFlux, steering: Steering, refined: Refined, first: _First
    ) -> tuple[Production, float]:
        """Complete rounds of roots, their number fixed before they start, until the error is reached or steps are used up."""
        self.progress.stage("production")
        settings, production = self.settings, Production(len(self.problem.states.channel_names), wanted(self.settings))
        per_round = settings.production_roots if self._together else settings.tree_roots
        n_new, early, outlook = first.n_roots or per_round, first.n_roots > 0, Outlook(sampler, self.seed)
        while True:
            self._round(*refined(sampler, production, steering.window), production, steering, n_new)
            rate, error = self._rate(production, sampler)
            ess, known = effective_sample_size(production.contribution), outlook(production, rate, error)
            self._show(known, error, ess)
            estimate = partial(first.estimate, production)
            self._tell("production", partial(unfinished, estimate, shortfall(error, self.target_error), known))
            if early:
                early = False
                first.then()
                self.progress.stage("production")
                rate, error = self._rate(production, sampler)
            blocks = lineages(production, sampler.pool) if self.problem.inertial else np.inf
            enough = error <= self.target_error and min(ess, blocks) >= FEWEST
            spent = self._spent()
            # the answer is looked at only when the descendants have arrived: a last call without new roots
            if (enough or spent) and (n_new == 0 or production.pending_fraction() <= NEGLIGIBLE * self.target_error):
                return production, error
            n_new = 0 if enough or spent else per_round
            if n_new and self._pool_is_worth_more(rate, error, ess, sampler.pool):
                self.progress.stage("flux and exit pool")
                flux.extend(max(1, round(_MORE_FLUX * flux.n_blocks)))
                self.progress.stage("production")

    def _rate(self, production: Production, sampler: RootSampler) -> tuple[ClusteredRate, float]:
        """The rate so far, and its relative error."""
        rate = production.clustered(sampler.pool, sampler.density)
        return rate, rate.relative_error(rate.bootstrap(bootstrap_stream(self.seed)))

    def _round(self, sampler: RootSampler, level: float, production: Production, steering: Steering, n_new: int) -> None:
        last = n_new == 0
        patience = Patience(
            walkers=1 if last or production.n_roots == 0 else self.settings.n_slots // 2, steps=self.settings.waiting_steps
        )
        compute: Callable = partial(production_round, sampler, production, steering, level, n_new, patience)
        production.add(self._run_task("production", "production", compute))

    def _pool_is_worth_more(self, rate: ClusteredRate, error: float, ess: float, pool: Pool) -> bool:
        """Whether a step of the flux run lowers the variance more than one of trees."""
        flux_steps, roots_steps = self.walker_steps["flux"], self.walker_steps["production"]
        if not np.isfinite(error) or ess <= 1.0:
            return roots_steps > flux_steps  # nothing known: half each
        return Balance.of(rate, error, ess, pool, self.problem.timestep, roots_steps).pool_is_worth_more

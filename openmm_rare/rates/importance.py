"""Rate constants: k_AB = J_A P_AB by importance sampling with a learned committor ("The rate" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..bias.importance import FastImportance
from ..committor.fitting import require_fitting
from ..committor.model import CommittorModel
from ..errors import InputError, RunError
from ..flux.dispersal import Dispersal, dispersed
from ..flux.parts import note_on_parts
from ..flux.pool import Pool
from ..flux.restarts import begins_again
from ..flux.root_density import RootDensity
from ..flux.run import FluxRun
from ..io.tasks import Progress, Recorder
from ..parallel.threads import one_torch_thread
from ..settings.rates import RateSettings
from ..walkers.machine import Machine
from .annealing import anneal
from .both_ways.exchange import arrivals_of
from .early.interim import Outlook, shortfall, unfinished
from .enough.balance import Balance
from .enough.lineages import rests_on_few
from .estimate import RateEstimate
from .keeping.saved_paths import wanted
from .pilot import choose_steering, ladder
from .pricing.looks import Pricing
from .production import NEGLIGIBLE, Production, production_round
from .rate_run import RateRun
from .roots import RootSampler, Steering
from .saving import saved_paths
from .summary import bootstrap_stream, importance_estimate
from .weighted_paths import Patience

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ImportanceSamplingRate"]


_POOL_STEP, _POOL_MOST = 1.5, 2.0
"""Least and largest factor by which the flux run gets longer during production."""

_ROOTS_TO_SPARE = 1.05  # factor on those that are missing by an error that is itself uncertain

_PATIENCE = 4  # times the roots that the error needs are followed, if they descend from too few exits

_FIRST_POOL = 0.3  # relative error of the pool, with which the first batch of roots begins


class ImportanceSamplingRate(RateRun):
    """Rate constant from A to B, with an error bar, from nothing or from a trained model.

    Parameters
    ----------
    problem : RareEventSystem
        System, states, temperature and dynamics.
    settings : RateSettings, optional
    seed : int
        The same seed gives the same result, bit for bit, on the Reference platform.
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    model : CommittorModel, optional
        A model of the same system and states, at this or a higher temperature, to start from.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    target_error : float
        Relative standard error at which to stop.
    no_reweighting : bool
        Also report what the importance function alone would say.
    recorder : Recorder, optional
        Keeps every finished round; a recorder with earlier rounds resumes the run.

    Attributes
    ----------
    model : CommittorModel
        The trained model, after :meth:`run`.
    notes : tuple of str
        What should be known about the dynamics.

    Raises
    ------
    ValueError
        For a target error outside (0, 1), an unknown platform, a model of another system, or whatever
        :func:`~openmm_rare.dynamics.checks.require_runnable` finds in the way.
    """

    _first_task, _counted_as = "equilibration", "importance"
    _unpushed = {"training_exits": 0, "equilibration": 1, "flux": 0}

    def __init__(
        self,
        problem: RareEventSystem,
        settings: RateSettings | None = None,
        *,
        seed: int = 1,
        machine: Machine | str | None = None,
        model: CommittorModel | None = None,
        progress: Progress | None = None,
        target_error: float = 0.1,
        no_reweighting: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        options = {"progress": progress, "target_error": target_error, "recorder": recorder}
        super().__init__(problem, settings, seed=seed, machine=machine, **options)
        if begins_again(problem):
            raise InputError(
                f"no committor is learned on the way to a rate of {problem.name}, which moves with inertia or is large: sample "
                "its paths with openmm-rare tps, whose model steers openmm-rare rate --model, or count transitions "
                "(--brute-force)"
            )
        self.notes = (*self.notes, *filter(None, [problem.descriptor_note]))
        self.no_reweighting = no_reweighting
        self.model, self._fresh = self._model(model), model is None

    def _model(self, model: CommittorModel | None) -> CommittorModel:
        """A copy of the given model, or an untrained one."""
        problem = self.problem
        if model is not None:
            require_fitting(model, problem)
            return model.copy()
        spec, n_atoms = problem.descriptor_spec(), problem.system.getNumParticles()
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
            torch.manual_seed(self.seed)
            about = (spec, n_atoms, self.settings.hidden, problem.temperature, problem.fingerprint())
            return CommittorModel(*about, check_interval=problem.check_interval)

    def _estimate(self) -> RateEstimate:
        """Train, choose how to steer, and sample until the target error is reached."""
        with one_torch_thread():
            importance, dispersal = self._train()
            task = partial(self._run_task, "flux")
            flux = FluxRun(self.problem, self.model, self.settings, self.machine, task, self.progress, dispersal)
            flux.equilibrate()
            self._note(note_on_parts(flux))
            n_first = self._first_batch()
            flux.extend(max(_FIRST_POOL, self._pool_error) if n_first else self._pool_error)
            density, levels = self._root_density(flux.pool)
            sampler = RootSampler(self.problem, importance, self.settings, self.machine, flux.pool, density)
            steering = choose_steering(sampler, partial(self._run_task, "pilot"), self.progress, levels)
            production = self._produce(sampler, flux, steering, n_first)
            self.saved_paths = saved_paths(production, sampler)
            self.arrivals = arrivals_of(self.problem, production.kept) if self.settings.reverse else None
        estimate = importance_estimate(self._facts(), flux, density, production, steering, self.no_reweighting)
        return estimate if self._pricing is None else replace(estimate, training=self._pricing.summary())

    @property
    def _pool_error(self) -> float:
        """The part of the relative error that the pool may have when production goes on in earnest."""
        return self.settings.pool_share * self.target_error

    def _note(self, sentence: str | None) -> None:
        """Say what should be known, and keep it for the result."""
        if sentence is not None and sentence not in self.notes:
            self.notes = (*self.notes, sentence)
            self.progress.note(sentence)

    def _run_task(self, part: str, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """Run or replay a task, unless the limit of walker-steps is passed."""
        record = super()._run_task(part, kind, compute)
        spent = sum(self.walker_steps.values())
        if spent > self.settings.max_walker_steps:
            raise RunError(
                f"the limit of {self.settings.max_walker_steps:.3g} walker-steps was passed during {part}; raise "
                "max_walker_steps and resume, or check that B can be reached"
            )
        return record

    def _train(self) -> tuple[FastImportance, Dispersal]:
        """Train the model down to the temperature of the system; gives what evaluates it from there on, and starts in A."""
        found = []

        def disperse(problem: RareEventSystem, settings: RateSettings) -> RareEventSystem:
            task = partial(self._run_task, "flux")
            found.append(dispersed(problem, settings, self.machine, task, self.progress))
            return replace(problem, more_starts=found[0].starts.positions[1:])

        task, options = partial(self._run_task, "training"), (self._fresh, self.progress, disperse)
        self._pricing = self._new_pricing()
        self.settings = anneal(self.problem, self.model, self.settings, self.machine, task, *options, self._pricing)
        self.model.temperature = self.problem.temperature
        return FastImportance(self.model, self.problem.num_dimensions), found[0]

    def _new_pricing(self) -> Pricing | None:
        """What decides how long training goes on; nothing does in a run that an earlier version began to train."""
        if self._task.recorded("training") and not self._task.recorded("training_plan"):
            return None
        self._run_task("training", "training_plan", lambda seed: {"target_error": self.target_error, "walker_steps": 0})
        return Pricing(self.target_error, self.machine, partial(self._run_task, "training"))

    def _root_density(self, pool: Pool) -> tuple[RootDensity, np.ndarray]:
        """The density of roots and the levels of interfaces, set once: a run continued to a smaller error has a larger pool.

        One that an earlier version began has no interfaces, and goes on without.
        """

        def compute(seed: np.random.SeedSequence) -> Mapping:
            density = RootDensity.of_pool(pool.log_importance, self.settings.uniform_fraction, pool.weight)
            levels = np.array(ladder(density.log_mean_importance))
            return {"log_mean_importance": density.log_mean_importance, "interfaces": levels, "walker_steps": 0}

        record = self._run_task("pilot", "density", compute)
        density = RootDensity(float(record["log_mean_importance"]), self.settings.uniform_fraction)
        return density, np.asarray(record.get("interfaces", ()))

    def _produce(self, sampler: RootSampler, flux: FluxRun, steering: Steering, n_first: int) -> Production:
        """Rounds of roots until the whole error is at most that wanted; a small one first, for an early answer."""
        self.progress.stage("production")
        production = Production(len(self.problem.states.channel_names), wanted(self.settings))
        level, outlook = sampler.first_level(steering), Outlook(sampler, self.seed)
        n_new, drawn_before, enough_at = n_first or self.settings.production_roots, 0, 0
        while True:
            patience = self._patience(production, n_new)
            steering = production.allotted(steering, n_new)
            compute = partial(production_round, sampler, production, steering, level, n_new, patience)
            production.add(self._run_task("production", "production", compute))
            rate = production.clustered(sampler.pool, sampler.density)
            total = rate.relative_error(rate.bootstrap(bootstrap_stream(self.seed)))
            ess = production.ess()
            known = outlook(production, rate, total)
            self._show(known, total, ess)
            # where more of the flux run would be no use, it is the roots' part that is made small
            error = rate.errors()[1] if flux.stuck else total
            enough = error <= self.target_error and ess >= self.settings.min_ess and not n_first
            if enough:  # but for the lineages, which are waited for no longer than in the end they would be in vain
                enough_at = enough_at or production.n_started
                few = rests_on_few(production, sampler.pool, sampler.density)
                enough = not few or production.n_started >= _PATIENCE * enough_at
            if enough and (n_new == 0 or len(production.pending) == 0):
                return production
            if known is not None:
                found = partial(importance_estimate, self._facts(), flux, sampler.density, production, steering)
                self._tell("production", partial(unfinished, found, shortfall(total, self.target_error), known))
            # the answer is looked at only when the descendants have arrived: a last call without new roots
            n_new = 0
            if not enough:
                spent = self.walker_steps["production"]
                balance = Balance.of(rate, total, ess, sampler.pool, self.problem.timestep, spent)
                if n_first:
                    flux.extend(self._pool_error)
                    self.progress.stage("production")
                # what the pool contributes changes only with roots from all of it
                drawn = not n_first and production.n_roots >= 2 * drawn_before
                n_first, longer = 0, self._longer_pool(flux, balance) if drawn else 1.0
                n_new = self._next_roots(production, balance, np.inf if flux.stuck else longer)
                if longer > 1.0:
                    flux.extend(rate.errors()[0] / np.sqrt(longer))
                    self.progress.stage("production")
                    drawn_before = production.n_roots

    def _longer_pool(self, flux: FluxRun, balance: Balance) -> float:
        """The factor by which the flux run gets longer now; 1 if it is long enough, or too little is known of that."""
        if flux.stuck or balance.roots_variance > 2.0 * self.target_error**2:
            return 1.0
        factor = balance.longer_pool(self.target_error)
        return min(factor, _POOL_MOST) if factor > _POOL_STEP else 1.0

    def _next_roots(self, production: Production, balance: Balance, longer_pool: float) -> int:
        """Roots of the next round: what is missing by what is known so far, never more than doubling what there is.

        Few large rounds cost less than many small ones; early ones are small, as little is known of what is missing.
        """
        least, have = self.settings.production_roots, production.n_started
        missing = balance.more_roots(self.target_error, longer_pool) - 1.0
        return int(np.clip(_ROOTS_TO_SPARE * have * missing, least, max(have, least)))

    def _patience(self, production: Production, n_new: int) -> Patience:
        """How long the next round waits for its last walkers: with new roots to come, the slow ones go on with those."""
        settings = self.settings
        if n_new == 0:
            negligible = NEGLIGIBLE * self.target_error * production.contribution.sum()
            return Patience(weight=float(negligible), steps=settings.waiting_steps)
        # the first round is followed to its end, so that whole paths can be shown
        slow = 1 if production.passages else settings.n_slots // 2  # beyond the last interface nobody is slow for long
        return Patience(walkers=slow if production.n_roots else 1, steps=settings.waiting_steps)

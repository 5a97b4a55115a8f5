"""Rate constants: k_AB = J_A P_AB by importance sampling with a learned committor ("The rate" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from .annealing import anneal
from .backends import choose_backend
from .committor import CommittorModel
from .errors import InputError, RunError
from .estimate import RateEstimate
from .flux import FluxState, RootDensity, run_flux
from .inference import FastImportance
from .pilot import choose_steering
from .pool import Pool
from .preflight import require_runnable
from .production import NEGLIGIBLE, Production, production_round
from .progress import reached, shown
from .roots import RootSampler, Steering
from .settings import Settings
from .slots import platform_by_name
from .statistics import effective_sample_size, ratio_of_sums
from .summary import bootstrap_stream, importance_estimate
from .tasks import Memory, Progress, Recorder, Silent, TaskLog
from .threads import one_torch_thread
from .weighted_paths import Patience

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["ImportanceSamplingRate"]


_POOL_STEP = 0.8
"""Factor on the error of S when the pool grows during production."""


class ImportanceSamplingRate:
    """Rate constant from A to B, with an error bar, from nothing or from a trained model.

    Parameters
    ----------
    system : RareEventSystem
        System, states, temperature and dynamics.
    target_error : float
        Relative standard error at which to stop.
    seed : int
        The same seed gives the same result, bit for bit, on the Reference platform.
    platform : str
        OpenMM platform.
    settings : Settings, optional
    model : CommittorModel, optional
        A model of the same system and states, at this or a higher temperature, to start from.
    no_reweighting : bool
        Also report what the importance function alone would say.
    recorder : Recorder, optional
        Keeps every finished round; a recorder with earlier rounds resumes the run.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.

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
        :func:`~openmm_rare.preflight.require_runnable` finds in the way.
    """

    def __init__(
        self,
        system: RareEventSystem,
        target_error: float = 0.1,
        seed: int = 1,
        platform: str = "Reference",
        settings: Settings | None = None,
        model: CommittorModel | None = None,
        no_reweighting: bool = False,
        recorder: Recorder | None = None,
        progress: Progress | None = None,
    ) -> None:
        if not 0.0 < target_error < 1.0:
            raise InputError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        platform_by_name(platform)
        self.notes = (*require_runnable(system, "rate"), *filter(None, [system.descriptor_note]))
        settings = settings or Settings()
        settings = replace(settings, backend=choose_backend(settings.backend, platform))
        fingerprint = system.fingerprint()
        if model is not None and model.fingerprint != fingerprint:
            raise InputError(
                f"the model was trained for another system or other states (fingerprint {model.fingerprint[:12]}, "
                f"{system.name} has {fingerprint[:12]}); leave it out to train a new one"
            )
        self.system, self.target_error, self.seed, self.platform = system, target_error, seed, platform
        self.settings = settings
        self.no_reweighting = no_reweighting
        self._progress: Progress | None = progress
        self.progress: Progress = progress or Silent()
        self._task = TaskLog(recorder or Memory(), seed)
        self.walker_steps = {"training": 0, "flux": 0, "pilot": 0, "production": 0}
        self._fresh = model is None
        if model is not None:
            self.model = model.copy()
        else:
            spec, n_atoms = system.descriptor_spec(), system.system.getNumParticles()
            with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
                torch.manual_seed(seed)
                self.model = CommittorModel(spec, n_atoms, self.settings.hidden, system.temperature, fingerprint)

    def run(self) -> RateEstimate:
        """Train, choose how to steer, and sample until the target error is reached.

        Raises
        ------
        FloatingPointError
            If positions become NaN.
        RuntimeError
            If no walker leaves A, or B is never reached at any temperature.
        """
        self._task.start_clock()
        with one_torch_thread(), shown(self._progress) as self.progress:
            for note in self.notes:
                self.progress.note(note)
            importance = self._train()
            pool, state = self._equilibrate()
            state = self._extend_pool(pool, state, self.settings.pool_share * self.target_error)
            density = self._root_density(pool)
            sampler = RootSampler(self.system, importance, self.settings, self.platform, pool, density)
            steering = choose_steering(sampler, partial(self._run_task, "pilot"), self.progress)
            production = self._produce(sampler, state, steering)
        return importance_estimate(self, pool, density, production, steering, self._task.wall_seconds())

    def _run_task(self, part: str, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """Run or replay a task and add its walker-steps to one part of the cost."""
        record = self._task(kind, compute)
        self.walker_steps[part] += int(record["walker_steps"])
        spent = sum(self.walker_steps.values())
        if spent > self.settings.max_walker_steps:
            raise RunError(
                f"the limit of {self.settings.max_walker_steps:.3g} walker-steps was passed during {part}; raise "
                "max_walker_steps and resume, or check that B can be reached"
            )
        return record

    def _train(self) -> FastImportance:
        """Train the model down to the temperature of the system; gives what evaluates it from there on."""
        task = partial(self._run_task, "training")
        self.settings = anneal(self.system, self.model, self.settings, self.platform, task, self._fresh, self.progress)
        self.model.temperature = self.system.temperature
        return FastImportance(self.model, self.system.num_dimensions)

    def _flux_task(self, kind: str, state: FluxState, n_steps: int) -> tuple[Mapping, FluxState]:
        """The record of one stretch of the flux run, and the state at its end."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            chunk = run_flux(self.system, state, n_steps, self.platform, int(rng.integers(2**31)), rng, self.settings.backend)
            return {
                "exits": chunk.exits.astype(np.float32),
                "exit_walker": chunk.exit_walker,
                **chunk.record(),
            }

        record = self._run_task("flux", kind, compute)
        return record, FluxState.from_record(record)

    def _equilibrate(self) -> tuple[Pool, FluxState]:
        """Run in A, in stretches of growing length, until the flux out of it no longer drifts."""
        self.progress.stage("equilibration in A")
        state = FluxState.start(self.system, self.settings.flux_walkers)
        n_steps, before = self.settings.flux_steps, None
        for _ in range(self.settings.equilibration_tries):
            record, state = self._flux_task("equilibration", state, n_steps)
            exits = np.bincount(np.asarray(record["exit_walker"]), minlength=len(state.last_a)).astype(float)
            now = ratio_of_sums(exits, np.asarray(record["frames_last_a"]) * self.system.timestep)
            self.progress.update(flux_per_ps=f"{now[0]:.3g}")
            if before is not None and now[0] > 0.0 and abs(now[0] - before[0]) < 2.5 * np.hypot(now[1], before[1]):
                break
            before, n_steps = now, 2 * n_steps
        return Pool.empty(state.positions.shape[1], len(state.last_a)), state

    def _extend_pool(self, pool: Pool, state: FluxState, wanted: float) -> FluxState:
        """Run in A until the pool's part of the relative error is at most ``wanted``."""
        self.progress.stage("flux and exit pool")
        n_steps = self.settings.flux_steps
        while True:
            record, state = self._flux_task("flux", state, n_steps)
            pool.extend(record, self.model, self.system.timestep)
            error = pool.relative_error(self.settings.uniform_fraction)
            self.progress.update(int(record["walker_steps"]), **reached(error, wanted), exits=len(pool.exits))
            if error <= wanted:
                return state
            # enough for the error that is left, but never more than doubling what there is
            have = int(pool.time_ps.max() / self.system.timestep)
            needed = have * (min(error / wanted, 10.0) ** 2 - 1.0) if np.isfinite(error) else have
            n_steps = int(np.clip(1.1 * needed, self.settings.flux_steps, max(have, self.settings.flux_steps)))

    def _root_density(self, pool: Pool) -> RootDensity:
        """The density of roots, set once: a run continued to a smaller error has a larger pool, but the same density."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            density = RootDensity.of_pool(pool.log_importance, self.settings.uniform_fraction)
            return {"log_mean_importance": density.log_mean_importance, "walker_steps": 0}

        record = self._run_task("pilot", "density", compute)
        return RootDensity(float(record["log_mean_importance"]), self.settings.uniform_fraction)

    def _produce(self, sampler: RootSampler, state: FluxState, steering: Steering) -> Production:
        """Rounds of roots until the whole error is at most the target."""
        self.progress.stage("production")
        production = Production(len(self.system.states.channel_names))
        level = sampler.level(steering.window)
        n_new, drawn_before = self.settings.production_roots, 0
        while True:
            patience = self._patience(production, n_new)
            compute = partial(production_round, sampler, production, steering, level, n_new, patience)
            production.add(self._run_task("production", "production", compute))
            rate = production.clustered(sampler.pool, sampler.density)
            total = rate.relative_error(rate.bootstrap(bootstrap_stream(self.seed)))
            ess = effective_sample_size(production.contribution)
            self.progress.update(**reached(total, self.target_error), ess=f"{ess:.0f}")
            enough = total <= self.target_error and ess >= self.settings.min_ess
            if enough and (n_new == 0 or len(production.pending) == 0):
                return production
            # the answer is looked at only when the descendants have arrived: a last call without new roots
            n_new = 0 if enough else self.settings.production_roots
            # what the pool contributes is known once the roots' own part is small, and changes only with roots from all of it
            if not enough and ess * self.target_error**2 > 0.5 and production.n_roots >= 2 * drawn_before:
                pool_variance, roots_variance = rate.pool_limit(total, ess) ** 2, 1.0 / ess
                # at the least total cost, both parts of the variance have cost alike per unit of variance
                if pool_variance * self.walker_steps["production"] > roots_variance * self.walker_steps["flux"]:
                    state = self._extend_pool(sampler.pool, state, _POOL_STEP * rate.errors()[0])
                    self.progress.stage("production")
                    drawn_before = production.n_roots

    def _patience(self, production: Production, n_new: int) -> Patience:
        """How long the next round waits for its last walkers: with new roots to come, the slow ones go on with those."""
        settings = self.settings
        if n_new == 0:
            negligible = NEGLIGIBLE * self.target_error * production.contribution.sum()
            return Patience(weight=float(negligible), steps=settings.waiting_steps)
        # the first round is followed to its end, so that whole paths can be shown
        return Patience(walkers=settings.n_slots // 2 if production.n_roots else 1, steps=settings.waiting_steps)

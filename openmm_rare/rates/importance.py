"""Rate constants: k_AB = J_A P_AB by importance sampling with a learned committor ("The rate" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..bias.importance import FastImportance
from ..committor.model import CommittorModel
from ..dynamics.checks import require_runnable
from ..errors import InputError, RunError
from ..flux.dispersal import Dispersal, dispersed
from ..flux.parts import note_on_parts
from ..flux.pool import Pool
from ..flux.root_density import RootDensity
from ..flux.run import FluxRun
from ..io.progress import reached, shown
from ..io.tasks import Memory, Progress, Recorder, Silent, TaskLog
from ..parallel.threads import one_torch_thread
from ..settings.rates import Settings
from ..statistics import effective_sample_size
from ..walkers.machine import Machine
from .annealing import anneal
from .estimate import RateEstimate
from .pilot import choose_steering
from .production import NEGLIGIBLE, Production, production_round
from .roots import RootSampler, Steering
from .summary import bootstrap_stream, importance_estimate
from .weighted_paths import Patience

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ImportanceSamplingRate"]


_POOL_STEP = 0.8
"""Factor on the error of S when the pool grows during production."""


class ImportanceSamplingRate:
    """Rate constant from A to B, with an error bar, from nothing or from a trained model.

    Parameters
    ----------
    system : RareEventSystem
        System, states, temperature and dynamics.
    settings : Settings, optional
    seed : int
        The same seed gives the same result, bit for bit, on the Reference platform.
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    model : CommittorModel, optional
        A model of the same system and states, at this or a higher temperature, to start from.
    target_error : float
        Relative standard error at which to stop.
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
        :func:`~openmm_rare.dynamics.checks.require_runnable` finds in the way.
    """

    def __init__(
        self,
        system: RareEventSystem,
        settings: Settings | None = None,
        *,
        seed: int = 1,
        machine: Machine | str | None = None,
        model: CommittorModel | None = None,
        progress: Progress | None = None,
        target_error: float = 0.1,
        no_reweighting: bool = False,
        recorder: Recorder | None = None,
    ) -> None:
        if not 0.0 < target_error < 1.0:
            raise InputError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        self.notes = (*require_runnable(system, "rate"), *filter(None, [system.descriptor_note]))
        settings = settings or Settings()
        self.machine = Machine.choose(machine, settings.backend)
        fingerprint = system.fingerprint()
        if model is not None and model.fingerprint != fingerprint:
            raise InputError(
                f"the model was trained for another system or other states (fingerprint {model.fingerprint[:12]}, "
                f"{system.name} has {fingerprint[:12]}); leave it out to train a new one"
            )
        self.system, self.target_error, self.seed = system, target_error, seed
        self.settings = replace(settings, backend=self.machine.backend)
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
            self._require_this_version()
            importance, dispersal = self._train()
            task = partial(self._run_task, "flux")
            flux = FluxRun(self.system, self.model, self.settings, self.machine, task, self.progress, dispersal)
            flux.equilibrate()
            self._note(note_on_parts(flux))
            flux.extend(self.settings.pool_share * self.target_error)
            density = self._root_density(flux.pool)
            sampler = RootSampler(self.system, importance, self.settings, self.machine, flux.pool, density)
            steering = choose_steering(sampler, partial(self._run_task, "pilot"), self.progress)
            production = self._produce(sampler, flux, steering)
        return importance_estimate(self, flux, density, production, steering, self._task.wall_seconds())

    def _note(self, sentence: str | None) -> None:
        """Say what should be known, and keep it for the result."""
        if sentence is not None and sentence not in self.notes:
            self.notes = (*self.notes, sentence)
            self.progress.note(sentence)

    def _require_this_version(self) -> None:
        """Refuse to go on with records of a version whose flux walkers all began at one structure."""
        if self._task.recorded("equilibration") and not self._task.recorded("dispersal"):
            raise InputError(
                "this run was begun by an earlier version, which started all flux walkers from one structure: it cannot be "
                "continued; start a new one (the report of the old one can still be made)"
            )

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

    def _train(self) -> tuple[FastImportance, Dispersal]:
        """Train the model down to the temperature of the system; gives what evaluates it from there on, and starts in A."""
        found = []

        def disperse(target: RareEventSystem, settings: Settings) -> RareEventSystem:
            task = partial(self._run_task, "flux")
            found.append(dispersed(target, settings, self.machine, task, self.progress))
            return replace(target, more_starts=found[0].starts.positions[1:])

        task, options = partial(self._run_task, "training"), (self._fresh, self.progress, disperse)
        self.settings = anneal(self.system, self.model, self.settings, self.machine, task, *options)
        self.model.temperature = self.system.temperature
        return FastImportance(self.model, self.system.num_dimensions), found[0]

    def _root_density(self, pool: Pool) -> RootDensity:
        """The density of roots, set once: a run continued to a smaller error has a larger pool, but the same density."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            density = RootDensity.of_pool(pool.log_importance, self.settings.uniform_fraction, pool.weight)
            return {"log_mean_importance": density.log_mean_importance, "walker_steps": 0}

        record = self._run_task("pilot", "density", compute)
        return RootDensity(float(record["log_mean_importance"]), self.settings.uniform_fraction)

    def _produce(self, sampler: RootSampler, flux: FluxRun, steering: Steering) -> Production:
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
            # where more of the flux run would be no use, it is the roots' part that is made small
            error = rate.errors()[1] if flux.stuck else total
            enough = error <= self.target_error and ess >= self.settings.min_ess
            if enough and (n_new == 0 or len(production.pending) == 0):
                return production
            # the answer is looked at only when the descendants have arrived: a last call without new roots
            n_new = 0 if enough else self.settings.production_roots
            # what the pool contributes is known once the roots' own part is small, and changes only with roots from all of it
            if not (enough or flux.stuck) and ess * self.target_error**2 > 0.5 and production.n_roots >= 2 * drawn_before:
                pool_variance, roots_variance = rate.pool_limit(total, ess) ** 2, 1.0 / ess
                # at the least total cost, both parts of the variance have cost alike per unit of variance
                if pool_variance * self.walker_steps["production"] > roots_variance * self.walker_steps["flux"]:
                    flux.extend(_POOL_STEP * rate.errors()[0])
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

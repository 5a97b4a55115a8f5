"""Rate constants: k_AB = J_A P_AB by importance sampling with a learned committor (THEORY: sections 3 to 6)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from .annealing import anneal
from .branching import WeightWindow
from .committor import CommittorModel
from .estimate import RateEstimate
from .flux import FluxState, RootDensity, run_flux
from .inference import FastImportance
from .settings import Settings
from .statistics import effective_sample_size, ratio_of_sums
from .summary import Pool, Production, bootstrap_stream, importance_estimate, sample_paths
from .tasks import Memory, Progress, Recorder, Silent, TaskLog
from .walkers import Propagator, platform_by_name
from .weighted_paths import PathBatch, run_roots

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["ImportanceSamplingRate", "Steering"]


@dataclass(frozen=True)
class Steering:
    """How production steers its walkers: what the pilot chooses.

    Attributes
    ----------
    strength : float
        Bias strength.
    window : WeightWindow
    """

    strength: float
    window: WeightWindow


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

    Attributes
    ----------
    model : CommittorModel
        The trained model, after :meth:`run`.

    Raises
    ------
    ValueError
        For a target error outside (0, 1), an unknown platform, or a model of another system.
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
            raise ValueError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        platform_by_name(platform)
        fingerprint = system.fingerprint()
        if model is not None and model.fingerprint != fingerprint:
            raise ValueError(
                f"the model was trained for another system or other states (fingerprint {model.fingerprint[:12]}, "
                f"{system.name} has {fingerprint[:12]}); leave it out to train a new one"
            )
        self.system, self.target_error, self.seed, self.platform = system, target_error, seed, platform
        self.settings = settings or Settings()
        self.no_reweighting = no_reweighting
        self.progress: Progress = progress or Silent()
        self._task = TaskLog(recorder or Memory(), seed)
        self.walker_steps = {"training": 0, "flux": 0, "pilot": 0, "production": 0}
        self._fresh = model is None
        if model is not None:
            self.model = model.copy()
        else:
            spec, n_atoms = system.descriptor_spec(), system.system.getNumParticles()
            with torch.random.fork_rng():  # the caller's random numbers stay as they are
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
        started, threads = time.monotonic(), torch.get_num_threads()
        torch.set_num_threads(1)  # the batches are small: more threads only wait for each other
        try:
            self._train()
            pool, state = self._equilibrate()
            state = self._extend_pool(pool, state, self.settings.pool_share * self.target_error)
            density = self._root_density(pool)
            steering = self._choose_steering(pool, density)
            production = self._produce(pool, state, density, steering)
        finally:
            torch.set_num_threads(threads)
        return importance_estimate(self, pool, density, production, steering, time.monotonic() - started)

    def _run_task(self, part: str, kind: str, compute: Callable[[np.random.SeedSequence], Mapping]) -> Mapping:
        """Run or replay a task and add its walker-steps to one part of the cost."""
        record = self._task(kind, compute)
        self.walker_steps[part] += int(record["walker_steps"])
        spent = sum(self.walker_steps.values())
        if spent > self.settings.max_walker_steps:
            raise RuntimeError(
                f"the limit of {self.settings.max_walker_steps:.3g} walker-steps was passed during {part}; raise "
                "max_walker_steps and resume, or check that B can be reached"
            )
        return record

    def _train(self) -> None:
        self.progress.stage("training")
        task = partial(self._run_task, "training")
        for temperature, record in anneal(self.system, self.model, self.settings, self.platform, task, self._fresh):
            self.progress.update(
                temperature=f"{temperature:.0f} K",
                p_ab=f"{float(record['p_ab']):.2e}",
                sd_ln_I=f"{float(record['sd_log_importance']):.1f}",
            )
        self.model.temperature = self.system.temperature
        self._importance = FastImportance(self.model, self.system.num_dimensions)

    def _flux_task(self, kind: str, state: FluxState, n_steps: int) -> tuple[Mapping, FluxState]:
        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            chunk = run_flux(self.system, state, n_steps, self.platform, int(rng.integers(2**31)), rng)
            return {
                "exits": chunk.exits.astype(np.float32),
                "exit_walker": chunk.exit_walker,
                "frames_last_a": chunk.frames_last_a,
                "transitions": chunk.transitions,
                "walker_steps": chunk.walker_steps,
                "positions": chunk.state.positions,
                "in_a": chunk.state.in_a,
                "last_a": chunk.state.last_a,
            }

        record = self._run_task("flux", kind, compute)
        end = FluxState(np.asarray(record["positions"]), np.asarray(record["in_a"]), np.asarray(record["last_a"]))
        return record, end

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
            self.progress.update(int(record["walker_steps"]), **_reached(error, wanted), exits=len(pool.exits))
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

    def _draw(self, pool: Pool, density: RootDensity, n_roots: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Exits drawn as roots, and their starting ln w."""
        root = density.draw(pool.log_importance, n_roots, rng)
        return root, -np.log(density(pool.log_importance[root]))

    def _follow(
        self, pool: Pool, root: np.ndarray, log_weight: np.ndarray, steering: Steering, level: float, seed, rng, **options
    ) -> PathBatch:
        """Follow roots with the trained model; options go to :func:`run_roots`."""
        propagator = Propagator(
            self.system,
            self._importance,
            steering.strength,
            self.settings.n_slots,
            self.platform,
            seed,
            self.settings.bias_interval,
        )
        return run_roots(
            propagator,
            self._importance,
            pool.exits[root].astype(np.float64),
            level,
            rng,
            log_weights=log_weight,
            window=steering.window,
            stride=self.settings.stride,
            max_population=self.settings.max_population,
            **options,
        )

    def _choose_steering(self, pool: Pool, density: RootDensity) -> Steering:
        """The bias strength, then the power of the weight windows, of largest figure of merit."""
        strengths, powers = self.settings.strengths, self.settings.window_powers
        self.progress.stage("pilot", len(strengths) + len(powers) - 1)
        merits: dict[Steering, float] = {}
        for strength in strengths:
            steering = Steering(strength, WeightWindow(power=powers[0]))
            merits[steering] = self._figure_of_merit(pool, density, steering)
        best = max(merits, key=merits.get)
        for power in powers[1:]:
            steering = replace(best, window=WeightWindow(power=power))
            merits[steering] = self._figure_of_merit(pool, density, steering)
        if max(merits.values()) == 0.0:
            raise RuntimeError(
                f"no walker of the pilot reached B of {self.system.name}, with any bias strength: train longer "
                "(last_stage_rounds, last_updates), raise pilot_max_steps if paths to B are slow, or check whether B lies "
                "on the far side of another state"
            )
        best = max(merits, key=merits.get)
        chosen = {"chosen_strength": best.strength, "chosen_power": best.window.power}
        self.progress.update(0, **chosen, figure_of_merit=f"{merits[best]:.2e}")
        return best

    def _figure_of_merit(self, pool: Pool, density: RootDensity, steering: Steering) -> float:
        """1/(relative variance of a root x walker-steps of a root), from one pilot run."""
        level = self._level(pool, density, steering.window)

        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            root, log_weight = self._draw(pool, density, self.settings.pilot_roots, rng)
            batch = self._follow(pool, root, log_weight, steering, level, seed, rng, max_steps=self.settings.pilot_max_steps)
            return {
                "strength": steering.strength,
                "power": steering.window.power,
                "contribution": batch.contribution,
                "root": root,
                "walker_steps": batch.walker_steps,
            }

        record = self._run_task("pilot", "pilot", compute)
        contribution = np.asarray(record["contribution"])
        ess = effective_sample_size(contribution)
        # relative variance of one root is n/ess - 1; a pilot with a handful of effective roots proves nothing
        relative_variance = len(contribution) / ess - 1.0 if ess > 0.0 else np.inf
        merit = 1.0 / (max(relative_variance, 1e-3) * int(record["walker_steps"]) / len(contribution))
        tried = {"strength": steering.strength, "power": steering.window.power}
        self.progress.update(**tried, figure_of_merit=f"{merit:.2e}")
        return merit

    def _level(self, pool: Pool, density: RootDensity, window: WeightWindow) -> float:
        """ln C of the weight windows: ln of the mean of w I^p over the drawn roots, so that most start in their windows."""
        probability = density(pool.log_importance)
        scores = window.power * pool.log_importance - np.log(probability)
        probability = probability / probability.sum()
        return float(np.log((probability * np.exp(scores - scores.max())).sum()) + scores.max())

    def _produce(self, pool: Pool, state: FluxState, density: RootDensity, steering: Steering) -> Production:
        """Rounds of roots until the whole error is at most the target."""
        self.progress.stage("production")
        channels = self.system.states.channels
        production = Production(1 if channels is None else len(channels.names))
        level = self._level(pool, density, steering.window)
        n_new, drawn_before = self.settings.production_roots, 0
        while True:

            def compute(seed: np.random.SeedSequence, n_new: int = n_new) -> Mapping:
                return self._production_round(pool, density, production, steering, level, n_new, seed)

            production.add(self._run_task("production", "production", compute))
            rate = production.clustered(pool, density)
            total = rate.relative_error(rate.bootstrap(bootstrap_stream(self.seed)))
            ess = effective_sample_size(production.contribution)
            self.progress.update(**_reached(total, self.target_error), ess=f"{ess:.0f}")
            enough = total <= self.target_error and ess >= self.settings.min_ess
            if enough and len(production.pending) == 0:
                return production
            # the answer is looked at only when every descendant has arrived: a last call without new roots
            n_new = 0 if enough else self.settings.production_roots
            # what the pool contributes is known once the roots' own part is small, and changes only with roots from all of it
            if not enough and ess * self.target_error**2 > 0.5 and production.n_roots >= 2 * drawn_before:
                allowed, limit = self.settings.pool_share * self.target_error, rate.pool_limit(total, ess)
                if limit > allowed:
                    surrogate_error, _ = rate.errors()
                    state = self._extend_pool(pool, state, surrogate_error * max(allowed / limit, 0.7))
                    self.progress.stage("production")
                    drawn_before = production.n_roots

    def _production_round(
        self,
        pool: Pool,
        density: RootDensity,
        production: Production,
        steering: Steering,
        level: float,
        n_new: int,
        seed: np.random.SeedSequence,
    ) -> dict:
        """Start ``n_new`` roots and go on until few walkers are left; without new roots, until none is."""
        rng = np.random.default_rng(seed)
        root, log_weight = self._draw(pool, density, n_new, rng)
        batch = self._follow(
            pool,
            root,
            log_weight,
            steering,
            level,
            seed,
            rng,
            pending=production.pending,
            first_root=production.n_roots,
            # the first round is followed to its end, so that whole paths can be shown
            stop_below=self.settings.n_slots // 2 if n_new and production.n_roots else 0,
            record_paths=production.n_roots == 0,
        )
        touched = np.flatnonzero(batch.contribution + batch.returned)
        return {
            "root": root,
            "start_weight": np.exp(log_weight),
            "touched": touched,
            "contribution": batch.contribution[touched],
            "channel_contribution": batch.channel_contribution[touched],
            "returned": batch.returned[touched],
            "arrivals": batch.arrivals,
            "log_weights": batch.log_weights.astype(np.float32),
            "walker_steps": batch.walker_steps,
            **{f"pending_{name}": value for name, value in vars(batch.pending).items()},
            **sample_paths(batch, self.system),
        }


def _reached(error: float, target: float) -> dict[str, str]:
    """Relative errors as a progress display understands them."""
    now = f"{100 * error:.1f} %" if np.isfinite(error) else "not known yet"
    return {"error": now, "target": f"{100 * target:.2g} %"}

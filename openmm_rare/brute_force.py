"""Brute force: count transitions of unbiased dynamics, with the same bookkeeping as the importance-sampled rate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .estimate import RateEstimate
from .flux import FluxState, run_flux
from .settings import Settings
from .statistics import pareto_k, ratio_of_sums
from .summary import versions
from .tasks import Memory, Progress, Recorder, Silent, TaskLog
from .walkers import platform_by_name

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["BruteForceRate"]


class BruteForceRate:
    """Rate constant from A to B by counting transitions.

    Parameters
    ----------
    system : RareEventSystem
    target_error : float
        Relative standard error at which to stop; about 1/sqrt(number of transitions).
    seed : int
    platform : str
    settings : Settings, optional
        ``flux_walkers``, ``flux_steps`` and ``max_walker_steps`` are used.
    recorder : Recorder, optional
    progress : Progress, optional

    Raises
    ------
    ValueError
        For a target error outside (0, 1) or an unknown platform.
    """

    def __init__(
        self,
        system: RareEventSystem,
        target_error: float = 0.1,
        seed: int = 1,
        platform: str = "Reference",
        settings: Settings | None = None,
        recorder: Recorder | None = None,
        progress: Progress | None = None,
    ) -> None:
        if not 0.0 < target_error < 1.0:
            raise ValueError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        platform_by_name(platform)
        self.system, self.target_error, self.seed, self.platform = system, target_error, seed, platform
        self.settings = settings or Settings()
        self.progress: Progress = progress or Silent()
        self._task = TaskLog(recorder or Memory(), seed)

    def run(self) -> RateEstimate:
        """Run until the target error is reached.

        Raises
        ------
        RuntimeError
            If ``max_walker_steps`` is passed first; the message says how many transitions there were.
        """
        started = time.monotonic()
        self.progress.stage("brute force")
        n = self.settings.flux_walkers
        state, spent, warmed = FluxState.start(self.system, n), 0, False
        exits, frames, transitions = np.zeros(n), np.zeros(n), np.zeros(n)
        labels: list[np.ndarray] = []
        while True:
            record, state = self._stretch(state)
            spent += int(record["walker_steps"])
            if not warmed:  # the first stretch only equilibrates
                warmed = True
                continue
            exits += np.asarray(record["exits_by_walker"])
            frames += np.asarray(record["frames_last_a"])
            transitions += np.asarray(record["transitions"])
            labels.append(np.asarray(record["transition_label"]))
            total = int(transitions.sum())
            error = ratio_of_sums(transitions, frames)[1] / (total / frames.sum()) if total else np.inf
            self.progress.update(transitions=total, error=f"{100 * error:.1f} %")
            if total >= 20 and error <= self.target_error:
                return self._estimate(exits, frames, transitions, labels, spent, time.monotonic() - started)
            if spent > self.settings.max_walker_steps:
                raise RuntimeError(
                    f"brute force saw {total} transitions of {self.system.name} in {spent:.3g} walker-steps, too few for "
                    f"an error of {100 * self.target_error:g} %: raise max_walker_steps, or use importance sampling"
                )

    def _stretch(self, state: FluxState) -> tuple[Mapping, FluxState]:
        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            steps = 4 * self.settings.flux_steps
            chunk = run_flux(self.system, state, steps, self.platform, int(rng.integers(2**31)), rng)
            return {
                "exits_by_walker": np.bincount(chunk.exit_walker, minlength=len(state.last_a)),
                "frames_last_a": chunk.frames_last_a,
                "transitions": chunk.transitions,
                "transition_label": chunk.transition_label,
                "walker_steps": chunk.walker_steps,
                "positions": chunk.state.positions,
                "in_a": chunk.state.in_a,
                "last_a": chunk.state.last_a,
            }

        record = self._task("brute_force", compute)
        end = FluxState(np.asarray(record["positions"]), np.asarray(record["in_a"]), np.asarray(record["last_a"]))
        return record, end

    def _estimate(
        self,
        exits: np.ndarray,
        frames: np.ndarray,
        transitions: np.ndarray,
        labels: list[np.ndarray],
        spent: int,
        wall: float,
    ) -> RateEstimate:
        time_ps = frames * self.system.timestep
        k, error = ratio_of_sums(transitions, time_ps)
        flux, flux_error = ratio_of_sums(exits, time_ps)
        p_ab, p_error = ratio_of_sums(transitions, exits)
        names = ("all",) if self.system.states.channels is None else self.system.states.channels.names
        counts = np.bincount(np.concatenate(labels), minlength=len(names))
        share = counts / counts.sum()
        total = float(transitions.sum())
        time_unit = None if self.system.reduced is None else self.system.reduced.time
        return RateEstimate(
            system=self.system.name,
            method="brute_force",
            temperature_k=self.system.temperature,
            rate_per_ps=k,
            rate_stderr=error,
            rate_ci95=(float(k * np.exp(-1.96 * error / k)), float(k * np.exp(1.96 * error / k))),
            flux_per_ps=flux,
            flux_stderr=flux_error,
            p_ab=p_ab,
            p_ab_stderr=p_error,
            ess=total,
            pareto_k=pareto_k(transitions),
            n_roots=int(exits.sum()),
            n_exits=int(exits.sum()),
            strength=0.0,
            window_power=1.0,
            walker_steps=spent,
            training_walker_steps=0,
            flux_walker_steps=spent,
            pilot_walker_steps=0,
            production_walker_steps=0,
            wall_seconds=wall,
            channels={
                name: {"fraction": float(p), "fraction_stderr": float(np.sqrt(p * (1.0 - p) / total))}
                for name, p, count in zip(names, share, counts, strict=True)
                if count or self.system.states.channels is None
            },
            mean_weight=1.0,
            mean_weight_stderr=0.0,
            pool_relative_error=flux_error / flux,
            roots_relative_error=error / k,
            reliable=True,
            warnings=(),
            seed=self.seed,
            platform=self.platform,
            versions=versions(),
            rate_reduced=None if time_unit is None else k * time_unit,
            rate_reduced_stderr=None if time_unit is None else error * time_unit,
        )

"""Brute force: count transitions of unbiased dynamics, with the same bookkeeping as the importance-sampled rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .backends import choose_backend
from .errors import InputError, RunError
from .estimate import RateEstimate
from .flux import FluxState, run_flux
from .preflight import require_runnable
from .progress import reached, shown
from .settings import Settings
from .slots import platform_by_name
from .statistics import pareto_k, ratio_of_sums
from .summary import common_fields
from .tasks import Memory, Progress, Recorder, TaskLog

if TYPE_CHECKING:
    from .states import States
    from .systems.base import RareEventSystem

__all__ = ["BruteForceRate"]

_LEFT_OUT = 0.2
"""Fraction of the run, from its start, that is not counted: walkers that start in A need a while before they are as likely
to be on their way to B, or in a side basin, as those that came to A a long time ago."""


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
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.

    Raises
    ------
    ValueError
        For a target error outside (0, 1), an unknown platform, or whatever :func:`~openmm_rare.preflight.require_runnable`
        finds in the way.
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
            raise InputError(f"target_error is a relative standard error between 0 and 1, not {target_error!r}")
        platform_by_name(platform)
        self.notes = tuple(require_runnable(system, "rate"))
        settings = settings or Settings()
        settings = replace(settings, backend=choose_backend(settings.backend, platform))
        self.system, self.target_error, self.seed, self.platform = system, target_error, seed, platform
        self.settings = settings
        self._progress = progress
        self._task = TaskLog(recorder or Memory(), seed)

    def run(self) -> RateEstimate:
        """Run until the target error is reached.

        Raises
        ------
        RuntimeError
            If ``max_walker_steps`` is passed first; the message says how many transitions there were.
        """
        self._task.start_clock()
        with shown(self._progress) as progress:
            for note in self.notes:
                progress.note(note)
            return self._count(progress)

    def _count(self, progress: Progress) -> RateEstimate:
        """Stretches until the target error is reached."""
        progress.stage("brute force")
        n = self.settings.flux_walkers
        state, spent = FluxState.start(self.system, n), 0
        sums, labels = [np.zeros((3, n))], []  # after every stretch: exits, frames and transitions of each walker
        while True:
            record, state = self._stretch(state)
            spent += int(record["walker_steps"])
            counts = (np.asarray(record[name]) for name in ("exits_by_walker", "frames_last_a", "transitions"))
            sums.append(sums[-1] + np.stack(list(counts)))
            labels.append(np.asarray(record["transition_label"]))
            left_out = int(np.ceil(_LEFT_OUT * len(labels)))
            exits, frames, transitions = sums[-1] - sums[left_out]
            total = int(transitions.sum())
            error = ratio_of_sums(transitions, frames)[1] / (total / frames.sum()) if total else np.inf
            progress.update(transitions=total, **reached(error, self.target_error))
            if total >= 20 and error <= self.target_error:
                wall = self._task.wall_seconds()
                return self._estimate(exits, frames, transitions, np.concatenate(labels[left_out:]), spent, wall)
            if spent > self.settings.max_walker_steps:
                raise RunError(
                    f"brute force saw {total} transitions of {self.system.name} in {spent:.3g} walker-steps, too few for "
                    f"an error of {100 * self.target_error:g} %: raise max_walker_steps, or use importance sampling"
                )

    def _stretch(self, state: FluxState) -> tuple[Mapping, FluxState]:
        """The record of one stretch, and the state at its end."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            steps = 4 * self.settings.flux_steps
            chunk = run_flux(self.system, state, steps, self.platform, int(rng.integers(2**31)), rng, self.settings.backend)
            return {
                "exits_by_walker": np.bincount(chunk.exit_walker, minlength=len(state.last_a)),
                "transition_label": chunk.transition_label,
                **chunk.record(),
            }

        record = self._task("brute_force", compute)
        return record, FluxState.from_record(record)

    def _estimate(
        self,
        exits: np.ndarray,
        frames: np.ndarray,
        transitions: np.ndarray,
        labels: np.ndarray,
        spent: int,
        wall: float,
    ) -> RateEstimate:
        """The estimate from counts and steps per walker, and the channel label of every transition."""
        time_ps = frames * self.system.timestep
        k, error = ratio_of_sums(transitions, time_ps)
        flux, flux_error = ratio_of_sums(exits, time_ps)
        p_ab, p_error = ratio_of_sums(transitions, exits)
        cost = {"training": 0, "flux": spent, "pilot": 0, "production": 0}
        return RateEstimate(
            **common_fields(self, k, error, error / k, cost, wall),
            method="brute_force",
            flux_per_ps=flux,
            flux_stderr=flux_error,
            p_ab=p_ab,
            p_ab_stderr=p_error,
            ess=float(transitions.sum()),
            pareto_k=pareto_k(transitions),
            n_roots=int(exits.sum()),
            n_exits=int(exits.sum()),
            strength=0.0,
            window_power=1.0,
            channels=_channels(self.system.states, labels),
            mean_weight=1.0,
            mean_weight_stderr=0.0,
            pool_relative_error=flux_error / flux,
            roots_relative_error=error / k,
            reliable=True,
            warnings=(),
        )


def _channels(states: States, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Fractions of the transitions by channel, of those that were found, with binomial errors."""
    names, total = states.channel_names, len(labels)
    counts = np.bincount(labels, minlength=len(names))
    return {
        name: {"fraction": float(p), "fraction_stderr": float(np.sqrt(p * (1.0 - p) / total))}
        for name, p in zip(names, counts / total, strict=True)
        if p > 0.0 or states.channels is None
    }

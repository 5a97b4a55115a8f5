"""Brute force: count transitions of unbiased dynamics, with the same bookkeeping as the importance-sampled rate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..flux.agreement import Agreement
from ..flux.dispersal import Dispersal, dispersed
from ..flux.flux import FluxState, run_flux
from ..io.progress import reached
from ..io.text import format_value
from ..statistics import pareto_k, ratio_of_sums
from .both_ways.exchange import ends_in_b
from .counted import FLUX, Counted, poisson_interval
from .early.interim import shortfall, unfinished
from .estimate import RateEstimate
from .keeping.saved_paths import ENDS
from .rate_run import RateRun
from .summary import common_fields

if TYPE_CHECKING:
    from ..states.states import States

__all__ = ["BruteForceRate"]

_FEWEST = 20  # transitions, from which on their scatter is an error bar
_LONGER = 3  # times what the target error takes: how long walkers that do not agree on A may go on


class BruteForceRate(RateRun):
    """Rate constant from A to B by counting transitions.

    Overdamped walkers of a small System go on through B, and begin all over A. Those with momenta, and those of which only one
    fits into a Context, begin at the given structures, and again in A whenever they have come to B: see
    :mod:`openmm_rare.flux.restarts`.

    Parameters
    ----------
    problem : RareEventSystem
    settings : RateSettings, optional
        ``flux_walkers``, ``flux_steps`` and ``max_walker_steps`` are used, and for starts all over A those of training walkers;
        of walkers that move one at a time ``few_walkers``, ``block_ps`` and ``equilibration_ps``.
    seed : int
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    executor : Executor, optional
        Where walkers move of which only one fits into a Context; default: here.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.
    target_error : float
        Relative standard error at which to stop; about 1/sqrt(number of transitions).
    recorder : Recorder, optional
        Keeps every finished stretch; a recorder with earlier ones resumes the run.

    Raises
    ------
    ValueError
        For a target error outside (0, 1), an unknown platform, or whatever
        :func:`~openmm_rare.dynamics.checks.require_runnable` finds in the way.
    """

    _first_task = "brute_force"

    def _estimate(self) -> RateEstimate:
        """Stretches until the target error is reached, and walkers agree on A or go on in vain; or until steps are used up."""
        n_walkers = self.settings.flux_walkers if self._together else self.settings.few_walkers
        equilibration = 0 if self._together else self._equilibration_steps(n_walkers)
        starts = dispersed(self.problem, self.settings, self.machine, partial(self._run_task, "flux"), self.progress)
        counted, state = Counted(self.problem), starts.flux_state(n_walkers)
        block = self.settings.block_steps(self.problem.timestep)
        if not self._together:
            state = self._equilibrated(state, equilibration, block)
        self.progress.stage("brute force")
        n_steps, doubts, limit = 4 * self.settings.flux_steps if self._together else block, [], np.inf
        while True:
            record, state = self._stretch("brute_force", state, n_steps)
            counted.add(record)
            error, spent = counted.relative_error(), self.walker_steps["flux"]
            self.progress.update(**self._seen(counted), **reached(error, self.target_error))
            if counted.n_transitions >= _FEWEST and error <= self.target_error:
                agreement, found = counted.doubts(state, starts, self.target_error)
                # once in doubt, agreement alone is an answer: a moment at which the parts seem alike comes by chance
                agree = not found and (agreement is None or agreement.agree)
                doubts, limit = [] if agree else found or doubts, min(limit, _LONGER * spent)
                if not doubts or spent >= limit:
                    return self._estimate_of(counted, agreement, doubts)
            if spent > self.settings.max_walker_steps and counted.n_stretches > 1:
                return self._cut_short(counted, state, starts)
            if counted.n_stretches > 1:
                missing = shortfall(error, self.target_error)
                self._tell("brute_force", partial(unfinished, partial(self._so_far, counted), missing))

    def _equilibrated(self, state: FluxState, n_steps: int, block: int) -> FluxState:
        """The walkers after so many steps, of which each block is recorded; earlier versions recorded all at once."""
        self.progress.stage("equilibration in A", n_steps)
        while n_steps > 0:
            record, state = self._stretch("equilibration", state, min(n_steps, block))
            done = int(record["walker_steps"]) // len(state)
            n_steps -= done
            self.progress.update(done)
        return state

    def _stretch(self, kind: str, state: FluxState, n_steps: int) -> tuple[Mapping, FluxState]:
        """The record of one stretch, and the state at its end."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            chunk = run_flux(self.problem, state, n_steps, self.machine, int(rng.integers(2**31)), rng, self.executor)
            ends = {"arrivals": chunk.arrivals.positions[:ENDS].astype(np.float32)} if self.settings.reverse else {}
            return {
                **ends,
                "exits_by_walker": np.bincount(chunk.exit_walker, minlength=len(state)),
                "transition_label": chunk.transition_label,
                **chunk.record(),
            }

        record = self._run_task("flux", kind, compute)
        if self.settings.reverse:
            self.arrivals = ends_in_b(self.problem, self.arrivals, record["arrivals"])
        return record, FluxState.from_record(record)

    def _seen(self, counted: Counted) -> dict[str, object]:
        """What to show of the counts: their number, and the rate with the interval of a Poisson count."""
        n, seen = counted.n_transitions, {"transitions": counted.n_transitions}
        if n:
            low, high = (format_value(events / self._time_ps(counted)) for events in poisson_interval(n))
            seen["k"] = f"{format_value(n / self._time_ps(counted))} ({low} to {high}) 1/ps"
        return seen

    def _so_far(self, counted: Counted) -> RateEstimate:
        """What has been counted, without asking whether walkers agree; an upper bound if nothing has."""
        few = {"complete": False}
        if not counted.n_transitions:
            low, high = (events / self._time_ps(counted) for events in poisson_interval(0))
            few |= {"rate_ci95": (low, high), "rate_below_per_ps": high}
        return self._estimate_of(counted, None, [], **few)

    def _time_ps(self, counted: Counted) -> float:
        """Of all walkers, with A visited last."""
        return float(counted.by_walker()[1].sum()) * self.problem.timestep

    def _cut_short(self, counted: Counted, state: FluxState, starts: Dispersal) -> RateEstimate:
        """The estimate where ``max_walker_steps`` were used up before the target error was reached."""
        n, time_ps = counted.n_transitions, self._time_ps(counted)
        agreement, doubts = counted.doubts(state, starts, self.target_error)
        more = "raise max_walker_steps and continue with --resume, or use importance sampling"
        if n >= _FEWEST:
            error = 100 * counted.relative_error()
            sentence = f"The steps were used up at an error of {error:.2g} %, not {100 * self.target_error:.3g} %: {more}."
            return self._estimate_of(counted, agreement, [*doubts, sentence], complete=False)
        low, high = (events / time_ps for events in poisson_interval(n))
        few = {"rate_ci95": (low, high), "complete": False}
        if n:
            sentence = f"Only {n} transitions were seen in {time_ps:.4g} ps; the interval is that of a Poisson count: {more}."
        else:
            sentence = (
                f"Nothing came to B in {time_ps:.4g} ps: the rate is below {high:.2g} per ps (95 %), and that is all: {more}."
            )
            few["rate_below_per_ps"] = high
        return self._estimate_of(counted, agreement, [sentence, *doubts], **few)

    def _estimate_of(self, counted: Counted, agreement: Agreement | None, warnings: list[str], **few: Any) -> RateEstimate:
        """The estimate from counts and steps, with what is different where there are few counts."""
        exits, frames, transitions = counted.by_unit()
        time_ps, n = frames * self.problem.timestep, int(transitions.sum())
        k, error = ratio_of_sums(transitions, time_ps)
        if n < _FEWEST:  # their scatter says nothing
            error = np.sqrt(max(n, 1)) / float(time_ps.sum())
        flux, flux_error = ratio_of_sums(exits, time_ps)
        p_ab, p_error = ratio_of_sums(transitions, exits) if exits.any() else (0.0, float("nan"))
        relative = error / k if n else float("nan")
        names = [FLUX, *(variable.name for variable in self.problem.states.variables.variables)]
        return RateEstimate(
            **{**common_fields(self._facts(), k, error, relative), **few},
            method="brute_force",
            flux_per_ps=flux,
            flux_stderr=flux_error,
            p_ab=p_ab,
            p_ab_stderr=p_error,
            ess=float(n),
            pareto_k=pareto_k(transitions),
            n_roots=int(exits.sum()),
            n_exits=int(exits.sum()),
            strength=0.0,
            window_power=1.0,
            channels=_channels(self.problem.states, counted.labels()),
            mean_weight=1.0,
            mean_weight_stderr=0.0,
            pool_relative_error=flux_error / flux if flux else float("nan"),
            roots_relative_error=relative,
            reliable=not warnings,
            warnings=tuple(warnings),
            mixing=None if agreement is None else agreement.to_dict(names),
        )


def _channels(states: States, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Fractions of the transitions by channel, of those that were found, with binomial errors."""
    names, total = states.channel_names, max(len(labels), 1)
    counts = np.bincount(labels, minlength=len(names))
    return {
        name: {"fraction": float(p), "fraction_stderr": float(np.sqrt(p * (1.0 - p) / total))}
        for name, p in zip(names, counts / total, strict=True)
        if p > 0.0 or states.channels is None
    }

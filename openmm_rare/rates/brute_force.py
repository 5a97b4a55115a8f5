"""Brute force: count transitions of unbiased dynamics, with the same bookkeeping as the importance-sampled rate."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RunError
from ..flux.agreement import Agreement, Quantity, compare, quantities
from ..flux.dispersal import Dispersal, dispersed
from ..flux.flux import FluxState, run_flux
from ..flux.parts import doubts_about_parts
from ..io.progress import reached
from ..statistics import pareto_k, ratio_of_sums
from .estimate import RateEstimate
from .rate_run import RateRun
from .summary import common_fields

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..states.states import States

__all__ = ["BruteForceRate"]

_LEFT_OUT = 0.2
"""Fraction of the run, from its start, that is not counted: walkers that start in A need a while before they are as likely
to be on their way to B, or in a side basin, as those that came to A a long time ago."""

_LONGER = 3  # times what the target error takes: how long walkers that do not agree on A may go on
_ADVICE = (
    ". The rate hangs on where walkers began: run longer (a smaller target error), make A smaller, or compute the rate from "
    "each part as a state of its own."
)


class BruteForceRate(RateRun):
    """Rate constant from A to B by counting transitions.

    Parameters
    ----------
    problem : RareEventSystem
    settings : RateSettings, optional
        ``flux_walkers``, ``flux_steps`` and ``max_walker_steps`` are used, and for starts all over A those of training walkers.
    seed : int
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
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
        """Stretches until the target error is reached, and walkers agree on A or go on in vain."""
        starts = dispersed(self.problem, self.settings, self.machine, partial(self._run_task, "flux"), self.progress)
        self.progress.stage("brute force")
        counted, state = _Counted(self.problem), starts.flux_state(self.settings.flux_walkers)
        doubts, limit = [], np.inf
        while True:
            record, state = self._stretch(state)
            counted.add(record)
            error, spent = counted.relative_error(), self.walker_steps["flux"]
            self.progress.update(transitions=counted.n_transitions, **reached(error, self.target_error))
            if counted.n_transitions >= 20 and error <= self.target_error:
                agreement, found = counted.doubts(state, starts, self.target_error)
                # once in doubt, agreement alone is an answer: a moment at which the parts seem alike comes by chance
                doubts, limit = [] if agreement.agree else found or doubts, min(limit, _LONGER * spent)
                if not doubts or spent >= limit:
                    return self._estimate_of(counted, agreement, doubts)
            if spent > self.settings.max_walker_steps:
                raise RunError(
                    f"brute force saw {counted.n_transitions} transitions of {self.problem.name} in {spent:.3g} "
                    f"walker-steps, too few for an error of {100 * self.target_error:g} %: raise max_walker_steps, or use "
                    "importance sampling"
                )

    def _stretch(self, state: FluxState) -> tuple[Mapping, FluxState]:
        """The record of one stretch, and the state at its end."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            rng = np.random.default_rng(seed)
            steps = 4 * self.settings.flux_steps
            chunk = run_flux(self.problem, state, steps, self.machine, int(rng.integers(2**31)), rng)
            return {
                "exits_by_walker": np.bincount(chunk.exit_walker, minlength=len(state)),
                "transition_label": chunk.transition_label,
                **chunk.record(),
            }

        record = self._run_task("flux", "brute_force", compute)
        return record, FluxState.from_record(record)

    def _estimate_of(self, counted: _Counted, agreement: Agreement, doubts: list[str]) -> RateEstimate:
        """The estimate from counts and steps per walker."""
        exits, frames, transitions = counted.by_walker()
        time_ps = frames * self.problem.timestep
        k, error = ratio_of_sums(transitions, time_ps)
        flux, flux_error = ratio_of_sums(exits, time_ps)
        p_ab, p_error = ratio_of_sums(transitions, exits)
        return RateEstimate(
            **common_fields(self._facts(), k, error, error / k),
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
            channels=_channels(self.problem.states, counted.labels()),
            mean_weight=1.0,
            mean_weight_stderr=0.0,
            pool_relative_error=flux_error / flux,
            roots_relative_error=error / k,
            reliable=not doubts,
            warnings=tuple(doubts),
            mixing=agreement.to_dict([_FLUX, *(variable.name for variable in self.problem.states.variables.variables)]),
        )


_FLUX = "flux"


class _Counted:
    """What the stretches so far have counted, without the first fifth of them."""

    def __init__(self, problem: RareEventSystem) -> None:
        self._problem, self._counts, self._labels, self._values = problem, [], [], []

    def add(self, record: Mapping) -> None:
        """One more stretch."""
        names = "exits_by_walker", "frames_last_a", "transitions"
        self._counts.append(np.stack([np.asarray(record[name]) for name in names]))
        self._labels.append(np.asarray(record["transition_label"]))
        values = self._problem.states.variables(np.asarray(record["positions"]))
        self._values.append(np.where(np.asarray(record["last_a"])[:, None], values, np.nan).astype(np.float32))

    @property
    def _first(self) -> int:
        return int(np.ceil(_LEFT_OUT * len(self._counts)))

    def by_walker(self) -> np.ndarray:
        """Exits, steps with A visited last, and transitions, shape (3, n_walkers)."""
        return np.sum(self._counts[self._first :], axis=0)

    def labels(self) -> np.ndarray:
        """Channel label of every transition."""
        return np.concatenate(self._labels[self._first :])

    @property
    def n_transitions(self) -> int:
        """All that are counted; none until there are two stretches to compare."""
        return int(self.by_walker()[2].sum()) if len(self._counts) - self._first > 1 else 0

    def relative_error(self) -> float:
        """Of the rate."""
        if not self.n_transitions:
            return float("inf")
        _, frames, transitions = self.by_walker()
        rate, error = ratio_of_sums(transitions, frames)
        return error / rate

    def doubts(self, state: FluxState, starts: Dispersal, target_error: float) -> tuple[Agreement, list[str]]:
        """Whether walkers agree on A, and what is to be said if it matters that they do not."""
        found = self._quantities()
        agreement = compare(found, state.group, starts.names, state.weight)
        if agreement.agree:
            return agreement, []
        states, whole = self._problem.states, self._rate(np.ones(len(state.group), dtype=bool))[0]
        return agreement, doubts_about_parts(agreement, found, states, self._rate, whole, target_error, _ADVICE)

    def _quantities(self) -> list[Quantity]:
        halves = [np.sum(half, axis=0) for half in np.array_split(self._counts[self._first :], 2)]
        exits, frames, transitions = np.stack(halves, axis=1)
        times = np.where(frames > 0, frames, np.nan) * self._problem.timestep
        rates = {_FLUX: exits / times, "transition rate": transitions / times}
        return quantities(self._problem.states, [], np.array(self._values[self._first :]), rates)

    def _rate(self, members: np.ndarray) -> tuple[float, float]:
        """Rate out of some walkers and its standard error, 1/ps; that of one transition where there is none."""
        _, frames, transitions = self.by_walker()[:, members]
        time_ps = frames * self._problem.timestep
        if not time_ps.any() or len(time_ps) < 2:
            return 0.0, float("inf")
        return ratio_of_sums(transitions, time_ps) if transitions.any() else (0.0, 1.0 / float(time_ps.sum()))


def _channels(states: States, labels: np.ndarray) -> dict[str, dict[str, float]]:
    """Fractions of the transitions by channel, of those that were found, with binomial errors."""
    names, total = states.channel_names, len(labels)
    counts = np.bincount(labels, minlength=len(names))
    return {
        name: {"fraction": float(p), "fraction_stderr": float(np.sqrt(p * (1.0 - p) / total))}
        for name, p in zip(names, counts / total, strict=True)
        if p > 0.0 or states.channels is None
    }

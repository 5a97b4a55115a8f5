"""Weighted walkers in equilibrium with an A of slow parts: annealed from a temperature at which its parts exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..dynamics.frames import Frames
from ..errors import InputError, RunError
from ..io.tasks import Progress, Task
from ..settings.rates import RateSettings
from ..states.states import IN_A, NEITHER
from ..walkers.machine import Machine
from ..walkers.population import Walkers
from ..walkers.propagator import Propagator
from .cooling import Cooled, cool
from .mixing import Mixing, mix
from .reweighting import family_sample_size, log_total

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["NoEquilibriumError", "WeightedStart", "annealed_start"]

_LONGEST = 64  # times training_path_length, of each walker at one temperature
_LOWER = 2  # times what the hotter one took, at a lower temperature
_HOTTER = 6  # temperatures above the ladder
_IN_VAIN = 2  # of them that do not make mixing faster by a fifth, until it is given up
_SLOWER = 4  # times that annealing takes twice as many steps
_GOOD, _LEAST = 0.5, 0.1  # effective part of those in the end: no slower annealing is needed; none is believed below
_UNDECIDED = 0.02  # part that comes neither to A nor to B


class NoEquilibriumError(RunError):
    """Walkers whose parts cannot be weighted: nothing mixes at any temperature, or the weights collapse."""


@dataclass(frozen=True)
class WeightedStart:
    """Walkers that, weighted, are in equilibrium with A the state visited last.

    Attributes
    ----------
    frames : Frames
        In A, and outside of both states: see "A with slow parts" in docs/theory.md.
    log_weights : ndarray, shape (n,)
        The mean weight is 1.
    family : ndarray of int64, shape (n,)
        Independent contributions: walkers of one family descend from one hot walker.
    ess : float
        Effective number of families.
    temperature : float
        K, at which walkers mixed.
    r_hat : dict of str to float
        Split R-hat of each variable and input there, between the groups of starts, and early and late.
    fraction_a : float
        Weight of the walkers that last visited A, in all that were annealed.
    log_ratio : float
        ln Z(target temperature)/Z(mixing temperature), of the whole space.
    walker_steps : int
    """

    frames: Frames
    log_weights: np.ndarray
    family: np.ndarray
    ess: float
    temperature: float
    r_hat: dict[str, float]
    fraction_a: float
    log_ratio: float
    walker_steps: int

    @property
    def weights(self) -> np.ndarray:
        """Shape ``(n,)``, with mean 1."""
        return np.exp(self.log_weights)


def annealed_start(
    problem: RareEventSystem,
    starts: Frames,
    group: np.ndarray,
    ladder: Sequence[float],
    n_walkers: int,
    settings: RateSettings,
    machine: Machine,
    task: Task,
    progress: Progress,
) -> WeightedStart:
    """Weighted walkers for a flux run: hot ones that have mixed, B included, annealed to the temperature of ``problem``.

    Parameters
    ----------
    problem : RareEventSystem
    starts : Frames
        Structures as different as there are.
    group : ndarray of int, shape (k,)
        Where they come from; groups get equally many walkers.
    ladder : sequence of float
        Falling temperatures, that of ``problem`` last. Walkers begin at the first (hotter, if they do not mix there), and are
        annealed from the lowest one at which they mix.
    n_walkers : int
        At least 100.
    settings : RateSettings
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; of the kinds "annealed_mixing", "annealed_cooling" and "annealed_sorting".
    progress : Progress

    Raises
    ------
    NoEquilibriumError
        With the reason, if walkers do not mix at any temperature, if the weights collapse, or if A is not where walkers are.
    ValueError
        For a ladder that does not end at the temperature of ``problem``, or too few walkers.
    """
    ladder = [float(temperature) for temperature in ladder]
    if not ladder or ladder != sorted(ladder, reverse=True) or ladder[-1] != problem.temperature:
        raise InputError(f"ladder = {ladder} must fall to the temperature of the system, {problem.temperature:g} K")
    if n_walkers < 100:
        raise InputError(f"n_walkers = {n_walkers} must be at least 100")
    return _Annealing(problem, settings, machine, task, progress).run(starts, np.asarray(group), ladder, n_walkers)


@dataclass
class _Annealing:
    """The parts of :func:`annealed_start`."""

    problem: RareEventSystem
    settings: RateSettings
    machine: Machine
    task: Task
    progress: Progress
    walker_steps: int = 0

    def run(self, starts: Frames, group: np.ndarray, ladder: list[float], n_walkers: int) -> WeightedStart:
        """Mix, and anneal more slowly as long as that leaves more."""
        self.progress.stage("annealed walkers in A")
        rows = _rows(group, n_walkers)
        mixing = self._mixed(starts[rows], group[rows], ladder)
        found, n_steps = None, self.settings.training_stride
        for _ in range(_SLOWER + 1):
            start = self._annealed(mixing, n_steps)
            before, found = found, start if found is None or start.ess > found.ess else found
            self.progress.update(annealed_from=f"{mixing.temperature:.0f} K", ess=f"{start.ess:.0f} of {len(start.family)}")
            if found is before or found.ess >= _GOOD * len(found.family):
                break
            n_steps *= 2
        if found.ess < max(_LEAST * n_walkers, 2.0):
            raise NoEquilibriumError(
                f"annealing {self.problem.name} to {self.problem.temperature:.0f} K from {mixing.temperature:.0f} K, the "
                f"lowest temperature at which walkers mix, left {len(found.family)} walkers of {n_walkers} in A, which are "
                f"worth {found.ess:.0f}: the populations of the parts of A are not known. Make A smaller, or compute the rate "
                "from each of its parts"
            )
        return replace(found, walker_steps=self.walker_steps)

    def _mixed(self, frames: Frames, group: np.ndarray, ladder: list[float]) -> Mixing:
        """Walkers at the lowest temperature at which they mix."""
        first, longest = self.settings.training_path_length, _LONGEST * self.settings.training_path_length
        hottest = ladder[0] if len(ladder) > 1 else ladder[0] * self.settings.heating_factor
        slow, fastest, in_vain = 0.0, np.inf, 0
        for _ in range(_HOTTER + 1):
            found = self._mix(frames, group, hottest, first, longest, with_b=True)
            in_vain = 0 if found.decay < 0.8 * fastest else in_vain + 1
            if found.mixed or in_vain == _IN_VAIN:
                break
            slow, fastest, hottest = hottest, min(fastest, found.decay), hottest * self.settings.heating_factor
        if not found.mixed:
            raise NoEquilibriumError(
                f"walkers of {self.problem.name} do not mix at up to {found.temperature:.0f} K: over the second half of "
                f"{found.steps} steps there, {found.slowest} kept a correlation of {found.memory:.2f} with what it was. Make A "
                "smaller, or compute the rate from each of its parts"
            )
        for temperature in (each for each in ladder if slow < each < found.temperature):
            lower = self._mix(found.frames, group, temperature, first, min(longest, _LOWER * found.steps), with_b=False)
            if not lower.mixed:
                break
            found = lower
        return found

    def _mix(self, frames: Frames, group: np.ndarray, temperature: float, first: int, limit: int, with_b: bool) -> Mixing:
        at = self.problem.with_temperature(temperature)
        found = mix(at, frames, group, first, limit, with_b, self.settings, self.machine, self.task)
        self.walker_steps += found.walker_steps
        mixed = "mixed" if found.mixed else f"slow in {found.slowest}"
        self.progress.update(at=f"{temperature:.0f} K", after=f"{found.steps} steps", walkers=mixed)
        return found

    def _annealed(self, mixing: Mixing, n_steps: int) -> WeightedStart:
        """Mixed walkers brought to the temperature of the problem, with so many steps at each temperature on the way."""
        walkers = mixing.frames, mixing.temperature
        cold = cool(self.problem, *walkers, n_steps, self.settings, self.machine, self.task, self.progress)
        self.walker_steps += cold.walker_steps
        kept = self._last_in_a(cold)
        log_weights, family, everyone = cold.log_weights[kept], cold.family[kept], log_total(cold.log_weights)
        in_a = log_total(log_weights) if kept.any() else -np.inf
        return WeightedStart(
            cold.frames[kept],
            log_weights - in_a + np.log(max(kept.sum(), 1)),
            family,
            family_sample_size(log_weights, family),
            mixing.temperature,
            mixing.r_hat,
            fraction_a=float(np.exp(in_a - everyone)),
            log_ratio=float(everyone - np.log(len(kept))),
            walker_steps=self.walker_steps,
        )

    def _last_in_a(self, cold: Cooled) -> np.ndarray:
        """Which walkers have A as the state visited last: those in A, and of those outside as many as come to A next."""

        def compute(seed: np.random.SeedSequence) -> Mapping:
            status = self.problem.states.classify(cold.frames.positions)
            outside = np.flatnonzero(status == NEITHER)
            settings, spent = self.settings, 0
            propagator = Propagator(self.problem, None, settings.n_slots, self.machine, seed)
            walkers, length = Walkers.start(cold.frames[outside], outside), settings.training_path_length
            while len(walkers) and length <= settings.waiting_steps:
                block = propagator.advance(walkers, length)
                status[block.walkers.roots] = block.status
                spent, length = spent + block.walker_steps, 2 * length
                walkers = block.walkers.take(np.flatnonzero(block.status == NEITHER))
            return {"status": status, "walker_steps": spent}

        record = self.task("annealed_sorting", compute)
        self.walker_steps += int(record["walker_steps"])
        status = np.asarray(record["status"])
        share = np.exp(cold.log_weights - cold.log_weights.max())
        undecided = share[status == NEITHER].sum() / share.sum()
        if undecided > _UNDECIDED:
            raise NoEquilibriumError(
                f"{100 * undecided:.0f} % of the annealed walkers of {self.problem.name} came neither to A nor to B: there is "
                "a long-lived state between them. Put it into A or B, or compute two steps"
            )
        return status == IN_A


def _rows(group: np.ndarray, n_walkers: int) -> np.ndarray:
    """Which start each walker has: as many walkers for each group, and for each start of a group."""
    members = [np.flatnonzero(group == one) for one in np.unique(group)]
    return np.array([members[i % len(members)][i // len(members) % len(members[i % len(members)])] for i in range(n_walkers)])

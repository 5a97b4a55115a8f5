"""What brute force has counted: exits, time and transitions of walkers, stretch by stretch, and what they say of the rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaincinv

from ..dynamics.copies.replication import fits_in_slots
from ..flux.agreement import Agreement, Quantity, compare, quantities
from ..flux.dispersal import Dispersal
from ..flux.flux import FluxState
from ..flux.memory import remembered
from ..flux.parts import doubts_about_parts
from ..statistics import ratio_of_sums

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["FLUX", "Counted", "poisson_interval"]

FLUX = "flux"

_LEFT_OUT = 0.2
"""Fraction of the run, from its start, that is not counted: walkers that start in A need a while before they are as likely
to be on their way to B, or in a side basin, as those that came to A a long time ago."""

_COMPARABLE = 20  # walkers that move one at a time, from which on it is seen whether they agree on A
_DRIFT = 4.0  # standard errors
_ADVICE = (
    ". The rate hangs on where walkers began: run longer (a smaller target error), make A smaller, or compute the rate from "
    "each part as a state of its own."
)


def poisson_interval(n: float) -> tuple[float, float]:
    """The 95 % interval of the expected number of events, of which n were seen (Garwood 1936); for n = 0 an upper bound.

    Weighted events count as many as are effective.
    """
    if n == 0:
        return 0.0, float(gammaincinv(1, 0.95))
    return float(gammaincinv(n, 0.025)), float(gammaincinv(n + 1, 0.975))


class Counted:
    """What the stretches so far have counted.

    Many walkers are the independent units of error bars, each with all of its stretches, of which the first fifth is left out.
    Of few walkers, which move one at a time and were equilibrated, each stretch of each is a unit: a block.

    Parameters
    ----------
    problem : RareEventSystem
    """

    def __init__(self, problem: RareEventSystem) -> None:
        self._problem, self._counts, self._labels, self._values = problem, [], [], []
        self._in_blocks = not fits_in_slots(problem)

    def add(self, record: Mapping) -> None:
        """One more stretch."""
        names = "exits_by_walker", "frames_last_a", "transitions"
        self._counts.append(np.stack([np.asarray(record[name]) for name in names]))
        self._labels.append(np.asarray(record["transition_label"]))
        values = self._problem.states.variables(np.asarray(record["positions"]))
        self._values.append(np.where(np.asarray(record["last_a"])[:, None], values, np.nan).astype(np.float32))

    @property
    def _first(self) -> int:
        return 0 if self._in_blocks else int(np.ceil(_LEFT_OUT * len(self._counts)))

    @property
    def n_stretches(self) -> int:
        """Those that are counted."""
        return len(self._counts) - self._first

    def by_walker(self) -> np.ndarray:
        """Exits, steps with A visited last, and transitions, shape (3, n_walkers)."""
        return np.sum(self._counts[self._first :], axis=0)

    def by_unit(self) -> np.ndarray:
        """The same of every independent unit, shape (3, n_units)."""
        return np.concatenate(self._counts, axis=1) if self._in_blocks else self.by_walker()

    def labels(self) -> np.ndarray:
        """Channel label of every transition."""
        return np.concatenate(self._labels[self._first :])

    @property
    def n_transitions(self) -> int:
        """All that are counted; none until there are two stretches to compare."""
        return int(self.by_walker()[2].sum()) if self.n_stretches > 1 else 0

    def relative_error(self) -> float:
        """Of the rate."""
        if not self.n_transitions:
            return float("inf")
        _, frames, transitions = self.by_unit()
        rate, error = ratio_of_sums(transitions, frames)
        return error / rate

    def doubts(self, state: FluxState, starts: Dispersal, target_error: float) -> tuple[Agreement | None, list[str]]:
        """How well walkers agree on A, None of few ones, and what is to be said if it matters that they do not."""
        of_blocks = self._of_blocks() if self._in_blocks else []
        if self._in_blocks and len(state) < _COMPARABLE:
            return None, of_blocks
        found = self._quantities()
        agreement = compare(found, state.group, starts.names, state.weight)
        if agreement.agree:
            return agreement, of_blocks
        states, whole = self._problem.states, self._rate(np.ones(len(state.group), dtype=bool))[0]
        parts = doubts_about_parts(agreement, found, states, self._rate, whole, target_error, _ADVICE)
        return agreement, [*parts, *of_blocks]

    def _of_blocks(self) -> list[str]:
        """Sentences about blocks that are not independent, or not of one distribution."""
        exits = np.array([counts[0] for counts in self._counts])
        halves = [np.concatenate(half, axis=1) for half in np.array_split(self._counts, 2) if len(half)]
        found = [remembered(exits)]
        if len(halves) == 2 and len(exits) > 3:
            (early, error), (late, its_error) = (ratio_of_sums(half[0], half[1]) for half in halves)
            drift = (late - early) / max(np.hypot(error, its_error), 1e-300)
            if abs(drift) > _DRIFT:
                found.append(
                    f"The flux out of A drifts during the run (by {drift:+.1f} standard errors): A was not in equilibrium. "
                    "Raise equilibration_ps, or check whether the basin of A has slow parts."
                )
        return [sentence for sentence in found if sentence is not None]

    def _quantities(self) -> list[Quantity]:
        halves = [np.sum(half, axis=0) for half in np.array_split(self._counts[self._first :], 2)]
        exits, frames, transitions = np.stack(halves, axis=1)
        times = np.where(frames > 0, frames, np.nan) * self._problem.timestep
        rates = {FLUX: exits / times, "transition rate": transitions / times}
        return quantities(self._problem.states, [], np.array(self._values[self._first :]), rates)

    def _rate(self, members: np.ndarray) -> tuple[float, float]:
        """Rate out of some walkers and its standard error, 1/ps; that of one transition where there is none."""
        _, frames, transitions = self.by_walker()[:, members]
        time_ps = frames * self._problem.timestep
        if not time_ps.any() or len(time_ps) < 2:
            return 0.0, float("inf")
        return ratio_of_sums(transitions, time_ps) if transitions.any() else (0.0, 1.0 / float(time_ps.sum()))

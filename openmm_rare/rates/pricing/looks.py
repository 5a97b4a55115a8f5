"""Looks at the model while it is trained: a few roots tell what production would cost with it as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bias.importance import FastImportance
from ...dynamics.frames import Frames
from ...flux.pool import Pool
from ...flux.root_density import RootDensity
from ...io.tasks import Task
from ...learning.price import Look, Worth
from ...statistics import effective_sample_size
from ..branching import WeightWindow
from ..roots import RootSampler, Steering

if TYPE_CHECKING:
    from ...committor.model import CommittorModel
    from ...problem import RareEventSystem
    from ...settings.rates import RateSettings
    from ...walkers.machine import Machine

__all__ = ["Pricing"]

_ROOTS = 0.5  # of those of a pilot run
_POWER = 0.85  # of the weight windows: without interfaces few should go on to B
_OLDEST = 7  # times the age at which the pilot drops walkers
_STRENGTH = 0.85  # of the bias; what the pilot will choose is not known yet, and makes little difference
_FIRST = 2  # rounds before the first look, where the model comes from another temperature
_ENOUGH = 5  # walkers in B in a round at a temperature where training only passes through


@dataclass
class Pricing:
    """Decides how long training goes on: while it is predicted to save more production than it costs.

    Every decision is a part of the record of its look, so that a run that is continued, with another target error even, takes
    it again.

    Parameters
    ----------
    target_error : float
        Relative standard error that the rate is to have.
    machine : Machine
    task : callable
        See :data:`openmm_rare.io.tasks.Task`; every look is one task of kind "training_look".

    Attributes
    ----------
    rounds : list of int
        Rounds that were taken at each temperature.
    sweeps : int
        Of the final fit.
    last : mapping or None
        The record of the last look.
    """

    target_error: float
    machine: Machine
    task: Task
    rounds: list[int] = field(default_factory=list)
    sweeps: int = 0
    last: Mapping | None = None
    _looks: list[Look] = field(default_factory=list)
    _spent: float = 0.0

    def begin(self) -> None:
        """Training begins at another temperature."""
        self.rounds.append(0)
        self._looks, self._spent, self.last = [], 0.0, None

    def count(self, record: Mapping) -> None:
        """A round has ended."""
        self.rounds[-1] += 1
        self._spent += int(record["walker_steps"]) + float(record["price"])

    def at_first(self, planned: int, alone: bool) -> int:
        """Rounds to take before anything is decided; ``alone``: at no other temperature."""
        return min(1 if alone else _FIRST, planned)

    def passes(self, arrivals: int) -> bool:
        """Whether so many arrivals in the last round are enough to go on to a lower temperature."""
        return arrivals >= _ENOUGH

    @property
    def convinced(self) -> bool:
        """Whether roots of the last look came to B."""
        return self.last is not None and float(self.last["ess"]) > 0.0

    def more(
        self,
        problem: RareEventSystem,
        model: CommittorModel,
        exits: Frames,
        settings: RateSettings,
        planned: int,
        price_of_sweep: float,
        most_sweeps: int,
    ) -> int:
        """Look at the model; gives the rounds to take before the next look, 0 to stop.

        Parameters
        ----------
        problem, model, exits, settings
            As of the stage; the temperature is that of the rate.
        planned : int
            Rounds at most.
        price_of_sweep : float
            Of the final fit, in steps.
        most_sweeps : int
            Of these; how many are worth it is decided where rounds stop.
        """

        def compute(seed: np.random.SeedSequence) -> Mapping:
            contribution, steps = self._follow(problem, model, exits, settings, seed)
            n, ess = len(contribution), effective_sample_size(contribution)
            cost = max(n / ess - 1.0, 1e-3) * steps / n if ess > 0.0 else np.inf
            # the pool has its share of the error, and too few effective roots are not believed
            per_variance = max(1.0 / ((1.0 - settings.pool_share**2) * self.target_error**2), settings.min_ess)
            worth = Worth([*self._looks, Look(self._spent, cost, ess)], per_variance)
            price = self._spent / self.rounds[-1]
            more = worth.how_often(price, max(min(self.rounds[-1], planned - self.rounds[-1]), 0))
            found = {"more": more, "sweeps": 0 if more else worth.how_often(price_of_sweep, most_sweeps)}
            predicted = {"production": worth.production, "saving": worth.saving(self._spent, price), "price": price}
            return {"spent": self._spent, "cost": cost, "ess": ess, "walker_steps": steps, **found, **predicted}

        self.last = self.task("training_look", compute)
        self._looks.append(Look(*(float(self.last[name]) for name in ("spent", "cost", "ess"))))
        self.sweeps = int(self.last["sweeps"])
        return int(self.last["more"])

    def _follow(
        self,
        problem: RareEventSystem,
        model: CommittorModel,
        exits: Frames,
        settings: RateSettings,
        seed: np.random.SeedSequence,
    ) -> tuple[np.ndarray, int]:
        """Contributions of some roots, and the steps that they took."""
        importance, n = FastImportance(model, problem.num_dimensions), len(exits)
        log_importance = importance.log_importance(exits.positions)
        pool = Pool(exits, np.arange(n), np.ones(n), log_importance, np.ones(n), [])
        density = RootDensity.of_pool(log_importance, settings.uniform_fraction)
        sampler = RootSampler(problem, importance, settings, self.machine, pool, density)
        steering = Steering(_STRENGTH, WeightWindow(power=_POWER))
        oldest = min(_OLDEST * settings.pilot_max_steps, settings.waiting_steps)
        n_roots = max(round(_ROOTS * settings.pilot_roots), 1)
        _, _, batch = sampler.follow(n_roots, steering, sampler.level(steering.window), seed, max_steps=oldest)
        return batch.contribution, batch.walker_steps

    def told(self) -> dict[str, str]:
        """What the last look says, in a few words."""
        if not self.convinced:
            return {"look": "no root came to B"}
        return {name: f"{float(self.last[name]):.2g} steps" for name in ("production", "saving", "price")}

    def summary(self) -> dict[str, Any] | None:
        """For the result: rounds at every temperature, sweeps of the final fit, and why there were no more."""
        if not sum(self.rounds):
            return None
        found: dict[str, Any] = {"rounds": self.rounds, "sweeps": self.sweeps, "stopped": "that is all that was allowed"}
        if self.convinced:
            production, saving, price = (float(self.last[name]) for name in ("production", "saving", "price"))
            found |= {"predicted_production_steps": production, "predicted_saving_steps": saving, "price_of_round_steps": price}
            if saving <= price:
                found["stopped"] = (
                    f"another round would cost as much as {price:.2g} steps and save about {saving:.2g} of {production:.2g}"
                )
        return found

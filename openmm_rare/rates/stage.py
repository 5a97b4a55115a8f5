"""Training at one temperature: rounds of sampling segments with the model so far, and of fitting it to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..bias.bias import Bias
from ..bias.importance import FastImportance
from ..committor.model import CommittorModel
from ..dynamics.frames import Frames
from ..errors import RunError
from ..flux.root_density import RootDensity
from ..io.tasks import Progress, Task
from ..learning.segment_data import SegmentData
from ..learning.segment_trainer import Trainer
from ..settings.rates import RateSettings
from ..states.states import IN_B
from ..walkers.machine import Machine
from ..walkers.propagator import Propagator
from .crossing import values_in_words
from .pricing.looks import Pricing
from .segments import Drifts, noise_of_one_step, sample_segments

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ROUNDS_OF_A_SWEEP", "Stage", "sweeps_of_final_fit"]

ROUNDS_OF_A_SWEEP = 3.0
"""Rounds that a sweep of the final fit takes about as long as."""

_LAST_SWEEPS = 4  # of the final fit
_LAST_LARGER = 2  # times the batches before
_LONGER = 16  # times the lengths that a stage begins with, at most


def sweeps_of_final_fit(settings: RateSettings) -> int:
    """Sweeps of the final fit."""
    return _LAST_SWEEPS if settings.last_updates else 0


def _residual(problem: RareEventSystem, settings: RateSettings) -> tuple[int, float, float]:
    """Batch, weight and steps of the residual: no weight with constraints, which change the drift and the noise of a step."""
    weight = 0.0 if problem.system.getNumConstraints() else settings.residual_weight
    return settings.residual_batch, weight, settings.residual_steps


@dataclass
class Stage:
    """Training at one temperature.

    Attributes
    ----------
    problem : RareEventSystem
        At the temperature of the stage.
    model : CommittorModel
        Trained in place.
    exits : Frames
    settings : RateSettings
        Their lengths grow while no walker reaches B.
    machine : Machine
    task : callable
    progress : Progress
    place : str
        Temperature and number of the stage, in words.
    pricing : Pricing, optional
        Decides how many of the planned rounds are taken; without it all of them are.
    """

    problem: RareEventSystem
    model: CommittorModel
    exits: Frames
    settings: RateSettings
    machine: Machine
    task: Task
    progress: Progress
    place: str
    pricing: Pricing | None = None

    def train(self, seen: list[SegmentData], fresh: bool, last: bool, rounds: int) -> list[SegmentData]:
        """Rounds of sampling and fitting, and in the last stage a final, longer fit to all of its segments.

        ``seen`` are the segments of the stage before; ``fresh``: the model is untrained.
        """
        trainer = Trainer(
            self.model, noise_of_one_step(self.problem), self.settings.batch, *_residual(self.problem, self.settings)
        )
        buffer, arrivals = [], []
        if fresh and seen:  # a random model may point away from B: first learn from the paths that got there unaided
            buffer = list(seen)

            def first(seed: np.random.SeedSequence) -> Mapping:
                fit = _fit(trainer, buffer, 0.0, self.settings, np.random.default_rng(seed))
                return {"walker_steps": 0, **fit, **trainer.state()}

            trainer.set_state(self.task("training_first_fit", first))
        drifts, given = Drifts(self.problem, self.settings.n_slots, self.machine), self.settings.segment_length
        until = self._begin(rounds, fresh and last)
        # a stage goes on while some of its latest rounds brought no walker to B
        while len(arrivals) < until or (self._lost(arrivals) and len(arrivals) < self.settings.patience * rounds):
            late = len(arrivals) - rounds
            if late >= 0 and late % 2 == 0 and not self.settings.time_scale and self.settings.segment_length < _LONGER * given:
                self.settings = self.settings.slowed(2.0)  # walkers that need more steps than they get never arrive
                trainer.residual_steps = self.settings.residual_steps
            known = buffer or seen

            def compute(seed: np.random.SeedSequence, known: list[SegmentData] = known) -> Mapping:
                return self._round(trainer, drifts, buffer, known, min(len(arrivals) / rounds, 1.0), seed)

            record = self.task("training", compute)
            trainer.set_state(record)
            arrivals.append(int(record["arrivals"]))
            buffer.append(SegmentData.of_record(record))
            while len(buffer) > 1 and sum(map(len, buffer[1:])) >= self.settings.buffer:
                buffer.pop(0)
            more = "" if len(arrivals) <= rounds else f", at most {self.settings.patience * rounds}: few reach B yet"
            self._tell(record, float(len(arrivals) <= rounds), round=f"{len(arrivals)} of {rounds}{more}")
            until = self._until(trainer, record, arrivals, until, rounds, last)
        if self._lost(arrivals) and max(arrivals[-3:]) == 0:
            raise RunError(self._nobody_arrived(record, len(arrivals)))
        self.progress.update(max(rounds - len(arrivals), 0))
        if last:
            self._finish(trainer, buffer)
        return buffer

    def _begin(self, rounds: int, alone: bool) -> int:
        """Rounds to take before anything is decided."""
        if self.pricing is None:
            return rounds
        self.pricing.begin()
        return self.pricing.at_first(rounds, alone)

    def _until(self, trainer: Trainer, record: Mapping, arrivals: list[int], until: int, rounds: int, last: bool) -> int:
        """How many rounds to take in all, now that another one has ended."""
        if self.pricing is None:
            return until
        self.pricing.count(record)
        if len(arrivals) < until:
            return until
        if not last:
            return min(until + (not self.pricing.passes(arrivals[-1])), rounds)
        sweep = trainer.price(self.settings.last_updates, _LAST_LARGER)
        ahead = (max(rounds, len(arrivals)), sweep, sweeps_of_final_fit(self.settings))
        until += self.pricing.more(self.problem, self.model, self.exits, self.settings, *ahead)
        self.progress.update(0, **self.pricing.told())
        return until

    def _lost(self, arrivals: list[int]) -> bool:
        """Whether nobody came to B in one of the latest rounds, nor in the last look."""
        return min(arrivals[-3:]) == 0 and not (self.pricing is not None and self.pricing.convinced)

    def _finish(self, trainer: Trainer, buffer: list[SegmentData]) -> None:
        """The final fit to all segments of the stage, as far as it pays."""
        planned = sweeps_of_final_fit(self.settings)
        sweeps = planned if self.pricing is None else self.pricing.sweeps
        for sweep in range(sweeps):

            def final(seed: np.random.SeedSequence, sweep: int = sweep) -> Mapping:
                fit = _last_fit(trainer, buffer, sweep, self.settings, np.random.default_rng(seed))
                p_ab = float(np.exp(self.model.log_importance(self.exits.positions)).mean())
                return {"walker_steps": 0, "p_ab": p_ab, **fit, **trainer.state()}

            record = self.task("training_last_fit", final)
            trainer.set_state(record)
            self._tell(record, ROUNDS_OF_A_SWEEP, final_fit=f"{sweep + 1} of {sweeps}")
        self.progress.update(ROUNDS_OF_A_SWEEP * (planned - sweeps))

    def _tell(self, record: Mapping, work: float, **what: str) -> None:
        """Show where training is."""
        numbers = {"p_ab": f"{float(record['p_ab']):.2e}", "sd_ln_I": f"{float(record['sd_log_importance']):.1f}"}
        self.progress.update(work, at=self.place, **what, **numbers)

    def _nobody_arrived(self, record: Mapping, rounds: int) -> str:
        """What was seen of a stage that brought no walker to B."""
        seen = SegmentData.of_record(record).start.positions
        log_importance = self.model.log_importance(seen)
        best = int(log_importance.argmax())
        variables = self.problem.states.variables
        place = values_in_words(variables.names, variables(seen[best : best + 1].astype(float))[0])
        return (
            f"training at {self.problem.temperature:.0f} K brought no walker to B in the last of its {rounds} rounds, each "
            f"followed for {self.settings.segment_length} steps; the farthest one seen was at {place}, where ln I = "
            f"{log_importance[best]:.1f}. If that is a long-lived state of its own, put it into A or B, or compute two steps; "
            "if the descriptor does not tell the places on the way to B from others, give a richer one; or give more walkers "
            "(training_walkers), more rounds (stage_rounds), a slower ladder (ladder_ratio)"
        )

    def _round(
        self,
        trainer: Trainer,
        drifts: Drifts,
        buffer: list[SegmentData],
        known: list[SegmentData],
        progress: float,
        seed: np.random.SeedSequence,
    ) -> dict:
        """Sample segments with the present model, then train it on the buffer.

        Walkers start from exits and from ``known`` places between the states; while there are none, they go all the way.
        """
        settings, exits, rng = self.settings, self.exits, np.random.default_rng(seed)
        importance = FastImportance(trainer.model, self.problem.num_dimensions)
        bias = Bias(importance, settings.training_strength, settings.bias_interval)
        propagator = Propagator(self.problem, bias, settings.n_slots, self.machine, seed)
        log_importance = importance.log_importance(exits.positions)
        density = RootDensity.of_pool(log_importance, settings.uniform_fraction)
        starts, length = exits[density.draw(log_importance, settings.training_roots, rng)], settings.training_path_length
        if known:
            places = Frames.join([exits, *(part.start for part in known)])
            starts = Frames.join([starts, _spread(places, importance, settings.training_walkers, rng)])
            length = settings.segment_length
        batch = sample_segments(propagator, starts, settings.training_stride, length, int(rng.integers(2**31)), drifts)
        fit = _fit(trainer, [*buffer, batch.segments], progress, settings, rng)
        return {
            "temperature_k": self.problem.temperature,
            "p_ab": float(np.exp(log_importance).mean()),
            "arrivals": int((batch.status == IN_B).sum()),
            "walker_steps": batch.walker_steps,
            **fit,
            **batch.segments.record(),
            **trainer.state(),
        }


def _fit(trainer: Trainer, data: list[SegmentData], progress: float, settings: RateSettings, rng: np.random.Generator) -> dict:
    """Train on everything at hand; each sweep carries what is known about B one segment further towards A."""
    segments = data[0].join(*data[1:]).newest(settings.buffer)
    rate = settings.learning_rate * settings.learning_rate_decay**progress
    return trainer.fit(segments, rng, settings.updates, rate, sweeps=settings.sweeps)


def _last_fit(
    trainer: Trainer, data: list[SegmentData], sweep: int, settings: RateSettings, rng: np.random.Generator
) -> dict[str, float]:
    """One sweep of large batches and a falling learning rate, looked at only at its end: to get the most out of the data."""
    segments = data[0].join(*data[1:]).newest(settings.buffer)
    rate = 0.5 * settings.learning_rate * 0.3**sweep
    return trainer.fit(segments, rng, settings.last_updates, rate, check=settings.last_updates, larger=_LAST_LARGER)


def _spread(places: Frames, importance: FastImportance, n: int, rng: np.random.Generator) -> Frames:
    """Draw n of the places, evenly over ln I, so that every depth between A and B keeps being visited."""
    places = places[rng.integers(0, len(places), 20 * n)]
    depth = importance.log_importance(places.positions)
    bins = np.clip(((depth - depth.min()) / max(np.ptp(depth), 1e-6) * 20).astype(int), 0, 19)
    flat = 1.0 / np.bincount(bins, minlength=20)[bins]
    return places[rng.choice(len(places), n, p=flat / flat.sum())]

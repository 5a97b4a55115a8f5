"""Training from nothing: find an easy temperature, train there, carry the model down to the wanted one."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from .bias import Bias
from .committor import CommittorModel
from .errors import RunError
from .flux import FluxState, RootDensity, run_flux
from .inference import FastImportance
from .segments import noise_of_one_step, sample_segments
from .settings import Settings
from .states import IN_B
from .tasks import Task
from .training import SegmentData, Trainer
from .walkers import Propagator

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["anneal", "temperature_ladder"]

_LAST_SWEEPS = 4  # of the final fit
_LAST_LARGER = 2  # times the batches before
_EASY = 0.01  # fraction of exits that reach B unaided at a temperature where training starts from nothing


def temperature_ladder(hot: float, cold: float, ratio: float) -> list[float]:
    """Temperatures from ``hot`` down to ``cold`` in equal ratios of about ``ratio``; both ends included."""
    if hot <= cold * 1.0001:
        return [cold]
    steps = max(1, int(np.ceil(np.log(hot / cold) / -np.log(ratio))))
    return [float(hot * (cold / hot) ** (i / steps)) for i in range(steps + 1)]


def anneal(
    target: RareEventSystem,
    model: CommittorModel,
    settings: Settings,
    platform: str,
    task: Task,
    fresh: bool,
) -> Iterator[tuple[float, Mapping]]:
    """Train ``model`` in place down to the temperature of ``target``; yields (temperature, round record) as it goes.

    Parameters
    ----------
    target : RareEventSystem
    model : CommittorModel
        Untrained (``fresh``), or trained at ``model.temperature``.
    settings : Settings
    platform : str
    task : callable
        See :data:`openmm_rare.tasks.Task`; every round is one task of kind "training".
    fresh : bool
        Start from an easy temperature with random weights.
    """
    seen: list[SegmentData] = []
    exits = None
    if settings.annealing:
        ladder = [*settings.annealing, target.temperature]
    elif fresh:
        hot, exits, seen = _easy_temperature(target, settings, platform, task)
        ladder = temperature_ladder(hot, target.temperature, settings.ladder_ratio)
    else:
        ladder = temperature_ladder(model.temperature, target.temperature, settings.ladder_ratio)[1:] or [target.temperature]
    for number, temperature in enumerate(ladder):
        stage = target.with_temperature(temperature)
        first, last = fresh and number == 0, number == len(ladder) - 1
        rounds = settings.first_stage_rounds if first else settings.stage_rounds
        rounds = max(rounds, settings.last_stage_rounds) if last else rounds
        if not first:
            model.cool(temperature)
        if rounds == 0:  # a trained model, taken as it is
            continue
        if exits is None:
            exits = _exits(stage, settings, platform, task)
        if first:
            # paths that got far show the features' whole range, exits alone only a corner of it
            model.standardize(np.concatenate([exits, *(part.end for part in seen)]))
            model.temperature = temperature
        seen = yield from _train_stage(stage, model, exits, seen, first, last, rounds, settings, platform, task)
        exits = None


def _exits(stage: RareEventSystem, settings: Settings, platform: str, task: Task) -> np.ndarray:
    """At most ``training_exits`` exits from a short flux run at the temperature of the stage."""

    def compute(seed: np.random.SeedSequence) -> Mapping:
        rng, wanted = np.random.default_rng(seed), settings.training_exits
        state, steps = FluxState.start(stage, settings.training_flux_walkers), 0
        found: list[np.ndarray] = []
        n_steps = settings.training_flux_steps
        while sum(map(len, found[1:])) < wanted and steps < settings.training_flux_limit:
            chunk = run_flux(stage, state, n_steps, platform, int(rng.integers(2**31)), rng, settings.backend)
            state, steps = chunk.state, steps + chunk.walker_steps
            found.append(chunk.exits)
            n_steps = min(2 * n_steps, 8 * settings.training_flux_steps)
        # the first stretch only equilibrates, unless exits are so rare that every one counts
        pool = np.concatenate(found[1:] if sum(map(len, found[1:])) >= wanted else found)
        if len(pool) == 0:
            raise RunError(
                f"no walker left state A of {stage.name} in {steps} steps at {stage.temperature:g} K: "
                "A may cover its whole basin; make it smaller"
            )
        pool = pool[rng.choice(len(pool), min(wanted, len(pool)), replace=False)]
        return {"temperature_k": stage.temperature, "exits": pool, "walker_steps": steps}

    return np.asarray(task("training_exits", compute)["exits"])


def _easy_temperature(
    target: RareEventSystem, settings: Settings, platform: str, task: Task
) -> tuple[float, np.ndarray, list[SegmentData]]:
    """The lowest of rising temperatures at which unaided exits reach B often enough, its exits and their segments."""
    temperature = target.temperature
    for _ in range(settings.heating_tries):
        stage = target.with_temperature(temperature)
        exits = _exits(stage, settings, platform, task)

        def compute(seed: np.random.SeedSequence, stage: RareEventSystem = stage, exits: np.ndarray = exits) -> Mapping:
            rng = np.random.default_rng(seed)
            roots = exits[rng.integers(0, len(exits), settings.heating_roots)]
            plain = Propagator(stage, None, settings.n_slots, platform, seed, settings.backend)
            length = settings.training_path_length
            batch = sample_segments(plain, roots, settings.training_stride, length, int(rng.integers(2**31)))
            return {
                "temperature_k": stage.temperature,
                "hits": int((batch.status == IN_B).sum()),
                "walker_steps": batch.walker_steps,
                **vars(batch.segments),
            }

        record = task("training_heating", compute)
        if int(record["hits"]) >= _EASY * settings.heating_roots:
            return temperature, exits, [_segments(record)]
        temperature *= settings.heating_factor
    raise RunError(
        f"state B of {target.name} was never reached from A, not even at {temperature / settings.heating_factor:.0f} K: "
        "check that B is where you think it is (the run tested it on every frame), raise training_path_length if paths "
        "take longer than that, or give annealing temperatures"
    )


def _residual(stage: RareEventSystem, settings: Settings) -> tuple[int, float, float]:
    """Batch, weight and steps of the residual: no weight with constraints, which change the drift and the noise of a step."""
    weight = 0.0 if stage.system.getNumConstraints() else settings.residual_weight
    return settings.residual_batch, weight, settings.residual_steps


def _train_stage(
    stage: RareEventSystem,
    model: CommittorModel,
    exits: np.ndarray,
    seen: list[SegmentData],
    fresh: bool,
    last: bool,
    rounds: int,
    settings: Settings,
    platform: str,
    task: Task,
) -> Generator[tuple[float, Mapping], None, list[SegmentData]]:
    """Rounds of sampling and fitting, and in the last stage a final, longer fit to all of its segments.

    ``seen`` are the segments of the stage before; ``fresh``: the model is untrained.
    """
    trainer = Trainer(model, noise_of_one_step(stage), settings.batch, *_residual(stage, settings))
    buffer, arrivals = [], []
    if fresh and seen:  # a random model may point away from B: first learn from the paths that got there unaided
        buffer = list(seen)

        def first(seed: np.random.SeedSequence) -> Mapping:
            fit = _fit(trainer, buffer, 0.0, settings, np.random.default_rng(seed))
            return {"walker_steps": 0, **fit, **trainer.state()}

        trainer.set_state(task("training_first_fit", first))
    # a stage goes on while some of its latest rounds brought no walker to B
    while len(arrivals) < rounds or (min(arrivals[-3:]) == 0 and len(arrivals) < settings.patience * rounds):

        def compute(seed: np.random.SeedSequence) -> Mapping:
            progress = min(len(arrivals) / rounds, 1.0)
            return _round(stage, trainer, buffer, buffer or seen, exits, progress, settings, platform, seed)

        record = task("training", compute)
        trainer.set_state(record)
        arrivals.append(int(record["arrivals"]))
        buffer.append(_segments(record))
        while len(buffer) > 1 and sum(map(len, buffer[1:])) >= settings.buffer:
            buffer.pop(0)
        yield stage.temperature, record
    if max(arrivals[-3:]) == 0:
        raise RunError(
            f"training at {stage.temperature:.0f} K brought no walker to B in its last rounds: give more rounds "
            "(first_stage_rounds, stage_rounds, last_stage_rounds), more walkers (training_walkers), a slower ladder "
            "(ladder_ratio), or a richer descriptor"
        )
    for sweep in range(_LAST_SWEEPS if last and settings.last_updates else 0):

        def final(seed: np.random.SeedSequence, sweep: int = sweep) -> Mapping:
            fit = _last_fit(trainer, buffer, sweep, settings, np.random.default_rng(seed))
            return {"walker_steps": 0, "p_ab": float(np.exp(model.log_importance(exits)).mean()), **fit, **trainer.state()}

        record = task("training_last_fit", final)
        trainer.set_state(record)
        yield stage.temperature, record
    return buffer


def _segments(record: Mapping) -> SegmentData:
    """The segments of a training record."""
    return SegmentData(*(np.asarray(record[field.name]) for field in fields(SegmentData)))


def _fit(trainer: Trainer, data: list[SegmentData], progress: float, settings: Settings, rng: np.random.Generator) -> dict:
    """Train on everything at hand; each sweep carries what is known about B one segment further towards A."""
    segments = SegmentData.concatenate(data, settings.buffer)
    rate = settings.learning_rate * settings.learning_rate_decay**progress
    for _ in range(settings.sweeps):
        report = trainer.fit(segments, rng, settings.updates, rate)
    return report


def _last_fit(
    trainer: Trainer, data: list[SegmentData], sweep: int, settings: Settings, rng: np.random.Generator
) -> dict[str, float]:
    """One sweep of large batches and a falling learning rate, looked at only at its end: to get the most out of the data."""
    segments = SegmentData.concatenate(data, settings.buffer)
    rate = 0.5 * settings.learning_rate * 0.3**sweep
    return trainer.fit(segments, rng, settings.last_updates, rate, check=settings.last_updates, larger=_LAST_LARGER)


def _round(
    stage: RareEventSystem,
    trainer: Trainer,
    buffer: list[SegmentData],
    known: list[SegmentData],
    exits: np.ndarray,
    progress: float,
    settings: Settings,
    platform: str,
    seed: np.random.SeedSequence,
) -> dict:
    """Sample segments with the present model, then train it on the buffer.

    Walkers start from exits and from ``known`` places between the states; while there are none, they go all the way.
    """
    rng = np.random.default_rng(seed)
    importance = FastImportance(trainer.model, stage.num_dimensions)
    bias = Bias(importance, settings.training_strength, settings.bias_interval)
    propagator = Propagator(stage, bias, settings.n_slots, platform, seed, settings.backend)
    log_importance = importance.log_importance(exits)
    density = RootDensity.of_pool(log_importance, settings.uniform_fraction)
    starts, length = exits[density.draw(log_importance, settings.training_roots, rng)], settings.training_path_length
    if known:
        places = np.concatenate([exits, *(part.start for part in known)])
        starts = np.concatenate([starts, _spread(places, importance, settings.training_walkers, rng)])
        length = settings.segment_length
    batch = sample_segments(propagator, starts, settings.training_stride, length, int(rng.integers(2**31)))
    fit = _fit(trainer, [*buffer, batch.segments], progress, settings, rng)
    return {
        "temperature_k": stage.temperature,
        "p_ab": float(np.exp(log_importance).mean()),
        "arrivals": int((batch.status == IN_B).sum()),
        "walker_steps": batch.walker_steps,
        **fit,
        **vars(batch.segments),
        **trainer.state(),
    }


def _spread(places: np.ndarray, importance: FastImportance, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n of the places, evenly over ln I, so that every depth between A and B keeps being visited."""
    places = places[rng.integers(0, len(places), 20 * n)]
    depth = importance.log_importance(places)
    bins = np.clip(((depth - depth.min()) / max(np.ptp(depth), 1e-6) * 20).astype(int), 0, 19)
    flat = 1.0 / np.bincount(bins, minlength=20)[bins]
    return places[rng.choice(len(places), n, p=flat / flat.sum())]

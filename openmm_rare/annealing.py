"""Training from nothing: find an easy temperature, train there, carry the model down to the wanted one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from .committor import CommittorModel
from .flux import FluxState, RootDensity, run_flux
from .inference import FastImportance
from .settings import Settings
from .training import SegmentData, Trainer
from .walkers import Propagator
from .weighted_paths import run_roots

if TYPE_CHECKING:
    from .systems.base import RareEventSystem

__all__ = ["Task", "anneal", "temperature_ladder"]

Task = Callable[[str, Callable[[np.random.SeedSequence], Mapping]], Mapping]
"""Runs a named unit of work once: ``task(kind, compute)`` returns what ``compute(seed)`` returned, now or in an earlier run."""

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
        See :data:`Task`; every round is one task of kind "training".
    fresh : bool
        Start from an easy temperature with random weights.
    """
    first_segments: list[SegmentData] = []
    if settings.annealing:
        ladder = [*settings.annealing, target.temperature]
    elif fresh:
        hot, first_segments = _easy_temperature(target, settings, platform, task)
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
        exits = _exits(stage, settings.training_exits, settings, platform, task)
        if first:
            # paths that got far show the features' whole range, exits alone only a corner of it
            model.standardize(np.concatenate([exits, *(part.end for part in first_segments)]))
            model.temperature = temperature
        yield from _train_stage(stage, model, exits, first_segments if first else [], rounds, settings, platform, task)


def _exits(stage: RareEventSystem, wanted: int, settings: Settings, platform: str, task: Task) -> np.ndarray:
    """About ``wanted`` exits from a short flux run at the temperature of the stage."""

    def compute(seed: np.random.SeedSequence) -> Mapping:
        rng = np.random.default_rng(seed)
        state, steps = FluxState.start(stage, settings.training_flux_walkers), 0
        found: list[np.ndarray] = []
        n_steps = settings.training_flux_steps
        while sum(map(len, found[1:])) < wanted and steps < settings.training_flux_limit:
            chunk = run_flux(stage, state, n_steps, platform, int(rng.integers(2**31)), rng)
            state, steps = chunk.state, steps + chunk.walker_steps
            found.append(chunk.exits)
            n_steps = min(2 * n_steps, 8 * settings.training_flux_steps)
        # the first stretch only equilibrates, unless exits are so rare that every one counts
        pool = np.concatenate(found[1:] if sum(map(len, found[1:])) >= wanted else found)
        if len(pool) == 0:
            raise RuntimeError(
                f"no walker left state A of {stage.name} in {steps} steps at {stage.temperature:g} K: "
                "A may cover its whole basin; make it smaller"
            )
        pool = pool[rng.choice(len(pool), min(wanted, len(pool)), replace=False)]
        return {"temperature_k": stage.temperature, "exits": pool, "walker_steps": steps}

    return np.asarray(task("training_exits", compute)["exits"])


class _NoImportance:
    """ln I = 0 everywhere: plain dynamics without branching."""

    def log_importance(self, positions: np.ndarray) -> np.ndarray:
        return np.zeros(len(positions))


def _easy_temperature(
    target: RareEventSystem, settings: Settings, platform: str, task: Task
) -> tuple[float, list[SegmentData]]:
    """The lowest of rising temperatures at which unaided exits reach B often enough, and the segments that showed it."""
    temperature = target.temperature
    for _ in range(settings.heating_tries):
        stage = target.with_temperature(temperature)
        exits = _exits(stage, settings.heating_roots, settings, platform, task)

        def compute(seed: np.random.SeedSequence, stage: RareEventSystem = stage, exits: np.ndarray = exits) -> Mapping:
            rng = np.random.default_rng(seed)
            roots = exits[rng.integers(0, len(exits), settings.heating_roots)]
            plain = Propagator(stage, None, 0.0, settings.n_slots, platform, seed)
            options = {"stride": settings.stride, "max_steps": settings.training_max_steps, "collect": 1.0}
            batch = run_roots(plain, _NoImportance(), roots, 0.0, rng, **options)
            return {
                "temperature_k": stage.temperature,
                "hits": int(batch.arrivals.sum()),
                "walker_steps": batch.walker_steps,
                **vars(batch.segments),
            }

        record = task("training_heating", compute)
        if int(record["hits"]) >= _EASY * settings.heating_roots:
            return temperature, [_segments(record)]
        temperature *= settings.heating_factor
    raise RuntimeError(
        f"state B of {target.name} was never reached from A, not even at {temperature / settings.heating_factor:.0f} K: "
        "check that B is where you think it is (the run tested it on every frame), or give annealing temperatures"
    )


def _train_stage(
    stage: RareEventSystem,
    model: CommittorModel,
    exits: np.ndarray,
    seen: list[SegmentData],
    rounds: int,
    settings: Settings,
    platform: str,
    task: Task,
) -> Iterator[tuple[float, Mapping]]:
    trainer = Trainer(model, settings.batch)
    buffer, arrivals = list(seen), []
    if seen:  # a random model may point away from B: first learn from the paths that got there unaided

        def first(seed: np.random.SeedSequence) -> Mapping:
            fit = _fit(trainer, buffer, 0.0, settings, np.random.default_rng(seed))
            return {"walker_steps": 0, **fit, **trainer.state()}

        trainer.set_state(task("training_first_fit", first))
    # a stage goes on while some of its latest rounds brought no walker to B
    while len(arrivals) < rounds or (min(arrivals[-3:]) == 0 and len(arrivals) < settings.patience * rounds):

        def compute(seed: np.random.SeedSequence) -> Mapping:
            return _round(stage, trainer, buffer, exits, min(len(arrivals) / rounds, 1.0), settings, platform, seed)

        record = task("training", compute)
        trainer.set_state(record)
        arrivals.append(int(record["arrivals"]))
        buffer.append(_segments(record))
        while len(buffer) > 1 and sum(map(len, buffer[1:])) >= settings.buffer:
            buffer.pop(0)
        yield stage.temperature, record
    if max(arrivals[-3:]) == 0:
        raise RuntimeError(
            f"training at {stage.temperature:.0f} K brought no walker to B in its last rounds: give more rounds "
            "(stage_rounds), more roots (training_roots), a slower ladder (ladder_ratio), or a richer descriptor"
        )


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


def _round(
    stage: RareEventSystem,
    trainer: Trainer,
    buffer: list[SegmentData],
    exits: np.ndarray,
    progress: float,
    settings: Settings,
    platform: str,
    seed: np.random.SeedSequence,
) -> dict:
    """Sample segments with the present model, then train it on the buffer."""
    rng = np.random.default_rng(seed)
    importance = FastImportance(trainer.model, stage.num_dimensions)
    roots, log_w, ages, level = _training_roots(importance, exits, buffer, settings, rng)
    strength, slots = settings.training_strength, settings.n_slots
    propagator = Propagator(stage, importance, strength, slots, platform, seed, settings.bias_interval)
    batch = run_roots(
        propagator,
        importance,
        roots,
        level,
        rng,
        log_weights=log_w,
        ages=ages,
        stride=settings.stride,
        max_population=settings.training_population,
        collect=settings.collect,
        max_steps=settings.training_max_steps,
    )
    segments = batch.segments
    fit = _fit(trainer, [*buffer, segments], progress, settings, rng)
    return {
        "temperature_k": stage.temperature,
        "p_ab": float(batch.contribution[: settings.training_roots].mean()),
        "arrivals": int(batch.arrivals.sum()),
        "walker_steps": batch.walker_steps,
        **fit,
        **vars(segments),
        **trainer.state(),
    }


def _training_roots(
    importance: FastImportance, exits: np.ndarray, buffer: list[SegmentData], settings: Settings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Roots of a training round, their starting ln w and ages, and ln C: exits drawn by G, then replayed segment starts.

    The replayed starts are spread evenly over ln I, so that every depth between A and B keeps being visited; a short run
    from each is enough.
    """
    log_importance = importance.log_importance(exits)
    density = RootDensity.of_pool(log_importance, settings.uniform_fraction)
    index = density.draw(log_importance, settings.training_roots, rng)
    roots, log_w = exits[index], -np.log(density(log_importance[index]))
    level = float(np.logaddexp.reduce(log_w + log_importance[index]) - np.log(len(index)))
    ages = np.zeros(len(roots), dtype=np.int64)
    if not buffer:
        return roots, log_w, ages, level
    starts = np.concatenate([part.start for part in buffer])
    starts = starts[rng.integers(0, len(starts), 20 * settings.replayed_roots)]
    depth = importance.log_importance(starts)
    bins = np.clip(((depth - depth.min()) / max(np.ptp(depth), 1e-6) * 20).astype(int), 0, 19)
    flat = 1.0 / np.bincount(bins, minlength=20)[bins]
    chosen = rng.choice(len(starts), settings.replayed_roots, p=flat / flat.sum())
    # their weight plays no part in the loss; started inside the window they neither split nor die at once
    late = np.full(len(chosen), max(settings.training_max_steps - settings.replay_steps, 0))
    roots, log_w = np.concatenate([roots, starts[chosen]]), np.concatenate([log_w, level - depth[chosen]])
    return roots, log_w, np.concatenate([ages, late]), level

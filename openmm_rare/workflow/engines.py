"""What computes a rate: chosen by the method of a configuration, and by what the dynamics of the problem allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..bias.directions import CommittorDirection, Direction, VariableDirection
from ..committor.base import Committor
from ..committor.fitting import require_fitting
from ..committor.model import CommittorModel
from ..config.run import RunConfig, SamplingConfig
from ..dynamics.copies.replication import fits_in_slots
from ..errors import InputError
from ..flux.restarts import begins_again
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..parallel.executors import Executor
from ..problem import RareEventSystem
from ..rates.barrier.barrier_rate import BarrierRate
from ..rates.brute_force import BruteForceRate
from ..rates.importance import ImportanceSamplingRate
from ..rates.rate_run import RateRun
from ..rates.splitting.rate import SplittingRate
from ..walkers.machine import Machine

__all__ = ["engine_of", "way_of"]

_NO_WORKERS = "The walkers of this System share Contexts, which move in threads of this process: workers get nothing to do."


def way_of(sampling: SamplingConfig, problem: RareEventSystem) -> str:
    """The method, but "splitting" along a given direction where none is learned, for want of many walkers without momenta."""
    return "splitting" if sampling.method == "importance" and begins_again(problem) else sampling.method


def engine_of(
    config: RunConfig,
    problem: RareEventSystem,
    machine: Machine,
    run: RunFile,
    progress: Progress,
    model: Committor | None,
    executor: Executor | None,
) -> RateRun:
    """What computes the rate.

    Parameters
    ----------
    config : RunConfig
        Of the problem.
    problem : RareEventSystem
    machine : Machine
    run : RunFile
        Keeps what is computed.
    progress : Progress
    model : Committor or None
        To start from.
    executor : Executor or None
        Where walkers move one at a time; None: here.

    Raises
    ------
    ValueError
        If the model or the variable does not fit, or dynamics with momenta is given neither.
    """
    sampling, given = config.sampling, way_of(config.sampling, problem) == "splitting"
    options: dict[str, Any] = {
        "target_error": sampling.target_error,
        "seed": sampling.seed,
        "machine": machine,
        "settings": sampling.settings,
        "recorder": run,
        "progress": progress,
    }
    _require_sense(sampling, given)
    if executor is not None and sampling.method != "barrier" and fits_in_slots(problem):
        progress.note(_NO_WORKERS)
    if sampling.method == "brute_force":
        return BruteForceRate(problem, executor=executor, **options)
    if sampling.method == "barrier":
        barrier = replace(config.barrier, reverse=config.barrier.reverse or sampling.settings.reverse)
        return BarrierRate(problem, barrier=barrier, model=model, executor=executor, **options)
    if given:
        direction = _direction(problem, sampling.importance, model, sampling.backward)
        return SplittingRate(problem, direction, executor=executor, **options)
    model = None if sampling.backward else model  # which knows little near B: a new one is trained from there
    if model is not None and not isinstance(model, CommittorModel):
        raise InputError(f"a rate of overdamped dynamics is trained on from a single network, not from a {model.title}")
    return ImportanceSamplingRate(problem, model=model, no_reweighting=sampling.no_reweighting, **options)


def _require_sense(sampling: SamplingConfig, given: bool) -> None:
    """Refuse what the method has no use for; `given`: whether it needs a direction."""
    if sampling.importance and sampling.method == "importance" and not given:
        raise InputError(
            f"importance = {sampling.importance!r}: a given direction is for rates by splitting, with momenta or of large "
            "Systems; leave it out, the importance function of this one is learned"
        )
    if sampling.settings.save_paths and sampling.method != "importance":
        raise InputError(
            f"save_paths = {sampling.settings.save_paths}: paths with weights are made by importance sampling and splitting, "
            f"not by the method {sampling.method!r}; leave it out, or sample paths with openmm-rare tps"
        )


def _direction(problem: RareEventSystem, variable: str, model: Committor | None, back: bool) -> Direction:
    if variable and model is not None:
        raise InputError(f"importance = {variable!r} and a model are two directions: leave one of them out")
    if variable:
        return VariableDirection.of(problem.states, variable, problem.starts)
    if model is None:
        raise InputError(
            f"{problem.name} needs a direction from A to B: first run openmm-rare tps, and give its model.npz with --model, or "
            f"name a variable with --importance ({', '.join(problem.states.variables.names)})"
        )
    if not back:  # of the problem as it was, the run from A to B has seen that
        require_fitting(model, problem)
    return CommittorDirection(model, back)

"""The way back: after the rate from A to B, in a folder of its own in that of the run, the rate from B to A."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..committor.base import Committor
from ..config.run import RunConfig
from ..folders.run_folder import open_run
from ..io.run_file import RunFile
from ..io.tasks import Progress
from ..parallel.executors import Executor
from ..problem import RareEventSystem
from ..rates.both_ways.exchange import exchanged
from ..rates.both_ways.free_energy import Ratio, both_ways
from ..rates.both_ways.populations import counted_populations
from ..rates.estimate import RateEstimate
from ..walkers.machine import Machine
from .engines import engine_of
from .finishing import finish, write_result
from .live import computed

__all__ = ["FOLDER", "Way", "with_way_back"]

FOLDER: str = "reverse"
_OTHER_SEED = 1_000_000  # added to the seed: the way back is to have other random numbers
_STARTS = "starts"
_ABOUT = "The way back: A here is B of the run in the folder above, and B is its A. It began at {} arrivals there."
_POPULATIONS = ("frames_last_a", "last_a", "walker_steps")


@dataclass(frozen=True)
class Way:
    """What the rate from A to B was computed with; see :func:`openmm_rare.workflow.rate.run_rate`."""

    config: RunConfig
    out: Path
    problem: RareEventSystem
    machine: Machine
    resume: bool
    progress: Progress
    model: Committor | None
    executor: Executor | None


def with_way_back(way: Way, run: RunFile, there: RateEstimate, arrivals: np.ndarray | None) -> RateEstimate:
    """The estimate of a finished run with that of the way back, which is computed or continued first; the folder is told.

    Parameters
    ----------
    way : Way
    run : RunFile
        Of the run from A to B.
    there : RateEstimate
    arrivals : ndarray, shape (n, n_atoms, 3), or None
        Places in B to start from; None from the barrier, which needs none.
    """
    if way.config.sampling.method == "barrier":
        return there
    missing = _missing(there, arrivals)
    if missing is not None:
        way.progress.note(missing)
        there = replace(there, notes=(*there.notes, missing))
    else:
        folder = way.out / FOLDER
        back = _run_back(way, folder, arrivals)
        there = both_ways(there, back, way.problem.kt, FOLDER, _populations(way, run, folder, there, back))
    write_result(way.out, run, there)
    return there


def _missing(there: RateEstimate, arrivals: np.ndarray | None) -> str | None:
    """Why there is no way back."""
    if there.rate_below_per_ps is not None:
        return "The way back was not started: nothing came to B, and there is nowhere to start from."
    if arrivals is None or not len(arrivals):
        return "The way back was not started: no arrival in B was kept in enough digits to lie there; make B a little larger."
    return None


def _run_back(way: Way, folder: Path, arrivals: np.ndarray) -> RateEstimate:
    """The rate from B to A, begun at these places or, if it was begun already, at those that it has."""
    begun = RunFile.open(folder / "run.nc").load(_STARTS) if way.resume and (folder / "run.nc").is_file() else []
    problem = exchanged(way.problem, np.asarray(begun[0]["positions"]) if begun else arrivals)
    seed = way.config.sampling.seed + _OTHER_SEED
    config = way.config.expanded(problem).with_options(seed=seed, reverse=False, backward=True)
    way.progress.stage("the way back")
    with open_run(folder, config, problem, way.resume, None) as (run, _):
        if not run.kinds.get(_STARTS):
            run.append(_STARTS, {"positions": problem.starts})
        engine = engine_of(config, problem, way.machine, run, way.progress, way.model, way.executor)
        engine.notes = (*engine.notes, _ABOUT.format(len(problem.starts)))
        found = computed(folder, run, engine, way.progress, backward=True)
        return finish(folder, run, problem, engine, found, ())


def _populations(way: Way, run: RunFile, folder: Path, there: RateEstimate, back: RateEstimate) -> Ratio | None:
    """Time with B visited last over that with A, if one of the runs was in equilibrium."""
    if way.config.sampling.method != "brute_force" or back.rate_below_per_ps is not None:
        return None
    relaxation_ps, timestep = 1.0 / (there.rate_per_ps + back.rate_per_ps), way.problem.timestep
    found = counted_populations(run.load("brute_force", _POPULATIONS), timestep, relaxation_ps)
    if found is not None:
        return found
    records = RunFile.open(folder / "run.nc").load("brute_force", _POPULATIONS)
    found = counted_populations(records, timestep, relaxation_ps)
    return None if found is None else found.inverse

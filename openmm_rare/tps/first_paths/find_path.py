"""One call for a first path: found, relaxed by shots of the dynamics itself, and written to a file."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...committor.base import Committor
from ...dynamics.checks import require_runnable
from ...dynamics.frames import Frames
from ...errors import InputError
from ...io.progress import shows_progress
from ...io.tasks import Noting, Progress
from ...parallel.cores import available_cores
from ...settings.paths import PathSettings
from ...states.region_text import values_text
from ...walkers.machine import Machine
from ..chains.stretches import run_chain
from ..chains.task import ChainState, ChainTask, PathProblem
from ..trajectories.file import require_writable, write_path
from .initial_path import initial_path
from .relaxing import from_a_to_b, relaxing_problem

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["FoundPath", "find_path", "found_rows"]

_TRIALS = 200  # at most, for each path that is to be accepted


@dataclass(frozen=True, eq=False)
class FoundPath:
    """A path from A to B.

    Attributes
    ----------
    frames : Frames
        From the last in A to the first in B, whichever way a file or a shot ran.
    frame_time : float
        Time between two frames, ps.
    trials, accepted : int
        Shots that relaxed it; with none accepted it is no path of the system's own dynamics.
    file : Path or None
        Where it was written: what was asked for, or an ``.npz`` beside it if that failed.
    notes : tuple of str
        What should be known: of the dynamics, and what was put right in a file.
    """

    frames: Frames
    frame_time: float
    trials: int = 0
    accepted: int = 0
    file: Path | None = None
    notes: tuple[str, ...] = ()


@shows_progress
def find_path(
    problem: RareEventSystem,
    how: str = "auto",
    *,
    model: Committor | None = None,
    relax: int = 0,
    out: str | Path | None = None,
    settings: PathSettings | None = None,
    seed: int = 1,
    machine: Machine | str | None = None,
    progress: Progress | None = None,
) -> FoundPath:
    """Find a path from A to B.

    Parameters
    ----------
    problem : RareEventSystem
    how : str
        "auto", "line", "hot", "biased", or a file; see :func:`~openmm_rare.tps.first_paths.initial_path.initial_path`. "auto"
        means "biased" where there is a model.
    model : CommittorModel or CommittorEnsemble, optional
        Of this problem, to guide "biased" and to choose shooting points.
    relax : int
        Shots that are to be accepted, each from the path before.
    out : path, optional
        New file for the path: ``.npz``, or what mdtraj writes.
    settings : PathSettings, optional
        For frames and threads.
    seed : int
    machine : Machine or str, optional
        Or the name of an OpenMM platform; default: Reference.
    progress : Progress, optional
        Default: on the terminal (standard error); :class:`openmm_rare.Silent` shows nothing.

    Raises
    ------
    ValueError
        If anything about the input is wrong, which is found out before dynamics runs, or there is no such path.
    FloatingPointError
        If the dynamics breaks down.

    Notes
    -----
    Relaxing seeds OpenPathSampling, the old generators of NumPy and Python, and torch.
    """
    if relax < 0:
        raise InputError(f"relax = {relax} must not be negative: the number of shots that are to be accepted")
    machine, progress = Machine.choose(machine), Noting(progress)
    for note in require_runnable(problem, "paths"):
        progress.note(note)
    if out is not None:
        require_writable(out, problem)
    settings, how = settings or PathSettings(), "biased" if how == "auto" and model is not None else how
    settings = replace(settings, initial_path=how, threads=settings.threads or available_cores())
    sampled = PathProblem(problem, settings, machine.platform)
    found = FoundPath(initial_path(sampled, seed, progress, model), sampled.settings.steps_per_frame * problem.timestep)
    if relax:
        found = _relaxed(found, relax, sampled, model, seed, progress)
    file = None if out is None else _written(Path(out), found.frames, sampled, progress)
    return replace(found, file=file, notes=tuple(progress.notes))


def _written(out: Path, frames: Frames, problem: PathProblem, progress: Progress) -> Path:
    """The file that holds the path: the work behind it is not lost for the sake of a format."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        write_path(out, frames, problem)
        return out
    except (OSError, ValueError) as error:
        if out.suffix == ".npz":
            raise
        numbers = itertools.count(1)
        names = itertools.chain([out.with_suffix(".npz")], (out.with_name(f"{out.stem}-{n}.npz") for n in numbers))
        instead = next(name for name in names if not name.exists())
        progress.note(f"{error}; the path is in {instead}.")
        write_path(instead, frames, problem)
        return instead


def _relaxed(
    found: FoundPath, relax: int, problem: PathProblem, model: Committor | None, seed: int, progress: Progress
) -> FoundPath:
    """The path after so many accepted shots from it and from those after it."""
    settings = problem.settings
    problem, model = relaxing_problem(problem, model)
    state, accepted, trials = ChainState(found.frames), 0, 0
    progress.stage("relaxing", relax)
    while accepted < relax:
        if trials == _TRIALS * relax:
            raise InputError(
                f"only {accepted} of {trials} shots from the path became transition paths: start from another path, or store "
                f"frames more often than every {settings.steps_per_frame} steps"
            )
        state, (trial,) = run_chain(ChainTask(problem, 0, trials, seed, state, model.to_bytes()))
        accepted, trials = accepted + trial.accepted, trials + 1
        progress.update(float(trial.accepted), trials=trials)
    return replace(found, frames=from_a_to_b(problem, state.path), trials=trials, accepted=accepted)


def found_rows(found: FoundPath, problem: RareEventSystem) -> list[tuple[str, str]]:
    """Lines for the terminal."""
    values = problem.states.variables(found.frames.positions[[0, -1]])
    first, last = (values_text(problem.states.variables, row) for row in values)
    shots = f"{found.accepted} accepted of {found.trials} shots" if found.trials else "nothing: the dynamics did not make it"
    time, duration = found.frame_time, found.frame_time * (len(found.frames) - 1)
    return [
        ("frames", f"{len(found.frames)}, {time:.4g} ps apart: {duration:.4g} ps"),
        ("first frame, in A", first),
        ("last frame, in B", last),
        ("relaxed by", shots),
    ]

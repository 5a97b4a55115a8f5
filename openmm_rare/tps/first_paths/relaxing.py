"""Shots from a path that no dynamics has made, until they have made paths of the dynamics: the same in any process."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...committor.base import Committor
from ...committor.model import CommittorModel
from ...dynamics.frames import Frames
from ...states.states import IN_B
from ..chains.stretches import run_chain
from ..chains.task import ChainState, ChainTask, PathProblem

__all__ = ["Relaxed", "from_a_to_b", "relax_path", "relaxing_problem"]


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A path after some trials.

    Attributes
    ----------
    path : Frames
        From A to B, with velocities of zero where the dynamics has any only if nothing was accepted.
    accepted : int
        Of the trials; with none it is the path that it was.
    n_frames : int
        Frames made for it.
    """

    path: Frames
    accepted: int
    n_frames: int


def relaxing_problem(problem: PathProblem, model: Committor | None = None) -> tuple[PathProblem, Committor]:
    """The problem of shots one at a time, from near the transition states of a model, or from anywhere without one."""
    system, selector = problem.system, "uniform" if model is None else "lorentzian"
    settings = replace(problem.settings.as_chains(), selector=selector, density_correction=False, trials_per_round=1)
    if model is None:  # it says nothing about uniform shooting, and so needs to see nothing
        spec, n_atoms = {"kind": "coordinates", "columns": [0]}, len(system.positions)
        about = (spec, n_atoms, (1,), system.temperature, system.fingerprint())
        model = CommittorModel(*about, check_interval=system.check_interval)
    return PathProblem(system, settings, problem.platform), model


def relax_path(problem: PathProblem, path: Frames, seed: int, number: int, accepted: int, n_frames: int) -> Relaxed:
    """Shoot uniformly until so many trials have been accepted or so many frames made.

    Parameters
    ----------
    problem : PathProblem
    path : Frames
    seed, number : int
        Of the run and of the path; they fix all random numbers.
    accepted, n_frames : int
    """
    shooting, model = relaxing_problem(problem)
    state, done, made, trials = ChainState(path), 0, 0, 0
    while done < accepted and made < n_frames:
        state, (trial,) = run_chain(ChainTask(shooting, number, trials, seed, state, model.to_bytes()))
        trials, done = trials + 1, done + trial.accepted
        made += max(trial.n_frames, len(path))  # of a trial that was given up nobody knows
    return Relaxed(from_a_to_b(problem, state.path), done, made)


def from_a_to_b(problem: PathProblem, frames: Frames) -> Frames:
    """A path, backward in time if it runs from B to A."""
    backward = problem.system.states.classify(frames.positions[:1])[0] == IN_B
    return frames.reversed if backward else frames

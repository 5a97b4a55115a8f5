"""Dynamics that is driven from A to B: by heat, by a force that pulls, or by a learned committor.

The system that is sampled stays as it is: whatever drives acts on a copy of it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ...bias.force import make_bias_force, why_not
from ...bias.importance import importance_of
from ...committor.base import Committor
from ...dynamics.frames import Frames
from ...errors import InputError
from ...states.states import IN_A, IN_B
from ..chains.task import PathProblem
from ..trajectories.checks import with_rigid_bonds
from ..trajectories.connection import between_states, crossings, frames_at_rest, where_frames_lie
from .pull_force import ALLOWED, Pull, why_no_pull

if TYPE_CHECKING:
    from ...io.tasks import Progress
    from ...problem import RareEventSystem

__all__ = [
    "HEATING",
    "MOST_HEATINGS",
    "biased_path",
    "dynamics_in_a",
    "guided_path",
    "hot_crossings",
    "hot_path",
    "pulled_path",
]

HEATING: float = 1.25
"""Of one temperature that is tried over the one before."""

MOST_HEATINGS: int = 12
"""Temperatures that are tried."""


_LOG = logging.getLogger(__name__)
_FRAMES, _BLOCK = 4000, 200  # of one attempt; made before their states are asked for
_PULL_FRAMES, _PULL_BLOCK = 1000, 5  # in which the allowed distance falls to zero; with the same one
_STIFFNESS = tuple(4.0**power for power in range(1, 7))  # kT per squared fluctuation
_FLUCTUATION_FRAMES = 200
_STRENGTHS = (2.0, 4.0, 8.0, 16.0)  # kT; 2 is the bias that turns overdamped dynamics into its transition paths


@dataclass(frozen=True, eq=False)
class _Attempt:
    """Dynamics that may reach B.

    Attributes
    ----------
    name : str
        For messages.
    system : RareEventSystem
        Driven.
    n_frames : int
        Frames to give up after.
    block : int
        Frames made before their states are asked for.
    steer : callable
        Called with the Context and the number of frames so far, before each block.
    work : float
        kJ/mol that it may put in by that.
    """

    name: str
    system: RareEventSystem
    n_frames: int = _FRAMES
    block: int = _BLOCK
    steer: Callable[[openmm.Context, int], None] = lambda context, done: None
    work: float = 0.0


def _run(problem: PathProblem, attempt: _Attempt, seed: int, stop: Callable[[Frames], bool]) -> tuple[Frames, bool]:
    """Dynamics from the initial structure until `stop` says so of a block, or there are frames enough."""
    from ...ops.snapshots import trajectory_of
    from ..chains.chain import make_engine  # a run whose first path is in a file needs no OpenPathSampling in this process

    engine = make_engine(PathProblem(attempt.system, problem.settings, problem.platform))
    engine.integrator.setRandomNumberSeed(seed)
    engine.watch.explosions.work = attempt.work
    # constraints off by a part of their length would be a kick at the first step
    rigid = with_rigid_bonds(problem.system.system, problem.system.positions[None], "the initial structure", _LOG.info)
    start = trajectory_of(frames_at_rest(problem.system, rigid), engine)[0]
    engine.current_snapshot = start
    engine.simulation.context.setVelocitiesToTemperature(attempt.system.temperature, seed)
    parts: list[Frames] = []
    done = 0
    while done < attempt.n_frames:
        attempt.steer(engine.simulation.context, done)
        parts.append(engine.block(min(attempt.block, attempt.n_frames), start, parts))
        done += len(parts[-1])
        if stop(parts[-1]):
            return Frames.join(parts), True
    return Frames.join(parts)[: attempt.n_frames], False


def dynamics_in_a(problem: PathProblem, seed: int, n_frames: int) -> Frames:
    """Frames of the system's own dynamics that starts in A."""
    return _run(problem, _Attempt("dynamics", problem.system, n_frames), seed, lambda block: False)[0]


def _first_to_arrive(problem: PathProblem, attempts: Iterable[_Attempt], seed: int, progress: Progress, advice: str) -> Frames:
    """The frames from the last in A to the first in B of the first attempt that gets there.

    Raises
    ------
    ValueError
        If none does, or one breaks down.
    """
    system = problem.system

    def reached(block: Frames) -> bool:
        progress.update(len(block))
        return bool((system.states.classify(block.positions) == IN_B).any())

    jumped = ""
    for number, attempt in enumerate(attempts, 1):
        progress.stage(attempt.name, attempt.n_frames)
        try:
            frames, found = _run(problem, attempt, seed + number, reached)
        except FloatingPointError as error:
            raise InputError(f"{attempt.name} broke down before it reached B ({error}): {advice}") from error
        stretch = between_states(system, frames.positions, attempt.name) if found else None
        if stretch is not None:
            _LOG.info("reached B by %s", attempt.name)
            return frames_at_rest(system, frames.positions[stretch], frames.boxes[stretch])
        jumped = jumped or (attempt.name if found else "")
    if jumped:  # no other force would change that
        raise InputError(
            f"{jumped} went from A to B with no frame between them: leave a gap between the states, or store frames more often "
            f"than every {problem.settings.steps_per_frame} steps (steps_per_frame)"
        )
    raise InputError(
        f"nothing up to {attempt.name} gave a path to B within {attempt.n_frames} frames of "
        f"{problem.settings.steps_per_frame} steps each: {where_frames_lie(system, frames.positions)}; {advice}"
    )


def hot_path(problem: PathProblem, seed: int, progress: Progress, most: int = MOST_HEATINGS) -> Frames:
    """Dynamics from A at rising temperature until it reaches B: its frames from the last in A to the first in B.

    Parameters
    ----------
    problem : PathProblem
    seed : int
    progress : Progress
    most : int
        Temperatures to try, each a quarter above the one before.

    Raises
    ------
    ValueError
        If no temperature brings it to B.
    """
    temperatures = (problem.system.temperature * HEATING**power for power in range(1, most + 1))
    attempts = (_Attempt(f"dynamics at {t:.0f} K", problem.system.with_temperature(t)) for t in temperatures)
    advice = 'try "biased", or give a path from a file'
    return _first_to_arrive(problem, attempts, seed, progress, advice)


def hot_crossings(problem: PathProblem, seed: int, temperature: float, n_frames: int, most: int) -> tuple[list[Frames], int]:
    """Crossings of one trajectory from A at a temperature, there and back, each turned so that it runs from A to B.

    Parameters
    ----------
    problem : PathProblem
    seed : int
    temperature : float
        K.
    n_frames : int
        To make at most.
    most : int
        Crossings after which it ends.

    Returns
    -------
    crossings : list of Frames
        None from dynamics that breaks down, and none that shots of ``max_frames`` could not make again.
    n_frames : int
        Frames made.
    """
    system, seen, longest = problem.system, [], 2 * problem.settings.max_frames - 1

    def enough(block: Frames) -> bool:
        seen.append(system.states.classify(block.positions))
        return sum(1 for _ in crossings(np.concatenate(seen))) >= most

    attempt = _Attempt(f"dynamics at {temperature:.0f} K", system.with_temperature(temperature), n_frames)
    try:
        frames, _ = _run(problem, attempt, seed, enough)
    except FloatingPointError as error:
        _LOG.info("%s broke down: %s", attempt.name, error)
        return [], n_frames
    status = system.states.classify(frames.positions)
    found = []
    for stretch in crossings(status):
        path = frames_at_rest(system, frames.positions[stretch], frames.boxes[stretch])
        if len(path) <= longest:
            found.append(path if status[stretch.start] == IN_A else path.reversed)
    return found[:most], len(frames)


def biased_path(problem: PathProblem, seed: int, progress: Progress, model: Committor | None = None) -> Frames:
    """:func:`guided_path` where there is a model, else :func:`pulled_path`."""
    if model is None:
        return pulled_path(problem, seed, progress)
    return guided_path(problem, seed, progress, model)


def pulled_path(problem: PathProblem, seed: int, progress: Progress) -> Frames:
    """Dynamics from A that a force pulls into B, ever stiffer until it gets there.

    The distance to B in the variables that define it, in units of their fluctuations in A, is held below a bound that falls to
    zero; nothing holds back what comes nearer by itself. See :class:`~openmm_rare.tps.first_paths.pull_force.Pull`.

    Raises
    ------
    ValueError
        If B is no region in variables that have forces, or nothing arrives there.
    """
    system = problem.system
    reason = why_no_pull(system.states.variables, system.states.b)
    if reason:
        raise InputError(
            f'initial_path = "biased" cannot pull into B of {system.name}, which {reason}: give a committor model, use "hot" '
            "or a file"
        )
    progress.stage("fluctuations in A", _FLUCTUATION_FRAMES)
    frames = dynamics_in_a(problem, seed, _FLUCTUATION_FRAMES)
    pull = Pull(system.states.variables, system.states.b, _fluctuations(system, frames.positions))
    advice = 'give a committor model, use "hot" or a path from a file'
    return _first_to_arrive(problem, _pulls(system, pull), seed, progress, advice)


def _fluctuations(problem: RareEventSystem, positions: np.ndarray) -> np.ndarray:
    """Standard deviations of the variables, shape ``(n_variables,)``; of periodic ones about their circular mean."""
    values = problem.states.variables(positions)
    for column, variable in enumerate(problem.states.variables.variables):
        if variable.period is not None:
            turn = 2.0 * np.pi / variable.period
            mean = np.angle(np.exp(1j * turn * values[:, column]).mean()) / turn
            values[:, column] -= mean + variable.period * np.round((values[:, column] - mean) / variable.period)
    return values.std(axis=0)


def _pulls(problem: RareEventSystem, pull: Pull) -> Iterator[_Attempt]:
    start = float(pull.distance(problem.positions[None])[0])

    def steer(context: openmm.Context, done: int) -> None:
        context.setParameter(ALLOWED, start * max(0.0, 1.0 - done / _PULL_FRAMES))

    for stiffness in _STIFFNESS:
        force = pull.force(stiffness * problem.kt, start, len(problem.positions))
        name = f"a pull of {stiffness:g} kT"
        work = stiffness * problem.kt * start**2  # all of the pull at once, and twice
        yield _Attempt(name, _with_force(problem, force), 2 * _PULL_FRAMES, _PULL_BLOCK, steer, work)


def _with_force(problem: RareEventSystem, force: openmm.Force) -> RareEventSystem:
    """The same problem with one force more."""
    driven = copy.deepcopy(problem.system)
    force.setForceGroup(0)  # the dynamics of all systems obeys this group
    driven.addForce(force)
    return replace(problem, system=driven)


def guided_path(problem: PathProblem, seed: int, progress: Progress, model: Committor) -> Frames:
    """Dynamics from A with the energy -s kT ln I of a learned committor I, for growing s, until it reaches B.

    Raises
    ------
    ValueError
        If the model was not made for this system, or nothing reaches B.
    """
    system = problem.system
    if model.spec != system.descriptor_spec() or model.n_atoms != len(system.positions):
        raise InputError(f"the model was trained on the descriptor {model.spec}, but the system has {system.descriptor_spec()}")
    kind = "python" if why_not("native", problem.platform) else "auto"
    importance = importance_of(model, system.num_dimensions)

    def attempt(strength: float) -> _Attempt:
        force = make_bias_force(kind, importance, system.positions, 1, 0.5 * strength * system.kt)
        return _Attempt(f"a bias of -{strength:g} kT ln I", _with_force(system, force))

    advice = "train the model for longer, or leave it out to be pulled"
    return _first_to_arrive(problem, map(attempt, _STRENGTHS), seed, progress, advice)

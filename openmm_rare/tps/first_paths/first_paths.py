"""First paths of several chains, each found for itself, and other ways from A to B that no chain starts with.

A chain in path space hardly ever changes to a way that is far from its own. So one trajectory at high temperature is let go
there and back between A and B a few times; those of its crossings that differ most, and the paths that chains were given, are
relaxed by shots of the dynamics itself. What comes out are paths of the dynamics, by ways that a chain may never find.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames
from ...settings.paths import INITIAL_PATHS
from ..chains.task import PathProblem
from .driven_path import HEATING, hot_crossings
from .initial_path import LARGE, heatings, initial_path
from .relaxing import Relaxed, relax_path

if TYPE_CHECKING:
    from ...committor.base import Committor
    from ...io.tasks import Progress
    from ...parallel.executors import Executor
    from ...paths.inputs import PathInputs

__all__ = ["FirstPaths", "first_paths"]

_LEAST_LENGTH = 60  # frames of a path: for shorter ones of a small system as much is spent
_HOT, _PARTS = 0.5, 8  # of the frames, for crossings, and parts that these are made in
_CROSSINGS, _OFTEN = 24, 3  # wanted, and so many in one part are often enough to stay at a temperature
_OTHERS = 6  # beside the chains, to relax
_ACCEPTED = 2  # trials, after which a path counts as one of the dynamics
_SCOUT = 2**20  # number of the first, beyond those of chains


@dataclass(frozen=True, eq=False)
class FirstPaths:
    """What sampling begins with.

    Attributes
    ----------
    starts : list of Frames
        One for each chain.
    found : list of Frames
        All that shots of the dynamics have relaxed, starts among them.
    """

    starts: list[Frames]
    found: list[Frames]


def first_paths(
    problem: PathProblem,
    n: int,
    seed: int,
    progress: Progress,
    executor: Executor,
    inputs: PathInputs,
    model: Committor | None = None,
) -> FirstPaths:
    """First paths of so many chains or walkers.

    They take the ``initial_path`` of the settings in turn. Where these are fewer than the chains, the others start from paths
    that were found on the way, those that differ most, and, if there are none, from what the settings say with another seed.

    Parameters
    ----------
    problem : PathProblem
        With ``scouting`` in its settings: about as many frames as so many trials make are spent; 0: none.
    n : int
    seed : int
    progress : Progress
    executor : Executor
        For dynamics; results do not depend on them.
    inputs : PathInputs
        What tells paths apart.
    model : CommittorModel or CommittorEnsemble, optional
        Guides "biased".

    Raises
    ------
    ValueError
        As :func:`~openmm_rare.tps.first_paths.initial_path.initial_path`.
    """
    choices = problem.settings.initial_path
    given = [initial_path(problem, _seed(seed, i), progress, model, choice) for i, choice in enumerate(choices)]
    relaxed = _scouted(problem, given, n, seed, progress, executor, inputs)
    found = [each.path for each in relaxed if each.accepted]
    starts = (
        [
            each.path if each.accepted and choice in INITIAL_PATHS else path
            for path, choice, each in zip(given, choices, relaxed, strict=False)
        ][:n]
        if relaxed
        else given[:n]
    )
    spare = [each.path for each in relaxed[len(given) :] if each.accepted]
    while len(starts) < n:
        number = len(starts)
        if spare:
            starts.append(spare.pop(_farthest(starts, spare, inputs)))
            who = f"{problem.settings.kind.capitalize()} {number}"
            progress.note(f"{who} starts from another path than those before it, which hot dynamics has found.")
            continue
        choice = choices[number % len(choices)]
        own = choice in INITIAL_PATHS
        starts.append(
            initial_path(problem, _seed(seed, number), progress, model, choice) if own else given[number % len(choices)]
        )
    return FirstPaths(starts, found)


def _seed(seed: int, number: int) -> int:
    """Of a path; the first has that of the run."""
    if not number:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(number,)).generate_state(1)[0]) % (2**31 - 1) + 1


def _scouted(
    problem: PathProblem,
    given: list[Frames],
    n: int,
    seed: int,
    progress: Progress,
    executor: Executor,
    inputs: PathInputs,
) -> list[Relaxed]:
    """The given paths and the most different ones of those that hot dynamics finds, relaxed; none if nothing may be spent."""
    n_frames = _most_frames(problem, len(given[0]))
    if not n_frames or problem.system.num_dimensions * len(problem.system.positions) == 1:  # of one dimension is one way only
        return []
    progress.stage("looking for other ways", n_frames)
    hot, spent = _crossings(problem, seed, int(_HOT * n_frames), progress, executor)
    paths = list(given)
    while hot and len(paths) < max(n, len(given)) + _OTHERS:
        paths.append(hot.pop(_farthest(paths, hot, inputs)))
    each = (n_frames - spent) // len(paths)
    tasks = [(problem, path, seed, _SCOUT + i, _ACCEPTED, each) for i, path in enumerate(paths)]
    relaxed: dict[int, Relaxed] = {}
    for number, found in executor.map(relax_path, tasks, range(len(tasks))):
        relaxed[number] = found
        progress.update(found.n_frames, paths=sum(path.accepted > 0 for path in relaxed.values()))
    return [relaxed[number] for number in range(len(tasks))]


def _most_frames(problem: PathProblem, length: int) -> int:
    """Of so many trials from a path of this length; a quarter in systems of more than 200 atoms, where trials are fewer."""
    trials = problem.settings.scouting
    if len(problem.system.positions) > LARGE:
        return trials * length // 2
    return 2 * trials * max(length, _LEAST_LENGTH)


def _crossings(
    problem: PathProblem, seed: int, n_frames: int, progress: Progress, executor: Executor
) -> tuple[list[Frames], int]:
    """Crossings at rising temperature, until there are many or the frames are used up, and how many frames that took."""
    found: list[Frames] = []
    spent, power, part = 0, 1, max(n_frames // _PARTS, 1)
    while spent < n_frames and len(found) < _CROSSINGS:
        temperature = problem.system.temperature * HEATING**power
        own = _seed(seed, _SCOUT + spent)
        wanted = _CROSSINGS - len(found)
        task = (problem, own, temperature, min(part, n_frames - spent), wanted)
        ((_, (crossings, made)),) = executor.map(hot_crossings, [task], [0])
        progress.update(made, kelvin=f"{temperature:.0f}", crossings=len(found) + len(crossings))
        found, spent = found + crossings, spent + made
        power = min(power + (len(crossings) < _OFTEN), heatings(problem.system))
    return found, spent


def _farthest(chosen: Sequence[Frames], others: Sequence[Frames], inputs: PathInputs) -> int:
    """Which of the others is most unlike the most similar one of those chosen, in the middle of the paths.

    Inputs count in units of how much they vary within the middle third of a path.
    """
    middles = [_middle(inputs(path.positions)) for path in (*chosen, *others)]
    ends = np.cumsum([len(each) for each in middles])[:-1]
    parts = np.split(inputs.unwrapped(np.concatenate(middles)), ends)
    means, within = np.array([each.mean(0) for each in parts]), np.mean([each.var(0) for each in parts], axis=0)
    scale = np.sqrt(within + 1e-3 * means.var(0))
    means = means[:, scale > 0.0] / scale[scale > 0.0]
    distances = np.linalg.norm(means[len(chosen) :, None] - means[None, : len(chosen)], axis=2)
    return int(np.argmax(distances.min(axis=1)))


def _middle(values: np.ndarray) -> np.ndarray:
    """The middle third of the frames."""
    third = len(values) // 3
    return values[third : len(values) - third]

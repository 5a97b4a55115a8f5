"""A first path from A to B: from a file, along a straight line, or from dynamics that is driven there.

None of them is a path of the dynamics that is to be sampled: shooting from it until a trial is accepted makes one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from ...committor.base import Committor
from ...dynamics.frames import Frames
from ...errors import InputError, UserCodeError
from ...states.region_text import region_text
from ...states.regions import Disc, Range
from ...states.variables import Coordinate
from ..chains.task import PathProblem
from ..trajectories.checks import require_long_enough
from ..trajectories.connection import between_states, frames_at_rest, where_frames_lie
from ..trajectories.file import read_path
from .driven_path import MOST_HEATINGS, biased_path, dynamics_in_a, hot_path
from .pull_force import why_no_pull

if TYPE_CHECKING:
    from ...io.tasks import Progress
    from ...problem import RareEventSystem

__all__ = ["LARGE", "heatings", "initial_path", "straight_line"]

LARGE: int = 200
"""Atoms, beyond which dynamics is dear."""

_LOG = logging.getLogger(__name__)
_LINE_FRAMES = 60
_ROUTES = {"hot": "hot dynamics", "biased": "biased dynamics"}
_MILD_HEATINGS = 3  # to twice the temperature; what happens far above says little about a molecule


def initial_path(
    problem: PathProblem, seed: int, progress: Progress, model: Committor | None = None, choice: str | None = None
) -> Frames:
    """A first path: "auto", "line", "hot", "biased", or a file.

    "auto" is the path that comes with the system; for others a straight line where B is given by Cartesian coordinates, as in
    models; elsewhere hot dynamics, which finds its way by itself, and a pull into B where twice the temperature is not enough.
    In systems of more than 200 atoms the pull, where there is one, comes before the heat.

    Parameters
    ----------
    problem : PathProblem
    seed : int
    progress : Progress
    model : CommittorModel or CommittorEnsemble, optional
        Guides "biased", which pulls without one.
    choice : str, optional
        Default: the first ``initial_path`` of the settings.

    Raises
    ------
    ValueError
        If there is no such path, or ``max_frames`` is too short for it.
    """
    choice, system = choice or problem.settings.initial_path[0], problem.system
    if choice == "auto" and system.initial_path is not None:
        choice = str(system.initial_path)
    if choice == "auto":
        choice = "driven" if _coordinates_of_b(system) is None else "line"
    makers = {
        "line": ("a straight line", lambda: straight_line(problem, seed)),
        "hot": ("hot dynamics", lambda: _hot(problem, seed, progress)),
        "biased": ("biased dynamics", lambda: biased_path(problem, seed, progress, model)),
        "driven": (_ROUTES[_first_route(system)], lambda: _driven(problem, seed, progress, model)),
    }
    name, make = makers.get(choice, (choice, lambda: _from_file(problem, choice, progress)))
    progress.stage(f"initial path: {name}")
    return make()


def heatings(problem: RareEventSystem) -> int:
    """How many temperatures, each a quarter above the one before, a system may be heated through to look for paths."""
    return MOST_HEATINGS if _coordinates_of_b(problem) is not None and len(problem.positions) <= LARGE else _MILD_HEATINGS


def _from_file(problem: PathProblem, name: str, progress: Progress) -> Frames:
    frames = read_path(name, problem, progress.note)
    require_long_enough(len(frames), problem.settings, name)
    return frames


def _hot(problem: PathProblem, seed: int, progress: Progress) -> Frames:
    frames = hot_path(problem, seed, progress)
    require_long_enough(len(frames), problem.settings, "the path of hot dynamics")
    return frames


def _first_route(problem: RareEventSystem) -> str:
    """What to try first: heat, which finds its way by itself; a pull in large systems, where each heating takes minutes."""
    large = len(problem.positions) > LARGE and not why_no_pull(problem.states.variables, problem.states.b)
    return "biased" if large else "hot"


def _driven(problem: PathProblem, seed: int, progress: Progress, model: Committor | None) -> Frames:
    system = problem.system
    if model is None and why_no_pull(system.states.variables, system.states.b):
        return _hot(problem, seed, progress)
    routes = {
        "hot": lambda: hot_path(problem, seed, progress, _MILD_HEATINGS),
        "biased": lambda: biased_path(problem, seed, progress, model),
    }
    failures: dict[str, ValueError] = {}
    for route in sorted(routes, key=lambda name: name != _first_route(system)):
        if failures:
            progress.stage(f"initial path: {_ROUTES[route]}")
        try:
            frames = routes[route]()
        except UserCodeError:
            raise
        except ValueError as error:
            _LOG.info("no path by %s: %s", _ROUTES[route], error)
            failures[route] = error
            continue
        if route == "hot":  # a pull chooses its length itself
            require_long_enough(len(frames), problem.settings, "the path of hot dynamics")
        return frames
    raise failures["biased"]


def _coordinates_of_b(problem: RareEventSystem) -> dict[tuple[int, int], float] | None:
    """A place in the middle of B, by atom and axis, if B is given by nothing but Cartesian coordinates."""
    region = problem.states.b
    if isinstance(region, Disc):
        middle = dict(region.center)
    elif isinstance(region, Range):
        middle = {name: _inside(*bounds) for name, bounds in region.bounds.items()}
    else:
        return None
    variables = {variable.name: variable for variable in problem.states.variables.variables}
    if not all(isinstance(variables[name], Coordinate) for name in middle):
        return None
    return {(variables[name].atom, variables[name].axis): value for name, value in middle.items()}


def _inside(lo: float, hi: float) -> float:
    """The middle of an interval, or a place just inside of the end that it has."""
    if np.isfinite([lo, hi]).all():
        return 0.5 * (lo + hi)
    return lo + 0.05 if np.isfinite(lo) else hi - 0.05


def straight_line(problem: PathProblem, seed: int) -> Frames:
    """A straight line to B in the coordinates that define it, with all other coordinates from dynamics in A.

    Raises
    ------
    ValueError
        If B is given by other variables, or the line does not connect the states.
    """
    system = problem.system
    target = _coordinates_of_b(system)
    if target is None:
        raise InputError(
            f'initial_path = "line" needs a state B given by Cartesian coordinates; that of {system.name} is '
            f'{region_text(system.states.b, system.states.variables)}: use "hot", "biased" or a file'
        )
    frames = dynamics_in_a(problem, seed, _LINE_FRAMES)
    share = np.linspace(0.0, 1.0, _LINE_FRAMES)
    for (atom, axis), value in target.items():
        frames.positions[:, atom, axis] = (1.0 - share) * system.positions[atom, axis] + share * value
    found = between_states(system, frames.positions, "the straight line")
    if found is None:
        where = where_frames_lie(system, frames.positions)
        raise InputError(f'the straight line does not connect A and B: {where}. Use "biased" or a file')
    return frames_at_rest(system, frames.positions[found], frames.boxes[found])

"""A first path from A to B: from a file, along a straight line, or from dynamics that is hotter than wanted.

None of them is a path of the dynamics that is to be sampled: shooting from it until a trial is accepted makes one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..regions import Disc, Range
from ..states import IN_A, IN_B, NEITHER
from ..variables import Coordinate
from .chains import PathProblem, make_engine
from .frames import Frames

if TYPE_CHECKING:
    from ..systems.base import RareEventSystem
    from ..tasks import Progress

__all__ = ["between_states", "hot_path", "initial_path", "read_path", "straight_line"]

_LOG = logging.getLogger(__name__)
_LINE_FRAMES = 60
_HEATING, _MOST_HEATINGS = 1.25, 12
_FRAMES_PER_TEMPERATURE, _BLOCK = 4000, 200


def initial_path(problem: PathProblem, seed: int, progress: Progress) -> Frames:
    """The first path that the settings ask for: ``initial_path`` is "auto", "line", "hot", or a file.

    "auto" is the path that comes with the system; for others a straight line where B is given by Cartesian coordinates, as in
    models, and hot dynamics elsewhere.

    Raises
    ------
    ValueError
        If there is no such path.
    """
    choice, system = problem.settings.initial_path, problem.system
    if choice == "auto" and system.initial_path is not None:
        choice = str(system.initial_path)
    target = _coordinates_of_b(system)
    if choice == "line" and target is None:
        raise ValueError(
            f'initial_path = "line" needs a state B given by Cartesian coordinates; that of {system.name} is '
            f'{system.states.b.describe()}: use "hot" or a file'
        )
    if choice == "line" or (choice == "auto" and target is not None):
        progress.stage("initial path: a straight line")
        return straight_line(problem, seed)
    if choice in ("auto", "hot"):
        progress.stage("initial path: hot dynamics")
        return hot_path(problem, seed, progress)
    progress.stage(f"initial path: {choice}")
    return read_path(choice, problem)


def between_states(system: RareEventSystem, positions: np.ndarray, source: str) -> slice | None:
    """The first stretch from the last frame in one state to the first in the other.

    Parameters
    ----------
    system : RareEventSystem
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    source : str
        For the message.

    Returns
    -------
    slice, or None if no stretch of the frames connects the states

    Raises
    ------
    ValueError
        If a frame is not finite or lies in both states.
    """
    bad = ~np.isfinite(positions).all(axis=(1, 2))
    if bad.any():
        raise ValueError(f"{source}: frame {int(np.argmax(bad))} holds NaN or infinite positions")
    status = system.states.classify(positions)
    inside = np.flatnonzero(status != NEITHER)
    for last, first in zip(inside[:-1], inside[1:], strict=True):
        if status[last] != status[first] and first - last > 1:
            return slice(int(last), int(first) + 1)
    return None


def read_path(name: str, problem: PathProblem) -> Frames:
    """A path from a file: ``.npz`` with ``positions`` (n_frames, n_atoms, 3) in nm, or anything that mdtraj reads.

    Raises
    ------
    ValueError
        If it cannot be read, has another number of atoms, holds NaN, or does not connect A and B.
    """
    system, path = problem.system, Path(name)
    if not path.is_file():
        raise ValueError(f'initial_path = {name!r} must be "auto", "line", "hot", or a file; there is no such file')
    positions, boxes = (_read_npz if path.suffix == ".npz" else _read_mdtraj)(path, system)
    expected = (len(system.positions), 3)
    if positions.ndim != 3 or positions.shape[1:] != expected:
        raise ValueError(f"{path}: positions must have the shape (n_frames, {expected[0]}, 3), not {positions.shape}")
    found = between_states(system, positions, str(path))
    if found is None:
        raise ValueError(f"{path} does not connect A and B: {_where(system, positions)}")
    return _still(problem, positions[found], None if boxes is None else boxes[found])


def _read_npz(path: Path, system: RareEventSystem) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive["positions"], dtype=np.float64), archive.get("boxes")
    except KeyError:
        raise ValueError(f"{path} holds no array named positions") from None
    except Exception as error:  # NumPy fails in many ways on what is no archive
        raise ValueError(f"{path} cannot be read ({error})") from error


def _read_mdtraj(path: Path, system: RareEventSystem) -> tuple[np.ndarray, np.ndarray | None]:
    import mdtraj

    topology = None if system.topology is None else mdtraj.Topology.from_openmm(system.topology)
    try:
        try:
            trajectory = mdtraj.load(str(path), top=topology)
        except TypeError:  # formats with a topology of their own take none
            trajectory = mdtraj.load(str(path))
    except Exception as error:  # mdtraj fails in as many ways as there are formats
        raise ValueError(f"{path} cannot be read by mdtraj ({error})") from error
    return trajectory.xyz.astype(np.float64), trajectory.unitcell_vectors


def _where(system: RareEventSystem, positions: np.ndarray) -> str:
    """In which states the ends lie, in words."""
    words = {NEITHER: "in neither state", IN_A: "in A", IN_B: "in B"}
    status, values = system.states.classify(positions), system.states.variables(positions)
    ends = []
    for frame in dict.fromkeys((0, len(positions) - 1)):
        shown = ", ".join(f"{n} = {v:.4g}" for n, v in zip(system.states.variables.names, values[frame], strict=True))
        ends.append(f"frame {frame} lies {words[int(status[frame])]}: {shown}")
    visited = [f"{int((status == state).sum())} {words[state]}" for state in (IN_A, IN_B)]
    return f"{'; '.join(ends)}. Of all {len(positions)} frames {', '.join(visited)}, and a path needs frames between"


def _still(problem: PathProblem, positions: np.ndarray, boxes: np.ndarray | None = None) -> Frames:
    """Frames with velocities of zero, which shooting draws anew anyway."""
    if boxes is None:
        box = np.array([vector._value for vector in problem.system.system.getDefaultPeriodicBoxVectors()], dtype=np.float64)
        boxes = np.repeat(box[None], len(positions), axis=0)
    velocities = np.zeros_like(positions) if problem.system.inertial else None
    return Frames(np.ascontiguousarray(positions, dtype=np.float64), velocities, np.asarray(boxes, dtype=np.float64))


def _coordinates_of_b(system: RareEventSystem) -> dict[tuple[int, int], float] | None:
    """A place in the middle of B, by atom and axis, if B is given by nothing but Cartesian coordinates."""
    region = system.states.b
    if isinstance(region, Disc):
        middle = dict(region.center)
    elif isinstance(region, Range):
        middle = {name: _inside(*bounds) for name, bounds in region.bounds.items()}
    else:
        return None
    variables = {variable.name: variable for variable in system.states.variables.variables}
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
        If the line does not connect the states.
    """
    system = problem.system
    target = _coordinates_of_b(system)
    frames = _dynamics(problem, seed, _LINE_FRAMES)
    share = np.linspace(0.0, 1.0, _LINE_FRAMES)
    for (atom, axis), value in target.items():
        frames.positions[:, atom, axis] = (1.0 - share) * system.positions[atom, axis] + share * value
    found = between_states(system, frames.positions, "the straight line")
    if found is None:
        raise ValueError(f"the straight line does not connect A and B: {_where(system, frames.positions)}. Give a file")
    return _still(problem, frames.positions[found], frames.boxes[found])


def _dynamics(problem: PathProblem, seed: int, n_frames: int) -> Frames:
    """Frames of dynamics that starts in A."""
    return _run(problem, seed, problem.system.temperature, n_frames, lambda block: None)[0]


def _run(
    problem: PathProblem, seed: int, temperature: float, n_frames: int, stop: Callable[[Frames], object]
) -> tuple[Frames, bool]:
    """Dynamics from the initial structure at some temperature, until `stop` finds something or there are frames enough."""
    engine = make_engine(PathProblem(problem.system.with_temperature(temperature), problem.settings, problem.platform))
    engine.integrator.setRandomNumberSeed(seed)
    start = _still(problem, problem.system.positions[None]).trajectory(engine)[0]
    engine.current_snapshot = start
    engine.simulation.context.setVelocitiesToTemperature(temperature, seed)
    parts: list[Frames] = []
    while sum(map(len, parts)) < n_frames:
        parts.append(engine.block(min(_BLOCK, n_frames), start, parts))
        if stop(parts[-1]):
            return Frames.join(parts), True
    return Frames.join(parts)[:n_frames], False


def hot_path(problem: PathProblem, seed: int, progress: Progress) -> Frames:
    """Dynamics from A at rising temperature until it reaches B: its frames from the last in A to the first in B.

    Raises
    ------
    ValueError
        If no temperature brings it to B.
    """
    system = problem.system

    def reached(block: Frames) -> bool:
        progress.update(len(block))
        return bool((system.states.classify(block.positions) == IN_B).any())

    for power in range(1, _MOST_HEATINGS + 1):
        temperature = system.temperature * _HEATING**power
        progress.stage(f"dynamics at {temperature:.0f} K", _FRAMES_PER_TEMPERATURE)
        try:
            frames, found = _run(problem, seed + power, temperature, _FRAMES_PER_TEMPERATURE, reached)
        except FloatingPointError as error:
            raise ValueError(
                f"dynamics at {temperature:.0f} K broke down before it reached B ({error}): give a path from a file"
            ) from error
        stretch = between_states(system, frames.positions, f"dynamics at {temperature:.0f} K") if found else None
        if stretch is not None:
            _LOG.info("reached B at %.0f K", temperature)
            return _still(problem, frames.positions[stretch], frames.boxes[stretch])
    raise ValueError(
        f"no dynamics from A up to {temperature:.0f} K reached B within {_FRAMES_PER_TEMPERATURE} frames of "
        f"{problem.settings.steps_per_frame} steps each: give a path from a file with --initial-path"
    )

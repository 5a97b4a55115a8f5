"""What a script with :class:`~openmm_rare.ops.hooks.TrainingHook` has left: a file of shots, and OpenPathSampling's storage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
import openpathsampling as paths
from openmm import unit

from ..committor.base import Committor
from ..committor.fitting import labelled
from ..committor.load import from_parts
from ..dynamics.platforms import platform_by_name
from ..dynamics.time_reversal import known_temperature
from ..errors import InputError, UntrustedCodeError
from ..io.checksums import naming_damage
from ..io.growing_file import GrowingFile
from ..learning.shot_trainer import ShotTrainer
from ..learning.shots import Shots
from ..states.states import NEITHER
from ..trust.policy import HOW_TO_TRUST
from .aimless import AimlessShootingMover
from .simstore import open_simstore
from .snapshots import frames_of
from .storage_code import require_no_code

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["read_script_run"]

_ADVICE = "copy a backup of it back, or let the script make it again from its storage"
_SAME_ENERGY, _SAME = 0.05, 1e-3  # kT, of differences between frames; relative, of times and temperatures
_COMPARED, _SMALL = 4, 200  # frames, and atoms up to which the exact platform is fast


def read_script_run(
    shots_file: Path, storage: Path, problem: RareEventSystem, trust: bool = False
) -> tuple[RareEventSystem, Committor, Shots, list[np.ndarray], np.ndarray]:
    """Problem, committor, shots and transition paths of a script.

    Weights of paths are the steps for which each was the current one; the first path, which no trial has made, is left out.

    Parameters
    ----------
    shots_file : Path
        Checkpoint of the hook.
    storage : Path
        SimStore (``.db``), or netCDF (``.nc``), which may hold programs and is read on trust alone.
    problem : RareEventSystem
        What the script sampled, with the same states: A and B in the order that the hook was given them in.
    trust : bool
        Whether programs in the storage may run.

    Returns
    -------
    problem : RareEventSystem
        With its states tested at frames.
    model : CommittorModel or CommittorEnsemble
        Fitted to all shots once more.
    shots : Shots
    paths : list of ndarray of float32, shape (n_frames, n_atoms, 3), nm
        Those that were accepted, in this order.
    weights : ndarray, shape (n_paths,)

    Raises
    ------
    ValueError
        If a file is missing, damaged or not trusted, is of more than two states or several replicas, or of another problem.
    """
    model, shots = _learned(shots_file)
    with _opened(storage, trust) as opened:
        trajectories, weights = _accepted(opened.steps, storage)
        steps_per_frame = _require_same_dynamics(trajectories[0], problem, storage)
        frames = [frames_of(each, with_velocities=False).positions for each in trajectories]
    problem = problem.with_check_interval(steps_per_frame)
    _require_same_problem(frames, model, shots, problem, storage)
    for each in getattr(model, "members", [model]):
        each.check_interval = None  # of whatever the script called its problem
    model = labelled(model, problem)
    model = ShotTrainer(model).final(shots)
    return problem, model, shots, [path.astype(np.float32) for path in frames], np.array(weights)


def _learned(path: Path) -> tuple[Committor, Shots]:
    """The committor as the hook last had it, and all shots."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the file that TrainingHook writes")
    grown = GrowingFile(path, _ADVICE).load()
    with naming_damage(path, _ADVICE):
        arrays = grown.joined()
        if "metadata" not in arrays or "shots/positions" not in arrays:
            raise InputError(f"{path} is no file of TrainingHook: it holds no metadata of a model, or no shots")
        tensors = {name[14:]: value for name, value in arrays.items() if name.startswith("trainer/model/")}
        model = from_parts(path, json.loads(str(arrays["metadata"])), tensors)
        shots = Shots.from_arrays({name[6:]: value for name, value in arrays.items() if name.startswith("shots/")})
    if model.n_states != 2:
        raise InputError(f"{path} has a {model.title}: an analysis needs a model of two states, A and B")
    if not len(shots):
        raise InputError(f"{path} has no shots yet: let the script go on")
    return model, shots


@contextmanager
def _opened(path: Path, trust: bool) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the storage of the script")
    if path.suffix == ".nc":
        if not trust:
            raise UntrustedCodeError(f"{path} is a netCDF storage of OpenPathSampling, which may hold programs: {HOW_TO_TRUST}")
        storage = paths.Storage(str(path), "r")
    else:
        if not trust:
            _require_no_code(path)
        storage = open_simstore(path, "r")
    try:
        yield storage
    finally:
        storage.close()


def _require_no_code(path: Path) -> None:
    try:
        require_no_code(path)
    except UntrustedCodeError as error:
        what = str(error).partition(", which reading it would run")[0]
        raise UntrustedCodeError(f"{what}, which reading it would run: {HOW_TO_TRUST}") from error


def _accepted(steps: Any, storage: Path) -> tuple[list[paths.Trajectory], list[float]]:
    """Each accepted path once, and for how many steps it was the current one."""
    found: list[paths.Trajectory] = []
    weights: list[float] = []
    each = 1.0
    for index in range(1, len(steps)):  # step 0 is the start
        step = steps[index]
        if len(step.active) != 1:
            raise InputError(
                f"{storage} has {len(step.active)} replicas: only sampling of transition paths with one is analyzed"
            )
        if step.change.accepted:
            mover = step.change.canonical.mover
            found.append(step.active[0].trajectory)
            weights.append(0.0)
            each = mover.weight(found[-1]) if isinstance(mover, AimlessShootingMover) else 1.0
        if found:
            weights[-1] += each
    if not found:
        raise InputError(f"no transition path has been accepted in {storage} yet: let the script go on")
    return found, weights


def _require_same_dynamics(trajectory: paths.Trajectory, problem: RareEventSystem, storage: Path) -> int:
    """Steps between two frames; refuses another System, temperature or time step, as far as the engine says what it has."""
    engine = trajectory[0].engine
    integrator = getattr(engine, "integrator", None)
    if integrator is None:
        raise InputError(f"{storage} was not made by an engine of OpenMM: nobody can tell how far apart its frames are")
    step = integrator.getStepSize().value_in_unit(unit.picosecond)
    if abs(step / problem.timestep - 1.0) > _SAME:
        raise InputError(f"{storage} has a time step of {step:g} ps, but {problem.name} one of {problem.timestep:g} ps")
    temperature = known_temperature(integrator)
    if temperature is not None and abs(temperature / problem.temperature - 1.0) > _SAME:
        raise InputError(f"{storage} is of {temperature:.6g} K, but {problem.name} of {problem.temperature:g} K")
    n_atoms = trajectory[0].coordinates.shape[0]
    if n_atoms != len(problem.positions):
        raise InputError(f"{storage} has frames of {n_atoms} atoms, but {problem.name} has {len(problem.positions)}")
    positions = frames_of(trajectory[:_COMPARED], with_velocities=False).positions
    theirs, own = (_energies(system, positions) / problem.kt for system in (engine.system, problem.system))
    if np.abs(np.diff(theirs - own)).max(initial=0.0) > _SAME_ENERGY:
        raise InputError(
            f"{storage} was made with another System than that of {problem.name}: energies of its frames differ by up to "
            f"{np.abs(np.diff(theirs - own)).max():.3g} kT"
        )
    return int(engine.n_steps_per_frame)


def _energies(system: openmm.System, positions: np.ndarray) -> np.ndarray:
    """Of frames, kJ/mol."""
    platform = platform_by_name("Reference" if system.getNumParticles() <= _SMALL else "CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    found = []
    for frame in positions:
        context.setPositions(frame)
        context.computeVirtualSites()
        found.append(context.getState(energy=True).getPotentialEnergy()._value)
    return np.array(found)


def _require_same_problem(
    frames: list[np.ndarray], model: Committor, shots: Shots, problem: RareEventSystem, storage: Path
) -> None:
    """Paths must lead from one state of the problem to the other, and nowhere else, and the model must see its atoms."""
    n_atoms = len(problem.positions)
    if shots.positions[0].shape != (n_atoms, 3) or (model.n_atoms or n_atoms) != n_atoms:
        raise InputError(f"the file of shots is not of the {n_atoms} atoms of {problem.name}")
    for number, path in enumerate(frames, start=1):
        status = problem.states.classify(path)
        ends = {int(status[0]), int(status[-1])}
        if NEITHER in ends or len(ends) != 2 or (status[1:-1] != NEITHER).any():
            raise InputError(
                f"accepted path {number} in {storage} does not lead from one state of {problem.name} to the other: the script "
                "had other states; give the configuration with those that it had"
            )

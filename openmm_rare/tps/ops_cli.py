"""What an input file for the command line of OpenPathSampling can name: engine, states, selector and move schemes of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import openmm
import openpathsampling as paths
from openpathsampling.engines import topology as topologies

from ..committor.load import load_committor
from ..config.run import build_system, load_config
from ..dynamics.checks import require_runnable
from ..errors import InputError
from ..folders.path_folder import path_settings
from ..io.tasks import Silent
from ..learning.shot_trainer import ShotTrainer
from ..ops.aimless import AimlessShootingStrategy
from ..ops.engine import RareEventEngine
from ..ops.hooks import TrainingHook
from ..ops.selector import CommittorSelector
from ..ops.shooting import ShootingMover, ShootingStrategy, shooting_scheme
from ..ops.snapshots import trajectory_of
from ..ops.volumes import StateVolume, state_volumes
from ..structure.files import read_system
from ..trust.system_xml import checked_xml
from .chains.chain import make_engine
from .chains.task import PathProblem
from .first_paths.initial_path import initial_path

if TYPE_CHECKING:
    from ..config.run import RunConfig

__all__ = [
    "aimless_scheme",
    "configured_engine",
    "configured_path",
    "configured_state",
    "engine_of_files",
    "integrator_of_file",
    "selector_with_model",
    "selector_scheme",
    "system_of_file",
    "training_hook",
]


def configured_engine(config: str) -> RareEventEngine:
    """The engine that a configuration of openmm-rare describes."""
    problem = _problem(_config(config))
    require_runnable(problem.system, "paths")
    return make_engine(problem)


def system_of_file(file: str) -> openmm.System:
    """A System that was written by ``openmm.XmlSerializer``; it must hold no program.

    Raises
    ------
    ValueError
        If it does, or is something else.
    """
    return read_system(Path(file))


def integrator_of_file(file: str) -> openmm.Integrator:
    """An integrator that was written by ``openmm.XmlSerializer``.

    Raises
    ------
    ValueError
        If it is something else.
    """
    return openmm.XmlSerializer.deserialize(checked_xml(Path(file), "Integrator"))


def engine_of_files(
    topology: topologies.Topology,
    system: openmm.System,
    integrator: openmm.Integrator,
    n_steps_per_frame: int,
    n_frames_max: int,
    platform: str = "CPU",
) -> RareEventEngine:
    """The engine for a system and an integrator that were written by ``openmm.XmlSerializer``."""
    options = {"n_steps_per_frame": n_steps_per_frame, "n_frames_max": n_frames_max}
    return RareEventEngine(topology, system, integrator, options=options, platform=platform)


def configured_state(config: str, state: str) -> StateVolume:
    """State A or B of a configuration.

    Raises
    ------
    ValueError
        For another state.
    """
    volumes = {volume.name: volume for volume in state_volumes(build_system(_config(config)).states)}
    if state not in volumes:
        raise InputError(f"state = {state!r} must be one of {', '.join(volumes)}: the states of {config}")
    return volumes[state]


def selector_with_model(model: str, width: float = 1.0, form: str = "lorentzian") -> CommittorSelector:
    """Shooting points near the transition states of a model in a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not Path(model).is_file():
        raise FileNotFoundError(
            f"model = {model!r}: there is no such file; `openmm-rare tps CONFIG` writes one, model.npz in the folder of its run"
        )
    return CommittorSelector(load_committor(model), width, form)


def selector_scheme(
    network: paths.TransitionNetwork, selector: paths.ShootingPointSelector, engine: RareEventEngine
) -> paths.MoveScheme:
    """Two-way shooting, :class:`~openmm_rare.ops.shooting.ShootingMover`, from the points of a selector.

    Raises
    ------
    ValueError
        If the engine is none of ours, or the model of the selector belongs to another number of atoms.
    """
    modifier = _modifier(engine)
    n_atoms = engine.system.getNumParticles()
    if isinstance(selector, CommittorSelector) and selector.model.n_atoms != n_atoms:
        raise InputError(
            f"the model of the selector is one for {selector.model.n_atoms} atoms, but the engine has {n_atoms}: give the "
            "model that was trained for this system"
        )
    return shooting_scheme(network, ShootingStrategy(selector, modifier, engine))


def aimless_scheme(
    network: paths.TransitionNetwork, engine: RareEventEngine, offset: int = 1, corrected: bool = True
) -> paths.MoveScheme:
    """Aimless shooting.

    Raises
    ------
    ValueError
        If the engine is none of ours.
    """
    return shooting_scheme(network, AimlessShootingStrategy(_modifier(engine), engine, offset, corrected))


def configured_path(config: str, engine: RareEventEngine) -> paths.Trajectory:
    """The first path that a configuration asks for.

    Raises
    ------
    ValueError
        If the engine has another number of atoms.
    """
    settings = _config(config)
    problem = _problem(settings)
    mine, theirs = len(problem.system.positions), engine.system.getNumParticles()
    if mine != theirs:
        raise InputError(f"{config} describes {mine} atoms, but the engine has {theirs}: give the configuration of the engine")
    require_runnable(problem.system, "paths")
    return trajectory_of(initial_path(problem, settings.sampling.seed, Silent()), engine)


def training_hook(scheme: paths.MoveScheme, checkpoint: Path) -> TrainingHook:
    """A hook that trains the model behind the selector of a scheme.

    Raises
    ------
    ValueError
        If there is no such selector.
    """
    for mover in scheme.root_mover:
        if isinstance(mover, ShootingMover) and isinstance(mover.selector, CommittorSelector):
            return TrainingHook(mover.selector, mover.states, checkpoint, ShotTrainer(mover.selector.model, given=True))
    raise InputError(
        "the move scheme has no selector with a committor that could learn: use one of the type committor-shooting"
    )


def _config(name: str) -> RunConfig:
    if not Path(name).is_file():
        raise FileNotFoundError(f"config = {name!r}: there is no such file; it is a configuration for `openmm-rare tps`")
    return load_config(name)


def _problem(config: RunConfig) -> PathProblem:
    return PathProblem(build_system(config), path_settings(config), config.sampling.platform)


def _modifier(engine: RareEventEngine) -> paths.SnapshotModifier:
    if not isinstance(engine, RareEventEngine):
        raise InputError(
            f"the engine is a {type(engine).__name__}, but these move schemes need one of the types openmm-rare and "
            "openmm-rare-files"
        )
    return paths.NoModification() if engine.overdamped else paths.RandomVelocities(engine=engine)

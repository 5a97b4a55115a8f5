"""What each method would refuse: its own checks are called, all that it makes before dynamics runs, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...committor.base import Committor
from ...config.run import RunConfig
from ...errors import RareError
from ...folders.path_folder import initial_paths_of, path_settings
from ...io.tasks import Memory, Silent
from ...rates.barrier.reversible import require_reversible_forces
from ...settings.paths import INITIAL_PATHS
from ...walkers.machine import Machine
from ..engines import engine_of, way_of
from .rows import Checked

if TYPE_CHECKING:
    from ...problem import RareEventSystem

__all__ = ["METHODS", "check_methods"]

METHODS: tuple[str, ...] = ("rate", "tps", "barrier", "brute-force")
"""As they are called on the command line, less ``--method``."""

_COMMANDS = {"rate": "rate", "tps": "tps", "barrier": "rate --method barrier", "brute-force": "rate --brute-force"}


def check_methods(
    checked: Checked,
    methods: Sequence[str],
    config: RunConfig,
    problem: RareEventSystem,
    machine: Machine,
    model: Committor | None,
) -> None:
    """Add a row for each method, and for each note that it would begin with and no row has yet."""
    for method in methods:
        about = f"openmm-rare {_COMMANDS[method]}"
        checks = _tps if method == "tps" else _rate
        try:
            said, notes, needs = checks(method, config, problem, machine, model)
        except RareError as error:
            checked.add(about, str(error), "refused")
            continue
        known = [row.said for row in checked.rows]
        checked.add(about, said, "warning" if needs else "ok")
        checked.add_all(about, [note for note in notes if not any(note in each for each in known)], "warning")


def _rate(
    method: str, config: RunConfig, problem: RareEventSystem, machine: Machine, model: Committor | None
) -> tuple[str, Sequence[str], bool]:
    """What is said of a rate by this method, its notes, and whether it needs to be told something first."""
    kind = {"rate": "importance", "brute-force": "brute_force"}.get(method, method)
    config = config.with_options(method=kind)
    if kind != "importance" and config.sampling.importance:
        config = replace(config, sampling=replace(config.sampling, importance=""))

    def made(config: RunConfig) -> Sequence[str]:
        engine = engine_of(config, problem, machine, Memory(), Silent(), model, None)
        if kind == "barrier":
            require_reversible_forces(problem, machine)
        return engine.notes

    try:
        return f"{engine_name(kind, problem)} could run", made(config), False
    except RareError as error:
        told = _told(config, kind, problem, model)
        for choice in told:
            if _passes(made, choice):
                return str(error), made(choice), True
        if told:  # something else is in the way as well
            made(told[0])
        raise


def engine_name(kind: str, problem: RareEventSystem) -> str:
    """The method in words."""
    if kind != "importance":
        return {"brute_force": "counting transitions", "barrier": "windows up to the barrier and shots from its top"}[kind]
    return "splitting along a given direction" if problem.inertial else "importance sampling"


def _told(config: RunConfig, kind: str, problem: RareEventSystem, model: Committor | None) -> list[RunConfig]:
    """The same with what a user may still say: a variable as the direction, or for windows to lie along."""
    names = problem.states.variables.names
    needs = model is None and not config.sampling.importance and way_of(config.sampling, problem) == "splitting"
    if kind == "importance" and needs:
        return [config.with_options(importance=name) for name in names]
    if kind == "barrier" and model is None and not config.barrier.along:
        return [config.with_options(along=name) for name in names]
    return []


def _passes(made: Callable[[RunConfig], object], config: RunConfig) -> bool:
    try:
        made(config)
    except RareError:
        return False
    return True


def _tps(
    method: str, config: RunConfig, problem: RareEventSystem, machine: Machine, model: Committor | None
) -> tuple[str, Sequence[str], bool]:
    """The same of path sampling."""
    from ...tps.chains.chain import make_engine  # OpenPathSampling takes seconds, and may be missing
    from ...tps.chains.task import PathProblem
    from ...tps.path_sampling import PathSampling
    from ...tps.trajectories.file import read_path

    settings, notes = path_settings(config), []
    run = PathSampling(
        problem, settings, seed=config.sampling.seed, machine=machine, model=model, progress=Silent(), source=config
    )
    target = PathProblem(problem, settings, machine.platform)
    make_engine(target)
    for name in initial_paths_of(config):
        if name not in INITIAL_PATHS:
            read_path(name, target, notes.append)
    return f"sampling of paths by {settings.method} could run", [*run.notes, *notes], False

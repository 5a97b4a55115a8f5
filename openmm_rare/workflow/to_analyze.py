"""What an analysis begins with: the folder of a path sampling run, or what a script of OpenPathSampling has left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..committor.base import Committor
from ..config.run import build_system
from ..errors import InputError
from ..folders.path_folder import doubts_of_run, load_path_sampling
from ..io.checksums import naming_contents, unchecked_note
from ..paths.ensemble import PathEnsemble
from .rate import configuration

if TYPE_CHECKING:
    from ..learning.shots import Shots
    from ..problem import RareEventSystem

__all__ = ["load_run_to_analyze", "load_script_run"]

Sampled = tuple["RareEventSystem", Committor, "Shots", PathEnsemble]


def load_run_to_analyze(folder: Path, trust: bool) -> tuple[Sampled, Sequence[str] | None, Sequence[str]]:
    """A run of the command, what it says against its paths, and what should be known about its files."""
    with naming_contents(folder):
        sampled, doubts, unchecked = load_path_sampling(folder, trust), doubts_of_run(folder), unchecked_note(folder)
    return sampled, doubts, [unchecked] if unchecked else ()


def load_script_run(shots: Path, storage: Path | None, source: str | None, trust: bool = False) -> Sampled:
    """What a script with :class:`~openmm_rare.ops.hooks.TrainingHook` has left.

    Parameters
    ----------
    shots : Path
        File of the hook.
    storage : Path
        OpenPathSampling's, SimStore (``.db``) or netCDF (``.nc``).
    source : str
        Name of a built-in system, or a configuration with the System and the states of the script.
    trust : bool
        Whether programs in the storage, and code that the configuration names, may run.

    Raises
    ------
    ValueError
        As :func:`openmm_rare.ops.script_runs.read_script_run`, and if one of the three is missing.
    """
    if storage is None or source is None or not shots.is_file():
        raise InputError(
            f"of a script of OpenPathSampling three things are needed: {shots} as the file that its TrainingHook wrote, "
            "--storage with its storage, and --system with what it sampled, a built-in system or CONFIG.toml"
        )
    from ..ops.script_runs import read_script_run  # OpenPathSampling takes seconds

    problem, model, trials, paths, weights = read_script_run(shots, storage, build_system(configuration(source, trust)), trust)
    frame_time = problem.check_interval * problem.timestep
    return problem, model, trials, PathEnsemble(paths, weights, np.zeros(len(paths), dtype=np.int64), frame_time)

"""Where the frames of a free energy come from: dynamics that is made here, or files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...config.run import RunConfig
from ...errors import InputError
from ...io.tasks import Progress, TaskLog
from ...latent.frames import ForceFrames, forces_at, make_frames
from ...problem import RareEventSystem
from ...settings.latent import LatentSettings
from ...structure.bonds import bonds_of
from ...structure.box import periodic_box
from ...structure.whole_molecules import WholeMolecules
from ...tps.trajectories.formats import read_content
from ...walkers.machine import Machine

__all__ = ["frames_of", "require_files", "rounded_notes"]

_ROUNDED = (".xtc", ".pdb", ".gro", ".cif", ".pdbx", ".mmcif")


def require_files(config: RunConfig, settings: LatentSettings) -> list[Path]:
    """The files with trajectories.

    Raises
    ------
    ValueError
        If one does not exist.
    """
    paths = [Path(config.folder) / name for name in settings.trajectories]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"latent.trajectories: {missing[0]} does not exist (names start at the folder of the configuration)")
    return paths


def rounded_notes(paths: list[Path]) -> list[str]:
    """What should be known of files whose positions are rounded."""
    rounded = [path.name for path in paths if path.suffix.lower() in _ROUNDED]
    if not rounded:
        return []
    return [
        f"Positions in {', '.join(rounded)} are rounded to 0.001 nm or so, which makes forces of stiff bonds noisy: .npz or "
        ".dcd keep them."
    ]


def frames_of(
    config: RunConfig,
    problem: RareEventSystem,
    settings: LatentSettings,
    task: TaskLog,
    machine: Machine,
    progress: Progress,
) -> ForceFrames:
    """Frames with forces, made or read.

    Files hold frames of equilibrium at the temperature of the problem, one file for each run; their forces are those of the
    System, whatever made them.

    Raises
    ------
    ValueError
        If a file cannot be read, has other atoms, or frames that are not finite.
    """
    paths = require_files(config, settings)
    if not paths:
        return make_frames(problem, settings, task, machine, progress)
    progress.stage("forces of trajectories")
    runs = []
    for path in paths:
        content = read_content(path, problem)
        if not np.isfinite(content.positions).all():
            raise InputError(f"{path} holds positions that are not finite")
        positions, boxes = content.positions, content.boxes
        box = periodic_box(problem.system)
        if box is not None:
            boxes = np.broadcast_to(box if boxes is None else boxes, (len(positions), 3, 3))
            bonds = bonds_of(problem.system, problem.topology, problem.positions, problem.kt)
            positions, _ = WholeMolecules(bonds, len(problem.positions)).mend(positions, boxes)
        runs.append((positions.astype(np.float32), forces_at(problem, positions, boxes, machine, progress)))
    return ForceFrames.join(runs)

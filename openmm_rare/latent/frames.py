"""Frames of equilibrium with their forces: made by unbiased dynamics, block by block, or evaluated at given positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import openmm

from ..dynamics.unbiased import unbiased_integrator
from ..errors import DynamicsError, InputError
from ..io.tasks import Progress, TaskLog
from ..structure.box import periodic_box

if TYPE_CHECKING:
    from ..problem import RareEventSystem
    from ..settings.latent import LatentSettings
    from ..walkers.machine import Machine

__all__ = ["ForceFrames", "forces_at", "make_frames"]

_PER_RECORD = 2_000_000  # coordinates in a record: 16 MB with forces
_MOST_BYTES = 4e9
_MOST_FRAMES = 1000  # in a record: what a kill loses at most


@dataclass(frozen=True, eq=False)
class ForceFrames:
    """Frames of equilibrium.

    Attributes
    ----------
    positions : ndarray of float32, shape (n, n_atoms, 3), nm
    forces : ndarray of float32, shape (n, n_atoms, 3), kJ/mol/nm
        Of the System, without those of constraints.
    run : ndarray of int, shape (n,)
        Which run each is of; frames of a run are in order.
    """

    positions: np.ndarray
    forces: np.ndarray
    run: np.ndarray

    def __len__(self) -> int:
        return len(self.run)

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return int(self.run.max()) + 1

    @classmethod
    def join(cls, runs: list[tuple[np.ndarray, np.ndarray]]) -> ForceFrames:
        """Positions and forces of runs, one after the other."""
        positions, forces = (np.concatenate(each) for each in zip(*runs, strict=True))
        return cls(positions, forces, np.repeat(np.arange(len(runs)), [len(each) for each, _ in runs]))


def make_frames(
    problem: RareEventSystem, settings: LatentSettings, task: TaskLog, machine: Machine, progress: Progress
) -> ForceFrames:
    """Frames of the problem's own dynamics, each block of a run from where the one before ended.

    Parameters
    ----------
    problem : RareEventSystem
    settings : LatentSettings
        Numbers of runs, frames and steps.
    task : TaskLog
        Records blocks: a run that was killed goes on from its last one, as if it had not been.
    machine : Machine
    progress : Progress

    Raises
    ------
    ValueError
        If they would take too much memory.
    FloatingPointError
        If positions or forces are not finite.
    """
    n_bytes = 24 * settings.runs * settings.frames * len(problem.positions)
    if n_bytes > _MOST_BYTES:
        raise InputError(
            f"{settings.runs} runs of {settings.frames} frames of {len(problem.positions)} atoms take {1e-9 * n_bytes:.1f} GB, "
            f"and at most {1e-9 * _MOST_BYTES:g} are possible: make fewer frames, further apart"
        )
    size = int(np.clip(_PER_RECORD // (3 * len(problem.positions)), 1, _MOST_FRAMES))
    sizes = [size] * (settings.frames // size) + ([settings.frames % size] if settings.frames % size else [])
    progress.stage("trajectories", float(settings.runs * settings.frames))
    runs = []
    for number in range(settings.runs):
        blocks: list[Mapping[str, Any]] = []
        for n_frames in sizes:
            before = blocks[-1] if blocks else None
            blocks.append(
                task("frames", lambda seed: _block(problem, settings, machine, number, n_frames, before, seed))  # noqa: B023
            )
            progress.update(float(n_frames), run=number + 1)
        runs.append(tuple(np.concatenate([block[name] for block in blocks]) for name in ("positions", "forces")))
    return ForceFrames.join(runs)


def _block(
    problem: RareEventSystem,
    settings: LatentSettings,
    machine: Machine,
    run: int,
    n_frames: int,
    before: Mapping[str, Any] | None,
    seed: np.random.SeedSequence,
) -> dict[str, np.ndarray]:
    """So many frames, and the state in double precision that they end with."""
    random = [int(word) >> 1 for word in seed.generate_state(2)]
    integrator = unbiased_integrator(problem)
    integrator.setRandomNumberSeed(random[0] or 1)
    context = machine.context(problem.system, integrator, problem.name)
    _begin(context, problem, run, before, random[1])
    if before is None:
        integrator.step(settings.equilibration)
    shape = (n_frames, len(problem.positions), 3)
    positions, forces = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for frame in range(n_frames):
        integrator.step(settings.steps_per_frame)
        state = context.getState(positions=True, forces=True)
        positions[frame] = state.getPositions(asNumpy=True)._value
        forces[frame] = state.getForces(asNumpy=True)._value
    _require_finite(problem, positions, forces)
    last = context.getState(positions=True, velocities=problem.inertial)
    end = {"last_positions": last.getPositions(asNumpy=True)._value}
    if problem.inertial:
        end["last_velocities"] = last.getVelocities(asNumpy=True)._value
    return {"positions": positions, "forces": forces, **end}


def _begin(context: openmm.Context, problem: RareEventSystem, run: int, before: Mapping[str, Any] | None, seed: int) -> None:
    if before is not None:
        context.setPositions(before["last_positions"])
        if problem.inertial:
            context.setVelocities(before["last_velocities"])
        return
    context.setPositions(problem.starts[run % len(problem.starts)])
    if problem.inertial:
        context.setVelocitiesToTemperature(problem.temperature, seed)
        velocities = context.getState(velocities=True).getVelocities(asNumpy=True)._value
        context.setVelocities(velocities * (np.arange(3) < problem.num_dimensions))


def forces_at(
    problem: RareEventSystem, positions: np.ndarray, boxes: np.ndarray | None, machine: Machine, progress: Progress
) -> np.ndarray:
    """Forces of the System at positions that were made elsewhere, ``(n, n_atoms, 3)``; float32, kJ/mol/nm.

    Raises
    ------
    FloatingPointError
        If they are not finite.
    """
    context = machine.context(problem.system, openmm.VerletIntegrator(0.001), problem.name)
    forces = np.empty(positions.shape, np.float32)
    for frame, each in enumerate(positions):
        if boxes is not None and periodic_box(problem.system) is not None:
            context.setPeriodicBoxVectors(*boxes[frame])
        context.setPositions(each)
        forces[frame] = context.getState(forces=True).getForces(asNumpy=True)._value
        progress.update(1.0)
    _require_finite(problem, positions, forces)
    return forces


def _require_finite(problem: RareEventSystem, positions: np.ndarray, forces: np.ndarray) -> None:
    fine = np.isfinite(positions).all(axis=(1, 2)) & np.isfinite(forces).all(axis=(1, 2))
    if not fine.all():
        raise DynamicsError(
            f"positions or forces of {problem.name} are not finite in frame {int(np.argmin(fine))}: use a smaller time step"
        )

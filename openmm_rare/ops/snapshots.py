"""Frames as objects of OpenPathSampling, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
import openpathsampling as paths
from openmm import unit
from openpathsampling.engines.openmm import Snapshot

from ..dynamics.frames import Frames

if TYPE_CHECKING:
    import openmm

__all__ = ["VELOCITY", "frames_of", "positions_of", "snapshot_in", "trajectory_of"]

VELOCITY = unit.nanometer / unit.picosecond


class Engine(Protocol):
    """The engine that snapshots belong to."""

    def no_velocities(self) -> Snapshot.KineticContainer | None:
        """What all snapshots share in dynamics without velocities, else None."""


def positions_of(trajectory: Iterable[Snapshot]) -> np.ndarray:
    """Positions of the frames of a trajectory, shape (n_frames, n_atoms, 3), nm."""
    return np.stack([np.asarray(snapshot.statics.coordinates._value) for snapshot in trajectory])


def frames_of(snapshots: Iterable[Snapshot], with_velocities: bool = True) -> Frames:
    """The frames of a trajectory of OpenPathSampling."""
    snapshots = list(snapshots)
    velocities = None
    if with_velocities:
        velocities = np.stack([snapshot.velocities.value_in_unit(VELOCITY) for snapshot in snapshots])
    boxes = np.stack([snapshot.statics.box_vectors.value_in_unit(unit.nanometer) for snapshot in snapshots])
    return Frames(positions_of(snapshots), velocities, boxes)


def trajectory_of(frames: Frames, engine: Engine) -> paths.Trajectory:
    """The frames as a trajectory of OpenPathSampling."""
    still = engine.no_velocities() if frames.velocities is None else None
    return paths.Trajectory([_snapshot(frames, i, engine, still) for i in range(len(frames))])


def snapshot_in(context: openmm.Context, engine: Engine) -> Snapshot:
    """Where a Context of an engine stands."""
    still = engine.no_velocities()
    state = context.getState(positions=True, velocities=still is None)
    return Snapshot.construct(
        coordinates=state.getPositions(asNumpy=True),
        box_vectors=state.getPeriodicBoxVectors(asNumpy=True),
        velocities=None if still is not None else state.getVelocities(asNumpy=True),
        kinetics=still,
        engine=engine,
    )


def _snapshot(frames: Frames, index: int, engine: Engine, still: Snapshot.KineticContainer | None) -> Snapshot:
    # the constructors copy what they are given, and a product with a unit does so twice: more work than a step
    statics, kinetics = Snapshot.StaticContainer(None, None, engine), still or Snapshot.KineticContainer(None, engine)
    statics.coordinates = unit.Quantity(frames.positions[index].copy(), unit.nanometer)
    statics.box_vectors = unit.Quantity(frames.boxes[index].copy(), unit.nanometer)
    if frames.velocities is not None:
        kinetics.velocities = unit.Quantity(frames.velocities[index].copy(), VELOCITY)
    return Snapshot(engine=engine, statics=statics, kinetics=kinetics)

"""Frames of a path as arrays, in the precision of the dynamics: much cheaper than an object for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from openmm import unit

if TYPE_CHECKING:
    import openpathsampling as paths
    from openpathsampling.engines.openmm import Snapshot

__all__ = ["VELOCITY", "Frames"]

VELOCITY = unit.nanometer / unit.picosecond


@dataclass(frozen=True, eq=False)
class Frames:
    """Consecutive frames.

    Attributes
    ----------
    positions : ndarray, shape (n_frames, n_atoms, 3), nm
    velocities : ndarray, shape (n_frames, n_atoms, 3), nm/ps, or None
        None if the dynamics has none.
    boxes : ndarray, shape (n_frames, 3, 3), nm
        Periodic box vectors.
    """

    positions: np.ndarray
    velocities: np.ndarray | None
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, which: slice | list[int]) -> Frames:
        velocities = None if self.velocities is None else self.velocities[which]
        return Frames(self.positions[which], velocities, self.boxes[which])

    @property
    def reversed(self) -> Frames:
        """The same frames backward in time."""
        backward = self[::-1]
        velocities = None if backward.velocities is None else -backward.velocities
        return Frames(np.ascontiguousarray(backward.positions), velocities, backward.boxes)  # torch knows no negative strides

    def n_finite(self) -> int:
        """Number of frames before the first with NaN or infinities."""
        fine = np.isfinite(self.positions).all(axis=(1, 2))
        if self.velocities is not None:
            fine &= np.isfinite(self.velocities).all(axis=(1, 2))
        return len(fine) if fine.all() else int(np.argmin(fine))

    @classmethod
    def join(cls, parts: Iterable[Frames]) -> Frames:
        """Several stretches, one after the other."""
        parts = list(parts)
        velocities = None if parts[0].velocities is None else np.concatenate([part.velocities for part in parts])
        boxes = np.concatenate([part.boxes for part in parts])
        return cls(np.concatenate([part.positions for part in parts]), velocities, boxes)

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot], with_velocities: bool = True) -> Frames:
        """The frames of a trajectory of OpenPathSampling."""
        snapshots = list(snapshots)
        velocities = None
        if with_velocities:
            velocities = np.stack([snapshot.velocities.value_in_unit(VELOCITY) for snapshot in snapshots])
        positions = np.stack([np.asarray(snapshot.statics.coordinates._value) for snapshot in snapshots])
        boxes = np.stack([snapshot.statics.box_vectors.value_in_unit(unit.nanometer) for snapshot in snapshots])
        return cls(positions, velocities, boxes)

    def trajectory(self, engine: Any) -> paths.Trajectory:
        """Objects of OpenPathSampling."""
        import openpathsampling as paths

        still = engine.no_velocities() if self.velocities is None else None
        return paths.Trajectory([self._snapshot(i, engine, still) for i in range(len(self))])

    def _snapshot(self, index: int, engine: Any, still: Any) -> Snapshot:
        from openpathsampling.engines.openmm import Snapshot

        # the constructors copy what they are given, and a product with a unit does so twice: more work than a step
        statics, kinetics = Snapshot.StaticContainer(None, None, engine), still or Snapshot.KineticContainer(None, engine)
        statics.coordinates = unit.Quantity(self.positions[index].copy(), unit.nanometer)
        statics.box_vectors = unit.Quantity(self.boxes[index].copy(), unit.nanometer)
        if self.velocities is not None:
            kinetics.velocities = unit.Quantity(self.velocities[index].copy(), VELOCITY)
        return Snapshot(engine=engine, statics=statics, kinetics=kinetics)

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        velocities = {} if self.velocities is None else {"velocities": self.velocities}
        return {"positions": self.positions, "boxes": self.boxes, **velocities}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Frames:
        """Inverse of :meth:`arrays`."""
        return cls(np.asarray(arrays["positions"]), arrays.get("velocities"), np.asarray(arrays["boxes"]))

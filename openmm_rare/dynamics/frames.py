"""Frames of a path as arrays, in the precision of the dynamics: much cheaper than an object for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Frames"]


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

    def arrays(self) -> dict[str, np.ndarray]:
        """For a file."""
        velocities = {} if self.velocities is None else {"velocities": self.velocities}
        return {"positions": self.positions, "boxes": self.boxes, **velocities}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Frames:
        """Inverse of :meth:`arrays`."""
        return cls(np.asarray(arrays["positions"]), arrays.get("velocities"), np.asarray(arrays["boxes"]))

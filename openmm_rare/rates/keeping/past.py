"""Where a walker has been: the frames behind it, which all that descend from one of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Past", "PastTable", "frames_of", "longer"]

Past = tuple[np.ndarray, Any]
"""A frame, shape (n_atoms, 3), single precision, and the past before it, or None. Nobody who is copied copies frames, and those
that no walker descends from are gone with the last of its descendants."""


def longer(past: Past | None, positions: np.ndarray) -> Past:
    """A past with one more frame, of positions ``(n_atoms, 3)``, which are copied."""
    return np.array(positions, dtype=np.float32), past


def frames_of(past: Past | None) -> np.ndarray:
    """All frames from the first one on, shape (n_frames, n_atoms, 3)."""
    found = []
    while past is not None:
        frame, past = past
        found.append(frame)
    return np.array(found[::-1])


@dataclass(frozen=True, eq=False)
class PastTable:
    """Pasts of several walkers as arrays, for files and other processes; shared frames are there once.

    Attributes
    ----------
    positions : ndarray of float32, shape (n_frames, n_atoms, 3), nm
    parent : ndarray of int64, shape (n_frames,)
        Row of the frame before each one, which is above it; -1 for the first ones.
    tip : ndarray of int64, shape (n_walkers,)
        Row of the latest frame of each walker; -1 of one without a past.
    """

    positions: np.ndarray
    parent: np.ndarray
    tip: np.ndarray

    def record(self) -> dict[str, np.ndarray]:
        """For the record of a round."""
        return {"past_positions": self.positions, "past_parent": self.parent, "past_tip": self.tip}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> PastTable | None:
        """Inverse of :meth:`record`; None of a record without."""
        if "past_tip" not in record:
            return None
        return cls(*(np.asarray(record[f"past_{name}"]) for name in ("positions", "parent", "tip")))

    @classmethod
    def of(cls, pasts: Sequence[Past | None], n_atoms: int) -> PastTable:
        """The pasts of walkers of so many atoms."""
        rows: dict[int | None, int] = {None: -1}
        frames, parent, tip = [], [], []
        for past in pasts:
            node, new = past, []
            while node is not None and id(node) not in rows:
                new.append(node)
                node = node[1]
            for each in reversed(new):
                parent.append(rows[None if each[1] is None else id(each[1])])
                rows[id(each)] = len(frames)
                frames.append(each[0])
            tip.append(rows[None if past is None else id(past)])
        positions = np.array(frames, dtype=np.float32).reshape(-1, n_atoms, 3)
        return cls(positions, np.array(parent, dtype=np.int64), np.array(tip, dtype=np.int64))

    def pasts(self) -> list[Past | None]:
        """Inverse of :meth:`of`."""
        nodes: list[Past | None] = []
        for frame, parent in zip(self.positions, self.parent.tolist(), strict=True):
            nodes.append((frame, nodes[parent] if parent >= 0 else None))
        return [nodes[row] if row >= 0 else None for row in self.tip.tolist()]

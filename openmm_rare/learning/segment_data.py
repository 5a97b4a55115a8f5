"""Segments of trajectories, from which a committor is learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dynamics.frames import Frames, Rows

__all__ = ["SegmentData"]


@dataclass(frozen=True)
class SegmentData(Rows):
    """Short biased trajectory segments.

    Attributes
    ----------
    start, end : Frames
        In single precision.
    log_weight : ndarray, shape (n,)
        ln of the likelihood ratio unbiased/biased of the segment.
    status : ndarray of int8, shape (n,)
        Where the end lies: 0 between the states, 1 in A, 2 in B.
    drift : ndarray of float32, shape (n, n_atoms, 3), nm
        Displacement of one step from the start by the physical forces.
    """

    start: Frames
    end: Frames
    log_weight: np.ndarray
    status: np.ndarray
    drift: np.ndarray

    def newest(self, most: int) -> SegmentData:
        """The last so many of them."""
        return self.take(slice(-most, None))

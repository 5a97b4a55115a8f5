"""The part of the segments that a fit uses, with all that does not depend on the parameters, computed once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..committor.model import CommittorModel
from ..descriptors.by_hand import feature_columns
from .residual import Places
from .segment_data import SegmentData

__all__ = ["PROBES", "FitSample"]

PROBES: int = 2
"""Independent estimates of the residual, whose product has the mean of its square."""

_HELD_OUT = 0.1  # fraction of segments kept for early stopping
_MOST_HELD = 4000  # and how many at most
_HELD_PLACES = 1000  # held-out places at which the residual is looked at


@dataclass(frozen=True)
class FitSample:
    """Segments in random order, those that are held out first.

    Attributes
    ----------
    segments : SegmentData
    start, end : Tensor, shape (n, n_features)
        Standardized features where they start and end.
    places : Places or None
        Starts of some of them, for the residual.
    n_held, n_held_places : int
        So many are held out.
    """

    segments: SegmentData
    start: Tensor
    end: Tensor
    places: Places | None
    n_held: int
    n_held_places: int

    @classmethod
    def draw(
        cls,
        model: CommittorModel,
        segments: SegmentData,
        rng: np.random.Generator,
        n_segments: int,
        n_places: int,
        spread: np.ndarray,
    ) -> FitSample:
        """Draw a sample, without repetitions.

        Parameters
        ----------
        model : CommittorModel
            Its features are evaluated.
        segments : SegmentData
        rng : numpy.random.Generator
        n_segments, n_places : int
            Beside those that are held out, at most; no place: no residual.
        spread : ndarray of float32, shape (n_atoms, 3), nm
            Standard deviation of the noise of one step.
        """
        n_held = min(int(_HELD_OUT * len(segments)), _MOST_HELD)
        chosen = segments.take(rng.permutation(len(segments))[: n_held + n_segments])
        start, end = (_features(model, frames.positions) for frames in (chosen.start, chosen.end))
        n_held_places, places = min(n_held, _HELD_PLACES), None
        if n_places:
            rows = np.r_[:n_held_places, n_held : min(n_held + n_places, len(chosen))]
            probes = (2 * rng.integers(0, 2, (PROBES, len(rows), *spread.shape)) - 1).astype(np.float32)
            at, drift = (array[rows].astype(np.float32) for array in (chosen.start.positions, chosen.drift))
            places = Places.of(model, at, drift, spread, probes)
        return cls(chosen, start, end, places, n_held, n_held_places)


def _features(model: CommittorModel, positions: np.ndarray) -> Tensor:
    columns = torch.from_numpy(feature_columns(model.descriptor, positions))
    return model.standardized(columns.T.contiguous())

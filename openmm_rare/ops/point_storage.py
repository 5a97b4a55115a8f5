"""Weighted transition paths in OpenPathSampling's storage: one step for each path, whose details hold its weight."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import openpathsampling as paths

from ..dynamics.frames import Frames
from .engine import RareEventEngine
from .simstore import open_simstore
from .snapshots import trajectory_of

__all__ = ["WeightedPathStorage", "weighted_paths"]


class WeightedPathStorage:
    """Writes transition paths with their weights; what the file has already is left as it is.

    Parameters
    ----------
    path : Path
        A new file, or one to append to.
    engine : RareEventEngine
    ensemble : openpathsampling.Ensemble
        Of the paths.
    owner : str
        What the storage belongs to: the run and the walker.
    """

    def __init__(self, path: Path, engine: RareEventEngine, ensemble: paths.Ensemble, owner: str) -> None:
        self._engine, self._ensemble, self._storage = engine, ensemble, open_simstore(path, "a", owner)

    def save(self, made: Sequence[tuple[int, Frames, float]]) -> None:
        """Save paths, each with the number of its trial and its weight, all or none."""
        steps = [self._step(*each) for each in made]
        if steps:
            self._storage.save_steps(steps, set())

    def _step(self, cycle: int, path: Frames, weight: float) -> paths.pathsimulators.MCStep:
        sample = paths.Sample(0, trajectory_of(path, self._engine), self._ensemble)
        change = paths.AcceptedSampleMoveChange([sample], details=paths.Details(weight=weight))
        return paths.pathsimulators.MCStep(None, cycle, active=paths.SampleSet([sample]), change=change)


def weighted_paths(path: str | Path) -> Iterator[tuple[paths.Trajectory, float]]:
    """The transition paths in a storage that ``openmm-rare tps --method points`` has written, with their weights.

    Averages over transition paths are those with these weights. OpenPathSampling's own averages over steps are not.

    Parameters
    ----------
    path : path
        ``steps.db`` of a walker.
    """
    for step in open_simstore(path, "r").steps:
        yield step.active[0].trajectory, float(step.change.details.weight)

"""From what production has kept to the paths that are saved, and how far along each frame is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..bias.calibrated import CalibratedImportance
from ..bias.directions import ScaledDirection
from ..bias.importance import ImportanceFunction
from .keeping.saved_paths import SavedPaths
from .production import Production
from .roots import RootSampler

__all__ = ["chosen_paths", "saved_paths"]


def saved_paths(production: Production, sampler: RootSampler) -> SavedPaths | None:
    """The paths that a finished run has kept; None if none were wanted."""
    n = sampler.settings.save_paths
    if not n:
        return None
    chosen = chosen_paths(production, n, sampler.steps_per_frame)
    along = [_along(sampler.importance, each.astype(np.float64)) for each in chosen.positions]
    known = all(committor is not None for _, committor in along)
    committor = [committor for _, committor in along] if known else None
    return replace(chosen, log_importance=[log_importance for log_importance, _ in along], committor=committor)


def chosen_paths(production: Production, n: int, steps_per_frame: int) -> SavedPaths:
    """The `n` paths that a run keeps in the end, as its record has them: nothing is known along them."""
    kept, weights = production.kept.weighted(n)
    order, frames = np.argsort(-weights, kind="stable"), kept.frames()
    return SavedPaths(
        [frames[row] for row in order],
        weights[order],
        weights[order] / max(production.contribution.sum(), 1e-300),
        kept.root[order],
        production.root[kept.root[order]],
        kept.steps[order],
        steps_per_frame,
        [],
        None,
        int((production.contribution > 0.0).sum()),
    )


def _along(importance: ImportanceFunction, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """ln I and the committor of positions ``(n, n_atoms, 3)``, without a look ahead; None where no committor is known."""
    if not isinstance(importance, CalibratedImportance):
        log_importance = importance.log_importance(positions)
        return log_importance, np.exp(log_importance)
    level, direction = importance.direction(positions), importance.direction
    own = direction.direction if isinstance(direction, ScaledDirection) else direction
    logit = own(positions) if own.logistic else None
    return importance.table(level), None if logit is None else 1.0 / (1.0 + np.exp(-np.clip(logit, -700.0, 700.0)))

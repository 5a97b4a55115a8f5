"""From what production has kept to the paths that are saved, and how far along each frame is."""

from __future__ import annotations

import numpy as np

from ..bias.calibrated import CalibratedImportance
from ..bias.directions import ScaledDirection
from ..bias.importance import ImportanceFunction
from .keeping.saved_paths import SavedPaths
from .production import Production
from .roots import RootSampler

__all__ = ["saved_paths"]


def saved_paths(production: Production, sampler: RootSampler) -> SavedPaths | None:
    """The paths that a finished run has kept; None if none were wanted."""
    n = sampler.settings.save_paths
    if not n:
        return None
    kept, weights = production.kept.weighted(n)
    order = np.argsort(-weights, kind="stable")
    frames = kept.frames()
    positions = [frames[row] for row in order]
    along = [_along(sampler.importance, each.astype(np.float64)) for each in positions]
    known = all(committor is not None for _, committor in along)
    return SavedPaths(
        positions,
        weights[order],
        weights[order] / max(production.contribution.sum(), 1e-300),
        kept.root[order],
        production.root[kept.root[order]],
        kept.steps[order],
        sampler.steps_per_frame,
        [log_importance for log_importance, _ in along],
        [committor for _, committor in along] if known else None,
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

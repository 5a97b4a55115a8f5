"""Models fitted without a part of the shots each: what they say about that part is honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..committor.base import Committor
from ..committor.ensemble import CommittorEnsemble
from ..committor.model import CommittorModel
from ..learning.gated_fit import FitOptions
from ..learning.shot_fit import fit_model
from ..learning.shots import Shots
from .table import ShotTable, logit_function

__all__ = ["CrossFit", "cross_fit"]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Models that were each fitted without one part of the shots: a logit of all of them that has seen none.

    Attributes
    ----------
    models : list of CommittorModel
        One for every part.
    parts : list of ndarray of int
        Rows of the table of shots.
    options : FitOptions
    loss : float
        Held-out loss per shot.
    """

    models: list[CommittorModel]
    parts: list[np.ndarray]
    options: FitOptions
    loss: float = float("nan")

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Logits ``(n,)`` of inputs ``(n, n_inputs)`` in the rows of the shots."""
        result = np.empty(len(inputs))
        for model, part in zip(self.models, self.parts, strict=True):
            result[part] = logit_function(model)(inputs[part])
        return result

    def ensemble(self) -> CommittorEnsemble:
        """All models together: each shot taught all of them but one."""
        return CommittorEnsemble(self.models)


def cross_fit(
    template: Committor,
    shots: Shots,
    parts: Sequence[np.ndarray],
    seed: int,
    candidates: Sequence[FitOptions] = (FitOptions(),),
    on_fit: Callable[[], None] = lambda: None,
) -> CrossFit:
    """Models fitted without each part of the shots, with those of several options that predict the left-out shots best.

    Parameters
    ----------
    template : CommittorModel or CommittorEnsemble
        Of an ensemble the first member is taken.
    shots, seed
        See :func:`~openmm_rare.learning.shot_fit.fit_model`.
    parts : sequence of ndarray of int
        The rows of the shots, divided.
    candidates : sequence of FitOptions
    on_fit : callable
        Called after each model.
    """
    template = template if isinstance(template, CommittorModel) else template.members[0]
    table, everything, found = ShotTable.of(template, shots), np.arange(len(shots)), []
    for options in candidates:
        models = []
        for number, part in enumerate(parts):
            models.append(fit_model(template, shots.take(np.setdiff1d(everything, part)), seed + number, options))
            on_fit()
        fit = CrossFit(models, list(parts), options)
        found.append(replace(fit, loss=table.loss(fit(table.inputs))))
    return min(found, key=lambda fit: fit.loss)

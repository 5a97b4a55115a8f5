"""When to fit a committor anew while the shots grow."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..committor.base import Committor
from .gated_fit import FitOptions
from .shot_fit import fit_model
from .shots import Shots, training_effort

__all__ = ["ShotTrainer"]

_FEWEST = 10  # shots that a model is first fitted to
_ITERATIONS = 100  # of a fit while the shots grow: the next one goes on from it
_FINAL_STARTS = 3


class ShotTrainer:
    r"""Fits a model anew to a growing number of shots, when that is due; its whole state is a dictionary of arrays.

    It is due after a part of the shots have been added since the last time. That part falls to nothing where the transition
    paths seen are not those that were expected, :math:`g\,[1 - \min(1, (1 - n_\mathrm{seen}/n_\mathrm{expected})^2)]`, the
    measure that Jung et al. set their learning rate by.

    Parameters
    ----------
    model : CommittorModel, MultiStateModel or CommittorEnsemble
        Trained in place.
    options : FitOptions, optional
        While the shots grow at most 100 of the iterations are made: each fit goes on from the last one.
    seed : int
        For the random weights that fits start with.
    growth : float
        :math:`g`, relative to the shots of the last fit.
    window : int
        Latest trials over which transition paths seen and expected are compared.
    given : bool
        The model knows something already, which fits start from and are held to.
    """

    def __init__(
        self,
        model: Committor,
        options: FitOptions | None = None,
        seed: int = 1,
        growth: float = 0.2,
        window: int = 100,
        given: bool = False,
    ) -> None:
        self.model, self.options, self.seed = model, options or FitOptions(), int(seed)
        self.growth, self.window = float(growth), int(window)
        self.fitted = 0
        self._prior = copy.deepcopy(model) if given else None

    def due(self, shots: Shots) -> bool:
        """Whether there are shots enough, and enough since the last fit."""
        if len(shots) < _FEWEST:
            return False
        wanted = self.growth * (1.0 - training_effort(shots, self.window)) * self.fitted
        return len(shots) - self.fitted >= max(1.0, wanted)

    def fit(self, shots: Shots) -> None:
        """Fit the model to the shots, due or not.

        Raises
        ------
        ValueError
            If there are no shots, or the loss is not finite.
        """
        options = replace(self.options, iterations=min(_ITERATIONS, self.options.iterations))
        self.model.set_tensors(self._fitted(shots, options).tensors())
        self.fitted = len(shots)

    def final(self, shots: Shots) -> Committor:
        """A model fitted with all iterations and more starts, for use after the sampling; that of the trainer stays as it is.

        Raises
        ------
        ValueError
            As :meth:`fit`.
        """
        return self._fitted(shots, replace(self.options, starts=max(_FINAL_STARTS, self.options.starts)))

    def _fitted(self, shots: Shots, options: FitOptions) -> Committor:
        seed = (self.seed + len(shots)) % 2**31  # another start each time
        return fit_model(self.model, shots, seed, options, self._prior, self.model)

    def state(self) -> dict[str, np.ndarray]:
        """Model tensors, named ``model/...``, those of a given model, ``prior/...``, and the shots of the last fit."""
        arrays = {"fitted": np.array(self.fitted)}
        for name, model in (("model", self.model), ("prior", self._prior)):
            arrays |= {} if model is None else {f"{name}/{key}": value for key, value in model.tensors().items()}
        return arrays

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore what :meth:`state` returned."""
        parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "prior": {}}
        for key, value in arrays.items():
            part, _, name = key.partition("/")
            if name:
                parts[part][name] = value
        self.model.set_tensors(parts["model"])
        self._prior = copy.deepcopy(self.model) if parts["prior"] else None
        if self._prior is not None:
            self._prior.set_tensors(parts["prior"])
        self.fitted = int(arrays["fitted"])

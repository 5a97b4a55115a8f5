r"""Shooting points chosen by a learned committor ("Path sampling" in docs/theory.md)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import openpathsampling as paths
from openpathsampling.shooting import ShootingPointSelector

from ..committor.base import Committor
from ..committor.load import committor_bin, load_committor
from ..errors import InputError
from .snapshots import positions_of

__all__ = ["CommittorSelector"]

_FORMS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "lorentzian": lambda q, width: width**2 / (q**2 + width**2),
    "gaussian": lambda q, width: np.exp(-((q / width) ** 2)),
    "uniform": lambda q, width: np.ones_like(q),
}


class CommittorSelector(ShootingPointSelector):
    r"""Shooting points near the learned transition states: :math:`p_\mathrm{sel} \propto \gamma^2/(\hat q^2 + \gamma^2)`.

    Jung, Covino & Hummer (2019), eq. 4, with the logit :math:`\hat q` of the model. The first and the last frame of a path,
    which lie in the states, are never chosen. The model is stored with the selector, without pickle.

    Parameters
    ----------
    model : CommittorModel, CommittorEnsemble or MultiStateModel
        Trained between steps only, never within one: both probabilities of a trial must be those of one model. Who changes
        it calls :meth:`model_changed`.
    width : float
        :math:`\gamma`, in units of the logit; for the Gaussian :math:`\exp(-q^2/\gamma^2)` too.
    form : str
        ``"lorentzian"``, ``"gaussian"``, or ``"uniform"``, which asks the model for the density only.
    density : sequence of float, optional
        How often transition paths are seen in equal bins of the committor from 0 to 1. Frames of a bin are chosen in inverse
        proportion: otherwise a path that lingers near A is shot from there.

    Raises
    ------
    ValueError
        For a width that is not positive, an unknown form, or a density that is negative, not finite, or for other than two
        states.
    """

    def __init__(
        self, model: Committor, width: float = 0.5, form: str = "lorentzian", density: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if form not in _FORMS:
            raise InputError(f"form = {form!r} must be one of {', '.join(_FORMS)}")
        if not width > 0.0:
            raise InputError(f"width = {width} must be positive")
        self._model, self.width, self.form = model, float(width), form
        self._known: dict[str, np.ndarray] = {}
        self.set_density(density)

    @property
    def model(self) -> Committor:
        """The committor model."""
        return self._model

    def set_density(self, density: Sequence[float] | None) -> None:
        """Use another density, or none; like the model it may change between steps only."""
        counts = None if density is None else [float(count) for count in density]
        if counts is not None and not (np.isfinite(counts).all() and min(counts, default=-1.0) >= 0.0):
            raise InputError(f"density = {counts} must be finite numbers of at least 0, one for each bin")
        if counts is not None and self._model.n_states != 2:
            raise InputError("density needs the logit between two states, and this model knows more of them")
        self.density = counts
        self.model_changed()

    def model_changed(self) -> None:
        """Forget everything that the model of before said."""
        self._known.clear()

    def to_dict(self) -> dict[str, Any]:
        """What storage keeps, the present model included."""
        model = base64.b64encode(self._model.to_bytes()).decode("ascii")
        return {"model": model, "width": self.width, "form": self.form, "density": self.density}

    @classmethod
    def from_dict(cls, dct: dict[str, Any]) -> CommittorSelector:
        """Rebuild from storage."""
        model = load_committor(base64.b64decode(dct["model"]))
        return cls(model, float(dct["width"]), str(dct["form"]), dct["density"])

    def weights(self, trajectory: paths.Trajectory) -> np.ndarray:
        """Unnormalized probabilities of the frames of a path, shape ``(n_frames,)``; 0 at both ends.

        Raises
        ------
        ValueError
            If no frame can be chosen.
        """
        key = str(trajectory.__uuid__)
        if key not in self._known:
            inner = trajectory[1:-1]
            weights = np.zeros(len(trajectory))
            if len(inner):
                weights[1:-1] = self._preference(inner) * self._rarity(inner)
            if not np.isfinite(weights).all() or not weights.sum() > 0.0:
                raise InputError(
                    f"no shooting point can be chosen on a path of {len(trajectory)} frames: the weights are all zero or not "
                    "finite. Store frames more often, or look at the committor model"
                )
            while len(self._known) > 3:  # the paths before and after a trial are asked for again
                self._known.pop(next(iter(self._known)))
            self._known[key] = weights
        return self._known[key]

    def _preference(self, frames: paths.Trajectory) -> np.ndarray:
        distance = np.zeros(len(frames)) if self.form == "uniform" else self._model.transition_distance(positions_of(frames))
        return _FORMS[self.form](distance, self.width)

    def _rarity(self, frames: paths.Trajectory) -> np.ndarray | float:
        """Inverse density; a bin that no path has been seen in counts as one that was seen once."""
        if self.density is None:
            return 1.0
        counts = np.maximum(self.density, 1.0)
        return (counts.sum() / counts)[committor_bin(self._model.logit(positions_of(frames)), len(counts))]

    def _biases(self, trajectory: paths.Trajectory) -> list[float]:
        return self.weights(trajectory).tolist()

    def f(self, snapshot: Any, trajectory: paths.Trajectory) -> float:
        """Unnormalized probability of a frame of a trajectory."""
        return float(self.weights(trajectory)[trajectory.index(snapshot)])

    def probability_ratio(
        self, snapshot: Any, old_trajectory: paths.Trajectory, new_trajectory: paths.Trajectory, new_snapshot: Any = None
    ) -> float:
        """Ratio of the probabilities to choose the shooting point on the new and on the old path.

        The configuration is the same on both, so that only the sums over the paths differ. A path that does not end in
        states on both sides is no path to choose on, and is rejected anyway.
        """
        return float(self.weights(old_trajectory).sum() / self.weights(new_trajectory).sum())

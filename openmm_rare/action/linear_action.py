r"""An action that is linear in its features, fitted in closed form.

See "Learned action" in docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .data import ActionData
from .features.base import Features
from .labels import Labels

__all__ = ["FitReport", "LinearAction", "held_out"]

_CONSTANT = 1e-9  # of the largest column: what is less has no gradient but rounding
_CHUNK = 32  # rows of Jacobians at a time
_FEWEST = 8


@dataclass(frozen=True)
class FitReport:
    """How good a fit is, of rows that it has not seen.

    Attributes
    ----------
    own : float
        Rms error of the gradient, relative to that of what is to be learned.
    own_training : float
        The same of rows that it has seen: much less means too rich a basis, or too few samples.
    to_learn : float
        Rms of what is to be learned, relative to all of the step but free flight.
    value : float
        Rms error of the value of S, relative to its spread.
    n_features, dropped : int
        Features, and those of them without a gradient.
    """

    own: float
    own_training: float
    to_learn: float
    value: float
    n_features: int
    dropped: int = 0


def held_out(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit to, and a seventh of all to look at afterwards."""
    rows = np.arange(n_rows)
    return rows[rows % 7 != 3], rows[rows % 7 == 3]


class LinearAction:
    r""":math:`S = h \sum_k c_k \varphi_k(\bar q, \bar p)`.

    Parameters
    ----------
    features : Features
    coefficients : ndarray, shape (n_features,)
    timestep : float
        h, ps.
    kernel : "verlet" or "midpoint"
    frequency : float
        1/ps; what makes coordinates and momenta commensurate.
    """

    def __init__(self, features: Features, coefficients: np.ndarray, timestep: float, kernel: str, frequency: float) -> None:
        self.features, self.coefficients = features, np.asarray(coefficients, dtype=float)
        self.timestep, self.kernel, self.frequency = float(timestep), kernel, float(frequency)
        self._weights = self.timestep * self.coefficients
        self.report: FitReport | None = None

    def value(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """S of every row."""
        return self.features.values(q, p) @ self._weights

    def gradient(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dS/dq and dS/dp of every row."""
        return self.features.pullback(q, p, self._weights)

    @classmethod
    def fit(
        cls,
        data: ActionData,
        stride: int,
        features: Features,
        kernel: str = "verlet",
        ridge: float = 1e-9,
        value_weight: float = 0.0,
    ) -> LinearAction:
        """Least squares on the gradients of S, and on its value where that has a weight.

        Parameters
        ----------
        data : ActionData
        stride : int
            Fine steps in one of the action.
        features : Features
        kernel : "verlet" or "midpoint"
        ridge : float
            Added to the diagonal of the normal equations, whose columns have length 1.
        value_weight : float
            Of the n_rows values relative to their gradients; 0: these alone.

        Raises
        ------
        ValueError
            If there are too few samples, or no feature has a gradient.
        """
        if len(data) < _FEWEST:
            raise InputError(f"{len(data)} samples are too few to fit an action: take {_FEWEST} at least")
        labels, h = data.labels(stride, kernel), stride * data.timestep
        seen, unseen = held_out(len(labels))
        frequency = labels[seen].frequency()
        equations = _Equations(features, labels[seen], frequency, value_weight)
        coefficients, dropped = equations.solved(ridge)
        made = cls(features, coefficients / h, h, kernel, frequency)
        made.report = made.judged(data, stride, seen, unseen, dropped)
        return made

    def judged(self, data: ActionData, stride: int, seen: np.ndarray, unseen: np.ndarray, dropped: int = 0) -> FitReport:
        """How good it is."""
        return report_of(self, data, stride, seen, unseen, self.features.n_features, dropped)

    def spec(self) -> dict[str, Any]:
        """Names and plain values, without coefficients."""
        return {"kind": "linear", "timestep": self.timestep, "kernel": self.kernel, "frequency": self.frequency}


def report_of(
    action: Any, data: ActionData, stride: int, seen: np.ndarray, unseen: np.ndarray, n_features: int, dropped: int = 0
) -> FitReport:
    """How well any action reproduces data for so many fine steps."""
    labels, h = data.labels(stride, action.kernel), stride * data.timestep
    errors = [labels[rows].error(*action.gradient(labels.q[rows], labels.p[rows]), action.frequency) for rows in (unseen, seen)]
    at = data.place_of(stride)
    drift, kick = action.frequency * (data.q_next[at] - data.q - h * data.p), data.p_next[at] - data.p
    whole = np.sqrt((drift**2 + kick**2).sum(axis=1).mean())
    off = action.value(labels.q[unseen], labels.p[unseen]) - labels.value[unseen]
    value = float(off.std() / labels.value[unseen].std())
    return FitReport(errors[0], errors[1], labels.size(action.frequency) / float(whole), value, n_features, dropped)


class _Equations:
    """Normal equations of gradients, and of values but for their mean."""

    def __init__(self, features: Features, labels: Labels, frequency: float, value_weight: float) -> None:
        n = features.n_features
        self.matrix, self.right = np.zeros((n, n)), np.zeros(n)
        for begin in range(0, len(labels), _CHUNK):
            part = labels[begin : begin + _CHUNK]
            half = part.q.shape[1]
            jacobian = features.jacobian(part.q, part.p)
            rows = np.concatenate([-jacobian[:, :, :half], frequency * jacobian[:, :, half:]], axis=2)
            rows = rows.swapaxes(1, 2).reshape(-1, n)
            self._add(rows, np.concatenate([part.dp, frequency * part.dq], axis=1).reshape(-1), 1.0)
        if value_weight:
            values = features.values(labels.q, labels.p)
            wanted = labels.value - labels.value.mean()
            # one value counts as much as the gradient of its row, each in units of its own spread
            scale = value_weight * (labels.size(frequency) / wanted.std()) ** 2
            self._add(values - values.mean(axis=0), wanted, scale)

    def _add(self, rows: np.ndarray, right: np.ndarray, weight: float) -> None:
        self.matrix += weight * rows.T @ rows
        self.right += weight * rows.T @ right

    def solved(self, ridge: float) -> tuple[np.ndarray, int]:
        """Coefficients, and the number of those that are 0 because their feature has no gradient."""
        lengths = np.sqrt(np.diag(self.matrix))
        kept = lengths > _CONSTANT * lengths.max(initial=0.0)
        if not kept.any():
            raise InputError("no feature of the action changes anywhere in the data: take other features")
        scale = lengths[kept]
        matrix = self.matrix[np.ix_(kept, kept)] / scale[:, None] / scale
        found = np.zeros(len(kept))
        found[kept] = np.linalg.solve(matrix + ridge * np.eye(len(scale)), self.right[kept] / scale) / scale
        return found, int((~kept).sum())

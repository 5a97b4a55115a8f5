r"""An action that is a network of its features, for one time step or for all between two.

See "Learned action" in docs/theory.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from ..io.tasks import Progress, Silent
from .data import ActionData
from .features.base import Features
from .linear_action import FitReport, LinearAction, held_out, report_of
from .mlp import Mlp, Training, forward, slopes, train

__all__ = ["ActionNetwork"]

_SMALLEST = 1e-9  # spread of a feature, of the largest: what is less is a constant


class ActionNetwork:
    r""":math:`S = S_0 + h\,(h/h_\mathrm{max})^2\, g(\varphi, h^2)`; with the kernel "midpoint" without the square.

    Odd in h, as an action is whose map backward in time is that of -h.

    Parameters
    ----------
    features : Features
    network : Mlp
        g, of the scaled features and :math:`(h/h_\mathrm{max})^2`.
    mean, spread : ndarray, shape (n_features,)
        What scales them.
    unit : float
        Of the output, kJ/mol.
    timesteps : (float, float)
        The shortest and the longest that it was trained for, ps.
    timestep : float
        The one of its steps.
    kernel : "verlet" or "midpoint"
    frequency : float
        1/ps; what makes coordinates and momenta commensurate.
    base : LinearAction, optional
        S_0, of the same features and one time step; the network is what that leaves.
    """

    def __init__(
        self,
        features: Features,
        network: Mlp,
        mean: np.ndarray,
        spread: np.ndarray,
        unit: float,
        timesteps: tuple[float, float],
        timestep: float,
        kernel: str,
        frequency: float,
        base: LinearAction | None = None,
    ) -> None:
        self.features, self.network, self.mean, self.spread = features, network, mean, spread
        self.unit, self.timesteps, self.timestep = float(unit), (float(timesteps[0]), float(timesteps[1])), float(timestep)
        self.kernel, self.frequency, self.base = kernel, float(frequency), base
        self.report: FitReport | None = None
        self._offset = None if base is None else base.timestep * base.coefficients

    def at(self, timestep: float) -> ActionNetwork:
        """The action of another time step, ps.

        Raises
        ------
        ValueError
            If it is not between the shortest and the longest that the network has seen, or the base is of one alone.
        """
        low, high = self.timesteps
        if not low * (1.0 - 1e-9) <= timestep <= high * (1.0 + 1e-9):
            raise InputError(
                f"timestep = {timestep:g} ps must be between {low:g} and {high:g} ps, which the action was trained for"
            )
        return ActionNetwork(
            self.features,
            self.network,
            self.mean,
            self.spread,
            self.unit,
            self.timesteps,
            timestep,
            self.kernel,
            self.frequency,
        )

    def value(self, q: np.ndarray, p: np.ndarray) -> np.ndarray:
        """S of every row."""
        made = self._scale * self.network(self._inputs(self.features.values(q, p)))[:, 0]
        return made if self.base is None else made + self.base.value(q, p)

    def gradient(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """dS/dq and dS/dp of every row."""
        weights = self._scale * self.network.slopes(self._inputs(self.features.values(q, p)))[:, :-1] / self.spread
        return self.features.pullback(q, p, weights if self._offset is None else weights + self._offset)

    @property
    def _scale(self) -> float:
        return self.unit * _scale_of(self.timestep, self.timesteps[1], self.kernel)

    def _inputs(self, values: np.ndarray) -> np.ndarray:
        time = np.full((len(values), 1), (self.timestep / self.timesteps[1]) ** 2)
        return np.concatenate([(values - self.mean) / self.spread, time], axis=1)

    def spec(self) -> dict[str, Any]:
        """Names and plain values, without weights."""
        plain = ("unit", "timestep", "kernel", "frequency")
        return {"kind": "network", "timesteps": list(self.timesteps), **{name: getattr(self, name) for name in plain}}

    @classmethod
    def fit(
        cls,
        data: ActionData,
        strides: int | Sequence[int],
        features: Features,
        kernel: str = "verlet",
        *,
        width: int = 48,
        value_weight: float = 0.0,
        base: LinearAction | None = None,
        how: Training = Training(),  # noqa: B008
        progress: Progress | None = None,
    ) -> ActionNetwork:
        """Train on the gradients of S, and on its value where that has a weight.

        Parameters
        ----------
        data : ActionData
        strides : int or sequence of int
            Fine steps in one of the action; several for an action of all time steps between.
        features : Features
        kernel : "verlet" or "midpoint"
        width : int
            Of both hidden layers.
        value_weight : float
            Of the value of S, relative to its gradient.
        base : LinearAction, optional
            Of one stride: the network learns what it leaves.
        how : Training
        progress : Progress, optional

        Raises
        ------
        ValueError
            If the base is of other features, another kernel or another time step.
        """
        strides = [strides] if isinstance(strides, int) else sorted(strides)
        hs = np.array([stride * data.timestep for stride in strides])
        if base is not None and (base.features is not features or base.kernel != kernel or not np.allclose(hs, base.timestep)):
            raise InputError("the linear action that a network adds to must be of the same features, kernel and time step")
        seen, unseen = held_out(len(data))
        frequency = data.labels(strides[-1], kernel)[seen].frequency()
        lesson = _Lesson(features, data, strides, hs, kernel, frequency, seen, base, value_weight)
        first = Mlp.random(features.n_features + 1, width, 1, how.seed)
        progress = progress or Silent()
        progress.stage("training a network", float(how.steps))
        network = train(first, lesson.loss, lesson.rows(seen), how, progress)
        made = cls(features, network, lesson.mean, lesson.spread, lesson.unit, (hs[0], hs[-1]), hs[-1], kernel, frequency, base)
        made.report = made.judged(data, strides[-1], seen, unseen)
        return made

    def judged(self, data: ActionData, stride: int, seen: np.ndarray, unseen: np.ndarray) -> FitReport:
        """How good it is."""
        return report_of(self, data, stride, seen, unseen, self.features.n_features)


def _scale_of(h: float, longest: float, kernel: str) -> float:
    return h * (h / longest) ** 2 if kernel == "verlet" else h


class _Lesson:
    """Scaled features, their Jacobians and what S should be, of all rows of all strides."""

    def __init__(
        self,
        features: Features,
        data: ActionData,
        strides: Sequence[int],
        hs: np.ndarray,
        kernel: str,
        frequency: float,
        seen: np.ndarray,
        base: LinearAction | None,
        value_weight: float,
    ) -> None:
        parts = [self._of(features, data.labels(stride, kernel), frequency, base) for stride in strides]
        scales = np.array([_scale_of(h, hs[-1], kernel) for h in hs])
        values = np.concatenate([part[0][seen] for part in parts])
        self.mean, spread = values.mean(axis=0), values.std(axis=0)
        self.spread = np.where(spread > _SMALLEST * spread.max(), spread, np.inf)
        self.spread = np.where(np.isfinite(self.spread), self.spread, 1e12)
        sizes = [np.sqrt((part[2][seen] ** 2).sum(axis=1).mean()) for part in parts]
        self.unit = float(sizes[-1] / scales[-1])
        self._n = len(data)
        x = [
            np.concatenate([(part[0] - self.mean) / self.spread, np.full((self._n, 1), (h / hs[-1]) ** 2)], axis=1)
            for part, h in zip(parts, hs, strict=True)
        ]
        # each stride counts by the size of what it has to learn
        per = [self.unit * scale / size for scale, size in zip(scales, sizes, strict=True)]
        self._x = torch.tensor(np.concatenate(x))
        jacobians = [part[1] / self.spread[:, None] * each for part, each in zip(parts, per, strict=True)]
        self._jacobian = torch.tensor(np.concatenate(jacobians))
        self._wanted = torch.tensor(np.concatenate([part[2] / size for part, size in zip(parts, sizes, strict=True)]))
        of_value = [(part[3] - part[3][seen].mean()) / part[3][seen].std() for part in parts]
        self._value = torch.tensor(np.concatenate(of_value))
        spreads = [self.unit * scale / part[3][seen].std() for scale, part in zip(scales, parts, strict=True)]
        self._per_value = torch.tensor(np.repeat(spreads, self._n))
        self._stride = torch.tensor(np.repeat(np.arange(len(strides)), self._n))
        self._value_weight = value_weight

    @staticmethod
    def _of(features: Features, labels: Any, frequency: float, base: LinearAction | None) -> tuple[np.ndarray, ...]:
        jacobian = features.jacobian(labels.q, labels.p)
        n = labels.q.shape[1]
        scaled = np.concatenate([-jacobian[:, :, :n], frequency * jacobian[:, :, n:]], axis=2)
        wanted, value = np.concatenate([labels.dp, frequency * labels.dq], axis=1), labels.value
        if base is not None:
            by_q, by_p = base.gradient(labels.q, labels.p)
            wanted = wanted - np.concatenate([-by_q, frequency * by_p], axis=1)
            value = value - base.value(labels.q, labels.p)
        return features.values(labels.q, labels.p), scaled, wanted, value

    def rows(self, seen: np.ndarray) -> np.ndarray:
        """These samples, of every stride."""
        return (seen + self._n * np.arange(len(self._x) // self._n)[:, None]).reshape(-1)

    def loss(self, tensors: Sequence[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
        """Mean square error of gradients and values."""
        x = self._x[rows]
        made = torch.einsum("bf,bfz->bz", slopes(tensors, x)[:, :-1], self._jacobian[rows])
        loss = ((made - self._wanted[rows]) ** 2).sum(dim=1).mean()
        if self._value_weight:
            off = self._per_value[rows] * forward(tensors, x)[:, 0] - self._value[rows]
            for stride in torch.unique(self._stride[rows]):  # each has a constant of its own
                own = off[self._stride[rows] == stride]
                loss = loss + self._value_weight * ((own - own.mean()) ** 2).sum() / len(off)
        return loss

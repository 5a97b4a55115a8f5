"""A predictor without structure: the increments of a long step from where it begins, learned from the same data.

It is what an action is compared with: neither symplectic nor reversible, and nothing that Metropolis could correct.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch

from ..io.tasks import Progress, Silent
from .data import ActionData
from .features.pair_features import PairFeatures
from .linear_action import held_out
from .mlp import Mlp, Training, forward, train

__all__ = ["DirectPredictor", "PairInputs", "PlainInputs"]

_ORDER = 8  # radial functions


class Inputs(Protocol):
    """What a predictor sees, and the vectors that its outputs are coefficients of."""

    n_inputs: int
    n_vectors: int

    def __call__(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n_rows, n_pieces, n_inputs) and vectors (n_rows, n_pieces, n_vectors, n)."""


class PlainInputs:
    """Scaled coordinates and momenta, and unit vectors."""

    def __init__(self, data: ActionData) -> None:
        z = np.concatenate([data.q, data.p], axis=1)
        self._mean, self._spread = z.mean(axis=0), z.std(axis=0)
        self.n_inputs, self.n_vectors = 2 * data.q.shape[1], data.q.shape[1]

    def __call__(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        vectors = np.broadcast_to(np.eye(q.shape[1]), (len(q), 1, q.shape[1], q.shape[1]))
        return ((np.concatenate([q, p], axis=1) - self._mean) / self._spread)[:, None], vectors


class PairInputs:
    """Distances and relative velocities of pairs, and of all pairs that their particles have; directions and velocities.

    Equivariant, and the total momentum is kept.
    """

    def __init__(self, features: PairFeatures) -> None:
        self._features = features
        self._ends = [features.types.pairs[:, side] for side in (0, 1)]
        self._one_hot = np.eye(features.types.n_types)[features.types.of_pair]
        self.n_inputs = 3 * 4 * _ORDER + 2 + features.types.n_types
        self.n_vectors = 2

    def __call__(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        geometry = self._features.geometry
        seen = geometry.state(q, p)
        f, _ = self._features.radial.functions(seen.r, _ORDER)
        along, squares = seen.along[..., None], (seen.w**2).sum(axis=2)[..., None]
        own = np.concatenate([f, f * along, f * along**2, f * squares], axis=2)
        sums = np.zeros((len(q), len(geometry.space.masses), own.shape[2]))
        for end in self._ends:
            np.add.at(sums, (slice(None), end), own)
        one, other = (sums[:, end] for end in self._ends)
        kinds = np.broadcast_to(self._one_hot, (len(q), *self._one_hot.shape))
        inputs = np.concatenate([own, 0.3 * (one + other), 0.1 * (one - other) ** 2, along, squares, kinds], axis=2)
        return inputs, np.stack([geometry.on_rows(seen.u), geometry.on_rows(seen.w)], axis=2)


class DirectPredictor:
    """Increments beyond free flight, as sums of vectors with coefficients from a network.

    Parameters
    ----------
    inputs : Inputs
    network : Mlp
    units : ndarray, shape (2,)
        Of the increments of q and p.
    timestep : float
        ps.
    """

    def __init__(self, inputs: Inputs, network: Mlp, units: np.ndarray, timestep: float) -> None:
        self.inputs, self.network, self.units, self.timestep = inputs, network, units, timestep
        self.error = np.nan

    def __call__(self, q: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rows are after a step."""
        seen, vectors = self.inputs(q, p)
        made = self.network(seen)
        drift, kick = (
            unit * np.einsum("bkc,bkcn->bn", part, vectors)
            for unit, part in zip(self.units, np.split(made, 2, axis=2), strict=True)
        )
        return q + self.timestep * p + drift, p + kick

    @classmethod
    def fit(
        cls,
        data: ActionData,
        stride: int,
        inputs: Inputs,
        *,
        width: int = 48,
        how: Training = Training(),  # noqa: B008
        progress: Progress | None = None,
    ) -> DirectPredictor:
        """Train on the increments of so many fine steps."""
        at, h = data.place_of(stride), stride * data.timestep
        drift, kick = data.q_next[at] - data.q - h * data.p, data.p_next[at] - data.p
        units = np.array([np.sqrt((each**2).mean()) for each in (drift, kick)])
        seen, vectors = (torch.tensor(each) for each in inputs(data.q, data.p))
        wanted = torch.tensor(np.concatenate([drift / units[0], kick / units[1]], axis=1))

        def loss(tensors: list[torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
            parts = forward(tensors, seen[rows]).chunk(2, dim=2)
            made = torch.cat([torch.einsum("bkc,bkcn->bn", part, vectors[rows]) for part in parts], dim=1)
            return ((made - wanted[rows]) ** 2).mean()

        fitted, unseen = held_out(len(data))
        progress = progress or Silent()
        progress.stage("training a direct predictor", float(how.steps))
        first = Mlp.random(inputs.n_inputs, width, 2 * inputs.n_vectors, how.seed)
        made = cls(inputs, train(first, loss, fitted, how, progress), units, h)
        with torch.no_grad():
            made.error = float(loss(made.network.tensors(), torch.as_tensor(unseen)).sqrt())
        return made

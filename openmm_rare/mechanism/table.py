"""Shots as a table of named inputs and outcomes, and the model as a function of those inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..committor.base import Committor, in_batches
from ..errors import InputError
from ..learning.shots import Shots

__all__ = ["Logit", "ShotTable", "features_of", "logit_function", "paired_columns", "shot_losses"]

Logit = Callable[[np.ndarray], np.ndarray]
"""Logits ``(n,)`` of inputs ``(n, n_inputs)``, in the units of the descriptor."""


@dataclass(frozen=True, eq=False)
class ShotTable:
    """Inputs and outcomes of shots.

    Attributes
    ----------
    inputs : ndarray, shape (n, n_inputs)
        As the descriptor gives them.
    n_a, n_b : ndarray of float, shape (n,)
        Shots from each point that reached A and B.
    names : tuple of str

    Raises
    ------
    ValueError
        If there are no shots, shapes do not fit, or a number is not finite.
    """

    inputs: np.ndarray
    n_a: np.ndarray
    n_b: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("inputs", "n_a", "n_b"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        n, width = len(self.n_a), len(self.names)
        if not n or self.inputs.shape != (n, width) or self.n_b.shape != (n,):
            raise InputError(
                f"a table of shots needs at least one, with inputs ({n}, {width}), not {self.inputs.shape}, and as many n_b"
            )
        bad = np.flatnonzero(~np.isfinite(self.inputs).all(1))
        if len(bad):
            raise InputError(f"shooting points {bad[:10].tolist()} have inputs that are not finite: look at their positions")
        if not (self.n_a + self.n_b).sum() > 0:
            raise InputError("none of the shots reached A or B")

    @classmethod
    def of(cls, model: Committor, shots: Shots) -> ShotTable:
        """The table of the shots, with the inputs of a model."""
        if not len(shots):
            raise InputError("there are no shots to analyze: run the path sampling first")
        arrays = shots.arrays()
        return cls(features_of(model, arrays["positions"]), *arrays["reached"].T, tuple(model.descriptor.names))

    def __len__(self) -> int:
        return len(self.n_a)

    @property
    def n_shots(self) -> float:
        """Number of shots."""
        return float((self.n_a + self.n_b).sum())

    def take(self, rows: np.ndarray) -> ShotTable:
        """Some of the shooting points."""
        return ShotTable(self.inputs[rows], self.n_a[rows], self.n_b[rows], self.names)

    def columns(self, columns: Sequence[int]) -> ShotTable:
        """Some of the inputs."""
        columns = list(columns)
        return ShotTable(self.inputs[:, columns], self.n_a, self.n_b, tuple(self.names[column] for column in columns))

    def loss(self, logit: np.ndarray) -> float:
        """Loss per shot of logits ``(n,)``."""
        return float(shot_losses(logit, self.n_a, self.n_b).sum() / self.n_shots)


def features_of(model: Committor, positions: np.ndarray) -> np.ndarray:
    """Inputs ``(n, n_inputs)`` of positions ``(n, n_atoms, 3)`` in nm, float64."""
    return in_batches(model.descriptor, positions)


def logit_function(model: Committor) -> Logit:
    """The model as a function of its inputs."""

    def logit(inputs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.logit_of_features(torch.as_tensor(inputs, dtype=torch.float32)).numpy().astype(np.float64)

    return logit


def shot_losses(logit: np.ndarray, n_a: np.ndarray, n_b: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of the shots from each point, shape ``(n,)``; finite for logits of any size."""
    return n_a * np.logaddexp(0.0, logit) + n_b * np.logaddexp(0.0, -logit)


def paired_columns(names: Sequence[str]) -> dict[str, list[int]]:
    """Inputs that are one quantity, the sine and cosine of an angle, by its name; every other input by itself.

    Returns
    -------
    dict
        In the order of the first column of each.
    """
    groups: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        found = re.fullmatch(r"(?:sin|cos)[ _(]?\s*(.+?)\)?", name)
        groups.setdefault(found[1] if found else name, []).append(column)
    return groups

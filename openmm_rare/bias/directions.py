"""Directions from A to B: a number that grows along the way, from a learned committor or from one variable of the states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from ..committor.base import Committor
from ..errors import InputError
from ..states.disjoint import length_of_arc
from ..states.regions import Disc, Range, Region
from ..states.states import States
from .level_table import LevelTable

__all__ = ["CommittorDirection", "Direction", "ScaledDirection", "VariableDirection", "has_gradient"]


class Direction(Protocol):
    """A level that grows from A to B, whatever its scale.

    Attributes
    ----------
    name : str
        What it is.
    logistic : bool
        Whether levels are logits of the probability to reach B.
    """

    name: str
    logistic: bool

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Levels ``(n,)`` of positions ``(n, n_atoms, 3)`` in nm."""


@runtime_checkable
class Gradual(Protocol):
    """A direction whose gradient is known, along which dynamics can be biased."""

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Levels ``(n,)`` and their gradients ``(n, n_atoms, 3)`` in 1/nm, of positions ``(n, n_atoms, 3)`` in nm."""


class CommittorDirection:
    """The logit of a learned committor, of any kind between two states.

    Parameters
    ----------
    model : Committor
    back : bool
        From B to A: minus that logit.

    Attributes
    ----------
    key : str
        Tells directions from each other: which model it is.

    Raises
    ------
    ValueError
        If the model knows more than two states.
    """

    logistic = True

    def __init__(self, model: Committor, back: bool = False) -> None:
        if model.n_states != 2:
            raise InputError(
                f"the model knows {model.n_states} states, and the rate from A to B needs one of A and B alone: run "
                "openmm-rare tps with these two"
            )
        self.model, self._sign = model, -1.0 if back else 1.0
        self.name = "the logit of the committor" + (" of A" if back else "")
        self.key = f"model {model.digest()}" + (" back" if back else "")

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :class:`Direction`."""
        return self._sign * self.model.logit(np.asarray(positions, dtype=np.float64))

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :class:`Gradual`."""
        x = torch.tensor(positions, dtype=torch.float32, requires_grad=True)
        level = self._sign * self.model.logit(x)
        (gradient,) = torch.autograd.grad(level.sum(), x)
        return level.detach().double().numpy(), gradient.double().numpy()


@dataclass(frozen=True, eq=False)
class VariableDirection:
    """How near a variable is to its range in B: minus the distance, which is 0 there; on a circle the shorter way round.

    Attributes
    ----------
    variable : callable
        Values ``(n,)`` of positions.
    name : str
    low, high : float
        Its range in B, upwards from `low` where it is periodic.
    period : float or None
    """

    variable: Callable[[np.ndarray], np.ndarray]
    name: str
    low: float
    high: float
    period: float | None

    logistic = False

    @property
    def key(self) -> str:
        """Tells directions of one problem from each other."""
        return f"variable {self.name}"

    @classmethod
    def of(cls, states: States, name: str, positions: np.ndarray) -> VariableDirection:
        """The direction along a variable of the states.

        Parameters
        ----------
        states : States
        name : str
            Of the variable.
        positions : ndarray, shape (n, n_atoms, 3)
            Configurations in A, nm.

        Raises
        ------
        ValueError
            If there is no such variable, B does not say where it is, or A does not differ from B in it.
        """
        variable = states.variables.variables[states.variables.index(name)]
        bounds = _bounds(states.b, name)
        if bounds is None:
            known = [each for each in states.variables.names if _bounds(states.b, each) is not None]
            instead = f"take {', '.join(known)}, or" if known else "take"
            raise InputError(
                f"importance = {name!r}: B has no range of {name}; {instead} a model that openmm-rare tps has learned"
            )
        made = cls(variable, name, *bounds, variable.period)
        if (made(positions) >= 0.0).any():
            raise InputError(
                f"importance = {name!r}: in A it has values that it also has in B; take another variable, or a model"
            )
        return made

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :class:`Direction`."""
        return self.level(np.asarray(self.variable(np.asarray(positions, dtype=np.float64)), dtype=np.float64))

    def level(self, values: np.ndarray) -> np.ndarray:
        """Levels of values of the variable."""
        below, above = self.low - values, values - self.high
        if self.period is not None:
            width = length_of_arc((self.low, self.high), self.period)
            ahead = (values - self.low) % self.period
            return -np.where(ahead <= width, 0.0, np.minimum(ahead - width, self.period - ahead))
        return -np.maximum(np.maximum(below, above), 0.0)


class ScaledDirection:
    """A direction in nats: ln I of its measured scale, which is as steep everywhere as paths are rare.

    A look ahead along the momenta goes as far in these as it should, where a level of any scale would go too far or not far
    enough.
    """

    logistic = False

    def __init__(self, direction: Direction, table: LevelTable) -> None:
        self.direction, self.table, self.name = direction, table, f"ln I along {direction.name}"

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :class:`Direction`."""
        return self.table(self.direction(positions))

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As :class:`Gradual`; only where :func:`has_gradient`."""
        level, gradient = self.direction.gradient(positions)
        return self.table(level), self.table.slope(level)[:, None, None] * gradient


def has_gradient(direction: Direction) -> bool:
    """Whether dynamics can be biased along it: it is :class:`Gradual`, or a scaled one that is."""
    return isinstance(direction.direction if isinstance(direction, ScaledDirection) else direction, Gradual)


def _bounds(region: Region, name: str) -> tuple[float, float] | None:
    """The range of a variable in a region; None if the region has none."""
    if isinstance(region, Range):
        return region.bounds.get(name)
    if isinstance(region, Disc) and name in region.center:
        return region.center[name] - region.radius, region.center[name] + region.radius
    return None

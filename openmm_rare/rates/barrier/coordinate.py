"""What umbrella windows lie along: a variable of the states, or the logit of a learned committor."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import openmm
import torch

from ...bias.directions import CommittorDirection, VariableDirection
from ...bias.variable_force import energy_along
from ...committor.base import Committor
from ...committor.load import load_committor
from ...states.variables import CollectiveVariable

__all__ = ["PARAMETERS", "Coordinate", "LogitCoordinate", "VariableCoordinate"]

PARAMETERS = ("hold_stiffness", "hold_low", "hold_high")
"""Global parameters of what holds walkers in a window: nothing within the two ends, a spring beyond them."""

_PLAIN = "0.5*hold_stiffness*e^2;e=max(0,max(hold_low-s,s-hold_high))"
_PERIODIC = (
    "0.5*hold_stiffness*e^2;e=max(0,abs(turned-{0!r}*floor(turned/{0!r}+0.5))-0.5*(hold_high-hold_low));"
    "turned=s-0.5*(hold_low+hold_high)"
)


class Coordinate(Protocol):
    """A function of positions that has a force.

    Attributes
    ----------
    name : str
    unit : str
        Empty for plain numbers.
    period : float or None
        Values of a periodic one run over one period, whose ends lie beyond the states.
    direction, key : str
        Along what its levels are, in words, and what tells that from other directions: those of splitting along it.
    """

    name: str
    unit: str
    period: float | None
    direction: str
    key: str

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Values, shape ``(n,)``, of positions ``(n, n_atoms, 3)`` in nm."""

    def level(self, s: np.ndarray) -> np.ndarray:
        """Levels, shape ``(n,)``, of values: as splitting has them, they grow from A to B."""

    def hold(self, n_atoms: int, n_copies: int) -> openmm.Force:
        """The force of a window on each of so many copies, with the global parameters :data:`PARAMETERS`; at first none."""


class VariableCoordinate:
    """A collective variable.

    Parameters
    ----------
    variable : CollectiveVariable
        One that has a force.
    lowest : float
        Where the values of a periodic variable begin.
    along : VariableDirection, optional
        From A to B along it; without one levels are values.
    """

    def __init__(self, variable: CollectiveVariable, lowest: float = 0.0, along: VariableDirection | None = None) -> None:
        self.name, self.unit, self.period = variable.name, variable.unit or "", variable.period
        self._variable, self._lowest, self._along = variable, lowest, along
        self.direction, self.key = (variable.name, "") if along is None else (along.name, along.key)

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :meth:`Coordinate.__call__`."""
        values = self._variable(np.asarray(positions, dtype=np.float64))
        return values if self.period is None else self._lowest + (values - self._lowest) % self.period

    def level(self, s: np.ndarray) -> np.ndarray:
        """As :meth:`Coordinate.level`."""
        return s if self._along is None else self._along.level(s)

    def hold(self, n_atoms: int, n_copies: int) -> openmm.Force:
        """As :meth:`Coordinate.hold`."""
        energy = _PLAIN if self.period is None else _PERIODIC.format(self.period)
        force = energy_along(self._variable, energy, n_atoms, n_copies)
        for name in PARAMETERS:
            force.addGlobalParameter(name, 0.0)
        return force


class LogitCoordinate:
    """The inverse hyperbolic sine of the logit of a learned committor, whose force is computed in Python.

    Between the states that is nearly the logit. Within them, where nothing was learned, a network goes on to hundreds, and
    windows at equal distances would leave none for the barrier.

    Parameters
    ----------
    model : Committor
        Between two states.
    """

    name, unit, period = "asinh(logit)", "", None

    def __init__(self, model: Committor) -> None:
        self._model, along = model, CommittorDirection(model)
        self.direction, self.key = along.name, along.key

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """As :meth:`Coordinate.__call__`."""
        return np.arcsinh(self._model.logit(np.asarray(positions, dtype=np.float64)))

    def level(self, s: np.ndarray) -> np.ndarray:
        """As :meth:`Coordinate.level`: the logit."""
        return np.sinh(s)

    def hold(self, n_atoms: int, n_copies: int) -> openmm.Force:
        """As :meth:`Coordinate.hold`."""
        # a lambda, because of what can be pickled OpenMM keeps a pickled copy
        return openmm.PythonForce(lambda state: self._energy_and_forces(state, n_copies), dict.fromkeys(PARAMETERS, 0.0))

    def _energy_and_forces(self, state: openmm.State, n_copies: int) -> tuple[float, np.ndarray]:
        positions, parameters = state.getPositions(asNumpy=True)._value, state.getParameters()
        stiffness, low, high = (parameters[name] for name in PARAMETERS)
        if stiffness == 0.0:
            return 0.0, np.zeros_like(positions)
        x = torch.tensor(positions.reshape(n_copies, -1, 3), dtype=torch.float32, requires_grad=True)
        s = torch.asinh(self._model.logit(x))
        excess = torch.relu(s - high) - torch.relu(low - s)
        energy = 0.5 * stiffness * (excess**2).sum()
        (gradient,) = torch.autograd.grad(energy, x)
        return energy.item(), -gradient.numpy().astype(np.float64).reshape(positions.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"model": self._model.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(load_committor(state["model"]))

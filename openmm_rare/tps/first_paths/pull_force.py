"""A force that pulls a system into a region of collective variables, for a first path: it says nothing about rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm

from ...bias.variable_force import has_force, openmm_force
from ...errors import InputError
from ...states.region_text import region_text
from ...states.regions import Disc, Range, Region
from ...states.variables import CollectiveVariable, CollectiveVariables

__all__ = ["ALLOWED", "Pull", "why_no_pull"]

ALLOWED = "pull_allowed_distance"
"""Global parameter of the force: farther than this the system is pulled."""

_INSIDE = 0.5  # of the half width of B: a path should end well inside
_ROUND = 1e-6  # keeps the gradient of the distance finite where it is zero


@dataclass(frozen=True)
class _Side:
    """Where one variable should go: to an interval, of which a periodic variable needs the middle and half the width."""

    column: int
    low: float
    high: float
    period: float | None

    @property
    def middle(self) -> float:
        """Of the interval."""
        return 0.5 * (self.low + self.high)

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return 0.5 * (self.high - self.low)

    def excess(self, value: np.ndarray) -> np.ndarray:
        """How far values are outside."""
        if self.period is None:
            return np.maximum(0.0, np.maximum(self.low - value, value - self.high))
        turned = value - self.middle
        return np.maximum(0.0, np.abs(turned - self.period * np.floor(turned / self.period + 0.5)) - self.half)

    def expression(self, value: str) -> str:
        """The same for OpenMM, which knows no infinity."""
        if self.period is not None:
            turned = f"({value}-({self.middle!r}))"
            return f"max(0,abs({turned}-{self.period!r}*floor({turned}/{self.period!r}+0.5))-{self.half!r})"
        text = f"max(0,({self.low!r})-{value})" if np.isfinite(self.low) else "0"
        return f"max({text},{value}-({self.high!r}))" if np.isfinite(self.high) else text


def why_no_pull(variables: CollectiveVariables, region: Region) -> str:
    """Why no force can pull into this region, in words; empty if one can."""
    if not isinstance(region, Disc | Range):
        return "is a function, which has no distance"
    unknown = [name for name in _names(region) if not has_force(_named(variables, name))]
    return f"is given by the {_named(variables, unknown[0]).type_name} {unknown[0]}, which has no forces" if unknown else ""


class Pull:
    """The distance to a region, and a force that lowers it.

    The distance is measured in thermal fluctuations of the variables, so that one stiffness suits lengths, angles and numbers;
    it is zero in the middle of the region, within half of its width.

    Parameters
    ----------
    variables : CollectiveVariables
    region : Disc or Range
    fluctuation : sequence of float, shape (n_variables,)
        Standard deviations of the variables in state A.

    Raises
    ------
    ValueError
        If there is no distance to the region, or one of its variables never changes.
    """

    def __init__(self, variables: CollectiveVariables, region: Region, fluctuation: Sequence[float]) -> None:
        reason = why_no_pull(variables, region)
        if reason:
            raise InputError(f"nothing can pull into a region that {reason}: {region_text(region, variables)}")
        self._variables, self._disc = variables, isinstance(region, Disc)
        columns = [variables.index(name) for name in _names(region)]
        scale = np.asarray(fluctuation, dtype=np.float64)[columns]
        for name, each in zip(_names(region), scale, strict=True):
            if not (np.isfinite(each) and each > 0.0):
                raise InputError(f"variable {name!r} never changes in A (fluctuation {each}): nothing can pull along it")
        self._radius = _INSIDE * region.radius if self._disc else 0.0
        if self._disc:  # all variables of a disc have one unit
            self._scale = np.full(len(scale), np.sqrt(np.mean(scale**2)))
            places = [(middle, middle) for middle in region.center.values()]
        else:
            self._scale = scale
            periods = [_named(variables, name).period for name in region.bounds]
            rows = zip(region.bounds.values(), scale, periods, strict=True)
            places = [_well_inside(*bounds, margin, period) for bounds, margin, period in rows]
        self._sides = [_Side(c, *place, variables.variables[c].period) for c, place in zip(columns, places, strict=True)]

    def distance(self, positions: np.ndarray) -> np.ndarray:
        """Distances, shape ``(n,)``, of positions ``(n, n_atoms, 3)`` in nm."""
        values = self._variables(positions)
        excess = np.array([side.excess(values[:, side.column]) for side in self._sides])
        if self._disc:
            excess = np.maximum(0.0, np.linalg.norm(excess, axis=0) - self._radius)[None] / self._scale[0]
        else:
            excess = excess / self._scale[:, None]
        return np.linalg.norm(excess, axis=0)

    def force(self, stiffness: float, allowed: float, n_atoms: int) -> openmm.CustomCVForce:
        """The energy 1/2 stiffness (distance - allowed)^2 beyond the allowed distance.

        Parameters
        ----------
        stiffness : float
            kJ/mol per squared fluctuation.
        allowed : float
            The global parameter :data:`ALLOWED` to begin with.
        n_atoms : int
            Of the system.
        """
        parts: dict[str, openmm.Force] = {}
        definitions, squares = [], []
        for side, scale in zip(self._sides, self._scale.tolist(), strict=True):
            variable = self._variables.variables[side.column]
            value, forces = openmm_force(variable, f"s{side.column}", n_atoms)
            parts |= forces
            definitions += [f"e{side.column}={side.expression(f'v{side.column}')}", f"v{side.column}={value}"]
            squares.append(f"e{side.column}^2" if self._disc else f"(e{side.column}/{scale!r})^2")
        square = "+".join(squares)
        if self._disc:
            radius, scale = float(self._radius), float(self._scale[0])
            definitions.insert(0, f"d=max(0,sqrt({square}+{_ROUND**2!r})-{radius!r})/{scale!r}")
            square = "d^2"
        energy = f"{0.5 * stiffness!r}*max(0,distance-{ALLOWED})^2"
        force = openmm.CustomCVForce(";".join([energy, f"distance=sqrt({square}+{_ROUND**2!r})", *definitions]))
        force.addGlobalParameter(ALLOWED, allowed)
        for name, part in parts.items():
            force.addCollectiveVariable(name, part)
        return force


def _names(region: Disc | Range) -> list[str]:
    return list(region.center if isinstance(region, Disc) else region.bounds)


def _named(variables: CollectiveVariables, name: str) -> CollectiveVariable:
    return variables.variables[variables.index(name)]


def _well_inside(low: float, high: float, margin: float, period: float | None) -> tuple[float, float]:
    """The inner part of an interval; of one with one end, what is a margin beyond that."""
    if period is not None:
        width = period if high - low >= period else (high - low) % period
        half = 0.5 * width * (_INSIDE if width < period else 1.0)
        return low + 0.5 * width - half, low + 0.5 * width + half
    if np.isfinite([low, high]).all():
        middle, half = 0.5 * (low + high), 0.5 * _INSIDE * (high - low)
        return middle - half, middle + half
    return low + margin, high - margin

"""Which coordinate leads from A to B, which way along it, and how far that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...bias.directions import VariableDirection
from ...bias.variable_force import has_force, is_cut_off
from ...committor.base import Committor
from ...committor.fitting import require_fitting
from ...errors import InputError
from ...states.disjoint import length_of_arc
from ...states.region_text import region_text, values_text
from ...states.regions import Disc, Range, Region
from ...states.variable_units import value_text
from .coordinate import Coordinate, LogitCoordinate, VariableCoordinate
from .windows import Window

if TYPE_CHECKING:
    from ...problem import RareEventSystem
    from ...states.states import CollectiveVariable, States

__all__ = ["Route", "find_route"]

LOGIT = "logit"


@dataclass(frozen=True)
class Route:
    """The way from A to B.

    Attributes
    ----------
    coordinate : Coordinate
    sign : int
        1 if it rises on the way, else -1.
    kt : float
        kJ/mol.
    edge : float or None
        Where B begins; None: not known, for a logit.
    beyond : tuple of float or None
        For a periodic coordinate, how far windows that are open at A and at B reach.
    note : str
        What should be known about it; empty if nothing.
    """

    coordinate: Coordinate
    sign: int
    kt: float
    edge: float | None
    beyond: tuple[float, float] | None = None
    note: str = ""

    def length(self, start: float) -> float:
        """The way from a place in A to B; of a logit, to where it is as sure of B as it is of A there."""
        return max(2.0 * abs(start), 2.0) if self.edge is None else abs(self.edge - start)

    def beyond_edge(self, place: float) -> float:
        """How far in B a place is; before it, or where nobody knows, negative."""
        return -1.0 if self.edge is None else self.sign * (place - self.edge)

    def window(self, place: float, spacing: float, first: bool = False, last: bool = False) -> Window:
        """A window with its neighbours at that distance; the first one, and the last if it is to cover B, are open outward."""
        window = Window.spring(place, spacing, self.kt)
        limits = (None, None) if self.beyond is None else self.beyond
        if first:
            return window.opened(-self.sign, limits[0])
        return window.opened(self.sign, limits[1]) if last else window

    def text(self, s: float) -> str:
        """A value of the coordinate in words."""
        return f"{self.coordinate.name} = {value_text(round(s, 4), self.coordinate.unit)}"

    def nowhere(self, place: float, problem: RareEventSystem, positions: np.ndarray) -> str:
        """What to say if B was not met on the way."""
        states = problem.states
        at = values_text(states.variables, states.variables(positions[:1].astype(float))[0])
        return (
            f"windows along {self.coordinate.name} went from A to {self.text(place)} and never came to B "
            f"({region_text(states.b, states.variables)}); walkers are at {at}: choose a coordinate that leads there "
            "(--along), or give a model"
        )


def find_route(problem: RareEventSystem, along: str, model: Committor | None) -> Route:
    """The way along what is asked for.

    Parameters
    ----------
    problem : RareEventSystem
    along : str
        Name of a variable, "logit", or empty: see :class:`~openmm_rare.settings.barrier.BarrierSettings`.
    model : Committor or None

    Raises
    ------
    ValueError
        If there is no such variable, it has no force, it does not tell A from B, or there are several that would do.
    """
    states = problem.states
    if along == LOGIT and LOGIT in states.variables.names:
        raise InputError(f"{LOGIT!r} is a variable of the states, and the logit of a model: rename the variable")
    if along == LOGIT or (not along and model is not None):
        return _along_logit(problem, model)
    if along:
        variable = states.variables.variables[states.variables.index(along)]
        reason = _why_not(states, variable)
        if reason:
            raise InputError(f"windows cannot lie along {along!r}: {reason}")
        return _along_variable(problem, variable)
    fitting = [variable for variable in states.variables.variables if not _why_not(states, variable)]
    if len(fitting) == 1:
        return _along_variable(problem, fitting[0])
    names = ", ".join(variable.name for variable in fitting)
    found = f"{names} would all do" if fitting else "no variable of the states will do"
    raise InputError(
        f"the rate from the barrier needs a coordinate from A to B, and {found}: name one with --along (along in [barrier]), "
        "or give a model that openmm-rare tps has trained"
    )


def _along_logit(problem: RareEventSystem, model: Committor | None) -> Route:
    if model is None:
        raise InputError("windows along the logit need a model: run openmm-rare tps first, and give its model.npz")
    if model.n_states != 2:
        raise InputError(f"windows along the logit need a model of two states, not a {model.title}")
    require_fitting(model, problem)
    return Route(LogitCoordinate(model), 1, problem.kt, None)


def _why_not(states: States, variable: CollectiveVariable) -> str:
    """Why windows cannot lie along a variable, in words; empty if they can."""
    if not has_force(variable):
        return f"a {variable.type_name} has no forces; choose another variable, or give a model"
    if is_cut_off(variable):
        return "pairs count in it that its box has no room for in a force; choose another variable, or give a model"
    a, b = (_interval(region, variable) for region in (states.a, states.b))
    if a is None or b is None:
        return f"state {'A' if a is None else 'B'} is not bounded in it, so that nobody knows which way leads to B"
    if _apart(a, b, variable.period) is None:
        return "A and B have values of it in common"
    return ""


def _interval(region: Region, variable: CollectiveVariable) -> tuple[float, float] | None:
    """Between which values of a variable a region lies; None if it is not bounded in it."""
    if isinstance(region, Range):
        return region.bounds.get(variable.name)
    if isinstance(region, Disc) and variable.name in region.center:
        middle = region.center[variable.name]
        return middle - region.radius, middle + region.radius
    return None


def _apart(a: tuple[float, float], b: tuple[float, float], period: float | None) -> tuple[float, float] | None:
    """The ways from A up to B and down to B; the one that there is not is infinite; None: they overlap."""
    if period is None:
        up, down = b[0] - a[1], a[0] - b[1]
        return None if max(up, down) < 0.0 else (up if up >= 0.0 else np.inf, down if down >= 0.0 else np.inf)
    width_a, width_b = (length_of_arc(bounds, period) for bounds in (a, b))
    up, down = (b[0] - a[1]) % period, (a[0] - b[1]) % period
    return (up, down) if abs(width_a + up + width_b + down - period) < 1e-6 * period else None


def _along_variable(problem: RareEventSystem, variable: CollectiveVariable) -> Route:
    a, b = (_interval(region, variable) for region in (problem.states.a, problem.states.b))
    assert a is not None and b is not None
    up, down = _apart(a, b, variable.period) or (np.inf, np.inf)
    sign = 1 if up <= down else -1
    along = VariableDirection.of(problem.states, variable.name, problem.starts)
    if variable.period is None:
        return Route(VariableCoordinate(variable, along=along), sign, problem.kt, b[0] if sign > 0 else b[1])
    period, other = variable.period, max(up, down)
    lowest = a[0] - 0.5 * other if sign > 0 else a[1] + 0.5 * other - period  # the middle of the other way round
    ends = (lowest, lowest + period)
    edge = lowest + ((b[0] if sign > 0 else b[1]) - lowest) % period
    words = (value_text(round(value, 4), variable.unit) for value in ((a[1], b[0]) if sign > 0 else (a[0], b[1])))
    note = (
        f"{variable.name} is periodic: windows lie on the shorter way, from {' to '.join(words)}. Paths that go round the "
        "other way are not counted."
    )
    return Route(VariableCoordinate(variable, lowest, along), sign, problem.kt, edge, ends[::sign], note)

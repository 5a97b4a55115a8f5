"""Regions of configuration space, from which states are made.

A region sees whole batches of frames, together with the values of all collective variables.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..trust.named_functions import Function, function_label, function_of_label
from ..trust.user_code import faults_in
from .first_form import region_from_first_form
from .frame_values import one_per_frame
from .quantities import number_and_unit, numbers
from .variable_units import require_angle, require_unit, value_text
from .variables import CollectiveVariables

NEITHER: int = 0
IN_A: int = 1
IN_B: int = 2
"""What the status of a frame says."""

_BETWEEN_IMAGES = ' (between nearest images in its periodic box; box = "none" takes vectors as they are)'


class Region(Protocol):
    """A set of configurations."""

    def contains(self, positions: np.ndarray, values: np.ndarray, variables: CollectiveVariables) -> np.ndarray:
        """Whether each frame lies inside.

        Parameters
        ----------
        positions : ndarray of shape (n, n_atoms, 3)
            nm.
        values : ndarray of shape (n, n_variables)
            ``variables(positions)``.
        variables : CollectiveVariables

        Returns
        -------
        ndarray of bool, shape (n,)
        """

    def check(self, variables: CollectiveVariables) -> None:
        """Raise ValueError if the region does not fit these variables."""

    def describe(self) -> dict[str, Any]:
        """JSON-able parameters, the same in every process: as a configuration has them in the section of a region."""


class Range:
    """All variables inside closed intervals.

    Parameters
    ----------
    bounds : mapping from variable name to (lo, hi)
        In the unit of the variable, or quantities of openmm.unit. For a periodic variable the interval runs upwards from
        lo to hi through the boundary of the period, so lo > hi is allowed there. For others lo < hi, and infinite bounds
        are allowed.

    Raises
    ------
    ValueError
        If there are no bounds or a bound is not a number.
    """

    def __init__(self, bounds: Mapping[str, tuple[float, float]]) -> None:
        if not isinstance(bounds, Mapping):
            raise InputError(f"bounds must be a dict such as {{'phi': (0.0, 1.0)}}, not {bounds!r}")
        pairs = {name: numbers(pair, 2, f"bounds of {name!r}") for name, pair in bounds.items()}
        self.bounds = {name: (lo, hi) for name, ((lo, _), (hi, _)) in pairs.items()}
        self._units = {name: [unit for _, unit in pair] for name, pair in pairs.items()}
        if not self.bounds or np.isnan(list(self.bounds.values())).any():
            raise InputError(f"bounds must give (lo, hi) for at least one variable, not {dict(bounds)}")

    def contains(self, positions: np.ndarray, values: np.ndarray, variables: CollectiveVariables) -> np.ndarray:
        """As :meth:`Region.contains`."""
        inside = np.ones(len(values), dtype=bool)
        for name, (lo, hi) in self.bounds.items():
            column = variables.index(name)
            value, period = values[:, column], variables.variables[column].period
            if period is None:
                inside &= (value >= lo) & (value <= hi)
            elif hi - lo < period:
                inside &= (value - lo) % period <= (hi - lo) % period
        return inside

    def check(self, variables: CollectiveVariables) -> None:
        """As :meth:`Region.check`."""
        for name, (lo, hi) in self.bounds.items():
            variable = variables.variables[variables.index(name)]
            for unit in self._units[name]:
                require_unit(variable, unit)
            require_angle(variable, lo, hi)
            period, (lowest, highest) = variable.period, variable.limits
            if period is None and not lo < hi:
                raise InputError(f"bounds of {name!r} must have lo < hi (it is not periodic), not ({lo}, {hi})")
            if period is not None and lo == hi:
                raise InputError(f"bounds of the periodic variable {name!r} hold a single value: ({lo}, {hi})")
            if period is not None and not np.isfinite([lo, hi]).all():
                raise InputError(f"bounds of the periodic variable {name!r} must be finite, not ({lo}, {hi})")
            if period is None and (hi < lowest or lo > highest):
                unit = variable.unit
                raise InputError(
                    f"no frame can lie in {name} from {value_text(lo, unit)} to {value_text(hi, unit)}: {name!r} is at least "
                    f"{value_text(lowest, unit)}{'' if np.isinf(highest) else f' and at most {value_text(highest, unit)}'}"
                    f"{_BETWEEN_IMAGES if unit == 'nm' and np.isfinite(highest) else ''}"
                )

    def overlaps(self, other: "Range", variables: CollectiveVariables) -> bool:
        """Whether two ranges of the same variables have more than a border in common; False for different variables."""
        if self.bounds.keys() != other.bounds.keys():
            return False
        periods = {name: variables.variables[variables.index(name)].period for name in self.bounds}
        return all(_intersect(self.bounds[name], other.bounds[name], period) for name, period in periods.items())

    def describe(self) -> dict[str, Any]:
        """As :meth:`Region.describe`."""
        # JSON knows no infinity.
        bounds = {name: [b if np.isfinite(b) else str(b) for b in pair] for name, pair in sorted(self.bounds.items())}
        return {"range": bounds}


def _intersect(one: tuple[float, float], other: tuple[float, float], period: float | None) -> bool:
    """Whether two intervals, of a periodic variable upwards from their first number, share more than an end."""
    if period is None:
        return max(one[0], other[0]) < min(one[1], other[1])
    if max(one[1] - one[0], other[1] - other[0]) >= period:
        return True
    ahead = (other[0] - one[0]) % period  # from the start of one to that of the other
    return ahead < (one[1] - one[0]) % period or period - ahead < (other[1] - other[0]) % period


class Disc:
    """Euclidean distance from a center, in the space of the named variables, strictly below a radius.

    Parameters
    ----------
    center : mapping from variable name to float
        In the unit of each variable, or quantities of openmm.unit. Differences of periodic variables are taken to the
        nearest image.
    radius : float
        In the common unit of the variables, or a quantity.

    Raises
    ------
    ValueError
        If there is no center, or a number is not finite, or the radius is not positive.
    """

    def __init__(self, center: Mapping[str, float], radius: float) -> None:
        if not isinstance(center, Mapping):
            raise InputError(f"center must be a dict such as {{'x': 0.0, 'y': 1.0}}, not {center!r}")
        pairs = {name: number_and_unit(value, f"center of {name!r}") for name, value in center.items()}
        self.center = {name: value for name, (value, _) in pairs.items()}
        self.radius, self._radius_unit = number_and_unit(radius, "radius")
        self._units = {name: unit for name, (_, unit) in pairs.items()}
        if not self.center or not np.isfinite(list(self.center.values())).all():
            raise InputError(f"center must give a finite value for at least one variable, not {dict(center)}")
        if not (np.isfinite(self.radius) and self.radius > 0):
            raise InputError(f"radius must be a positive number, not {radius}")

    def contains(self, positions: np.ndarray, values: np.ndarray, variables: CollectiveVariables) -> np.ndarray:
        """As :meth:`Region.contains`."""
        squared = np.zeros(len(values))
        for name, middle in self.center.items():
            column = variables.index(name)
            difference, period = values[:, column] - middle, variables.variables[column].period
            if period is not None:
                difference -= period * np.round(difference / period)
            difference *= difference
            squared += difference
        return squared < self.radius**2

    def check(self, variables: CollectiveVariables) -> None:
        """As :meth:`Region.check`."""
        of = {name: variables.variables[variables.index(name)] for name in self.center}
        for name, variable in of.items():
            require_unit(variable, self._units[name])
            require_angle(variable, self.center[name])
        kinds = {variable.unit for variable in of.values()}
        if self._radius_unit is not None and None not in kinds and self._radius_unit not in kinds:
            require_unit(next(iter(of.values())), self._radius_unit)
        farthest = [np.inf if variable.period is None else 0.5 * variable.period for variable in of.values()]
        if self.radius > np.linalg.norm(farthest):
            unit = next(iter(of.values())).unit
            raise InputError(
                f"a disc of radius {value_text(self.radius, unit)} holds every value of {', '.join(of)}: give a smaller one"
                f"{', in radians or with its unit' if unit == 'rad' else ''}"
            )

    def overlaps(self, other: "Disc", variables: CollectiveVariables) -> bool:
        """Whether two discs in the same variables have points in common; False for different variables."""
        if self.center.keys() != other.center.keys():
            return False
        middle = np.zeros((1, len(variables.names)))
        for name, value in other.center.items():
            middle[0, variables.index(name)] = value
        return bool(Disc(self.center, self.radius + other.radius).contains(np.zeros((1, 1, 3)), middle, variables)[0])

    def describe(self) -> dict[str, Any]:
        """As :meth:`Region.describe`."""
        return {"disc": {"center": dict(sorted(self.center.items())), "radius": self.radius}}


class FunctionRegion:
    """Any module-level function from positions (n, n_atoms, 3) in nm to booleans (n,); see :class:`FunctionVariable`.

    Raises
    ------
    ValueError
        If the function has no importable name.
    """

    def __init__(self, function: Function) -> None:
        self.label = function_label(function, "function")
        self.function = function

    def contains(self, positions: np.ndarray, values: np.ndarray, variables: CollectiveVariables) -> np.ndarray:
        """As :meth:`Region.contains`."""
        if len(positions) == 0:
            return np.zeros(0, dtype=bool)
        with faults_in(f"{self.label} fails for positions of shape {positions.shape}"):
            returned = self.function(positions)
        return one_per_frame(returned, len(positions), self.label, "b")

    def check(self, variables: CollectiveVariables) -> None:
        """A function of the positions fits any variables."""

    def describe(self) -> dict[str, Any]:
        """As :meth:`Region.describe`."""
        return {"function": self.label}


REGION_TYPES: tuple[str, ...] = ("range", "disc", "function")
"""What a configuration calls the regions that there are."""


def region_from(description: Mapping[str, Any]) -> Region:
    """Inverse of :meth:`Region.describe`; it also reads what the first versions wrote, and functions as they are.

    Raises
    ------
    ValueError
        For a type that does not exist, or a function that cannot be imported.
    """
    described = region_from_first_form(description)
    found = [key for key in described if key in REGION_TYPES]
    if len(found) != 1:
        raise InputError(f"the region {described} cannot be read back; it must be one of {', '.join(REGION_TYPES)}")
    given = described[found[0]]
    if found[0] == "range":
        return Range(given)  # float() reads "inf", too
    if found[0] == "disc":
        return Disc(**given)
    return FunctionRegion(function_of_label(given) if isinstance(given, str) else given)

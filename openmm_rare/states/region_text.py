"""Values of collective variables and regions in the words of users: with units, angles in degrees (NumPy only)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .regions import Disc, FunctionRegion, Range
from .variable_units import value_text
from .variables import CollectiveVariable, CollectiveVariables

__all__ = ["region_text", "values_text"]


def values_text(variables: CollectiveVariables, values: Sequence[float] | np.ndarray) -> str:
    """Names and values of all variables of one frame, shape ``(n_variables,)``."""
    pairs = zip(variables.variables, values, strict=True)
    return ", ".join(f"{variable.name} = {value_text(value, variable.unit)}" for variable, value in pairs)


def region_text(region: Any, variables: CollectiveVariables) -> str:
    """What a region is, in words; as it describes itself if it is none of this package's."""
    if isinstance(region, Range):
        of = {name: variables.variables[variables.index(name)] for name in region.bounds}
        return " and ".join(_interval_text(of[name], *bounds) for name, bounds in region.bounds.items())
    if isinstance(region, Disc):
        units = {name: variables.variables[variables.index(name)].unit for name in region.center}
        center = ", ".join(f"{name} = {value_text(value, units[name])}" for name, value in region.center.items())
        return f"a disc of radius {value_text(region.radius, next(iter(units.values())))} around {center}"
    if isinstance(region, FunctionRegion):
        return f"the function {region.label}"
    return str(region.describe())


def _interval_text(variable: CollectiveVariable, low: float, high: float) -> str:
    """An interval of one variable."""
    unit = variable.unit
    if np.isinf(low) and np.isinf(high):
        return f"any {variable.name}"
    if np.isinf(low) or np.isinf(high):
        return f"{variable.name} {'<=' if np.isinf(low) else '>='} {value_text(high if np.isinf(low) else low, unit)}"
    return f"{variable.name} from {value_text(low, unit)} to {value_text(high, unit)}"

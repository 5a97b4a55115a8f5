"""Whether two states have something in common, or nothing between them, before any frame is seen (NumPy only)."""

from typing import Any

import numpy as np

from ..errors import InputError
from .region_text import region_text
from .regions import Disc, Range
from .variables import CollectiveVariables

__all__ = ["length_of_arc", "require_disjoint", "require_something_between"]

_TOUCHING = 1e-9  # of the larger number, or of the period


def length_of_arc(bounds: tuple[float, float], period: float) -> float:
    """Of an interval that runs upwards from its first bound, at most the whole period."""
    low, high = bounds
    return period if high - low >= period else (high - low) % period


def require_disjoint(variables: CollectiveVariables, a: Any, b: Any) -> None:
    """Refuse states A and B that overlap, where that can be seen: for discs and ranges of the same variables.

    Raises
    ------
    ValueError
    """
    if not _overlap(variables, a, b):
        return
    wide = [text for region in (a, b) if isinstance(region, Range) for text in _wide(variables, region)]
    hint = f" (a range of a periodic variable runs upwards from its first bound: {', '.join(wide)})" if wide else ""
    raise InputError(
        f"states A and B overlap: A is {region_text(a, variables)}, B is {region_text(b, variables)}{hint}; make them smaller "
        "or move them apart"
    )


def require_something_between(variables: CollectiveVariables, a: Any, b: Any) -> None:
    """Refuse states that share a border which every way from A to B crosses: no frame of a path would lie between them.

    That is so for two ranges that differ in one variable, in which they touch, on both sides if it is periodic.

    Raises
    ------
    ValueError
    """
    if not (isinstance(a, Range) and isinstance(b, Range)):
        return
    of = {name: variables.variables[variables.index(name)] for name in variables.names}
    limiting = [
        {name for name, bounds in region.bounds.items() if not _is_everything(bounds, of[name].period, of[name].limits)}
        for region in (a, b)
    ]
    if limiting[0] != limiting[1] or len(limiting[0]) != 1:
        return
    (name,) = limiting[0]
    one, other, period = a.bounds[name], b.bounds[name], of[name].period
    touching = [_same(one[1], other[0], period), _same(other[1], one[0], period)]
    if all(touching) or (any(touching) and period is None):
        raise InputError(
            f"states A and B share a border, and leave no frames between them: A is {region_text(a, variables)}, B is "
            f"{region_text(b, variables)}; leave a gap for the transition, make A and B smaller"
        )


def _overlap(variables: CollectiveVariables, a: Any, b: Any) -> bool:
    if type(a) is type(b) and isinstance(a, (Disc, Range)):
        return a.overlaps(b, variables)
    if isinstance(a, Range) and isinstance(b, Disc):
        a, b = b, a
    if not (isinstance(a, Disc) and isinstance(b, Range) and a.center.keys() == b.bounds.keys()):
        return False
    periods = {name: variables.variables[variables.index(name)].period for name in a.center}
    away = [_distance(value, b.bounds[name], periods[name]) for name, value in a.center.items()]
    return bool(np.linalg.norm(away) < a.radius)


def _distance(value: float, bounds: tuple[float, float], period: float | None) -> float:
    """From a value to an interval."""
    low, high = bounds
    if period is None:
        return max(low - value, value - high, 0.0)
    if high - low >= period or (value - low) % period <= (high - low) % period:
        return 0.0
    return min((low - value) % period, (value - high) % period)


def _wide(variables: CollectiveVariables, region: Range) -> list[str]:
    """Ranges of periodic variables that take more than half of the period, and how much."""
    found = []
    for name, (low, high) in region.bounds.items():
        period = variables.variables[variables.index(name)].period
        if period is None:
            continue
        part = length_of_arc((low, high), period) / period
        if part > 0.5:
            turn = 360.0 if np.isclose(period, 2 * np.pi) else period
            found.append(f"{region_text(Range({name: (low, high)}), variables)} covers {part * turn:.4g} of {turn:.4g}")
    return found


def _is_everything(bounds: tuple[float, float], period: float | None, limits: tuple[float, float]) -> bool:
    """Whether an interval says nothing about its variable."""
    if period is not None:
        return bounds[1] - bounds[0] >= period
    return bounds[0] <= limits[0] and bounds[1] >= limits[1]


def _same(one: float, other: float, period: float | None) -> bool:
    """Whether two borders are one."""
    if period is None:
        return bool(np.isfinite([one, other]).all() and abs(one - other) <= _TOUCHING * max(abs(one), abs(other), 1e-6))
    apart = (one - other) % period
    return min(apart, period - apart) <= _TOUCHING * period

"""Whether two states have something in common, or nothing between them, before any frame is seen (NumPy only)."""

from typing import Any

import numpy as np

from ..errors import InputError
from .region_text import region_text
from .regions import Disc, Range
from .variables import CollectiveVariables

__all__ = ["gaps", "length_of_arc", "require_disjoint", "require_something_between", "widths"]

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


def gaps(variables: CollectiveVariables, a: Any, b: Any) -> dict[str, float] | None:
    """How far apart A and B are, for each variable in which they are; None where that cannot be seen, as of functions.

    In the unit of each variable. Of discs it is the distance between their borders, the same for all variables.
    """
    if isinstance(a, Range) and isinstance(b, Range):
        found = {}
        for name in sorted(a.bounds.keys() & b.bounds.keys()):
            one, other = a.bounds[name], b.bounds[name]
            if not Range({name: one}).overlaps(Range({name: other}), variables):
                found[name] = _between(one, other, variables.variables[variables.index(name)].period)
        return {name: gap for name, gap in found.items() if gap > 0.0}
    if isinstance(a, Range) and isinstance(b, Disc):
        a, b = b, a
    if not isinstance(a, Disc) or not isinstance(b, Disc | Range):
        return None
    places = {name: (value, value) for name, value in b.center.items()} if isinstance(b, Disc) else b.bounds
    if a.center.keys() != places.keys():
        return None
    periods = {name: variables.variables[variables.index(name)].period for name in a.center}
    away = np.linalg.norm([_distance(value, places[name], periods[name]) for name, value in a.center.items()])
    gap = float(away) - a.radius - (b.radius if isinstance(b, Disc) else 0.0)
    return dict.fromkeys(sorted(a.center), gap) if gap > 0.0 else {}


def widths(variables: CollectiveVariables, region: Any) -> dict[str, float]:
    """How wide a range or a disc is along each of its variables; without those along which it is not limited on both sides."""
    if isinstance(region, Disc):
        return dict.fromkeys(region.center, 2.0 * region.radius)
    found = {}
    for name, (low, high) in region.bounds.items() if isinstance(region, Range) else ():
        period = variables.variables[variables.index(name)].period
        width = high - low if period is None else length_of_arc((low, high), period)
        found |= {name: float(width)} if np.isfinite(width) and width != period else {}
    return found


def _between(one: tuple[float, float], other: tuple[float, float], period: float | None) -> float:
    """The gap between two intervals that do not overlap; 0 if they have a border in common."""
    ends = [(one[1], other[0]), (other[1], one[0])]  # upwards from one to the other, and on to the first again
    gaps = [start - end if period is None else (start - end) % period for end, start in ends]
    return float(max(gaps) if period is None else min(gaps))


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

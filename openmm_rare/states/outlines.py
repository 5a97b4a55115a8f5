"""Where states lie over two of their variables, as plain data that a file can hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .regions import Disc, Range
from .states import States

__all__ = ["Outline", "Shape", "limits_with", "outlines_as_text", "outlines_from_text", "outlines_of"]

Limits = tuple[float, float]


class Shape(NamedTuple):
    """A rectangle from (x0, y0) to (x1, y1), or the ellipse in it."""

    x0: float
    y0: float
    x1: float
    y1: float
    round: bool


@dataclass(frozen=True)
class Outline:
    """Of a region that is a range or a disc.

    Attributes
    ----------
    bounds : mapping from variable name to (lo, hi)
        In the unit of each variable; of a periodic one upwards from lo.
    disc : bool
    periods : mapping from variable name to float or None
        Of all variables of the states.
    """

    bounds: Mapping[str, Limits]
    disc: bool
    periods: Mapping[str, float | None]

    def over(self, names: tuple[str, str], limits: tuple[Limits, Limits]) -> Iterator[Shape]:
        """What shows of it, or of its projection, over two variables; nothing if it names neither.

        Limits are those of a picture: sides that a range does not have lie outside of it. What is periodic comes again.
        """
        if not set(names) & set(self.bounds):
            return
        sides = [
            _intervals(self.bounds.get(name), self.periods.get(name), limit) for name, limit in zip(names, limits, strict=True)
        ]
        for x0, x1 in sides[0]:
            for y0, y1 in sides[1]:
                yield Shape(x0, y0, x1, y1, self.disc and set(names) <= set(self.bounds))


def _intervals(bounds: Limits | None, period: float | None, limit: Limits) -> list[Limits]:
    """The parts of an axis that belong to an interval."""
    margin = 0.1 * (limit[1] - limit[0])
    if bounds is None or (period is not None and bounds[1] - bounds[0] >= period):
        return [(limit[0] - margin, limit[1] + margin)]
    low, high = bounds
    if period is None:
        return [(max(low, limit[0] - margin), min(high, limit[1] + margin))]
    width = (high - low) % period
    starts = low - period * np.floor((low - limit[0]) / period) + period * np.arange(-1, 2)
    return [(float(start), float(start + width)) for start in starts if start < limit[1] and start + width > limit[0]]


def outlines_of(states: States) -> dict[str, Outline]:
    """Outlines of A and B by these names, as far as they have some: a function has none."""
    periods = {variable.name: variable.period for variable in states.variables.variables}
    found = {}
    for name, region in (("A", states.a), ("B", states.b)):
        if isinstance(region, Disc):
            bounds = {each: (middle - region.radius, middle + region.radius) for each, middle in region.center.items()}
            found[name] = Outline(bounds, True, periods)
        elif isinstance(region, Range):
            found[name] = Outline(dict(region.bounds), False, periods)
    return found


def limits_with(outlines: Mapping[str, Outline], names: tuple[str, str], values: np.ndarray) -> tuple[Limits, Limits]:
    """Limits of a picture of values of two variables, shape (n, 2), which has room for the states that lie near."""
    low, high = values.min(0), values.max(0)
    middle, width = 0.5 * (low + high), high - low
    for outline in outlines.values():
        for axis, name in enumerate(names):
            ends = np.array([end for end in outline.bounds.get(name, ()) if np.isfinite(end)])
            near = ends[np.abs(ends - middle[axis]) < width[axis]]
            low[axis], high[axis] = min([low[axis], *near]), max([high[axis], *near])
    margin = 0.03 * (high - low) + 1e-9
    low, high = low - margin, high + margin
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def outlines_as_text(states: States) -> str:
    """Outlines for a file."""
    stored = {name: vars(each) | {"bounds": _as_text(each.bounds)} for name, each in outlines_of(states).items()}
    return json.dumps(stored)


def outlines_from_text(text: str) -> dict[str, Outline]:
    """Inverse of :func:`outlines_as_text`; none for no text, which is what earlier versions have left."""
    stored = json.loads(text or "{}")
    return {
        name: Outline({n: (float(lo), float(hi)) for n, (lo, hi) in each["bounds"].items()}, each["disc"], each["periods"])
        for name, each in stored.items()
    }


def _as_text(bounds: Mapping[str, Limits]) -> dict[str, list[str]]:
    """Numbers in full; JSON knows no infinity."""
    return {name: [repr(float(end)) for end in pair] for name, pair in bounds.items()}

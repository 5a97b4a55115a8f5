r"""The crossing curve from shots: at which rate paths from A come to levels beyond the lower edge of b.

Every path that comes there has passed b, so that shots make all of them. "The rate from the barrier" in docs/theory.md derives
:math:`k(s) = Z_b/(2 p_A \Delta t)\,\langle n_A\,1(\text{top} \ge s)/\sum_i b(x_i)\rangle`, with :math:`n_A` ends in A.
"""

from __future__ import annotations

import numpy as np

from ..estimate import RateCurve
from .route import Route
from .shots import Shots
from .windows import Window

__all__ = ["crossing_rates"]

_WIDTHS = 2.0  # of b, from its middle to the lowest level: a path that just comes there is made seven times too rarely
_LEVELS = 40


def crossing_rates(route: Route, bias: Window, shots: Shots, per_point: float, relative_error: float) -> RateCurve | None:
    """The curve of a run; None of shots of earlier versions, which did not keep how far they came.

    Parameters
    ----------
    route : Route
    bias : Window
        b is its Gaussian.
    shots : Shots
    per_point, relative_error : float
        Z_b/(2 p_A dt), 1/ps, and its error.
    """
    coordinate = route.coordinate
    lowest = float(coordinate.level(np.array([bias.place - route.sign * _WIDTHS * np.sqrt(route.kt / bias.stiffness)]))[0])
    tops = shots.column("top")[shots.ends_in_a > 0]
    if not len(tops) or np.isnan(tops).any() or not lowest < tops.max():
        return None
    levels = np.linspace(lowest, float(tops.max()), _LEVELS)
    mean, error = np.array([shots.mean(shots.reaching(level)) for level in levels]).T
    relative = np.hypot(np.divide(error, mean, out=np.full(_LEVELS, np.inf), where=mean > 0.0), relative_error)
    known = np.isfinite(relative)
    rates = per_point * mean[known]
    return RateCurve(coordinate.direction, coordinate.key, levels[known], rates, rates * relative[known])

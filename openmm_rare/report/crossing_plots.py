"""Figures of a rate by splitting: how probable it is to come from an exit of A to each level before A."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .style import BLUE, ORANGE, new_figure

__all__ = ["CROSSING_FIGURE", "draw_crossing"]


def draw_crossing(found: Mapping[str, Any]) -> Any:
    """The crossing curve by trees, with standard errors, and by excursions without branching."""
    figure, (ax,) = new_figure()
    levels, probability, error = (np.array(found[name]) for name in ("levels", "probability", "stderr"))
    seen = probability > 0.0
    ax.plot(levels[seen], probability[seen], color=BLUE, label="trees")
    low, high = (np.maximum(probability + sign * error, 1e-300)[seen] for sign in (-1.0, 1.0))
    ax.fill_between(levels[seen], np.maximum(low, 0.1 * probability[seen]), high, color=BLUE, alpha=0.2, linewidth=0.0)
    plain, its_error = np.array(found["plain"]), np.array(found["plain_stderr"])
    seen = plain > 0.0
    ax.errorbar(levels[seen], plain[seen], its_error[seen], fmt=".", color=ORANGE, elinewidth=0.8, label="plain dynamics")
    ax.set_yscale("log")
    ax.set_xlabel(found["direction"])
    ax.set_ylabel("P(to come there before A)")
    ax.legend(frameon=False)
    return figure


CROSSING_FIGURE: tuple[str, str, str] = (
    "crossing",
    "How far paths come",
    "The probability that a path which left A comes to a level before it returns, as splitting along a direction measures it, "
    "with standard errors, and as it is seen without any branching as far as that sees anything. A smooth fall is what one "
    "wants to see. Points above the curve mean that branches which matter are missed: the direction does not see what decides.",
)

"""Figures of how far paths come: by splitting, as a probability, and as rates beside those that other runs found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .interactive.rates import explored_crossing, explored_curves
from .style import BLUE, GRAY, GREEN, ORANGE, RED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CROSSING_FIGURE", "CURVE_FIGURE", "draw_crossing", "draw_curve"]

_OTHERS = (ORANGE, GREEN, RED)


def draw_crossing(found: Mapping[str, Any]) -> tuple[Figure, Mapping[str, Any]]:
    """The crossing curve by trees, with standard errors, and by excursions without branching; also to explore."""
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
    ax.set_xlabel(_axis(found["direction"], not found["direction"].startswith("the logit")))
    ax.set_ylabel("P(to come there before A)")
    ax.legend(frameon=False)
    return figure, explored_crossing(found, ax.get_xlabel())


def draw_curve(found: Mapping[str, Any], label: str, rate_per_ps: float) -> tuple[Figure, Mapping[str, Any]]:
    """Rates at which paths from A come to levels, of a run and of others beside it, with standard errors; also to explore."""
    figure, (ax,) = new_figure()
    curves = [(label, BLUE, found)]
    curves += [(each["label"], _OTHERS[number % len(_OTHERS)], each) for number, each in enumerate(found.get("beside", ()))]
    for name, color, curve in curves:
        levels, rate, error = (np.array(curve[column]) for column in ("levels", "rate_per_ps", "stderr"))
        ax.plot(levels, rate, color=color, label=name)
        ax.fill_between(levels, np.maximum(rate - error, 0.1 * rate), rate + error, color=color, alpha=0.2, linewidth=0.0)
    if rate_per_ps > 0.0:
        ax.axhline(rate_per_ps, color=GRAY, linewidth=0.8, linestyle="--", label="k")
    ax.set_yscale("log")
    ax.set_xlabel(_axis(found["direction"], found["key"].startswith("variable")))
    ax.set_ylabel("paths from A that come there (1/ps)")
    ax.legend(frameon=False)
    return figure, explored_curves([(name, curve) for name, _, curve in curves], ax.get_xlabel(), rate_per_ps)


def _axis(direction: str, of_variable: bool) -> str:
    return f"minus the distance of {direction} from B" if of_variable else direction


CROSSING_FIGURE: tuple[str, str, str] = (
    "crossing",
    "How far paths come",
    "The probability that a path which left A comes to a level before it returns, as splitting along a direction measures it, "
    "with standard errors, and as it is seen without any branching as far as that sees anything. A smooth fall is what one "
    "wants to see. Points above the curve mean that branches which matter are missed: the direction does not see what decides.",
)

CURVE_FIGURE: tuple[str, str, str] = (
    "curve",
    "How many paths come how far",
    "How often, per time with A as the state visited last, a path that leaves A comes to a level before it returns, with "
    "standard errors: flux times crossing probability, as it is known from transition interface sampling. It falls to the rate "
    "constant k. Curves of other runs stand beside it where they are along the same direction; where they part, one of the "
    "runs misses paths.",
)

"""What training costs and what it saves: it goes on while it pays ("Learning ln I" in docs/theory.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Look", "Worth", "in_steps"]

_FLOPS_OF_STEP, _FLOPS_OF_PAIR = 60_000.0, 500.0
"""Floating-point operations of training in the time of a biased step: of a walker, and for each pair of its atoms."""

_FLOPS_OF_CALLS = 100e6
"""As many take as long as the calls of a gradient step, whatever they compute."""

_EXPONENT, _UNSURE = 0.4, 0.2
"""By which power of what was spent the cost of production falls, and how far that is from sure, before anything was seen."""


def in_steps(updates: float, flops: float, n_atoms: int) -> float:
    """Steps of a walker of so many atoms in the time of so many gradient steps of so many operations each.

    A fixed rate, measured once ("Cost of a rate" in docs/benchmarks.md): what is decided by it must not depend on the machine.
    """
    return updates * (_FLOPS_OF_CALLS + flops) / (_FLOPS_OF_STEP + _FLOPS_OF_PAIR * n_atoms * (n_atoms - 1) / 2)


@dataclass(frozen=True)
class Look:
    """Roots of weighted paths, followed with the model as it was at some time.

    Attributes
    ----------
    spent : float
        On training at this temperature until then, in steps.
    cost : float
        Relative variance of a root times its steps: what production costs for a relative variance of 1; infinite if nothing
        came to B.
    ess : float
        Effective number of roots.
    """

    spent: float
    cost: float
    ess: float


class Worth:
    """Compares the cost of more training with the production that it is predicted to save.

    Training makes a root cheaper by a power law, ln cost = a - b ln(spent), where little is known about b: it is fitted to the
    looks, with an expectation of 0.4 ± 0.2. One standard error is added to what production costs, since training too long is
    cheaper than training too little.

    Parameters
    ----------
    looks : sequence of Look
        At least one.
    per_variance : float
        Relative variance of a root over that which production is to come to: the roots that it takes, times that variance.
    """

    def __init__(self, looks: Sequence[Look], per_variance: float) -> None:
        seen = [look for look in looks if np.isfinite(look.cost) and look.ess > 0.0]
        self.exponent, self._log_cost, self.spent = _EXPONENT, np.inf, looks[-1].spent
        if not seen:
            return
        at = np.log([look.spent for look in seen]) - np.log(self.spent)
        error = np.sqrt(2.0 / np.array([max(look.ess, 1.0) for look in seen]))
        # rows of the least squares: one for each look, and one for what is expected of the exponent
        rows = np.vstack([np.column_stack([np.ones(len(seen)), -at]) / error[:, None], [[0.0, 1.0 / _UNSURE]]])
        values = np.append(np.log([look.cost for look in seen]) / error, _EXPONENT / _UNSURE)
        (log_cost, exponent), *_ = np.linalg.lstsq(rows, values, rcond=None)
        uncertainty = np.sqrt(np.linalg.inv(rows.T @ rows)[0, 0])
        self.exponent = float(np.clip(exponent, 0.05, 1.0))
        self._log_cost = float(log_cost + uncertainty + np.log(per_variance))

    @property
    def production(self) -> float:
        """Steps that production is predicted to take with the model as it is; infinite if nobody has come to B."""
        return float(np.exp(self._log_cost))

    def saving(self, spent: float, more: float) -> float:
        """Steps of production that ``more`` steps are predicted to save, once ``spent`` have been."""
        before, after = (self.production * (total / self.spent) ** -self.exponent for total in (spent, spent + more))
        return before - after if np.isfinite(before) else np.inf

    def how_often(self, price: float, most: int) -> int:
        """How many times, and ``most`` at most, it pays to spend ``price`` steps more on training."""
        spent, times = self.spent, 0
        while times < most and self.saving(spent, price) > price:
            spent, times = spent + price, times + 1
        return times

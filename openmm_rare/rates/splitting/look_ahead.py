r"""How long momenta are remembered: the look ahead :math:`\tau` in ln I, :math:`u + \tau\,\dot u` (NumPy only).

Two exits of one place differ in their velocities. With the right :math:`\tau`, ln I of the levels says which of them comes to a
level farther on. How often they did is known from pilots, and the likelihood of that has its maximum at the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Outcomes", "fitted_look_ahead"]

_FEWEST = 5.0  # effective roots that must have come to the level that outcomes are about
_LONGEST = 1000  # steps that a look ahead may be long, at most
_CANDIDATES = 41
_SURE = 3.0  # nats by which the likelihood must be better than that of none


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Roots of one pilot, and what came of them.

    Attributes
    ----------
    level, speed : ndarray, shape (n_roots,)
        ln I by position, u, and its derivative in time at the roots.
    weight : ndarray, shape (n_roots,)
        That they started with.
    crossed : ndarray, shape (n_roots, n_levels)
        Summed weights of their descendants that came to each level.
    levels : ndarray, shape (n_levels,)
        ln I of these levels.
    """

    level: np.ndarray
    speed: np.ndarray
    weight: np.ndarray
    crossed: np.ndarray
    levels: np.ndarray

    def log_likelihood(self, taus: np.ndarray) -> np.ndarray:
        r"""Of look-aheads, shape (n_taus,), in units of independent events.

        The number of descendants that come to a level is as I of the root, up to a factor that is the same for all: with the
        best factor, :math:`\ln L = \sum_i C_i \ln I_i - \sum_i C_i \ln \sum_i w_i I_i`.
        """
        goal = self._goal()
        if goal is None:
            return np.zeros(len(taus))
        came, most = self.crossed[:, goal], float(self.levels[goal])
        per_event = came.sum() / (came**2).sum()
        found = np.empty(len(taus))
        for number, tau in enumerate(taus):
            log_i = np.minimum(self.level + tau * self.speed, most)
            log_sum = np.log((self.weight * np.exp(log_i - most)).sum()) + most
            found[number] = per_event * ((came * log_i).sum() - came.sum() * log_sum)
        return found

    def _goal(self) -> int | None:
        """The highest level that enough roots came to."""
        total, squares = self.crossed.sum(0), (self.crossed**2).sum(0)
        enough = np.flatnonzero(total**2 >= _FEWEST * squares)
        enough = enough[total[enough] > 0.0]
        return int(enough[-1]) if len(enough) else None


def fitted_look_ahead(pilots: Sequence[Outcomes], timestep: float) -> tuple[float, float]:
    """The most likely look ahead, ps, and how much more likely than none it is; 0 where that may be chance.

    Parameters
    ----------
    pilots : sequence of Outcomes
    timestep : float
        ps.
    """
    taus = np.concatenate([[0.0], timestep * np.geomspace(0.5, _LONGEST, _CANDIDATES)])
    likelihood = sum(pilot.log_likelihood(taus) for pilot in pilots)
    gain = likelihood - likelihood[0]
    best = int(gain.argmax())
    return (float(taus[best]), float(gain[best])) if gain[best] > _SURE else (0.0, float(gain[best]))

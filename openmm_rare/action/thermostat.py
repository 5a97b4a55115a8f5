"""Steps of a learned action at a temperature: friction and noise around the map, and Metropolis with the true energy.

See "Learned action" in docs/theory.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .midpoint_map import MidpointMap
from .phase_space import Pull

__all__ = ["Rows", "Tally", "ThermostattedMap", "total_energy"]

_RETURN = 1e3  # tolerances of the solver within which a row has come back


@dataclass
class Rows:
    """Where trajectories are.

    Attributes
    ----------
    q, p : ndarray, shape (n_rows, n)
    pull : Pull
        At q.
    """

    q: np.ndarray
    p: np.ndarray
    pull: Pull


def total_energy(p: np.ndarray, pull: Pull) -> np.ndarray:
    """Of every row, kJ/mol."""
    return pull.energy + 0.5 * (p**2).sum(axis=1)


@dataclass
class Tally:
    """What steps have cost, and what became of them; counts are of rows times steps."""

    steps: int = 0
    accepted: int = 0
    unsolved: int = 0
    not_returned: int = 0
    evaluations: int = 0
    worst_residual: float = 0.0


class ThermostattedMap:
    r"""Half of friction and noise, the map, half of friction and noise (OMO); Metropolized, this is GHMC (Horowitz 1991).

    A proposal of the map is accepted with :math:`\min(1, e^{-\beta \Delta H})` of the true energy, and otherwise the momenta
    are reversed: canonical exactly, whatever was learned, because the map keeps volume and is its own inverse with reversed
    momenta. What was not solved is rejected. Where midpoints may have several solutions (contraction of 1 or more) only a map
    that comes back from where it went is its own inverse: `returns` looks at that, without a force.

    Parameters
    ----------
    mapping : MidpointMap
    kt : float or None
        kJ/mol; None: the map alone, at constant energy but for its error.
    friction : float
        1/ps.
    metropolize : bool
    returns : bool
        Whether a Metropolized map must come back.
    rng : numpy.random.Generator
    """

    def __init__(
        self,
        mapping: MidpointMap,
        kt: float | None,
        friction: float,
        metropolize: bool,
        returns: bool,
        rng: np.random.Generator,
    ) -> None:
        self.mapping, self.kt, self.metropolize, self.returns, self.rng = mapping, kt, metropolize, returns, rng
        self._kept = 1.0 if kt is None else float(np.exp(-0.5 * friction * mapping.action.timestep))
        self.tally = Tally()

    def step(self, rows: Rows) -> Rows:
        """One step of every row.

        Raises
        ------
        FloatingPointError
            If a step is not solved, and not Metropolized.
        """
        rows = Rows(rows.q, self._refreshed(rows.p), rows.pull)
        rows = self._proposed(rows) if self.metropolize else self._mapped(rows)
        return Rows(rows.q, self._refreshed(rows.p), rows.pull)

    def _refreshed(self, p: np.ndarray) -> np.ndarray:
        if self.kt is None or self._kept == 1.0:
            return p
        return self._kept * p + np.sqrt((1.0 - self._kept**2) * self.kt) * self.rng.standard_normal(p.shape)

    def _mapped(self, rows: Rows) -> Rows:
        made = self.mapping.require(rows.q, rows.p, rows.pull)
        self._count(made.evaluations, made.residual, len(rows.q))
        self.tally.accepted += len(rows.q)
        return Rows(made.q, made.p, made.pull)

    def _proposed(self, rows: Rows) -> Rows:
        made = self.mapping.step(rows.q, rows.p, rows.pull)
        change = total_energy(made.p, made.pull) - total_energy(rows.p, rows.pull)
        with np.errstate(over="ignore", invalid="ignore"):
            accepted = self.rng.random(len(change)) < np.exp(-change / self.kt)  # NaN compares as false
        self._count(made.evaluations, made.residual[made.solved], len(change))
        self.tally.unsolved += int((~made.solved).sum())
        if self.returns and accepted.any():
            back = self._comes_back(rows, made.q[accepted], made.p[accepted], made.pull[accepted], accepted)
            self.tally.not_returned += int((~back).sum())
            accepted[accepted] = back
        self.tally.accepted += int(accepted.sum())
        keep = accepted[:, None]
        pull = Pull(np.where(accepted, made.pull.energy, rows.pull.energy), np.where(keep, made.pull.force, rows.pull.force))
        return Rows(np.where(keep, made.q, rows.q), np.where(keep, made.p, -rows.p), pull)

    def _comes_back(self, rows: Rows, q: np.ndarray, p: np.ndarray, pull: Pull, accepted: np.ndarray) -> np.ndarray:
        """Which rows the map with reversed momenta brings back: seen before its last half step, which asks for no force."""
        a, b = self.mapping.before(q, -p, pull)
        a, b, found = self.mapping.inner(a, b)
        self.tally.evaluations += found.evaluations
        start_q, start_p = self.mapping.before(rows.q[accepted], rows.p[accepted], rows.pull[accepted])
        frequency = self.mapping.action.frequency
        off = np.maximum(np.abs(frequency * (a - start_q)).max(axis=1), np.abs(b + start_p).max(axis=1))
        return found.solved & (off < _RETURN * self.mapping.tolerance)

    def _count(self, evaluations: int, residual: np.ndarray, n_rows: int) -> None:
        self.tally.steps += n_rows
        self.tally.evaluations += evaluations
        self.tally.worst_residual = max(self.tally.worst_residual, float(residual.max(initial=0.0)))

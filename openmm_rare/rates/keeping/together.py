"""Pasts of walkers that move together, row by row beside them."""

from __future__ import annotations

import numpy as np

from ...states.states import IN_B, NEITHER
from ...walkers.population import Walkers
from .kept_paths import Candidates
from .past import Past, PastTable

__all__ = ["Unkept", "WalkersPasts"]


class WalkersPasts:
    """Where walkers have been, and which of their paths are kept.

    Parameters
    ----------
    candidates : Candidates
    n_atoms : int
    pending : PastTable, optional
        Of walkers that earlier calls left over.
    roots : list of Past, optional
        Of the roots, which end where these begin; without it they have none.
    """

    def __init__(
        self,
        candidates: Candidates,
        n_atoms: int,
        pending: PastTable | None = None,
        roots: list[Past | None] | None = None,
    ) -> None:
        self._candidates, self._n_atoms = candidates, n_atoms
        self._pasts: list[Past | None] = [] if pending is None else pending.pasts()
        self._roots, self._waiting = roots, list[Past | None]()
        self.kept = candidates.kept

    def begin(self, walkers: Walkers, n: int) -> None:
        """The last n walkers are the first of the roots that wait; of those before them, the last may have no past yet."""
        others = walkers.frames.positions[len(self._pasts) : len(walkers) - n]
        self._pasts += [self._candidates.seen(None, positions) for positions in others]
        self._pasts += self._waiting[:n]
        del self._waiting[:n]

    def look(self, walkers: Walkers, status: np.ndarray) -> None:
        """All have moved, and some may have arrived in B."""
        here = zip(self._pasts, walkers.frames.positions, strict=True)
        self._pasts = [self._candidates.seen(past, positions) for past, positions in here]
        self._arrive(walkers, status, self._pasts)

    def arrive(self, walkers: Walkers, status: np.ndarray) -> None:
        """All roots, of which some may have begun in B; those between the states wait."""
        pasts = self._roots
        if pasts is None:
            pasts = [self._candidates.seen(None, positions) for positions in walkers.frames.positions]
        self._arrive(walkers, status, pasts)
        self._waiting = [pasts[row] for row in np.flatnonzero(status == NEITHER).tolist()]

    def _arrive(self, walkers: Walkers, status: np.ndarray, pasts: list[Past | None]) -> None:
        for row in np.flatnonzero(status == IN_B).tolist():
            root, steps = int(walkers.roots[row]), int(walkers.clocks[row])
            self._candidates.arrive(root, walkers.log_weights[row], steps, pasts[row])

    def take(self, rows: np.ndarray) -> None:
        """Go on with copies of these."""
        self._pasts = [self._pasts[row] for row in rows.tolist()]

    def table(self) -> PastTable | None:
        """Of those that go on, if whole paths are kept."""
        return PastTable.of(self._pasts, self._n_atoms) if self._candidates.keep.whole else None


class Unkept:
    """Nothing is kept."""

    def begin(self, walkers: Walkers, n: int) -> None:
        """Ignore."""

    def look(self, walkers: Walkers, status: np.ndarray) -> None:
        """Ignore."""

    def arrive(self, walkers: Walkers, status: np.ndarray) -> None:
        """Ignore."""

    def take(self, rows: np.ndarray) -> None:
        """Ignore."""

    def kept(self) -> None:
        """None."""

    def table(self) -> None:
        """None."""

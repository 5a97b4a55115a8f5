r"""Some of all paths to B, with weights that are as good as those of all.

What came to B of one root in one round is a tree, with the summed weight c of its arrivals. One arrival of it is drawn in
proportion to its weight and stands for the tree: the mean over draws of c f(path) is the sum of w f over all arrivals. Of more
trees than are wanted, N are kept by priority sampling (Duffield, Lund and Thorup, J. ACM 54, 32 (2007)): each has the priority
:math:`c/u` with u uniform in (0, 1]; the N largest are kept with weights :math:`\max(c, \tau)`, where :math:`\tau` is the
largest priority that is not. The mean of each weight, 0 for trees that are not kept, is c, so that sums over what is kept are
unbiased for any N of at least 1. The N + 1 largest priorities of all rounds are among the N + 1 largest of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .past import Past, frames_of, longer

__all__ = ["Candidates", "Keep", "KeptPaths"]


@dataclass(frozen=True)
class Keep:
    """What to keep of paths.

    Attributes
    ----------
    n : int
        How many are wanted in the end.
    whole : bool
        All frames from the exit on; otherwise the last one.
    above : float
        Priorities up to this one are those of trees that are out already.
    """

    n: int
    whole: bool
    above: float = 0.0


@dataclass(frozen=True, eq=False)
class KeptPaths:
    """Kept paths, each for a tree.

    Attributes
    ----------
    root : ndarray of int64, shape (n,)
    contribution, priority : ndarray, shape (n,)
        c and c/u of its tree.
    steps : ndarray of int64, shape (n,)
        From the root to the arrival.
    length : ndarray of int64, shape (n,)
        Frames of each path.
    positions : ndarray of float32, shape (sum of length, n_atoms, 3), nm
        One path after the other.
    """

    root: np.ndarray
    contribution: np.ndarray
    priority: np.ndarray
    steps: np.ndarray
    length: np.ndarray
    positions: np.ndarray

    @classmethod
    def none(cls, n_atoms: int) -> KeptPaths:
        """No paths of so many atoms."""
        whole = np.zeros(0, dtype=np.int64)
        return cls(whole, np.zeros(0), np.zeros(0), whole, whole, np.zeros((0, n_atoms, 3), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.root)

    def frames(self) -> list[np.ndarray]:
        """Positions of each path, shape (n_frames, n_atoms, 3)."""
        return np.split(self.positions, np.cumsum(self.length)[:-1]) if len(self) else []

    def join(self, *others: KeptPaths) -> KeptPaths:
        """These paths followed by others."""
        parts = [self, *others]
        return KeptPaths(*(np.concatenate([getattr(part, name) for part in parts]) for name in self._names()))

    def top(self, n: int, above: float = 0.0) -> KeptPaths:
        """Those with the `n` largest priorities `above` this one, the largest first."""
        order = np.argsort(-self.priority, kind="stable")[:n]
        order, frames = order[self.priority[order] > above], self.frames()
        columns = [getattr(self, name)[order] for name in self._names()[:-1]]
        return KeptPaths(*columns, np.concatenate([self.positions[:0], *(frames[row] for row in order)]))

    def weighted(self, n: int) -> tuple[KeptPaths, np.ndarray]:
        """The `n` paths that are kept in the end and their weights, from the `n` + 1 largest priorities of all trees."""
        first = self.top(n + 1)
        threshold = first.priority[n] if len(first) > n else 0.0
        kept = first.top(n)
        return kept, np.maximum(kept.contribution, threshold)

    def threshold(self, n: int) -> float:
        """The priority that another tree must surpass to be among the `n` + 1 largest, of which these are some."""
        return float(np.sort(self.priority)[-n - 1]) if len(self) > n else 0.0

    def record(self) -> dict[str, np.ndarray]:
        """For the record of a round."""
        return {f"kept_{name}": getattr(self, name) for name in self._names()}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> KeptPaths | None:
        """Inverse of :meth:`record`; None of a record without."""
        if "kept_root" not in record:
            return None
        return cls(*(np.asarray(record[f"kept_{name}"]) for name in cls._names()))

    @classmethod
    def _names(cls) -> list[str]:
        return list(cls.__dataclass_fields__)


class Candidates:
    """Arrivals in B of some roots, of which one of each stands for all.

    Parameters
    ----------
    keep : Keep
    n_atoms : int
    rng : numpy.random.Generator
        Of its own, so that what is kept changes nothing else.
    """

    def __init__(self, keep: Keep, n_atoms: int, rng: np.random.Generator) -> None:
        self.keep, self._n_atoms, self._rng = keep, n_atoms, rng
        self._total: dict[int, float] = {}
        self._chosen: dict[int, tuple[int, Past]] = {}

    def seen(self, past: Past | None, positions: np.ndarray) -> Past:
        """The past of a walker that is at these positions now."""
        return longer(past if self.keep.whole else None, positions)

    def arrive(self, root: int, log_weight: float, steps: int, past: Past) -> None:
        """A walker that came to B, so many steps after its root."""
        weight = float(np.exp(log_weight))
        total = self._total[root] = self._total.get(root, 0.0) + weight
        if root not in self._chosen or self._rng.random() * total < weight:
            self._chosen[root] = steps, past

    def kept(self) -> KeptPaths:
        """What to keep of these roots: one path more than is wanted, for its priority."""
        roots = sorted(self._chosen)
        total = np.array([self._total[root] for root in roots])
        priority = total / (1.0 - self._rng.random(len(roots)))
        frames = [frames_of(self._chosen[root][1]) for root in roots]
        numbers = ([*roots], total, priority, [self._chosen[root][0] for root in roots], [len(each) for each in frames])
        columns = (np.array(values, dtype=kind) for values, kind in zip(numbers, (int, float, float, int, int), strict=True))
        joined = np.concatenate([np.zeros((0, self._n_atoms, 3), dtype=np.float32), *frames])
        return KeptPaths(*columns, joined).top(self.keep.n + 1, self.keep.above)

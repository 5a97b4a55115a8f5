"""Variables along paths of walkers that move together, for pictures of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

__all__ = ["PathHistory"]


@dataclass
class PathHistory:
    """Ancestry of walkers, block by block, from which whole paths to B are read back.

    Attributes
    ----------
    values : list of ndarray, shape (n, k)
        Variables of every walker at the end of each block.
    parents : list of ndarray, shape (n,)
        Row of each walker in the block before; for a new root -1 less its number.
    ends : list of (block, row)
        Arrivals in B.
    """

    values: list[np.ndarray] = field(default_factory=list)
    parents: list[np.ndarray] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)

    def add(self, values: np.ndarray, parents: np.ndarray, arrived: np.ndarray) -> None:
        """Append one block: values after it, the row in the block before, and which rows arrived in B."""
        self.ends += [(len(self.values), int(row)) for row in np.flatnonzero(arrived)]
        self.values.append(values.astype(np.float32))
        self.parents.append(parents)

    def path(self, end: tuple[int, int]) -> tuple[int, np.ndarray]:
        """Number of the root of one path, and variables along it, shape (n_blocks, k), from there to B."""
        block, row = end
        points = []
        while row >= 0:
            points.append(self.values[block][row])
            block, row = block - 1, self.parents[block][row]
        return -1 - int(row), np.array(points[::-1])

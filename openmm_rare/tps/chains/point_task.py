"""Where a walker near the barrier stands, which a :class:`~openmm_rare.tps.chains.task.ChainTask` carries to any process.

Nothing here imports OpenPathSampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...dynamics.frames import Frames

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WalkerState"]


@dataclass(frozen=True, eq=False)
class WalkerState:
    """Where a walker stands between two rounds.

    Attributes
    ----------
    frames : Frames
        The path whose frames it shoots from until it walks, then the one frame where it is; in the precision of the dynamics.
    length : int
        Frames that transition paths are known to have, by which the walker measures its way.
    made : bool
        Whether that path was made by the dynamics.
    walked : int
        Trials since it walks; -1 before.
    """

    frames: Frames
    length: int
    made: bool = False
    walked: int = -1

    def arrays(self, start_up: int) -> dict[str, np.ndarray]:
        """For a file; ``relaxed`` says whether its trials count after the first `start_up`."""
        numbers = {"length": self.length, "made": self.made, "walked": self.walked, "relaxed": self.walked >= start_up}
        return self.frames.arrays() | {name: np.array(value) for name, value in numbers.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> WalkerState:
        """Inverse of :meth:`arrays`."""
        numbers = (int(arrays["length"]), bool(arrays["made"]), int(arrays["walked"]))
        return cls(Frames.from_arrays(arrays), *numbers)

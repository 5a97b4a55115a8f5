"""How often something may be done that a run could do without: never for more than a share of its time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Pace"]


class Pace:
    """Says when it is time again.

    Parameters
    ----------
    share : float
        Of all time that may be spent.
    least : float
        Seconds between two times, at least.
    """

    def __init__(self, share: float, least: float = 0.0) -> None:
        self._share, self._least, self._next = share, least, 0.0

    @property
    def due(self) -> bool:
        """Whether it may be done now; always the first time."""
        return time.monotonic() >= self._next

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Do it; the more it takes, the later is the next time."""
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max((ended - began) / self._share, self._least)

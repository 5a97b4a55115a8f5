"""What stands in the way of a calculation, all of it in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Findings", "Obstacle", "sentence_of"]


@dataclass(frozen=True)
class Obstacle:
    """Something about a problem that cannot give a right answer.

    Attributes
    ----------
    fact : str
        What it is.
    cure : str
        What to do about it.
    """

    fact: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.fact}; {self.cure}" if self.cure else self.fact


@dataclass(frozen=True)
class Findings:
    """What a look at a problem has found.

    Attributes
    ----------
    obstacles : list of Obstacle
    notes : list of str
        Sentences about what is no fault, and should be known.
    doubts : list of str
        Sentences about what makes a rate wrong by more than a little, and can be meant.
    """

    obstacles: list[Obstacle] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def __add__(self, other: Findings) -> Findings:
        """Both, in this order."""
        return Findings(self.obstacles + other.obstacles, self.notes + other.notes, self.doubts + other.doubts)


def sentence_of(obstacles: Sequence[Obstacle], goal: str) -> str:
    """One message about all obstacles.

    Parameters
    ----------
    obstacles : sequence of Obstacle
        At least one.
    goal : str
        What they are in the way of.
    """
    texts = [str(each) for each in obstacles]
    if len(texts) == 1:
        return texts[0]
    listed = "; ".join(f"({number}) {text}" for number, text in enumerate(texts, 1))
    return f"{len(texts)} things stand in the way of {goal}: {listed}"

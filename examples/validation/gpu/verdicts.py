"""What a check came to, as a child process hands it to the one that started it; standard library only."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Failed", "Outcome", "Skipped", "Where"]


class Skipped(Exception):
    """Why a check says nothing here, in a few words."""


class Failed(Exception):
    """What was found that must not be, in a few words."""


@dataclass(frozen=True)
class Where:
    """On what to check.

    Attributes
    ----------
    platform : str
        Name of the OpenMM platform.
    precision : str
        "single", "mixed" or "double".
    full : bool
        Whether sizes are those for a GPU; small ones fit a processor that imitates one.
    walkers : int
        Where throughput is measured.
    """

    platform: str
    precision: str = "mixed"
    full: bool = True
    walkers: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a check came to.

    Attributes
    ----------
    result : str
        "pass", "FAIL" or "skipped".
    figure : str
        What was measured, or why it failed or was skipped, in a line.
    numbers : dict
        The same for programs.
    """

    result: str
    figure: str
    numbers: dict = field(default_factory=dict)

"""What the rate from the barrier uses and a user may change, with its default (section ``[barrier]``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import InputError
from ..io.toml import Section
from .reading import read_settings

__all__ = ["BarrierSettings"]

_LEAST = {"windows": 3, "copies": 0, "walkers": 0, "wait": 0}


@dataclass(frozen=True)
class BarrierSettings:
    """Settings of the rate from umbrella windows and shots from the barrier.

    A frame is ``check_interval`` steps of the problem.

    Attributes
    ----------
    along : str
        Name of the variable that the windows lie along, or "logit", that of the model. Default: the only variable that both
        states are about, or the logit if there is a model.
    windows : int
        From A to B, to begin with; they are doubled while neighbours do not overlap or let walkers go.
    copies : int
        Walkers of each window and set; 0: 20 copies of a small System, 1 of others.
    equilibration : int
        Frames in each window on the way from A to B, and back; more where motion along the coordinate is slow.
    window_frames : int
        Frames of each walker in the first round of windows; likewise.
    walkers : int
        Walkers near the top and set, which lend shooting points; 0: 50 copies of a small System, 2 of others.
    points_per_task : int
        Shooting points of a walker between two looks at the error.
    wait : int
        Frames between two shooting points of a walker; 0: twice as many as the coordinate remembers there.
    width : float
        Of the Gaussian b along the coordinate, in its unit; 0: seven tenths of the width of the barrier.
    max_frames : int
        A shot that is in no state after so many frames ends the run with an error.
    reverse : bool
        Let the last window cover all of B: gives its population, and the rate from B to A. ``reverse`` of ``[sampling]``, or
        ``--reverse``, asks for the same.
    """

    along: str = ""
    windows: int = 12
    copies: int = 0
    equilibration: int = 100
    window_frames: int = 250
    walkers: int = 0
    points_per_task: int = 5
    wait: int = 0
    width: float = 0.0
    max_frames: int = 20_000
    reverse: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and value < _LEAST.get(field.name, 1):
                raise InputError(f"{field.name} = {value} must be at least {_LEAST.get(field.name, 1)}")
        if not 0.0 <= self.width < float("inf"):
            raise InputError(f"width = {self.width} must be positive, or 0 for one that suits the barrier")

    @classmethod
    def parse(cls, section: Section) -> BarrierSettings:
        """From ``[barrier]``."""
        section.check((), [field.name for field in fields(cls)])
        return cls(**read_settings(cls, section))

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        return asdict(self)

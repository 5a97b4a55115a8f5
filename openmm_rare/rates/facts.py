"""What an estimate says about the run that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..settings.rates import RateSettings
from ..walkers.machine import Machine

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["RunFacts"]


@dataclass(frozen=True)
class RunFacts:
    """Facts of a finished run.

    Attributes
    ----------
    problem : RareEventSystem
    settings : RateSettings
        Those that the run had in the end.
    machine : Machine
    backend : str
        What moved the walkers.
    seed : int
    target_error : float
    notes : tuple of str
        What should be known about the dynamics, and is no fault.
    walker_steps : mapping
        By part of the cost: training, flux, pilot, production.
    wall_seconds : float
    """

    problem: RareEventSystem
    settings: RateSettings
    machine: Machine
    backend: str
    seed: int
    target_error: float
    notes: tuple[str, ...]
    walker_steps: Mapping[str, int]
    wall_seconds: float

"""What a learned action uses and a user may change, with its default (section ``[action]``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from openmm import unit as u

from ..errors import InputError
from ..io.toml import Section
from .reading import read_settings

__all__ = ["ActionSettings"]

_CHOICES = {
    "kernel": ("verlet", "midpoint"),
    "model": ("linear", "network", "both"),
    "features": ("pairs", "coordinates"),
}
_LEAST = {
    "samples": 10,
    "stride": 2,
    "spacing": 1,
    "trajectories": 2,
    "max_evaluations": 1,
    "network_steps": 1,
    "direct_steps": 0,
    "width": 1,
}
_UNITS = {"timestep": u.picosecond, "duration": u.picosecond, "friction": u.picosecond**-1}


@dataclass(frozen=True)
class ActionSettings:
    """Settings of a learned action: how it is learned, checked and run.

    Attributes
    ----------
    timestep : float
        The fine one, ps; 0: a fiftieth of the fastest period at the initial structure.
    stride : int
        Fine steps in a learned one.
    samples : int
        Stretches of fine dynamics to learn from.
    hotter : float
        Half of them are at the temperature times this.
    spacing : int
        Fine steps between two samples.
    kernel : "verlet" or "midpoint"
        See :class:`~openmm_rare.action.midpoint_map.MidpointMap`.
    model : "linear", "network" or "both"
        What the action is; both: a network of what the linear fit leaves.
    features : "pairs" or "coordinates"
        Invariant features of pairs; or monomials of plain coordinates, for model potentials.
    ridge : float
        Of the linear fit.
    value_weight : float
        Of the value of the action in the fit, relative to its gradient.
    width, network_steps : int
        Of the network and of its training.
    tolerance : float
        Of the midpoint equations, in units of the root of kT.
    max_evaluations : int
        Of the gradient of the action in a step.
    direct_steps : int
        Training steps of the predictor without structure that checks compare with; 0: none.
    trajectories : int
        Of a check.
    duration : float
        Of each, ps; 0: 500 learned steps.
    friction : float
        Of a run at a temperature, 1/ps.
    """

    timestep: float = 0.0
    stride: int = 8
    samples: int = 400
    hotter: float = 1.6
    spacing: int = 200
    kernel: str = "verlet"
    model: str = "linear"
    features: str = "pairs"
    ridge: float = 1e-9
    value_weight: float = 0.0
    width: int = 48
    network_steps: int = 2000
    tolerance: float = 1e-6
    max_evaluations: int = 20
    direct_steps: int = 1000
    trajectories: int = 24
    duration: float = 0.0
    friction: float = 1.0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)} must be at least {least}")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} = {getattr(self, name)!r} must be one of {', '.join(allowed)}")
        if self.hotter < 1.0 or not 0.0 < self.tolerance < 1.0:
            raise InputError(f"hotter = {self.hotter} must be at least 1, and tolerance = {self.tolerance} between 0 and 1")

    @classmethod
    def parse(cls, section: Section) -> ActionSettings:
        """From ``[action]``."""
        section.check((), [field.name for field in fields(cls)])
        return cls(**read_settings(cls, section, _UNITS))

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        return asdict(self)

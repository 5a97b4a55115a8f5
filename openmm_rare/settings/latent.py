"""What latent coordinates and their free energy use and a user may change, with its default (section ``[latent]``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import InputError
from ..io.toml import Section
from .reading import read_settings

__all__ = ["METRICS", "PROPAGATORS", "LatentSettings"]

METRICS = ("auto", "exact", "constant", "learned")
"""What G may be as a function of the coordinates."""
PROPAGATORS = ("constant", "exact")
"""Mass matrices of latent dynamics."""

_LEAST = {"latents": 0, "equilibration": 0}


@dataclass(frozen=True)
class LatentSettings:
    """Settings of ``openmm-rare latent``.

    Attributes
    ----------
    descriptor : dict or None
        The coordinates, or what a network is to make them of; None: that of the system.
    candidates : dict of str to dict
        Further descriptors by name, which ``latent check`` compares.
    latents : int
        Outputs of an autoencoder of the features of the descriptor; 0: these are the coordinates.
    encoder_hidden : tuple of int
        Widths of the network that makes them.
    penalty : float
        Of the metric condition in its loss, next to a reconstruction error in units of standard deviations.
    metric : str
        "exact" (all distances of 2 to 4 sites), "constant", "learned", or "auto": exact where it is known, learned for latents,
        else constant. The free energy is exact with any.
    tolerance : float
        Relative violation of the metric condition up to which velocities count as right as well.
    strict : bool
        Refuse coordinates beyond it, and folds, instead of a warning.
    trajectories : tuple of str
        Files with frames of equilibrium at the temperature of the system, one for each run; none: they are made.
    biased : bool
        These frames were spread along the coordinates on purpose, as by umbrella windows or hills: mean forces are the same,
        and how often frames came says nothing. What spreads them must be a function of the coordinates alone.
    runs : int
        Independent runs of unbiased dynamics.
    frames : int
        Of each run.
    steps_per_frame : int
    equilibration : int
        Steps of each run before its first frame.
    hidden : tuple of int
        Widths of the network of V.
    training_steps, batch : int
        Of Adam, and frames in each step.
    held_out : float
        Share of the frames, in blocks, that the fit does not see.
    cross_validation : bool
        Fit once more without each run, and compare with that run.
    propagator : str
        Mass matrix of latent dynamics: "constant" (explicit, and exact for Q), or "exact", that of the metric.
    walkers, latent_steps : int
        Of latent dynamics, and steps of each.
    latent_timestep, latent_friction : float
        ps and 1/ps, which say nothing of real times; a time step of 0 is chosen from the free energy.
    """

    descriptor: Mapping[str, Any] | None = None
    candidates: Mapping[str, Any] = field(default_factory=dict)
    latents: int = 0
    encoder_hidden: tuple[int, ...] = (24, 24)
    penalty: float = 1.0
    metric: str = "auto"
    tolerance: float = 0.05
    strict: bool = False
    trajectories: tuple[str, ...] = ()
    biased: bool = False
    runs: int = 3
    frames: int = 10_000
    steps_per_frame: int = 30
    equilibration: int = 10_000
    hidden: tuple[int, ...] = (48, 48)
    training_steps: int = 1500
    batch: int = 2048
    held_out: float = 0.1
    cross_validation: bool = True
    propagator: str = "constant"
    walkers: int = 1000
    latent_steps: int = 1000
    latent_timestep: float = 0.0
    latent_friction: float = 5.0

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "int" and value < _LEAST.get(each.name, 1):
                raise InputError(f"latent.{each.name} = {value} must be at least {_LEAST.get(each.name, 1)}")
            if each.type == "float" and not 0.0 <= value < float("inf"):
                raise InputError(f"latent.{each.name} = {value} must be finite and not negative")
        for name, value, known in (("metric", self.metric, METRICS), ("propagator", self.propagator, PROPAGATORS)):
            if value not in known:
                raise InputError(f"latent.{name} = {value!r} must be one of {', '.join(known)}")
        if self.biased and not self.trajectories:
            raise InputError("latent.biased is of frames in latent.trajectories; those that are made here are of equilibrium")
        if not 0.0 < self.held_out < 1.0:
            raise InputError(f"latent.held_out = {self.held_out} must be a share between 0 and 1, e.g. 0.1")

    @classmethod
    def parse(cls, section: Section) -> LatentSettings:
        """From ``[latent]``."""
        section.check((), [each.name for each in fields(cls)])
        return cls(**read_settings(cls, section))

    def of_frames(self) -> dict[str, Any]:
        """Those that frames depend on: with others, recorded frames serve again."""
        return {name: getattr(self, name) for name in ("trajectories", "runs", "frames", "steps_per_frame", "equilibration")}

    def to_dict(self) -> dict[str, Any]:
        """For TOML."""
        return {key: value for key, value in asdict(self).items() if value not in (None, {}, ())}

"""Known rates of the built-in systems, for the scripts beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from openmm_rare.systems import double_well_1d, two_channel_2d

__all__ = ["EXACT_SYSTEMS", "Truth", "exact"]

EXACT_SYSTEMS: tuple[str, ...] = ("double_well_1d", "two_channel_2d", "rugged_14d")


@dataclass(frozen=True)
class Truth:
    """What a computed rate is compared with.

    Attributes
    ----------
    label : str
        Where it comes from.
    rate_per_ps, rate_stderr : float
        1/ps; the error is 0 for an exact rate.
    channels : dict
        Fraction of each channel, where known.
    """

    label: str
    rate_per_ps: float
    rate_stderr: float = 0.0
    channels: Mapping[str, float] = field(default_factory=dict)


def exact(name: str, temperature: float) -> Truth:
    """The exact rate of a system at its default time step, at a temperature in K.

    The simulated chain is not the differential equation: its rate at the default time step is known in one dimension,
    and to first order in the plane (+0.5 %). In fourteen dimensions it is the one of the plane.

    Raises
    ------
    ValueError
        If the system has no exact rate.
    """
    if name not in EXACT_SYSTEMS:
        raise ValueError(f"no exact rate is known for {name!r}; there is one for {', '.join(EXACT_SYSTEMS)}")
    if name == "double_well_1d":
        return Truth("exact, of the chain", double_well_1d.chain_rate(temperature))
    solution = two_channel_2d.exact(temperature)
    rate = solution.rate_per_ps * (1.0 + two_channel_2d.timestep_error())
    return Truth("exact, with first-order time-step error", rate, channels=solution.channel_fractions)

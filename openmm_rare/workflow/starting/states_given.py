"""States that the command line gives in the names of the variables that were found."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import openmm

from ...bias.variable_force import energy_along
from ...errors import InputError
from ...io.toml import nearest
from ...states.disjoint import require_something_between
from ...states.states import IN_A, CollectiveVariables, Range, States
from .candidates import Candidates

__all__ = ["Bounds", "StatesGiven", "held", "parse_states"]

_EXAMPLE = '"phi2=-110..-50, psi2=100..180" (angles in degrees, distances in nm, an open end left out as in "r=..0.3")'
_STIFF = {"nm": 2e4, "rad": 1000.0}
"""Of the walls around A, kJ/mol over the square of the unit: fluctuations of 0.01 nm and 3 degrees in them."""
_WITHIN = {"nm": 0.01, "rad": math.radians(3.0)}
"""How far within the edges of A its walls stand, at most a tenth of its width."""
Bounds = dict[str, tuple[float, float]]
"""Lowest and highest value by the name of a variable, in degrees and nm."""


@dataclass(frozen=True)
class StatesGiven:
    """Ranges of A and B, in degrees and nm; and whether a structure lay in A, which is then kept there until it is written."""

    a: Bounds
    b: Bounds
    kept: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of all variables that the states are made of."""
        return tuple(dict.fromkeys([*self.a, *self.b]))

    def states(self, candidates: Candidates) -> States:
        """What dynamics is classified by.

        Raises
        ------
        ValueError
            If A and B overlap, or a range is none of its variable.
        """
        chosen = [candidates.named(name) for name in self.names]
        angles = {each.name for each in chosen if each.kind == "dihedral"}
        regions = (
            Range({name: np.radians(pair) if name in angles else pair for name, pair in bounds.items()})
            for bounds in (self.a, self.b)
        )
        return States(CollectiveVariables([each.variable for each in chosen]), *regions)

    def keeping(self, candidates: Candidates, positions: np.ndarray) -> StatesGiven:
        """A copy that keeps a structure, shape (n_atoms, 3), nm, in A, if it lies there."""
        return replace(self, kept=self.is_in_a(candidates, positions))

    def walls(self, candidates: Candidates, n_atoms: int) -> list[openmm.Force]:
        """Forces that keep dynamics within A, and do nothing in it: one for each variable that A limits."""
        forces = []
        for name, bounds in self.a.items():
            variable = candidates.named(name).variable
            low, high = np.radians(bounds) if variable.unit == "rad" else bounds
            high = high + variable.period if variable.period is not None and high < low else high
            forces.append(energy_along(variable, _wall(low, high, variable.unit, variable.period), n_atoms))
        return forces

    def is_in_a(self, candidates: Candidates, positions: np.ndarray) -> bool:
        """Whether a frame, shape (n_atoms, 3), nm, lies in A."""
        return bool(self.states(candidates).classify(positions[None])[0] == IN_A)


def held(system: openmm.System, states: StatesGiven | None, candidates: Candidates) -> openmm.System:
    """A copy with walls around A, where a structure is to be kept there: heated, it would soon leave a short-lived state."""
    copy = openmm.XmlSerializer.clone(system)
    for wall in states.walls(candidates, system.getNumParticles()) if states is not None and states.kept else []:
        copy.addForce(wall)
    return copy


def _wall(low: float, high: float, unit: str, period: float | None) -> str:
    """The energy of walls at both ends of an interval, those of them that there are."""
    within = min(_WITHIN[unit], 0.1 * (high - low))
    if period is not None:
        middle, half = 0.5 * (low + high), 0.5 * (high - low) - within
        away = f"abs(d)-{half!r}); d=x-{period!r}*floor(x/{period!r}+0.5); x=s-({middle!r})"
        return f"{0.5 * _STIFF[unit]}*w^2; w=max(0,{away}"
    ends = [f"max(0,s-({high - within!r}))^2"] if math.isfinite(high) else []
    ends += [f"max(0,({low + within!r})-s)^2"] if math.isfinite(low) else []
    return f"{0.5 * _STIFF[unit]}*({'+'.join(ends)})"


def parse_states(a: str, b: str, candidates: Candidates) -> StatesGiven | None:
    """Both states from what ``--state-a`` and ``--state-b`` say; None where nothing is given.

    Raises
    ------
    ValueError
        If one is not understood, names a variable that was not found, or they overlap.
    """
    if not a and not b:
        return None
    given = StatesGiven(*(_bounds(text, option, candidates) for text, option in ((a, "--state-a"), (b, "--state-b"))))
    try:
        states = given.states(candidates)
        require_something_between(states.variables, states.a, states.b)
    except InputError as error:
        raise InputError(f"--state-a and --state-b: {error}") from error
    return given


def _bounds(text: str, option: str, candidates: Candidates) -> Bounds:
    """What one of them says."""
    known = {each.name: each.kind for each in candidates.variables}
    if not known:
        raise InputError(f"{option}: no variable was found in this structure: fill the states into config.toml instead")
    found: Bounds = {}
    for part in text.split(","):
        name, equals, interval = (each.strip() for each in part.partition("="))
        low, dots, high = (each.strip() for each in interval.partition(".."))
        if not equals or not dots or not (low or high):
            raise InputError(f"{option} {text!r} is not understood at {part.strip()!r}: write it as {_EXAMPLE}")
        if name not in known:
            raise InputError(f"{option}: no variable {name!r} here; did you mean {nearest(name, known)!r}? --list shows all")
        found[name] = (_number(low, -math.inf, option, part), _number(high, math.inf, option, part))
        if known[name] == "dihedral" and not all(map(math.isfinite, found[name])):
            raise InputError(f"{option}: {name} is an angle, which goes round: give both ends, as in {_EXAMPLE}")
    return found


def _number(text: str, empty: float, option: str, part: str) -> float:
    if not text:
        return empty
    try:
        value = float(text.removesuffix("deg").removesuffix("nm"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{option}: {text!r} in {part.strip()!r} is no number: write it as {_EXAMPLE}")
    return value

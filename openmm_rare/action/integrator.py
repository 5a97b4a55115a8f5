"""Long steps of a learned action for any OpenMM Context without constraints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import openmm
from openmm import unit

from ..errors import InputError
from ..structure.particles import masses_of
from ..units import KB, in_md_units
from .midpoint_map import Action, MidpointMap
from .phase_space import ContextPotential, PhaseSpace
from .refusals import require_suitable
from .sampling import system_hash
from .thermostat import Rows, ThermostattedMap

__all__ = ["IntegratorSummary", "LearnedActionIntegrator"]

_TOLERANCE = 1e-6  # in units of the root of kT
_ROOM_TEMPERATURE = 300.0


@dataclass(frozen=True)
class IntegratorSummary:
    """What the steps so far have cost, and what became of them.

    Attributes
    ----------
    steps : int
    acceptance_rate : float
        1 without Metropolis.
    evaluations_per_step : float
        Of the gradient of the action.
    forces_per_step : float
        True ones; without the one that a new place begins with.
    worst_residual : float
        Of solved midpoint equations, in units of mass-weighted momenta.
    failed_steps : int
        Not solved, and rejected.
    not_returned : int
        Rejected because the map did not lead back.
    """

    steps: int
    acceptance_rate: float
    evaluations_per_step: float
    forces_per_step: float
    worst_residual: float
    failed_steps: int
    not_returned: int


class LearnedActionIntegrator:
    """Moves the positions and velocities of a Context by a learned action (Bigi & Ceriotti 2025, arXiv:2508.01068).

    No integrator of OpenMM: a force there never sees momenta, and the midpoint is to be solved for. One true force is asked for
    in a step. Positions and velocities belong to the same time. Metropolized it samples the canonical distribution exactly,
    whatever was learned; without Metropolis it samples that of a shadow energy, and is approximate for every rate, as all
    learned dynamics is.

    Parameters
    ----------
    context : openmm.Context
        Of the System that the action was learned for; its own integrator is not used.
    action : Action
    temperature : Quantity or float, optional
        K; None: constant energy, as good as the action keeps it.
    friction : Quantity or float
        1/ps.
    metropolize : bool
        Accept steps by the true energy; needs a temperature.
    returns : bool
        Whether a Metropolized step must lead back with reversed momenta: what makes it exact where midpoints have several
        solutions. It doubles the evaluations of the action, and asks for no force.
    tolerance : float
        Of the midpoint equations, in units of the root of kT (of 300 K without a temperature).
    max_evaluations : int
        Of the gradient of the action in a step.
    history : int
        Of Anderson's mixing.
    on_failure : "reject" or "raise"
        What to do with a step that is not solved; only Metropolis can reject. By default it does.
    num_dimensions : int
    seed : int
    system : str
        Hash of the System that the action was learned for, as its file says it; empty: not looked at.

    Raises
    ------
    ValueError
        For constraints and whatever else an action cannot move, another System, and arguments that contradict each other.
    """

    def __init__(
        self,
        context: openmm.Context,
        action: Action,
        temperature: Any = None,
        friction: Any = 1.0,
        metropolize: bool = True,
        *,
        returns: bool = True,
        tolerance: float = _TOLERANCE,
        max_evaluations: int = 20,
        history: int = 5,
        on_failure: Literal["reject", "raise"] | None = None,
        num_dimensions: int = 3,
        seed: int = 1,
        system: str = "",
    ) -> None:
        own = context.getSystem()
        require_suitable(own)
        if system and system != system_hash(own):
            raise InputError("this action was learned for another System: train one for this, or give the System that it is of")
        kelvin = None if temperature is None else in_md_units(temperature, unit.kelvin, "temperature")
        rate = in_md_units(friction, unit.picosecond**-1, "friction")
        if (kelvin is not None and kelvin <= 0.0) or rate < 0.0:
            raise InputError(f"temperature = {kelvin} K must be positive, and friction = {rate} /ps not negative")
        if metropolize and kelvin is None:
            raise InputError("Metropolis needs a temperature: give one, or metropolize=False for constant energy")
        on_failure = on_failure or ("reject" if metropolize else "raise")
        if on_failure not in ("reject", "raise") or (on_failure == "reject" and not metropolize):
            raise InputError(f'on_failure = {on_failure!r} must be "raise", or with Metropolis "reject"')
        state = context.getState(positions=True)
        self.context = context
        self.space = PhaseSpace(masses_of(own), state.getPositions(asNumpy=True)._value, num_dimensions)
        self._potential = ContextPotential(context, self.space)
        kt = KB * (kelvin or _ROOM_TEMPERATURE)
        self.mapping = MidpointMap(action, self._potential, tolerance * float(np.sqrt(kt)), max_evaluations, history=history)
        self._on_failure, self._metropolize, self._starts = on_failure, metropolize, 0
        rng = np.random.default_rng(seed)
        self._map = ThermostattedMap(self.mapping, None if kelvin is None else kt, rate, metropolize, returns, rng)
        self._rows: Rows | None = None
        self._left: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def timestep(self) -> float:
        """Of a step, ps."""
        return self.mapping.action.timestep

    def step(self, steps: int = 1) -> None:
        """Advance by so many steps; positions and velocities that were set in the Context since are where it begins.

        Raises
        ------
        FloatingPointError
            If the midpoint equations of a step are not solved, and it may not be rejected; the Context then stands where that
            step began.
        """
        rows = self._here()
        try:
            for _ in range(steps):
                failed = self._map.tally.unsolved
                made = self._map.step(rows)
                if self._on_failure == "raise" and self._map.tally.unsolved > failed:
                    self.mapping.require(rows.q, rows.p, rows.pull)
                rows = made
        finally:
            self._leave(rows)

    @property
    def summary(self) -> IntegratorSummary:
        """What the steps so far have cost."""
        tally = self._map.tally
        n = max(tally.steps, 1)
        return IntegratorSummary(
            tally.steps,
            tally.accepted / n,
            tally.evaluations / n,
            (self._potential.calls - self._starts) / n,
            tally.worst_residual,
            tally.unsolved,
            tally.not_returned,
        )

    @property
    def noise(self) -> str:
        """Where its random numbers are, as text; what was there before can be put back."""
        return json.dumps(self._map.rng.bit_generator.state)

    @noise.setter
    def noise(self, text: str) -> None:
        self._map.rng.bit_generator.state = json.loads(text)

    def _here(self) -> Rows:
        """Where the Context stands, with what is known of the force there."""
        state = self.context.getState(positions=True, velocities=True)
        positions, velocities = (each._value for each in (state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True)))
        if self._rows is not None and self._left is not None:
            same = all(np.array_equal(a, b) for a, b in zip((positions, velocities), self._left, strict=True))
            if same:
                return self._rows
        q = self.space.rows(positions[None])
        self._starts += 1
        return Rows(q, self.space.rows(velocities[None]), self._potential(q))

    def _leave(self, rows: Rows) -> None:
        self.context.setPositions(self.space.positions(rows.q)[0])
        self.context.setVelocities(self.space.velocities(rows.p)[0])
        state = self.context.getState(positions=True, velocities=True)
        self._rows = rows
        self._left = state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value

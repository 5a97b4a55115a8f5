"""Unbiased walkers whose temperature changes while they move, and the potential energy of each."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..dynamics.copies.replication import replicate
from ..dynamics.copies.walker_bonds import suits_native_bonds
from ..dynamics.frames import Frames
from ..dynamics.overdamped import check_system
from ..parallel.teams import TEAM, check_stop, together
from ..structure.constraints import KeptDistances
from ..units import KB
from .machine import Machine
from .native import native_parts
from .slots import SlotContext, require_finite

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["ThermalWalkers"]

_UNINTERRUPTED = 1000  # steps


class ThermalWalkers:
    """Moves many walkers through the whole space, states included, at one temperature after the other.

    On the processor the native integrator moves teams of walkers, each in a Context of its own that is made for every move: its
    temperature is fixed, and a Context costs as much as some tens of steps. Elsewhere, where Contexts are dear,
    :class:`~openmm_rare.dynamics.overdamped.OverdampedLangevinIntegrator` changes its temperature.

    Parameters
    ----------
    problem : RareEventSystem
        Its temperature is not used.
    n_slots : int
        Walkers of the largest Context.
    machine : Machine
    seed : numpy.random.SeedSequence
        For the noise of all moves.
    """

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine, seed: np.random.SeedSequence) -> None:
        check_system(problem.system, num_dimensions=problem.num_dimensions)
        self._problem, self._n_slots, self._machine, self._seed = problem, n_slots, machine, seed
        in_teams = machine.backend == "native" and machine.on_processor
        self._move = self._move_teams if in_teams else self._move_slots
        self._kept = KeptDistances(problem.system, problem.name, problem.timestep)
        # one copy in double precision: its energy takes microseconds, and needs no kernel for many copies
        self._one = Machine("Reference", "python").context(problem.system, openmm.VerletIntegrator(1.0), problem.name)
        self._slots: list[SlotContext] = []
        self._copies = cache(lambda n: replicate(problem.system, n, suits_native_bonds(machine.platform, n)))

    def energies(self, frames: Frames) -> np.ndarray:
        """Potential energies, shape ``(n,)`` in kJ/mol."""
        energies = np.empty(len(frames))
        for row, frame in enumerate(frames.positions):
            self._one.setPositions(frame)
            energies[row] = self._one.getState(energy=True).getPotentialEnergy()._value
        return energies

    def move(self, frames: Frames, temperature: float, n_steps: int) -> Frames:
        """Where walkers are after ``n_steps`` steps at a temperature in K.

        Raises
        ------
        FloatingPointError
            If positions become NaN, or break constraints.
        """
        end = self._move(frames.positions, temperature, n_steps)
        require_finite(end, self._problem)
        self._kept.require(end)
        return Frames(end)

    def _number(self) -> int:
        """A seed for one Context, 31 bits."""
        (seed,) = self._seed.spawn(1)
        return int(seed.generate_state(1)[0] >> 1)

    def _move_teams(self, positions: np.ndarray, temperature: float, n_steps: int) -> np.ndarray:
        at = self._problem.with_temperature(temperature)
        shares = np.array_split(positions, -(-len(positions) // TEAM))
        systems = [self._copies(len(share)) for share in shares]
        numbers = [self._number() for _ in shares]

        def run(share: np.ndarray, system: openmm.System, number: int) -> np.ndarray:
            integrator, _ = native_parts(at, len(share), number, None)
            context = self._machine.one_thread.context(system, integrator, at.name)
            context.setPositions(share.reshape(-1, 3))
            for done in range(0, n_steps, _UNINTERRUPTED):
                check_stop()
                integrator.step(min(_UNINTERRUPTED, n_steps - done))
            return context.getState(positions=True).getPositions(asNumpy=True)._value.reshape(share.shape)

        return np.concatenate(together(run, shares, systems, numbers))

    def _move_slots(self, positions: np.ndarray, temperature: float, n_steps: int) -> np.ndarray:
        shares = np.array_split(positions, -(-len(positions) // self._n_slots))
        if [len(share) for share in shares] != [slots.n_slots for slots in self._slots]:
            machine = replace(self._machine, backend="python")
            self._slots = [SlotContext(self._problem, len(share), machine, self._number()) for share in shares]
        ends = []
        for slots, share in zip(self._slots, shares, strict=True):
            slots.integrator.setGlobalVariableByName("kT", KB * temperature)
            slots.set_positions(share)
            slots.step(n_steps)
            ends.append(slots.positions().copy())
        return np.concatenate(ends)

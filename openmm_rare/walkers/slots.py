"""Slots: the places of a Context, each holding one independent copy of a small System."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.force import check_force
from ..bias.python_force import Observer
from ..dynamics.copies.replication import replicate
from ..dynamics.copies.walker_bonds import suits_native_bonds
from ..dynamics.overdamped import check_system
from ..errors import DynamicsError
from ..structure.constraints import KeptDistances
from ..structure.openmm_errors import naming_system
from .backends import make_dynamics
from .machine import Machine

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["SlotContext", "WalkerContext", "require_finite"]


def require_finite(positions: np.ndarray, problem: RareEventSystem) -> None:
    """Raise FloatingPointError if a position is not finite."""
    if not np.isfinite(positions).all():
        raise DynamicsError(
            f"positions became NaN in {problem.name} at a time step of {problem.timestep:g} ps: "
            "use a smaller time step, or check the forces at the initial structure"
        )


class WalkerContext:
    """One Context that holds ``n_slots`` independent copies of a system; what moves them is given to :meth:`_start`.

    Parameters
    ----------
    problem : RareEventSystem
    n_slots : int
    machine : Machine
    bias : Bias, optional
        That walkers are to have.

    Attributes
    ----------
    context : openmm.Context
    integrator : openmm.Integrator
    """

    context: openmm.Context
    integrator: openmm.Integrator

    def __init__(self, problem: RareEventSystem, n_slots: int, machine: Machine, bias: Bias | None = None) -> None:
        if bias is not None:
            check_force(bias.force, machine.platform)
        check_system(problem.system, num_dimensions=problem.num_dimensions)
        native_bonds = machine.backend == "native" and suits_native_bonds(machine.platform, n_slots)
        self._problem, self._machine, self.n_slots = problem, machine, n_slots
        self._copies = replicate(problem.system, n_slots, native_bonds)
        self._kept = KeptDistances(problem.system, problem.name, problem.timestep)
        self._slots = np.repeat(problem.positions[None], n_slots, axis=0)

    def _start(self, integrator: openmm.Integrator, forces: Sequence[openmm.Force]) -> None:
        """Make the Context, with these forces beside the physical ones."""
        for force in forces:
            self._copies.addForce(force)
        self.integrator, self.context = integrator, self._machine.context(self._copies, integrator, self._problem.name)

    def positions(self) -> np.ndarray:
        """Positions of all slots, ``(n_slots, n_atoms, 3)`` in nm; FloatingPointError if they break constraints."""
        state = self.context.getState(positions=True)
        positions = state.getPositions(asNumpy=True)._value.reshape(self._slots.shape)
        self._kept.require(positions)
        return positions


class _Watch:
    """Calls an observer from inside OpenMM, which hands on nothing but the text of what it raises.

    What OpenMM calls must not refer to the Context: Python cannot see, and so never frees, a circle through OpenMM.
    """

    def __init__(self, observer: Observer) -> None:
        self.observer, self.failure = observer, None

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        try:
            return self.observer(positions)
        except Exception as error:
            self.failure = error
            raise


class SlotContext(WalkerContext):
    """Slots that an observer may look at before every step, moved by whatever the machine's backend has for them.

    Parameters
    ----------
    problem : RareEventSystem
    n_slots : int
    machine : Machine
    seed : int
        For the noise; 31 bits.
    bias : Bias, optional
        Without it the dynamics is unbiased.
    observer : callable, optional
        Sees the positions ``(n_slots, n_atoms, 3)`` before every step; see :class:`openmm_rare.bias.python_force.PythonBias`.
    """

    def __init__(
        self,
        problem: RareEventSystem,
        n_slots: int,
        machine: Machine,
        seed: int,
        bias: Bias | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(problem, n_slots, machine, bias)
        self._watch = None if observer is None else _Watch(observer)
        self._dynamics = make_dynamics(problem, n_slots, int(seed), bias, self._watch, machine.backend)
        self._start(self._dynamics.integrator, self._dynamics.forces)
        self.set_positions(self._slots)

    def set_positions(self, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)``, m <= n_slots, into the first m slots, with weight 1."""
        self._slots[: len(positions)] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        self._dynamics.restart(self.context)

    def step(self, n_steps: int) -> None:
        """Advance all slots; what the observer raises is raised here as it was."""
        try:
            with naming_system(self._problem.name, self.context.getPlatform().getName(), running=True):
                self.integrator.step(n_steps)
        except openmm.OpenMMException:
            if self._watch is not None and self._watch.failure is not None:
                raise self._watch.failure from None
            raise

    def positions(self) -> np.ndarray:
        """As :meth:`WalkerContext.positions`; idle slots go on from there, too."""
        self._slots = super().positions()
        return self._slots

    def forces(self) -> np.ndarray:
        """Physical forces on all slots, ``(n_slots, n_atoms, 3)`` in kJ/mol/nm."""
        state = self.context.getState(forces=True, groups={0})
        return state.getForces(asNumpy=True)._value.reshape(self._slots.shape)

    def log_weights(self) -> np.ndarray:
        """ln w accumulated since :meth:`set_positions`, shape ``(n_slots,)``; zeros without a bias."""
        return self._dynamics.log_weights(self.context)

"""Slots: the places of a Context, each holding one independent copy of a small System."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from ..bias.bias import Bias
from ..bias.force import check_force
from ..bias.python_force import Observer
from ..dynamics.overdamped import check_system
from ..dynamics.replication import replicate
from ..dynamics.walker_bonds import suits_native_bonds
from ..errors import DynamicsError, InputError
from ..structure.constraints import KeptDistances
from ..structure.openmm_errors import naming_system
from .backends import choose_backend, make_dynamics

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["SlotContext", "make_context", "platform_by_name", "require_finite"]


def platform_by_name(name: str) -> openmm.Platform:
    """The OpenMM platform of that name.

    Raises
    ------
    ValueError
        If it is unknown or not available on this machine; the message lists those that are.
    """
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        raise InputError(f"platform {name!r} is not available here; this machine has {', '.join(names)}")
    return openmm.Platform.getPlatformByName(name)


def make_context(
    system: openmm.System, integrator: openmm.Integrator, name: str, one_thread: bool = False, what: str = "the System"
) -> openmm.Context:
    """A Context on the platform of that name, in mixed precision, or with one thread of its own, where there is a choice.

    Raises
    ------
    ValueError
        If OpenMM cannot make it; the message says of `what`.
    """
    platform = platform_by_name(name)
    wanted = {"Precision": "mixed"} | ({"Threads": "1"} if one_thread else {})
    properties = {key: value for key, value in wanted.items() if key in platform.getPropertyNames()}
    with naming_system(what, name):
        return openmm.Context(system, integrator, platform, properties)


def require_finite(positions: np.ndarray, target: RareEventSystem) -> None:
    """Raise FloatingPointError if a position is not finite."""
    if not np.isfinite(positions).all():
        raise DynamicsError(
            f"positions became NaN in {target.name} at a time step of {target.timestep:g} ps: "
            "use a smaller time step, or check the forces at the initial structure"
        )


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


class SlotContext:
    """One Context that holds ``n_slots`` independent copies of a system, with an optional bias.

    Parameters
    ----------
    target : RareEventSystem
    n_slots : int
    platform : str
    seed : int
        For the noise; 31 bits.
    bias : Bias, optional
        Without it the dynamics is unbiased.
    observer : callable, optional
        Sees the positions ``(n_slots, n_atoms, 3)`` before every step; see :class:`openmm_rare.bias.python_force.PythonBias`.
    backend : str
        One of :data:`openmm_rare.walkers.backends.BACKENDS`.
    """

    def __init__(
        self,
        target: RareEventSystem,
        n_slots: int,
        platform: str,
        seed: int,
        bias: Bias | None = None,
        observer: Observer | None = None,
        backend: str = "python",
    ) -> None:
        self._target = target
        self.n_slots, self.n_atoms = n_slots, target.system.getNumParticles()
        backend = choose_backend(backend, platform)
        check_force("auto" if bias is None else bias.force, platform)
        check_system(target.system, num_dimensions=target.num_dimensions)
        native_bonds = backend == "native" and suits_native_bonds(platform, n_slots)
        system, self._kept = (
            replicate(target.system, n_slots, native_bonds),
            KeptDistances(target.system, target.name, target.timestep),
        )
        self._watch = None if observer is None else _Watch(observer)
        self._dynamics = make_dynamics(target, n_slots, int(seed), bias, self._watch, backend)
        self.integrator = self._dynamics.integrator
        for force in self._dynamics.forces:
            system.addForce(force)
        self.context = make_context(system, self.integrator, platform, what=target.name)
        self._slots = np.repeat(target.positions[None], n_slots, axis=0)
        self.set_positions(self._slots)

    def set_positions(self, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)``, m <= n_slots, into the first m slots, with weight 1."""
        self._slots[: len(positions)] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        self._dynamics.restart(self.context)

    def step(self, n_steps: int) -> None:
        """Advance all slots; what the observer raises is raised here as it was."""
        try:
            with naming_system(self._target.name, self.context.getPlatform().getName(), running=True):
                self.integrator.step(n_steps)
        except openmm.OpenMMException:
            if self._watch is not None and self._watch.failure is not None:
                raise self._watch.failure from None
            raise

    def positions(self) -> np.ndarray:
        """Positions of all slots, ``(n_slots, n_atoms, 3)`` in nm; FloatingPointError if they break constraints."""
        state = self.context.getState(positions=True)
        self._slots = state.getPositions(asNumpy=True)._value.reshape(self.n_slots, self.n_atoms, 3)
        self._kept.require(self._slots)
        return self._slots

    def forces(self) -> np.ndarray:
        """Physical forces on all slots, ``(n_slots, n_atoms, 3)`` in kJ/mol/nm."""
        state = self.context.getState(forces=True, groups={0})
        return state.getForces(asNumpy=True)._value.reshape(self.n_slots, self.n_atoms, 3)

    def log_weights(self) -> np.ndarray:
        """ln w accumulated since :meth:`set_positions`, shape ``(n_slots,)``; zeros without a bias."""
        return self._dynamics.log_weights(self.context)

"""One Context for dynamics with its velocities: copies of a small System, or a large one, each started by itself."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openmm
from openmm import unit

from ..bias.bias import Bias
from ..bias.force import check_force
from ..bias.python_force import Observer
from ..dynamics.copies.replication import replicate
from ..dynamics.explosions import ExplosionWatch
from ..dynamics.frames import Frames
from ..dynamics.platforms import platform_by_name
from ..errors import DynamicsError, InputError
from ..io.files import left_behind
from ..structure.constraints import KeptDistances
from ..structure.openmm_errors import our_error
from ..structure.particles import masses_of
from .backends import Dynamics
from .custom_integrator import CustomIntegratorDynamics, UnbiasedDynamics
from .machine import Machine

if TYPE_CHECKING:
    from ..problem import RareEventSystem

__all__ = ["PhaseSlots"]

_TOLERANCE = 1e-6  # of constraints, relative
_ADVICE = ": use a smaller time step"


class PhaseSlots:
    """Dynamics of ``n_slots`` independent copies, with momenta where the problem has some.

    Parameters
    ----------
    problem : RareEventSystem
    n_slots : int
        With 1, the System is taken as it is, which may be periodic.
    machine : Machine
    rng : numpy.random.Generator
        Seeds the noise, and draws velocities.
    force : openmm.Force, optional
        Acts on all copies, beside the forces of the System.
    bias : Bias, optional
        Without it, or with strength 0, the dynamics is unbiased.
    observer : callable, optional
        Tells a bias that Python evaluates which slots it is wanted in; see :class:`openmm_rare.bias.python_force.PythonBias`.
    """

    def __init__(
        self,
        problem: RareEventSystem,
        n_slots: int,
        machine: Machine,
        rng: np.random.Generator,
        force: openmm.Force | None = None,
        bias: Bias | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._target, self._rng = problem, rng
        seed = int(rng.integers(1, 2**31 - 1))
        if bias is None or bias.strength == 0.0:
            self._dynamics: Dynamics = UnbiasedDynamics(problem, n_slots, seed)
        else:
            check_force(bias.force, machine.platform)
            self._dynamics = CustomIntegratorDynamics(problem, n_slots, seed, bias, observer)
        forces = [each for each in (force, *self._dynamics.forces) if each is not None]
        many = problem.system if n_slots == 1 else replicate(problem.system, n_slots)
        many = copy.deepcopy(many) if forces else many
        for each in forces:
            many.addForce(each)
        self.integrator = self._dynamics.integrator
        self.context = machine.one_thread.context(many, self.integrator, problem.name)
        masses = masses_of(problem.system)
        with np.errstate(divide="ignore"):
            spread = np.where(masses > 0.0, np.sqrt(problem.kt / masses), 0.0)
        self._spread = spread[:, None] * (np.arange(3) < problem.num_dimensions)
        self._shape = (n_slots, len(problem.positions), 3)
        self._slots = np.repeat(problem.positions[None], n_slots, axis=0)
        self._starts, self._steps = self._slots.copy(), 0
        self._kept = KeptDistances(problem.system, problem.name, problem.timestep)
        way = None if problem.inertial else 2.0 * problem.kt * problem.timestep / problem.friction
        self._explosions = ExplosionWatch(problem.system, problem.kt, platform_by_name(machine.platform), way)

    @staticmethod
    def can_copy(problem: RareEventSystem) -> bool:
        """Whether many copies of the system fit into one Context."""
        try:
            replicate(problem.system, 2)
        except ValueError:
            return False
        return True

    def reseed(self, seed: int) -> None:
        """Begin as if nothing had run before: what follows depends on this seed (31 bits) and on what is put into the slots."""
        self._rng, self._steps = np.random.default_rng(seed), 0
        self.integrator.setRandomNumberSeed(max(int(seed), 1))  # 0 is no seed to OpenMM
        self.context.reinitialize()

    def restart(self, slots: np.ndarray, positions: np.ndarray) -> None:
        """Put positions ``(m, n_atoms, 3)`` into these slots, with new velocities that satisfy the constraints.

        The three decimals of a PDB file are too few for rigid bonds: where some are broken they get their lengths back.
        """
        self._put(slots, positions)
        if self._kept.first_broken(positions) is not None:
            self.context.applyConstraints(_TOLERANCE)
        if self._target.inertial:
            self._give(slots, self._spread * self._rng.normal(size=positions.shape))

    def load(self, slots: np.ndarray, frames: Frames) -> None:
        """Put frames into these slots, with their velocities; what single precision took from constraints is restored."""
        self._put(slots, frames.positions)
        if self._target.system.getNumConstraints():
            self.context.applyConstraints(_TOLERANCE)
        if self._target.inertial:
            if frames.velocities is None:
                raise InputError(f"{self._target.name} moves with inertia: frames without velocities cannot be continued")
            self._give(slots, frames.velocities)

    def _put(self, slots: np.ndarray, positions: np.ndarray) -> None:
        self._slots[slots] = self._starts[slots] = positions
        self.context.setPositions(self._slots.reshape(-1, 3))
        self._dynamics.restart(self.context)

    def _give(self, slots: np.ndarray, velocities: np.ndarray) -> None:
        of_all = self.context.getState(velocities=True).getVelocities(asNumpy=True)._value.reshape(self._shape)
        of_all[slots] = velocities
        self.context.setVelocities(of_all.reshape(-1, 3) * unit.nanometer / unit.picosecond)
        self.context.applyVelocityConstraints(_TOLERANCE)

    def step(self, n_steps: int) -> None:
        """Advance all slots.

        Raises
        ------
        FloatingPointError
            If positions become NaN.
        """
        self._steps += n_steps
        try:
            self.integrator.step(n_steps)
        except openmm.OpenMMException as error:
            if "nan" in str(error).lower():
                self._stop(f"positions became NaN in {self._target.name}", np.arange(len(self._slots)))
            raise our_error(error, self._target.name, self.context.getPlatform().getName(), running=True) from error

    def log_weights(self) -> np.ndarray:
        """ln w of all slots, unbiased over biased, since frames were last put into any of them; zeros without a bias."""
        return self._dynamics.log_weights(self.context)

    def positions(self) -> np.ndarray:
        """As :meth:`frames`, without velocities."""
        return self.frames().positions

    def frames(self) -> Frames:
        """Where all slots are, with velocities where the dynamics has some.

        Raises
        ------
        FloatingPointError
            If they are not finite, break constraints or fly apart; the positions before are in the file that the message names.
        """
        inertial = self._target.inertial
        state = self.context.getState(positions=True, velocities=inertial)
        positions = state.getPositions(asNumpy=True)._value.reshape(self._shape)
        velocities = state.getVelocities(asNumpy=True)._value.reshape(self._shape) if inertial else None
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
        if len(bad):
            self._stop(f"positions became NaN in {self._target.name}", bad[:1])
        broken = self._kept.first_broken(positions)
        if broken is not None:
            self._stop(broken[1].removesuffix(_ADVICE), [broken[0]])
        watch = self._explosions
        for slot in np.flatnonzero(watch.suspects(positions, velocities, self._slots, self._steps)).tolist():
            start = watch.energy(self._starts[slot], None)
            sentence = watch.gained(positions[slot], None if velocities is None else velocities[slot], start)
            if sentence is not None:
                self._stop(sentence, [slot])
        self._slots, self._steps = positions.copy(), 0
        return Frames(positions, velocities)

    def _stop(self, sentence: str, slots: Sequence[int] | np.ndarray) -> None:
        """End the run, with the last good positions of these slots, and where their shots began, in a file."""
        path = Path(f"broken-shot-{os.getpid()}.npz").resolve()
        kept = left_behind(path, {"positions": self._slots[slots], "starts": self._starts[slots]})
        raise DynamicsError(f"{sentence}, {self._steps} steps after the positions in {kept}{_ADVICE}")
